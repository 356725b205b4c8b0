"""A content on its way in: in memory while it is small, its body in a file once it is not.

    incoming = IncomingContent(spool, hashes_body=True)
    incoming.add(b"Subject: hello\\r\\n\\r\\nbo")
    incoming.add(b"dy\\r\\n")
    incoming.finish()
    incoming.header                           # b"Subject: hello\\r\\n"
    content = incoming.take(b"Received: ...\\r\\nSubject: hello\\r\\n")

Memory per session is bounded whatever is sent, in pieces of any size: the header by its own limit, the body by
MEMORY_LIMIT, beyond which it is written out as it arrives. A disk that is full or broken is remembered in
`write_error`, and the rest is let go of.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Final

from valija.content.dkim_canonical import BodyHasher
from valija.content.header import HeaderCollector
from valija.mail.content import Content
from valija.mail.reply import Reply
from valija.queue.spool import Spool, SpoolFile
from valija.receive.checks import BodyWatcher

MEMORY_LIMIT: Final = 256 * 1024  # octets of one body kept in memory

Watch = Callable[[bytes], Sequence[BodyWatcher]]
"""Asked once, with the header, who wants to see the body behind it."""


class IncomingContent:
    """Collects one content. `take` or `discard` ends it."""

    __slots__ = (
        "_body",
        "_collector",
        "_file",
        "_hasher",
        "_spool",
        "_watch",
        "_watchers",
        "received_header",
        "write_error",
    )

    def __init__(self, spool: Spool, *, hashes_body: bool, watch: Watch | None = None) -> None:
        self._spool = spool
        self._collector = HeaderCollector()
        self._hasher = BodyHasher() if hashes_body else None
        self._watch = watch
        self._watchers: Sequence[BodyWatcher] = ()
        self.received_header = b""  # as it came, where somebody watches
        self._body = bytearray()  # not a list of pieces: an octet in a piece of its own would weigh forty
        self._file: SpoolFile | None = None
        self.write_error: OSError | None = None

    @property
    def hashes_body(self) -> bool:
        """Whether the body is hashed, for a signature."""
        return self._hasher is not None

    @property
    def header(self) -> bytes:
        """The header's fields, complete after `finish`."""
        return self._collector.header

    @property
    def refusal(self) -> Reply | None:
        """Why the header can't be taken, decided after `finish`."""
        return self._collector.refusal

    def add(self, data: bytes) -> None:
        """Take the next octets."""
        body = self._collector.feed(data)
        if self._watch is not None and self._collector.complete:
            self._begin_watching(self._watch)
        self._add_body(body)

    def finish(self) -> None:
        """The content is complete."""
        body = self._collector.finish()
        if self._watch is not None:
            self._begin_watching(self._watch)
        self._add_body(body)

    def body_hash(self) -> bytes:
        """Return the DKIM hash of the body, whose hashing was asked for."""
        assert self._hasher is not None
        return self._hasher.digest()

    def take(self, header: bytes) -> Content:
        """Return the content with `header` in the place of its own."""
        return self._behind(header + b"\r\n")

    @property
    def body_size(self) -> int:
        """The octets of the body so far."""
        return len(self._body) if self._file is None else self._file.size

    def read_body(self) -> Iterator[bytes]:
        """Yield the body's octets once more, in pieces. Raises OSError where they can't be read back."""
        if self._file is None:
            yield bytes(self._body)
        else:
            yield from self._file.read()

    def discard(self) -> None:
        """Let go of everything."""
        self._body = bytearray()
        if self._file is not None:
            self._file.discard()
            self._file = None

    def _begin_watching(self, watch: Watch) -> None:
        self._watch = None
        if self._collector.refusal is None:
            self.received_header = self._collector.header
            self._watchers = watch(self._collector.header)

    def _behind(self, head: bytes) -> Content:
        if self._file is None:
            return Content.of(head + self._body)
        file, self._file = self._file, None
        return file.finish(head)

    def _add_body(self, data: bytes) -> None:
        if not data or self.write_error is not None:
            return
        if self._hasher is not None:
            self._hasher.update(data)
        for watcher in self._watchers:
            watcher.update(data)
        if self._file is not None:
            self._write(data)
            return
        self._body += data
        if len(self._body) > MEMORY_LIMIT:
            self._spill()

    def _spill(self) -> None:
        try:
            self._file = self._spool.create()
        except OSError as error:
            self.write_error = error
            return
        body, self._body = bytes(self._body), bytearray()
        self._write(body)

    def _write(self, data: bytes) -> None:
        assert self._file is not None
        try:
            self._file.write(data)
        except OSError as error:
            self.write_error = error
            self.discard()
