"""A server that shares no code with the sources: it reads what a client sends, and says what it was told to say.

    peer = Peer([b"220 mx\\r\\n", b"250-mx\\r\\n250 PIPELINING\\r\\n", b"250 ok\\r\\n"], is_lmtp=False)
    peer.hear(b"")                  # the banner
    peer.hear(b"EHLO me\\r\\n")     # the next reply
    peer.taken                      # what it took: recipients by their places, and the content

Each command has the next of the replies, whatever that is. As long as all of them were replies, one each, it knows what
it took: it `is_sane`. When its replies are used up it is silent.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

_LINE: Final = re.compile(rb"([2-5][0-9][0-9])([ -][^\r\n]*)?")
_BDAT: Final = re.compile(rb"BDAT ([0-9]+) LAST")


@dataclass(frozen=True)
class Taken:
    """A message that the peer took: the places of the recipients among all that were named, and the content."""

    places: tuple[int, ...]
    content: bytes


class Peer:
    """One session's server."""

    def __init__(self, replies: Sequence[bytes], *, is_lmtp: bool) -> None:
        self.is_sane = True
        self.taken: list[Taken] = []
        self.commands: list[bytes] = []
        self.contents: list[bytes] = []  # all that came whole
        self._replies = list(replies)
        self._is_lmtp = is_lmtp
        self._unread = b""
        self._began = False
        self._answers: list[bool] = []  # to the recipients of this transaction
        self._mail_taken = False
        self._in_content = False
        self._in_login = False
        self._gone = False

    def hear(self, octets: bytes) -> bytes:
        """Return what is said to that."""
        self._unread += octets
        said = []
        if not self._began:
            self._began = True
            said.append(self._next()[0])
        while not self._gone and (heard := self._in_turn()) is not None:
            said.append(heard)
        return b"".join(said)

    def _next(self) -> tuple[bytes, int]:
        """Return the next reply and its code, 0 where it is not sane."""
        if not self._replies:
            self.is_sane = False
            return b"", 0
        reply = self._replies.pop(0)
        lines = reply.split(b"\r\n")
        matches = [_LINE.fullmatch(line) for line in lines[:-1]]
        codes = {int(match[1]) for match in matches if match}
        goes_on = [(match[2] or b" ").startswith(b"-") for match in matches if match]
        if lines[-1] or None in matches or len(codes) != 1 or len(reply) > 4000 or goes_on != sorted(goes_on)[::-1]:
            self.is_sane = False
            return reply, 0
        if goes_on[-1] or sum(not each for each in goes_on) != 1:
            self.is_sane = False
            return reply, 0
        (code,) = codes
        self._gone = code == 421
        return reply, code

    def _in_turn(self) -> bytes | None:
        if self._in_content:
            stuffed, end, rest = (b"\r\n" + self._unread).partition(b"\r\n.\r\n")
            if not end:
                return None
            self._unread, self._in_content = rest, False
            return self._content(b"".join(line.removeprefix(b".") + b"\r\n" for line in stuffed.split(b"\r\n")[1:]))
        line, end, rest = self._unread.partition(b"\r\n")
        if not end:
            return None
        chunk = _BDAT.fullmatch(line)
        if chunk:
            size = int(chunk[1])
            if len(rest) < size:
                return None
            self.commands.append(line)
            self._unread = rest[size:]
            return self._content(rest[:size])
        self._unread = rest
        return self._command(line)

    def _command(self, line: bytes) -> bytes:
        reply, code = self._next()
        if self._in_login:
            self._in_login = code == 334
            return reply
        self.commands.append(line)
        good, verb = 200 <= code < 300, line.split(b" ", maxsplit=1)[0].upper()
        if good if verb == b"DATA" else 300 <= code < 400 and verb != b"AUTH":
            self.is_sane = False  # no answer to this command
        if verb == b"RSET" and not good:
            self.is_sane = False  # it cannot fail; the client hangs up, whatever it has begun
        if verb == b"MAIL":
            self._mail_taken, self._answers = good, []
        elif verb == b"RCPT":
            self._answers.append(good and self._mail_taken)
        elif verb == b"DATA":
            self._in_content = 300 <= code < 400
        elif verb == b"AUTH":
            self._in_login = code == 334
        return reply

    def _content(self, content: bytes) -> bytes:
        self.contents.append(content)
        places = [place for place, answer in enumerate(self._answers) if answer]
        replies = [self._next() for _ in places] if self._is_lmtp else [self._next()] * len(places) or [self._next()]
        if any(300 <= code < 400 for _, code in replies):
            self.is_sane = False
        places = [place for place, (_, code) in zip(places, replies, strict=False) if 200 <= code < 300]
        if places:
            self.taken.append(Taken(tuple(places), content))
        self._answers, self._mail_taken = [], False
        return b"".join(reply for reply, _ in (replies if self._is_lmtp else replies[:1]))
