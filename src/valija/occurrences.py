"""How often something happened within the last while, counted over all workers without a lock.

    table = OccurrenceTable.shared(workers=2, window=3600.0)     # in the supervisor, before it forks
    counter = table.counter(worker=0)                            # in a worker
    entry = counter.add("login alice")
    counter.count("login alice")                                 # 1, in every worker
    counter.take_back(entry)                                     # 0

Each worker writes to cells of its own and reads everybody's: no count is lost to a race, and when a worker dies its
counts stay and its successor goes on with them. A cell holds the quarter of the window it speaks of beside its number,
so that nothing has to be swept. What happened counts for at least a window, at most a quarter longer.

Columns are chosen by two hashes of the key and the smaller sum is taken (a count-min sketch; see also
receive/admission): nobody can fill the memory with made-up keys.

Known weakness: under an attack on thousands of keys at once, collisions in both columns count a key too high; what this
costs is that strangers are refused.
"""

import mmap
import time
from collections.abc import Callable
from functools import lru_cache
from typing import Final, NamedTuple

COLUMNS: Final = 32_768
_QUARTERS: Final = 5  # the one that has begun, and four that are over: a window at least
_CELL: Final = "I"  # which quarter it is, modulo 2**16, and how many
_MOST: Final = 0xFFFF


class Entry(NamedTuple):
    """Something that was counted: where, and in which quarter."""

    columns: tuple[int, int]
    quarter: int


class OccurrenceTable:
    """The table all workers share. Made once, before the workers are forked. `window` in seconds."""

    def __init__(self, memory: memoryview, window: float) -> None:
        self._cells = memory.cast("B").cast(_CELL)
        self._window = window

    @classmethod
    def shared(cls, workers: int, window: float) -> "OccurrenceTable":
        """Return an empty table in memory that forked processes share."""
        return cls(memoryview(mmap.mmap(-1, workers * _QUARTERS * COLUMNS * 4)), window)

    def counter(self, worker: int, clock: Callable[[], float] = time.monotonic) -> "OccurrenceCounter":
        """Return the counter of one worker. `clock` gives monotonic seconds, the same in every process."""
        return OccurrenceCounter(self._cells, worker, self._window, clock)


class OccurrenceCounter:
    """One worker's view."""

    def __init__(self, cells: memoryview, worker: int, window: float, clock: Callable[[], float]) -> None:
        self._cells = cells
        self._first_row = worker * _QUARTERS
        self._length = window / 4
        self._clock = clock

    def add(self, key: str) -> Entry:
        """Count one more."""
        entry = Entry(_columns(key), self._quarter())
        for column in entry.columns:
            self._change(column, entry.quarter, 1)
        return entry

    def take_back(self, entry: Entry) -> None:
        """Count as if it had not been added."""
        if self._quarter() - entry.quarter < _QUARTERS:
            for column in entry.columns:
                self._change(column, entry.quarter, -1)

    def count(self, key: str) -> int:
        """Return how often the key was counted within the window, by all workers."""
        first, second = _columns(key)
        counted = self._sum(first)
        return min(counted, self._sum(second)) if counted else 0

    def _quarter(self) -> int:
        return int(self._clock() / self._length)

    def _change(self, column: int, quarter: int, change: int) -> None:
        place = (self._first_row + quarter % _QUARTERS) * COLUMNS + column
        cell, tag = self._cells[place], (quarter & _MOST) << 16
        number = cell & _MOST if cell & ~_MOST == tag else 0
        self._cells[place] = tag | min(max(number + change, 0), _MOST)

    def _sum(self, column: int) -> int:
        cells = self._cells[column::COLUMNS].tolist()
        if not any(cells):
            return 0
        now = self._quarter()
        valid = {(quarter & _MOST): quarter % _QUARTERS for quarter in range(max(0, now - _QUARTERS + 1), now + 1)}
        return sum(cell & _MOST for row, cell in enumerate(cells) if valid.get(cell >> 16) == row % _QUARTERS)


@lru_cache(maxsize=4096)
def _columns(key: str) -> tuple[int, int]:
    # hash() of a string differs between processes, except between those forked from one, as the workers are.
    number = hash(key)
    first, second = number % COLUMNS, (number >> 24) % COLUMNS
    return first, second if second != first else (second + 1) % COLUMNS
