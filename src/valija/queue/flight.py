"""Which messages are being attempted: a small file beside the queue that survives a crash and says who was there.

    flight = Flight(Path("worker-0.flight"))
    flight.unfinished                    # {3765841286987022336}: the process before this one died in attempts at it
    slot = flight.begin(3765841286987022337)
    flight.end(slot)                     # before the attempt's effect is recorded

A message that makes the server crash must not make it crash for ever: the store counts the crashes a message was
present at. Nothing is synced: after a power cut nobody is blamed. Each mark is one small write into the page cache; a
mapped file would save 0.6 microseconds a mark, but storing into one kills the process (SIGBUS) where a copy-on-write
file system is full.

Known weakness: attempts beyond the number of slots are not marked, and a fault of the file only means that crashes are
not counted.
"""

import os
from contextlib import suppress
from pathlib import Path
from typing import Final

SLOTS: Final = 4096
_WIDTH: Final = 8
_NONE: Final = bytes(_WIDTH)


class Flight:
    """The marks of one worker. Opening it takes over, and clears, what the process before left."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self.unfinished = _marks(os.pread(self._descriptor, SLOTS * _WIDTH, 0))
        self._free: list[int] = list(range(SLOTS - 1, -1, -1))

    def clear(self) -> None:
        """Forget what the process before left, once its crash is counted."""
        os.ftruncate(self._descriptor, 0)

    def begin(self, number: int) -> int:
        """Mark a message as being attempted; return the slot to give to `end`."""
        if not self._free:
            return -1
        slot = self._free.pop()
        self._write(slot, number.to_bytes(_WIDTH, "little"))
        return slot

    def end(self, slot: int) -> None:
        """The attempt is over, one way or another."""
        if slot >= 0:
            self._write(slot, _NONE)
            self._free.append(slot)

    def close(self) -> None:
        """Let go of the file. Marks that stand are left standing."""
        os.close(self._descriptor)

    def _write(self, slot: int, mark: bytes) -> None:
        with suppress(OSError):  # a full disk: a crash in this attempt would not be counted, and that is all
            os.pwrite(self._descriptor, mark, slot * _WIDTH)


def _marks(data: bytes) -> set[int]:
    whole = len(data) - len(data) % _WIDTH
    marks = {int.from_bytes(data[start : start + _WIDTH], "little") for start in range(0, whole, _WIDTH)}
    return marks - {0}
