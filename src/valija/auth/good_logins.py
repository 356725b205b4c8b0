"""Logins that were right a moment ago, and need not be verified again: mail programs log in every minute.

    good = GoodLogins.shared()                          # in the supervisor, before it forks
    good.remember("alice@example.org", b"secret")       # in a worker, when it was right
    good.holds("alice@example.org", b"secret")          # True in every worker, for five minutes at most

Only what was right is remembered, as a digest (auth/digests). `bound` ties it to what it was verified against, such as
the stored hash: when that changes, it is right no more. Where nothing of the kind is known (Dovecot, PAM) a password
that was changed stays good for five minutes at most, the new one is good at once; `forget` ends it earlier.
"""

import mmap
import time
from collections.abc import Callable
from typing import Final

from valija.auth.digests import DigestTable

REMEMBERED_FOR: Final = 300.0  # seconds, at most
_COLUMNS: Final = 4096


class GoodLogins:
    """What all workers remember of right logins."""

    def __init__(self, table: DigestTable, generations: memoryview) -> None:
        self._table = table
        self._generations = generations  # a column's number changes when a login in it is forgotten

    @classmethod
    def shared(cls, clock: Callable[[], float] = time.monotonic) -> "GoodLogins":
        """Return a memory that forked processes share. `clock` gives monotonic seconds, the same in every process."""
        table = DigestTable.shared(REMEMBERED_FOR, clock=clock)
        return cls(table, memoryview(mmap.mmap(-1, _COLUMNS * 4)).cast("B").cast("I"))

    def holds(self, login: str, password: bytes, bound: str = "") -> bool:
        """Whether this login was right a moment ago."""
        return self._table.holds(login, self._generation(login), bound, password)

    def remember(self, login: str, password: bytes, bound: str = "") -> None:
        """Remember a login that was right."""
        self._table.remember(login, self._generation(login), bound, password)

    def forget(self, login: str) -> None:
        """Have every password of a login verified again."""
        column = hash(login) % _COLUMNS  # the same in forked processes
        self._generations[column] = (self._generations[column] + 1) & 0xFFFF_FFFF

    def _generation(self, login: str) -> bytes:
        return b"%d" % self._generations[hash(login) % _COLUMNS]
