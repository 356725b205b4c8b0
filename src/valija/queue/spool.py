"""Files for large bodies, written while they arrive, so that a message of any size needs no memory.

    spool = Spool(Path("/var/lib/valija/queue/worker-0.spool"))
    file = spool.create()
    file.write(b"the first octets ")
    file.write(b"of a large body\\r\\n")
    content = file.finish(b"Subject: large\\r\\n\\r\\n")    # Content(head=b"Sub...", size=..., body_file="5f3c...")
    b"".join(spool.read(content))

The order that loses nothing: the file and its folder are synced (`sync`) before the COMMIT that names it, and it is
removed after the COMMIT that forgets it. A crash in between leaves an orphan, which `sweep` removes at the next start.

Known weakness: writing and reading happen in the caller's thread, mostly in the page cache; a disk that is far behind
makes the caller wait.
"""

import os
import re
import secrets
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from valija.faults.points import fault_point
from valija.mail.content import Content

_NAME = re.compile(r"[0-9a-f]{32}", re.ASCII)

_create = fault_point("content.create")
_write = fault_point("content.write")
_sync = fault_point("content.sync")
_synced = fault_point("content.synced")
_removed = fault_point("content.removed")


class Spool:
    """The folder of one worker's large bodies. It is made, for its owner alone, where it is missing."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.folder = folder

    def create(self) -> "SpoolFile":
        """Return a new file to write to. Raises OSError."""
        _create()
        name = secrets.token_hex(16)
        path = self.folder / name
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
        return SpoolFile(path, os.open(path, flags, 0o600))

    def read(self, content: Content, chunk: int = 65536) -> Iterator[bytes]:
        """Yield a content's octets, its head first. Raises OSError where its file is gone or shorter than it was."""
        if content.head:
            yield content.head
        if content.body_file:
            yield from self._read_body(content, chunk)

    def _read_body(self, content: Content, chunk: int) -> Iterator[bytes]:
        missing = content.size - len(content.head)
        with self._path(content.body_file).open("rb", buffering=0) as file:
            while data := file.read(chunk):
                missing -= len(data)
                yield data
        if missing:
            raise OSError(f"{content.body_file} in {self.folder} has not the length it was queued with")

    def sync(self, name: str) -> None:
        """Return when a file and its name survive a power cut. Raises OSError."""
        _sync()
        sync_path(self._path(name))
        sync_path(self.folder)
        _synced()

    def link(self, name: str, target: "Spool") -> None:
        """Have a file in another spool of the same file system too; that it is there already is fine."""
        with suppress(FileExistsError):
            os.link(self._path(name), target.folder / name)

    def has(self, name: str) -> bool:
        """Whether a file is there."""
        return self._path(name).exists()

    def remove(self, name: str) -> None:
        """Remove a file; that it is gone already is fine."""
        self._path(name).unlink(missing_ok=True)
        _removed()

    def sweep(self, is_known: Callable[[str], bool]) -> int:
        """Remove the files that no message names, at the start, when none is being written; return how many."""
        orphans = [entry.name for entry in os.scandir(self.folder) if _NAME.fullmatch(entry.name)]
        orphans = [name for name in orphans if not is_known(name)]
        for name in orphans:
            self.remove(name)
        return len(orphans)

    def _path(self, name: str) -> Path:
        if not _NAME.fullmatch(name):
            raise ValueError(f"{name!r} is no name of a spool file")
        return self.folder / name


class SpoolFile:
    """A body on its way in. `finish` or `discard` ends it."""

    __slots__ = ("_descriptor", "_path", "size")

    def __init__(self, path: Path, descriptor: int) -> None:
        self._path = path
        self._descriptor = descriptor
        self.size = 0

    def write(self, data: bytes) -> None:
        """Append octets. Raises OSError: then `discard` is what is left to do."""
        _write()
        view = memoryview(data)
        while view:
            view = view[os.write(self._descriptor, view) :]
        self.size += len(data)

    def read(self, chunk: int = 65536) -> Iterator[bytes]:
        """Yield what was written so far. Raises OSError."""
        with self._path.open("rb", buffering=0) as file:
            while data := file.read(chunk):
                yield data

    def finish(self, head: bytes) -> Content:
        """Close the file, and return the content that it is the body of, behind `head`."""
        self._close()
        return Content(head, len(head) + self.size, self._path.name)

    def discard(self) -> None:
        """Remove the file. Once it is finished, only its content's owner does that."""
        if self._descriptor >= 0:
            self._close()
            self._path.unlink(missing_ok=True)

    def _close(self) -> None:
        os.close(self._descriptor)
        self._descriptor = -1


def sync_path(path: Path) -> None:
    """Return when a file or folder is on the disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
