"""A disk below SQLite that knows what a power cut would leave: what was synced, and any part of what was written since.

    disk = PowerDisk("power")
    connection = apsw.Connection(path, vfs="power")
    ...
    disk.cut(folder, chance)          # the files as they may be found afterwards, in another folder

Writes that no sync has covered arrive or not, each by chance and in any order, and one of them may be torn at a sector:
that is what a drive with a cache may do. What was synced is there whole.
"""

import random
import threading
from pathlib import Path
from typing import Final

import apsw

SECTOR: Final = 512


class PowerDisk(apsw.VFS):
    """The system's disk, watched. It has to live as long as the connections on it."""

    def __init__(self, name: str) -> None:
        super().__init__(name, "")
        self._lock = threading.Lock()
        self._synced: dict[str, bytes] = {}
        self._pending: dict[str, list[tuple[int, bytes]]] = {}
        self.syncs = 0

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:  # noqa: N802 - SQLite's name
        file = name.filename() if isinstance(name, apsw.URIFilename) else name or ""
        with self._lock:
            self._synced.setdefault(file, b"")
            self._pending.setdefault(file, [])
        return _Watched(name, flags, self, file)

    def xDelete(self, filename: str, syncdir: bool) -> None:  # noqa: N802
        super().xDelete(filename, syncdir)
        with self._lock:
            del self._synced[filename], self._pending[filename]

    def wrote(self, file: str, offset: int, data: bytes) -> None:
        with self._lock:
            self._pending[file].append((offset, data))

    def synced(self, file: str) -> None:
        with self._lock:
            self.syncs += 1
            self._synced[file] = _with(self._synced[file], self._pending[file])
            self._pending[file] = []

    def cut(self, folder: Path, chance: random.Random) -> None:
        """Write into a folder what a cut at this moment may leave; the shared memory is gone."""
        with self._lock:
            for file, octets in self._synced.items():
                arrived = [_torn(write, chance) for write in self._pending[file] if chance.random() < 0.5]
                chance.shuffle(arrived)
                (folder / Path(file).name).write_bytes(_with(octets, arrived))


class _Watched(apsw.VFSFile):
    def __init__(self, name: str | apsw.URIFilename | None, flags: list[int], disk: PowerDisk, file: str) -> None:
        super().__init__("", name, flags)
        self._disk, self._file = disk, file

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802
        super().xWrite(data, offset)
        self._disk.wrote(self._file, offset, bytes(data))

    def xTruncate(self, size: int) -> None:  # noqa: N802
        super().xTruncate(size)
        self._disk.synced(self._file)  # the simplest order that a journaling file system may choose

    def xSync(self, flags: int) -> None:  # noqa: N802
        super().xSync(flags)
        self._disk.synced(self._file)


def _torn(write: tuple[int, bytes], chance: random.Random) -> tuple[int, bytes]:
    """Return a write, or the part of it before a sector's end."""
    offset, data = write
    return (offset, data[: chance.randrange(0, len(data) + 1, SECTOR)]) if chance.random() < 0.2 else write


def _with(octets: bytes, writes: list[tuple[int, bytes]]) -> bytes:
    changed = bytearray(octets)
    for offset, data in writes:
        changed.extend(bytes(max(0, offset + len(data) - len(changed))))
        changed[offset : offset + len(data)] = data
    return bytes(changed)
