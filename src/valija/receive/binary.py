"""A binary content on its way in (BODY=BINARYMIME, RFC 3030 section 3): kept as it comes, and converted at its end.

    incoming = IncomingBinary(spool, hashes_body=True)
    incoming.add(b"Content-Transfer-Encoding: binary\\r\\n\\r\\n\\0\\n")
    content = incoming.converted(size_limit)       # an IncomingContent, or the Reply that refuses it

What goes on from here holds no lone CR or LF and no NUL (content/binary): the queue, the signer and every next hop see
a content like any other. The size limit holds for what came, and again for what became of it.

While it arrives it costs the memory that any content costs. Converting it takes several times its size, which
smtp/rules bounds, so `converted` is for a thread, one at a time: see receive/accept.
"""

from typing import Final

from valija.content.binary import to_transportable
from valija.content.header import HeaderCollector
from valija.mail.reply import Reply
from valija.queue.spool import Spool
from valija.receive.incoming import IncomingContent, Watch
from valija.smtp.answers import TOO_BIG

_PIECE: Final = 256 * 1024  # octets


class IncomingBinary(IncomingContent):
    """Collects one content without looking at it. `converted` or `discard` ends it."""

    __slots__ = ("_shown_to", "_signable")

    def __init__(self, spool: Spool, *, hashes_body: bool, watch: Watch | None = None) -> None:
        super().__init__(spool, hashes_body=False)
        self._signable = hashes_body
        self._shown_to = watch

    def add(self, data: bytes) -> None:
        """Take the next octets."""
        self._add_body(data)

    def converted(self, size_limit: int) -> IncomingContent | Reply:
        """Return the content as it may be stored. Raises OSError where it can't be read again."""
        whole = self._whole()
        content = to_transportable(whole)
        if isinstance(content, Reply):
            return content
        if 0 < size_limit < len(content):
            return TOO_BIG
        incoming = IncomingContent(self._spool, hashes_body=self._signable)
        for start in range(0, len(content), _PIECE):
            incoming.add(content[start : start + _PIECE])
        if self._shown_to is not None:
            incoming.received_header = _show(whole, self._shown_to)
        return incoming

    def _whole(self) -> bytes:
        """Return all octets, and let go of them."""
        kept = self._body.behind(b"")
        try:
            return b"".join(self._spool.read(kept))
        finally:
            if kept.body_file:
                self._spool.remove(kept.body_file)


def _show(whole: bytes, watch: Watch) -> bytes:
    """Show the body to those who watch, as it came: a signature is over that. Return the header that came."""
    collector = HeaderCollector()
    body = collector.feed(whole) + collector.finish()
    if collector.refusal is None:
        for watcher in watch(collector.header):
            watcher.update(body)
    return collector.header
