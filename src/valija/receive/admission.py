"""How many sessions a client has open, counted over all workers without a lock.

Each worker owns one row of a shared table and alone writes to it; a count is the sum of a column over all rows. Columns
are chosen by two hashes of the client's network, and the smaller sum is taken (a count-min sketch): two networks
that share one column do not share the other, so that a stranger's flood does not shut an honest client out. A row is
wiped when its worker starts, so that a killed worker leaves no ghosts.

    table = SessionTable.shared(workers=2)     # in the supervisor, before it forks
    counter = table.counter(worker=0)          # in a worker
    if counter.enter("192.0.2.1") > 50: ...
    counter.leave("192.0.2.1")

Known weakness: with thousands of networks connected at once, collisions in both columns count a client a little high.
"""

import ipaddress
import mmap
from functools import lru_cache
from typing import Final

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

    def enter(self, client: str) -> int:
        """Count a session of `client` in; return how many its network has open now, this one included."""
        columns = _columns(network_of(client))
        for column in columns:
            self._cells[self._row + column] = min(self._cells[self._row + column] + 1, 65_535)
        return min(sum(self._cells[column::COLUMNS]) for column in columns)

    def leave(self, client: str) -> None:
        """Count a session of `client` out."""
        for column in _columns(network_of(client)):
            self._cells[self._row + column] = max(self._cells[self._row + column] - 1, 0)


@lru_cache(maxsize=4096)
def network_of(client: str) -> str:
    """Return what counts as one client: an IPv4 address, or the /64 an IPv6 address is in."""
    try:
        address = ipaddress.ip_address(client.partition("%")[0])
    except ValueError:
        return client
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    if address.ipv4_mapped:
        return str(address.ipv4_mapped)
    return str(ipaddress.ip_network((address, 64), strict=False))


@lru_cache(maxsize=4096)
def _columns(network: str) -> tuple[int, int]:
    # hash() of a string differs between processes, except between those forked from one, as the workers are.
    number = hash(network)
    first, second = number % COLUMNS, (number >> 24) % COLUMNS
    return first, second if second != first else (second + 1) % COLUMNS
