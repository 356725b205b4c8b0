"""How many sessions a client and its network have open, counted over all workers without a lock.

Each worker owns one row of a shared table and alone writes to it; a count is the sum of a column over all rows. Columns
are chosen by two hashes of what is counted, and the smaller sum is taken (a count-min sketch): two networks
that share one column do not share the other, so that a stranger's flood does not shut an honest client out. A row is
wiped when its worker starts, so that a killed worker leaves no ghosts.

    table = SessionTable.shared(workers=2)     # in the supervisor, before it forks
    counter = table.counter(worker=0)          # in a worker
    if counter.enter("192.0.2.1") > 50: ...    # by the names that `client_of` and `network_of` give
    counter.leave("192.0.2.1")

Known weakness: with thousands of networks connected at once, collisions in both columns count a client a little high.
"""

import mmap
from functools import lru_cache
from ipaddress import IPv4Address
from typing import Final

from valija.policy import login_pace
from valija.policy.networks import parse_address

COLUMNS: Final = 4096
_CELL: Final = "H"  # sessions per worker and column: 65,535 at most


class SessionTable:
    """The table all workers share. Made once, before the workers are forked."""

    def __init__(self, memory: memoryview) -> None:
        self._cells = memory.cast("B").cast(_CELL)

    @classmethod
    def shared(cls, workers: int) -> "SessionTable":
        """Return a table in memory that forked processes share."""
        return cls(memoryview(mmap.mmap(-1, workers * COLUMNS * 2)))

    def counter(self, worker: int) -> "SessionCounter":
        """Return the counter of one worker, its row wiped."""
        start = worker * COLUMNS
        self._cells[start : start + COLUMNS] = memoryview(bytes(COLUMNS * 2)).cast(_CELL)
        return SessionCounter(self._cells, start)


class SessionCounter:
    """One worker's view: it counts its own sessions and sees everyone's."""

    def __init__(self, cells: memoryview, row: int) -> None:
        self._cells = cells
        self._row = row

    def enter(self, name: str) -> int:
        """Count a session in; return how many are open under that name now, this one included."""
        columns = _columns(name)
        for column in columns:
            self._cells[self._row + column] = min(self._cells[self._row + column] + 1, 65_535)
        return min(sum(self._cells[column::COLUMNS]) for column in columns)

    def leave(self, name: str) -> None:
        """Count a session out."""
        for column in _columns(name):
            self._cells[self._row + column] = max(self._cells[self._row + column] - 1, 0)


@lru_cache(maxsize=4096)
def client_of(address: str) -> str:
    """Return what counts as one client: an IPv4 address, or the /64 an IPv6 address is in."""
    known = parse_address(address)
    return str(known) if isinstance(known, IPv4Address) else login_pace.network_of(address)


def network_of(address: str) -> str:
    """Return the network that a client shares with others: an IPv4 /24, or the /48 that one customer may have."""
    return login_pace.network_of(address, "customer")


@lru_cache(maxsize=4096)
def _columns(name: str) -> tuple[int, int]:
    # hash() of a string differs between processes, except between those forked from one, as the workers are.
    number = hash(name)
    first, second = number % COLUMNS, (number >> 24) % COLUMNS
    return first, second if second != first else (second + 1) % COLUMNS
