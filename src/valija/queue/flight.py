"""Which messages are being attempted: a small file beside the queue that survives a crash and says who was there.

    flight = Flight(Path("worker-0.flight"))
    flight.unfinished                    # {3765841286987022336}: the process before this one died in attempts at it
    slot = flight.begin(3765841286987022337)
    flight.end(slot)                     # before the attempt's effect is recorded

A message that makes the server crash must not make it crash for ever: the store counts the crashes a message was
present at. The file is mapped, so that a mark costs no system call; the kernel keeps it when the process is killed.
Nothing is synced: after a power cut nobody is blamed. All of it is written once when it is made, so that no mark ever
needs a new block.

Known weakness: attempts beyond the number of slots are not marked. A copy-on-write file system needs a new block for
each changed one all the same, and kills a process that stores into a mapped page (SIGBUS) where it has none left.
"""

import mmap
import os
from pathlib import Path
from typing import Final

SLOTS: Final = 4096
_WIDTH: Final = 8
_SIZE: Final = SLOTS * _WIDTH


class Flight:
    """The marks of one worker. Raises OSError where the file can't be made."""

    def __init__(self, path: Path) -> None:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            if os.fstat(descriptor).st_size != _SIZE:
                _clear(descriptor)
            self._map = mmap.mmap(descriptor, _SIZE)
        finally:
            os.close(descriptor)
        self._marks = memoryview(self._map).cast("q")
        self._free = [slot for slot in range(SLOTS - 1, -1, -1) if not self._marks[slot]]
        self.unfinished = frozenset(self._marks) - {0}

    def clear(self) -> None:
        """Forget what the process before left, once its crash is counted."""
        self._map[:] = bytes(_SIZE)
        self._free = list(range(SLOTS - 1, -1, -1))

    def begin(self, number: int) -> int:
        """Mark a message as being attempted; return the slot to give to `end`."""
        if not self._free:
            return -1
        slot = self._free.pop()
        self._marks[slot] = number
        return slot

    def end(self, slot: int) -> None:
        """The attempt is over, one way or another."""
        if slot >= 0:
            self._marks[slot] = 0
            self._free.append(slot)

    def close(self) -> None:
        """Let go of the file. Marks that stand are left standing."""
        self._marks.release()
        self._map.close()


def _clear(descriptor: int) -> None:
    os.ftruncate(descriptor, 0)
    if os.pwrite(descriptor, bytes(_SIZE), 0) != _SIZE:
        raise OSError("the disk is full")
