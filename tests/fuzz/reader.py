"""A reader of SMTP that shares no code with the sources: what a client sent, by the replies it got.

    said = replies_in(output)                       # [(220, "mail.example ESMTP"), (250, "..."), ...]
    heard = hear(octets, said)
    heard.contents                                  # what was accepted, octet for octet
    heard.unanswered, heard.beyond                  # commands without a reply; replies to nothing

It is as simple as it can be: a command is a line, and has one reply. Behind a 354 to DATA comes a content up to
CRLF.CRLF, behind a BDAT its octets, behind a 334 a response. A 421, and a 221 to QUIT, end it.
"""

import re
from dataclasses import dataclass, field
from typing import Final

LONGEST_REPLY_LINE: Final = 512  # octets with CRLF (RFC 5321 section 4.5.3.1.5)
_REPLY_LINE: Final = re.compile(rb"([2-5][0-9][0-9])([ -])([^\x00-\x1f\x7f]*)")
_BDAT: Final = re.compile(rb"BDAT[ \t]+([0-9]+)([ \t]+LAST)?[ \t]*", re.IGNORECASE)
_LONGEST_COMMAND: Final = 2048  # a longer one is refused as a line, whatever it says

Said = list[tuple[int, str]]


def replies_in(output: bytes) -> Said:
    """Return the replies in what a server wrote. Asserts that they are whole, and that their lines are sound."""
    assert not output or output.endswith(b"\r\n"), output[-80:]
    said: Said = []
    codes: set[int] = set()
    texts: list[str] = []
    for line in output.split(b"\r\n")[:-1]:
        match = _REPLY_LINE.fullmatch(line)
        assert match, line
        assert len(line) + 2 <= LONGEST_REPLY_LINE, line
        codes.add(int(match[1]))
        texts.append(match[3].decode())
        if match[2] == b" ":
            assert len(codes) == 1, output
            said.append((codes.pop(), "\n".join(texts)))
            texts.clear()
    assert not texts, output[-200:]
    return said


@dataclass
class Heard:
    """What was understood."""

    contents: list[bytes] = field(default_factory=list)
    unanswered: int = 0
    beyond: int = 0
    ended: bool = False


def hear(octets: bytes, said: Said) -> Heard:
    """Return what a client's octets meant, the banner being the first of the replies."""
    return _Hearing(octets, said[1:]).heard


class _Hearing:
    def __init__(self, octets: bytes, said: Said) -> None:
        self._octets = octets
        self._said = said
        self._chunks = b""
        self.heard = Heard()
        while not self.heard.ended and self._command():
            pass
        self.heard.beyond = len(self._said)

    def _reply(self) -> int:
        """Return the code of the next reply, 0 where there is none."""
        if not self._said:
            self.heard.unanswered += 1
            self.heard.ended = True
            return 0
        code, _ = self._said.pop(0)
        self.heard.ended = code == 421
        return code

    def _line(self) -> bytes | None:
        line, end, rest = self._octets.partition(b"\r\n")
        if not end:
            return None
        self._octets = rest
        return line

    def _command(self) -> bool:
        line = self._line()
        if line is None:
            return False
        verb = re.split(rb"[ \t]", line, maxsplit=1)[0].upper()
        chunk = _BDAT.fullmatch(line) if len(line) <= _LONGEST_COMMAND else None
        if chunk:
            return self._chunk(int(chunk[1]), is_last=chunk[2] is not None)
        code = self._reply()
        if verb == b"DATA" and code == 354:
            return self._content()
        if verb == b"QUIT" and code == 221:
            self.heard.ended = True
        while code == 334:
            if self._line() is None:
                return False
            code = self._reply()
        if verb in (b"RSET", b"EHLO", b"HELO", b"MAIL", b"STARTTLS") and code in (220, 250):
            self._chunks = b""
        return True

    def _content(self) -> bool:
        stuffed, end, rest = (b"\r\n" + self._octets).partition(b"\r\n.\r\n")
        if not end:
            return False
        self._octets = rest
        if self._reply() == 250:
            lines = stuffed.split(b"\r\n")[1:]
            self.heard.contents.append(b"".join(line.removeprefix(b".") + b"\r\n" for line in lines))
        return True

    def _chunk(self, size: int, *, is_last: bool) -> bool:
        if len(self._octets) < size:
            return False
        piece, self._octets = self._octets[:size], self._octets[size:]
        code = self._reply()
        if code != 250:
            self._chunks = b""
        elif is_last:
            self.heard.contents.append(self._chunks + piece)
            self._chunks = b""
        else:
            self._chunks += piece
        return True
