"""A bounded cache whose entries end by time.

    cache = TtlCache[str, int](size=2, clock=time.monotonic)
    cache.put("a", 1, ttl=60.0)
    cache.get("a")     # 1, for a minute

The entry that was put first leaves when there are too many. An entry that is asked for often has the same life as the
others: after its time it is fetched and put anew anyway.
"""

from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class TtlCache(Generic[K, V]):
    """At most `size` entries; `clock` gives seconds."""

    def __init__(self, size: int, clock: Callable[[], float]) -> None:
        self._size = size
        self._clock = clock
        self._entries: dict[K, tuple[float, V]] = {}

    def get(self, key: K) -> V | None:
        """Return what was put, None when there is nothing or its time is over."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        end, value = entry
        if self._clock() >= end:
            del self._entries[key]
            return None
        return value

    def put(self, key: K, value: V, ttl: float) -> None:
        """Keep a value for `ttl` seconds; not at all for 0."""
        self._entries.pop(key, None)
        if ttl <= 0 or self._size <= 0:
            return
        while len(self._entries) >= self._size:
            del self._entries[next(iter(self._entries))]
        self._entries[key] = (self._clock() + ttl, value)

    def clear(self) -> None:
        """Forget everything."""
        self._entries.clear()

    def __len__(self) -> int:
        return len(self._entries)
