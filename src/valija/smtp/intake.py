"""A content while it arrives, by DATA or by BDAT: its octets decoded, its size and line ends checked.

    content = DottedContent(size_limit=1000)
    content.read(buffer)        # (b"Subject: x\\r\\n\\r\\n", False): octets to pass on, and whether the end was reached
    content.refusal             # None, or the reply that the true end of the content gets

Refused are contents beyond the size limit and line ends other than CRLF, NUL too. Nothing is repaired: servers that
disagree on where a line ends can be made to disagree on where a message ends (RFC 5321 section 2.3.8). A refused
content is swallowed up to its true end, and no more of it is passed on.

A binary content (RFC 3030 section 3) may hold any octets: whoever asks for one makes lines of it before it is stored.
"""

from typing import Final

from valija.mail.reply import Reply
from valija.smtp.answers import BARE_LINE_ENDS, BINARY_TOO_BIG, TOO_BIG
from valija.smtp.buffer import Buffer
from valija.smtp.commands import Chunk

# How far beyond the size limit a refused content is read to its end, so that the client learns why. Then we hang up.
SWALLOW_LIMIT: Final = 64 * 1024 * 1024


class _Content:
    """One content on its way in. `size` counts its decoded octets, refused ones too."""

    __slots__ = ("_size_limit", "refusal", "size")

    def __init__(self, size_limit: int) -> None:
        self.size = 0
        self.refusal: Reply | None = None
        self._size_limit = size_limit

    def is_hopeless(self, announced: int = 0) -> bool:
        """Whether so much came, or will with `announced` octets more, that it is not read to its end."""
        return 0 < self._size_limit < self.size + announced - SWALLOW_LIMIT

    def admit(self, piece: bytes) -> bytes:
        """Take in decoded octets, no CRLF cut in two. Return what to pass on."""
        self.size += len(piece)
        # Bare line ends outrank size, wherever they stand: so the verdict doesn't depend on how the input was cut.
        if self.refusal is not BARE_LINE_ENDS:
            if _breaks_lines(piece):
                self.refusal = BARE_LINE_ENDS
            elif 0 < self._size_limit < self.size:
                self.refusal = TOO_BIG
        return piece if self.refusal is None else b""

    def admit_any(self, piece: bytes) -> bytes:
        """Take in octets that need not be lines. Return what to pass on."""
        self.size += len(piece)
        if 0 < self._size_limit < self.size:
            self.refusal = BINARY_TOO_BIG
        return piece if self.refusal is None else b""


class DottedContent(_Content):
    """A content of DATA: ends at CRLF.CRLF, dots at the start of lines are doubled (RFC 5321 section 4.5.2)."""

    __slots__ = ("_at_start",)

    is_last: Final = True

    def __init__(self, size_limit: int) -> None:
        super().__init__(size_limit)
        self._at_start = True

    def read(self, buffer: Buffer) -> tuple[bytes, bool]:
        """Read what there is. Return octets to pass on, and whether the content has ended."""
        if self._at_start:
            ended = buffer.take_first_dot()
            if ended is None:
                return b"", False
            self._at_start = False
            if ended:
                return b"", True
        piece, ended = buffer.take_dotted()
        return self.admit(piece.replace(b"\r\n.", b"\r\n")), ended


class ChunkedContent(_Content):
    """A content of BDAT: a series of counted chunks, which may cut a CRLF (RFC 3030)."""

    __slots__ = ("_binary", "_held_cr", "_left", "is_last")

    def __init__(self, size_limit: int, *, binary: bool = False) -> None:
        super().__init__(size_limit)
        self._binary = binary
        self._held_cr = b""
        self._left = 0
        self.is_last = False

    def expect(self, chunk: Chunk) -> None:
        """Begin a chunk."""
        self._left, self.is_last = chunk.size, chunk.last

    def read(self, buffer: Buffer) -> tuple[bytes, bool]:
        """Read what there is of the chunk. Return octets to pass on, and whether the chunk has ended."""
        piece = buffer.take(self._left)
        self._left -= len(piece)
        ended = self._left == 0
        if self._binary:
            return self.admit_any(piece), ended
        return self.admit(self._with_whole_line_ends(piece, final=ended and self.is_last)), ended

    def _with_whole_line_ends(self, piece: bytes, *, final: bool) -> bytes:
        # A CR at the end waits for its LF, in the next chunk if need be.
        piece = self._held_cr + piece
        if piece.endswith(b"\r") and not final:
            self._held_cr = b"\r"
            return piece[:-1]
        self._held_cr = b""
        return piece


def _breaks_lines(piece: bytes) -> bool:
    without_ends = piece.replace(b"\r\n", b"")
    return b"\n" in without_ends or b"\r" in without_ends or b"\0" in without_ends
