"""Content on its way out: dot-stuffing over whole buffers, or one chunk; and no lone CR or LF ever leaves.

    >>> stuff(b"Subject: x\\r\\n\\r\\n.hidden\\r\\n")
    b'Subject: x\\r\\n\\r\\n..hidden\\r\\n.\\r\\n'

A content in the queue is clean (RFC 5321 section 2.3.8: CR and LF only as CRLF), since what comes in is refused
otherwise. The guard stands here all the same, because a server that smuggles makes all who trust it victims (C005).
"""


class Unclean(Exception):
    """Octets that must not leave: a lone CR or LF, or a line break within a command. A fault of ours."""


def stuff(content: bytes) -> bytes:
    """Return a whole content as DATA carries it, the final dot included (RFC 5321 section 4.5.2).

    Raises Unclean.
    """
    _check(content)
    dot = b"." if content.startswith(b".") else b""
    end = b".\r\n" if not content or content.endswith(b"\r\n") else b"\r\n.\r\n"
    return b"".join((dot, content.replace(b"\r\n.", b"\r\n.."), end))


def chunk(content: bytes) -> tuple[bytes, bytes]:
    """Return the command and the octets by which BDAT carries a whole content (RFC 3030 section 2). Raises Unclean."""
    _check(content)
    if content and not content.endswith(b"\r\n"):
        content += b"\r\n"  # as DATA would have it
    return b"BDAT %d LAST\r\n" % len(content), content


def _check(content: bytes) -> None:
    if not content.count(b"\r\n") == content.count(b"\n") == content.count(b"\r"):
        raise Unclean("the content has a lone CR or LF")


class Stuffing:
    """Dot-stuffs a content that comes in pieces, cut anywhere."""

    __slots__ = ("_after_cr", "_at_line_start")

    def __init__(self) -> None:
        self._after_cr = False
        self._at_line_start = True

    def feed(self, chunk: bytes) -> bytes:
        """Return the next piece, stuffed. Raises Unclean; then neither the piece nor a final dot may be sent."""
        if not chunk:
            return chunk
        self._check(chunk)
        stuffed = chunk.replace(b"\r\n.", b"\r\n..")
        if self._at_line_start and chunk.startswith(b"."):
            stuffed = b"." + stuffed
        elif self._after_cr and chunk.startswith(b"\n."):
            stuffed = b"\n." + stuffed[1:]
        self._at_line_start = chunk.endswith(b"\r\n") or (self._after_cr and chunk == b"\n")
        self._after_cr = chunk.endswith(b"\r")
        return stuffed

    def finish(self) -> bytes:
        """Return what ends the content. Raises Unclean."""
        if self._after_cr:
            raise Unclean("the content ends in a lone CR")
        return b".\r\n" if self._at_line_start else b"\r\n.\r\n"

    def _check(self, chunk: bytes) -> None:
        """Count: each CR is followed by an LF and each LF follows a CR, also across the cut before the chunk."""
        pairs = chunk.count(b"\r\n")
        line_feeds = chunk.count(b"\n")
        returns = chunk.count(b"\r")
        if self._after_cr:
            if not chunk.startswith(b"\n"):
                raise Unclean("the content has a lone CR")
            line_feeds -= 1
        if chunk.endswith(b"\r"):
            returns -= 1
        if not pairs == line_feeds == returns:
            raise Unclean("the content has a lone CR or LF")
