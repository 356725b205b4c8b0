"""A content on its way in: its header in memory, its body where receive/body keeps it.

    incoming = IncomingContent(spool, hashes_body=True)
    incoming.add(b"Subject: hello\\r\\n\\r\\nbo")
    incoming.add(b"dy\\r\\n")
    incoming.finish()
    incoming.header                           # b"Subject: hello\\r\\n"
    content = incoming.take(b"Received: ...\\r\\nSubject: hello\\r\\n")

Memory per session is bounded whatever is sent, in pieces of any size: the header has its own limit, the body another.

A filter may want another body there: it writes that to `new_body()`, and `replace_body` puts it in the old one's place.
Whatever it began is let go of with the rest.
"""

from collections.abc import Callable, Iterator, Sequence

from valija.content.header import HeaderCollector
from valija.mail.content import Content
from valija.mail.reply import Reply
from valija.queue.spool import Spool
from valija.receive.body import Body
from valija.receive.checks import BodyWatcher

Watch = Callable[[bytes], Sequence[BodyWatcher]]
"""Asked once, with the header, who wants to see the body behind it."""


class IncomingContent:
    """Collects one content. `take` or `discard` ends it."""

    __slots__ = ("_body", "_collector", "_others", "_spool", "_watch", "_watchers", "received_header")

    def __init__(self, spool: Spool, *, hashes_body: bool, watch: Watch | None = None) -> None:
        self._spool = spool
        self._collector = HeaderCollector()
        self._body = Body(spool, hashes=hashes_body)
        self._others: list[Body] = []  # begun to take its place, or replaced
        self._watch = watch
        self._watchers: Sequence[BodyWatcher] = ()
        self.received_header = b""  # as it came, where somebody watches

    @property
    def write_error(self) -> OSError | None:
        """Why the body could not be kept."""
        return self._body.write_error

    @property
    def hashes_body(self) -> bool:
        """Whether the body is hashed, for a signature."""
        return self._body.is_hashed

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
        return self._body.hash()

    def take(self, header: bytes) -> Content:
        """Return the content with `header` in the place of its own."""
        return self._body.behind(header + b"\r\n")

    @property
    def body_size(self) -> int:
        """The octets of the body so far."""
        return self._body.size

    def read_body(self) -> Iterator[bytes]:
        """Yield the body's octets once more, in pieces. Raises OSError where they can't be read back."""
        return self._body.read()

    def new_body(self) -> Body:
        """Return an empty body, which may come to take the place of this one's."""
        body = Body(self._spool, hashes=self.hashes_body)
        self._others.append(body)
        return body

    def replace_body(self, body: Body) -> None:
        """Have another body, one of `new_body`."""
        self._others.append(self._body)
        self._body = body

    def discard(self) -> None:
        """Let go of everything."""
        self._body.discard()
        for body in self._others:
            body.discard()

    def _begin_watching(self, watch: Watch) -> None:
        self._watch = None
        if self._collector.refusal is None:
            self.received_header = self._collector.header
            self._watchers = watch(self._collector.header)

    def _add_body(self, data: bytes) -> None:
        if not data or self._body.write_error is not None:
            return
        for watcher in self._watchers:
            watcher.update(data)
        self._body.add(data)
