"""A disk below SQLite that fails on purpose, at the fault points `disk.write` and `disk.sync`.

    apsw.Connection(path, vfs=queue_disk())       # None, the system's own, unless VALIJA_FAULT says something of it

Each write to the queue's file and its write-ahead log, and each sync, passes here, so that a kill can fall between any
two of them, and a full or broken disk is met by SQLite itself. The log's index is not: it is shared memory, made anew
after every crash.
"""

import errno
from typing import Final

import apsw

from valija.faults.points import Point, fault_point, is_armed

NAME: Final = "valija-faults"

_write = fault_point("disk.write")
_sync = fault_point("disk.sync")


class FailingDisk(apsw.VFS):
    """The system's disk, with `write` and `sync` called before each of these."""

    def __init__(self, name: str, write: Point, sync: Point) -> None:
        super().__init__(name, "")
        self._points = write, sync

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:  # noqa: N802 - SQLite's name
        """Open a file of SQLite's."""
        return _File(name, flags, *self._points)


class _File(apsw.VFSFile):
    def __init__(self, name: str | apsw.URIFilename | None, flags: list[int], write: Point, sync: Point) -> None:
        super().__init__("", name, flags)
        self._write, self._sync = write, sync

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802
        """Write, or fail as SQLite expects it of a disk."""
        _as_sqlite_says(self._write)
        super().xWrite(data, offset)

    def xSync(self, flags: int) -> None:  # noqa: N802
        """Sync, or fail."""
        _as_sqlite_says(self._sync)
        super().xSync(flags)


def _as_sqlite_says(point: Point) -> None:
    """Pass a point; raise what it raises as the error that SQLite makes of it."""
    try:
        point()
    except OSError as error:
        raise (apsw.FullError if error.errno == errno.ENOSPC else apsw.IOError)(str(error)) from None


_DISK: Final = FailingDisk(NAME, _write, _sync) if is_armed("disk.write", "disk.sync") else None


def queue_disk() -> str | None:
    """Return the name of the failing disk, None where nothing is to fail there."""
    return NAME if _DISK else None
