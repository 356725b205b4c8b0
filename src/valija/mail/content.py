"""The content of a message as it lies in the queue: header and body, CRLF line ends, no dot-stuffing.

A small content is one `bytes` value. Of a large one only the header is kept in memory: the body lies in a file that
was written while it arrived, so that memory per session is bounded whatever is sent. Reading it back is I/O and
stands in queue/spool.
"""

import msgspec


class Content(msgspec.Struct, frozen=True, gc=False):
    """A content. `head` is all of it where `body_file` is `""`, otherwise what comes before the file's octets.

    `size` is the whole length in octets. `body_file` is a file name in the queue's spool folder, never a path.
    """

    head: bytes
    size: int
    body_file: str = ""

    @classmethod
    def of(cls, whole: bytes) -> "Content":
        """Return a content that rides in memory."""
        return cls(whole, len(whole))
