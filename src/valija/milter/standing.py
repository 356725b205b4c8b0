"""Whether a filter is there, as far as the sessions of a worker know: said once in the log, and waited for by one.

    standing = Standing()
    if standing.is_waited_for: ...            # it was silent, and somebody is finding out whether it still is
    with standing.asking():                   # the others need not wait meanwhile
        await talk.mail(...)
    standing.has_failed("no answer within 30 s", is_silent=True)      # True: that is news
    standing.has_worked()                                            # True: that is news

Who refuses a connection costs nobody any time. One that takes it and says nothing would keep each session waiting for
its whole time-out: then one session at a time waits, and for the others it is away.
"""

import contextlib
from collections.abc import Iterator
from typing import Final

_MOST_REASONS: Final = 8


class Standing:
    """What is known of one filter."""

    __slots__ = ("_is_asked", "_is_silent", "_told")

    def __init__(self) -> None:
        self._told: set[str] = set()  # why it is away, as far as the log knows
        self._is_silent = False
        self._is_asked = False

    @property
    def is_waited_for(self) -> bool:
        """Whether it was silent, and another session is waiting for it now."""
        return self._is_silent and self._is_asked

    @contextlib.contextmanager
    def asking(self) -> Iterator[None]:
        """Have others know that somebody waits, if it was silent."""
        is_first = self._is_silent and not self._is_asked
        self._is_asked = self._is_asked or is_first
        try:
            yield
        finally:
            if is_first:
                self._is_asked = False

    def has_failed(self, reason: str, *, is_silent: bool) -> bool:
        """Note a failure; tell whether the log has not heard of it yet."""
        self._is_silent = is_silent
        if reason in self._told or len(self._told) >= _MOST_REASONS:
            return False
        self._told.add(reason)
        return True

    def has_worked(self) -> bool:
        """Note that it answers; tell whether it was away before."""
        was_away = bool(self._told)
        self._told.clear()
        self._is_silent = False
        return was_away
