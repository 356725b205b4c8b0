"""A body on its way in: in memory while it is small, in a file once it is not.

    body = Body(spool, hashes=True)
    body.add(b"hello\\r\\n")
    body.hash()                               # for a signature
    content = body.behind(b"Subject: hello\\r\\n\\r\\n")

Memory is bounded whatever is added, in pieces of any size: by MEMORY_LIMIT, beyond which the body is written out as it
arrives. A disk that is full or broken is remembered in `write_error`, and the rest is let go of.
"""

from collections.abc import Iterator
from typing import Final

from valija.content.dkim_canonical import BodyHasher
from valija.mail.content import Content
from valija.queue.spool import Spool, SpoolFile

MEMORY_LIMIT: Final = 256 * 1024  # octets of one body kept in memory


class Body:
    """Collects one body. `behind` or `discard` ends it."""

    __slots__ = ("_file", "_hasher", "_octets", "_spool", "write_error")

    def __init__(self, spool: Spool, *, hashes: bool) -> None:
        self._spool = spool
        self._hasher = BodyHasher() if hashes else None
        self._octets = bytearray()  # not a list of pieces: an octet in a piece of its own would weigh forty
        self._file: SpoolFile | None = None
        self.write_error: OSError | None = None

    @property
    def is_hashed(self) -> bool:
        """Whether it is hashed, for a signature."""
        return self._hasher is not None

    def hash(self) -> bytes:
        """Return the DKIM hash, which was asked for."""
        assert self._hasher is not None
        return self._hasher.digest()

    @property
    def size(self) -> int:
        """The octets so far."""
        return len(self._octets) if self._file is None else self._file.size

    def add(self, data: bytes) -> None:
        """Take the next octets."""
        if self.write_error is not None:
            return
        if self._hasher is not None:
            self._hasher.update(data)
        if self._file is not None:
            self._write(data)
            return
        self._octets += data
        if len(self._octets) > MEMORY_LIMIT:
            self._spill()

    def read(self) -> Iterator[bytes]:
        """Yield the octets once more, in pieces. Raises OSError where they can't be read back."""
        if self._file is None:
            yield bytes(self._octets)
        else:
            yield from self._file.read()

    def behind(self, head: bytes) -> Content:
        """Return the content that this is the body of."""
        if self._file is None:
            return Content.of(head + self._octets)
        file, self._file = self._file, None
        return file.finish(head)

    def discard(self) -> None:
        """Let go of everything."""
        self._octets = bytearray()
        if self._file is not None:
            self._file.discard()
            self._file = None

    def _spill(self) -> None:
        try:
            self._file = self._spool.create()
        except OSError as error:
            self.write_error = error
            return
        octets, self._octets = bytes(self._octets), bytearray()
        self._write(octets)

    def _write(self, data: bytes) -> None:
        assert self._file is not None
        try:
            self._file.write(data)
        except OSError as error:
            self.write_error = error
            self.discard()
