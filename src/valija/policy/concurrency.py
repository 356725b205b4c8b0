"""How many connections at once: one more for each round of successes, one less for each round of failures.

    window = Concurrency(limit=20)
    window.size                      # 5
    for _ in range(6): window.succeeded(now=0.0)
    window.size                      # 6

It is Postfix's way: a round is as many transactions as there are connections, so that it grows by one when all of them
went well. A connection that was refused while others worked is an answer of another kind: the receiver takes no more
than those, and for a while, longer each time it says so, it is not asked again.
"""

from typing import Final

INITIAL: Final = 5
SHORTEST_PAUSE: Final = 10.0  # seconds without growth after a refused connection
LONGEST_PAUSE: Final = 600.0


class Concurrency:
    """The window. `limit` may be changed; `now` is any clock in seconds that never goes back."""

    __slots__ = ("_pause", "_paused_until", "_size", "limit")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._size = float(INITIAL)
        self._pause = 0.0
        self._paused_until = float("-inf")

    @property
    def size(self) -> int:
        """So many connections may be open; at least one."""
        return max(1, min(int(self._size), self.limit))

    @property
    def is_fresh(self) -> bool:
        """Whether nothing has been learnt that would be missed."""
        return self._size >= INITIAL and not self._pause

    def succeeded(self, now: float) -> None:
        """Hear that a transaction went through."""
        if self._size < self.limit and now >= self._paused_until:
            self._size += 1.0 / self._size

    def failed(self) -> None:
        """Hear that a connection could not be opened, or broke."""
        size = min(self._size, float(self.limit))
        self._size = max(1.0, size - 1.0 / size)

    def refused(self, now: float, *, working: int) -> None:
        """Hear that one more connection was refused beside `working` ones. Refusals within a pause count once."""
        self._size = max(1.0, min(self._size, float(working)))
        if now < self._paused_until:
            return
        is_long_ago = now - self._paused_until > LONGEST_PAUSE
        self._pause = SHORTEST_PAUSE if is_long_ago else min(LONGEST_PAUSE, max(SHORTEST_PAUSE, self._pause * 2))
        self._paused_until = now + self._pause
