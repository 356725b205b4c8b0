"""What one process adds to the history: the lines of its log, as they are written there.

    recorder = Recorder(folder, "worker-0", complain=lambda why: log.error("history is not kept", reason=why))
    recorder.use(options, processes=3)
    buffer.tell = recorder.write          # see valija/logs: LogBuffer hands over what it writes, a batch at a time
    recorder.look()                       # now and then: a file that is old enough is left for a new one
    recorder.close()

To append a batch is one system call, some twenty times a second at most; nothing is parsed, copied or synced. All else
(packing, indexing, removing) is done elsewhere, see keeper. What can't be written is dropped: history never holds up
mail, and never takes the last of the disk.
"""

import contextlib
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from valija.history.lines import time_of
from valija.history.options import HistoryOptions
from valija.logs import MAX_LINE

LEAST_FREE: Final = 64 << 20  # octets of disk that are left to others
_LOOK_AGAIN: Final = 1.0  # seconds between two looks at the disk, and between two tries to open a file
_MOST_COMPLAINTS: Final = 10


class Recorder:
    """Writes the files of one process, which `source` names. Made anew after a fork; safe to use from any thread."""

    def __init__(
        self,
        folder: Path,
        source: str,
        *,
        complain: Callable[[str], None],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._folder = folder
        self._path = folder / f"{source}.log"
        self._source = source
        self._complain = complain
        self._complaints: set[str] = set()
        self._clock = clock
        self._options = HistoryOptions(keep=0)
        self._lock = threading.RLock()  # a complaint is a line, too
        self._largest = 0
        self._descriptor = -1
        self._size = 0
        self._begun = 0.0
        self._looked = float("-inf")
        self._has_room = True
        self.lost = 0  # octets that could not be written

    def use(self, options: HistoryOptions, processes: int) -> None:
        """Live by options; `processes` write histories in all. Makes the folder where it is missing."""
        self._options = options
        self._largest = options.segment_size(processes)
        if not options.is_on:
            self.close()
        else:
            with contextlib.suppress(OSError):  # the first line will meet the same, and say so
                self._folder.mkdir(mode=0o700, exist_ok=True)

    def write(self, lines: bytes) -> None:
        """Append lines. Never raises."""
        if lines and self._options.is_on:
            with self._lock:
                self._try_to_write(lines)

    def _try_to_write(self, lines: bytes) -> None:
        try:
            self._look_at_disk()
            if not self._has_room:
                self.lost += len(lines)
                return
            if self._descriptor < 0:
                self._open()
            self._append(lines)
        except OSError as error:
            self._failed(error, len(lines))

    def _append(self, lines: bytes) -> None:
        written = os.write(self._descriptor, lines)
        if written < len(lines):  # a full disk
            os.ftruncate(self._descriptor, self._size)
            self.lost += len(lines)
            return
        self._size += written
        if self._size >= self._largest:
            self._leave()

    def look(self) -> None:
        """Leave a file that is old enough. Never raises."""
        with self._lock:
            if self._descriptor >= 0 and self._clock() - self._begun >= self._options.segment_age:
                try:
                    self._leave()
                except OSError as error:
                    self._failed(error, 0)

    def close(self) -> None:
        """Let go of the file; the next process of this name goes on with it."""
        with self._lock:
            if self._descriptor >= 0:
                os.close(self._descriptor)
                self._descriptor = -1

    def _open(self) -> None:
        """Go on with the file that is there, without what a crash may have left of a line, or begin one."""
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(self._path, flags, 0o600)
        self._descriptor = descriptor
        found = os.fstat(descriptor)
        begin = os.pread(descriptor, MAX_LINE, 0) if found.st_size else b""
        self._begun = time_of(begin.partition(b"\n")[0]) or self._clock()
        tail_at = max(0, found.st_size - MAX_LINE)
        self._size = tail_at + os.pread(descriptor, MAX_LINE, tail_at).rfind(b"\n") + 1
        if self._size < found.st_size:
            os.ftruncate(descriptor, self._size)

    def _leave(self) -> None:
        """Leave the file under a name of its own; the next line begins a new one."""
        self.close()
        stamp = int(self._clock() * 1000)
        while (target := self._folder / f"{self._source}-{stamp:013}.log").exists() or target.with_suffix(
            ".sealed"
        ).exists():
            stamp += 1
        self._path.rename(target)

    def _look_at_disk(self) -> None:
        now = self._clock()
        if not 0 <= now - self._looked < _LOOK_AGAIN:
            self._looked = now
            found = os.statvfs(self._folder)
            self._has_room = found.f_bavail * found.f_frsize >= LEAST_FREE
            if not self._has_room:
                self._tell("the disk is nearly full, and the rest of it is left to mail")

    def _failed(self, error: OSError, lost: int) -> None:
        self.lost += lost
        self.close()
        self._has_room = False  # until the next look
        self._tell(f"{error.filename or self._path}: {error.strerror}")

    def _tell(self, why: str) -> None:
        if why not in self._complaints and len(self._complaints) < _MOST_COMPLAINTS:
            self._complaints.add(why)
            self._complain(why)
