"""Octets that arrived and are not used up: command lines and content are cut from them, whole buffers at a time.

    buffer = Buffer()
    buffer.feed(b"NOOP\\r\\nQU")
    buffer.take_line()          # b"NOOP"
    buffer.take_line()          # None: the rest of the line has not come

Lines end at CRLF and nowhere else (RFC 5321 section 2.3.8). A line that is too long is dropped while it arrives: a line
costs at most LOGIN_LINE_LIMIT octets of memory whatever is sent. What is used up is let go of before more is waited
for: a read can be 256 KiB, and a client may stay silent for long after it.
"""

from typing import Final

LINE_LIMIT: Final = 2048  # octets without CRLF; RFC 5321 section 4.5.3.1.4 asks for 512 and room for extensions
LOGIN_LINE_LIMIT: Final = 12_288 + 256  # RFC 4954 section 4: 12,288 octets of base64, and the command before it
HOPELESS_LINE: Final = 128 * 1024  # whoever sends this much without CRLF is not speaking SMTP

_END_OF_DATA: Final = b"\r\n.\r\n"


class LineTooLong(Exception):
    """A line beyond its limit, told at its CRLF, or as `hopeless` once HOPELESS_LINE octets came. `start` begins it."""

    def __init__(self, start: bytes, *, hopeless: bool) -> None:
        super().__init__(start)
        self.start = start
        self.hopeless = hopeless


class Buffer:
    """The undigested octets of one connection."""

    __slots__ = ("_at", "_data", "_dropped", "_start")

    def __init__(self) -> None:
        self._data = b""
        self._at = 0
        self._dropped = 0  # octets of the present line that were thrown away
        self._start = b""  # and what they began with

    def __len__(self) -> int:
        return len(self._data) - self._at

    def feed(self, data: bytes) -> None:
        """Add what arrived."""
        self._data = data if self._at == len(self._data) else self._data[self._at :] + data
        self._at = 0

    def clear(self) -> None:
        """Forget everything."""
        self._data = self._start = b""
        self._at = self._dropped = 0

    def forget_used(self) -> None:
        """Let go of octets that were taken already: neither a password nor a large read need linger until the next."""
        self._data, self._at = self._data[self._at :], 0

    def starts_with(self, prefix: bytes) -> bool:
        """Whether the next octets are these."""
        return self._data.startswith(prefix, self._at)

    def take_line(self, *, response: bool = False) -> bytes | None:
        """Return the next line without its CRLF, or None until it is complete. Raises LineTooLong.

        A `response` to an AUTH challenge may be as long as an AUTH command; other lines have LINE_LIMIT.
        """
        end = self._data.find(b"\r\n", self._at)
        if end < 0:
            if len(self._data) - self._at > LINE_LIMIT or self._dropped:
                self._drop_if_too_long(response)
            self.forget_used()
            return None
        line = self._data[self._at : end]
        self._at = end + 2
        if self._dropped or (len(line) > LINE_LIMIT and len(line) > _limit(line, response)):
            length, start = self._dropped + len(line), self._start or line[:16]
            self._dropped, self._start = 0, b""
            raise LineTooLong(start, hopeless=length > HOPELESS_LINE)
        return line

    def _drop_if_too_long(self, response: bool) -> None:
        # A CR at the very end may be half of the CRLF: it stays and is not counted, however the input is cut.
        end = len(self._data) - self._data.endswith(b"\r")
        length = end - self._at
        if not self._dropped and (length <= LINE_LIMIT or length <= _limit(self._data[self._at : end], response)):
            return
        self._start = self._start or self._data[self._at : self._at + 16]
        self._dropped += length
        self._data, self._at = self._data[end:], 0
        if self._dropped > HOPELESS_LINE:
            raise LineTooLong(self._start, hopeless=True)

    def take(self, most: int) -> bytes:
        """Return up to `most` octets, as many as are there."""
        piece = self._data[self._at : self._at + most]
        self._at += len(piece)
        if self._at == len(self._data):
            self._data, self._at = b"", 0
        return piece

    def take_first_dot(self) -> bool | None:
        """At the start of a content: drop the dot that stuffs its first line. True if the line was the end of data.

        None: more octets are needed to tell.
        """
        if self.starts_with(b".\r\n"):
            self._at += 3
            return True
        if len(self) < 3 and b".\r\n".startswith(self._data[self._at :]):
            return None
        if self.starts_with(b"."):
            self._at += 1
        return False

    def take_dotted(self) -> tuple[bytes, bool]:
        """Return the octets up to the end of data, dots still stuffed, and whether CRLF.CRLF was there.

        Octets that may be the beginning of CRLF.CRLF stay, four at most.
        """
        found = self._data.find(_END_OF_DATA, self._at)
        if found >= 0:
            piece = self._data[self._at : found + 2]
            self._at = found + 5
            return piece, True
        piece = self.take(len(self) - self._tail())
        self.forget_used()
        return piece, False

    def _tail(self) -> int:
        tail = self._data[max(self._at, len(self._data) - 4) :]
        return next((n for n in (4, 3, 2, 1) if tail.endswith(_END_OF_DATA[:n])), 0)


def _limit(line: bytes, response: bool) -> int:
    return LOGIN_LINE_LIMIT if response or line[:5].upper() == b"AUTH " else LINE_LIMIT
