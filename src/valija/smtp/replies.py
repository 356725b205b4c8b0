"""Reading a peer's replies: octets in, `Reply` values out (RFC 5321 section 4.2, RFC 3463).

    >>> parser = ReplyParser()
    >>> parser.feed(b"550-5.1.1 no such user\\r\\n550 5.1.1 really\\r\\n25")
    >>> parser.next()
    Reply(code=550, enhanced='5.1.1', text='no such user\\nreally')
    >>> parser.next() is None
    True

The rules, made for peers that are odd or hostile:

- The basic code decides. An enhanced code is believed only where its class agrees and the first line has it (RFC 2034
  section 3 wants it in each); else the reply has none, and what was written stays in the text: a reply quoted is the
  peer's own words. Nothing is remembered from one reply to the next.
- Where the lines of one reply differ in code the last one counts, unless it is good news after bad: that is unreadable.
- LF alone ends a line too: we write no line that depends on it, so nothing can be smuggled this way.
- What cannot be understood is `Unreadable`: the caller treats it as transient and closes.
- Memory is bounded: of a long reply the first lines are kept, and one that does not end is unreadable.
"""

import re
from functools import lru_cache
from typing import Final

import msgspec

from valija.content.compose import printable
from valija.mail.reply import Reply

MAX_LINE: Final = 16 * 1024  # octets; RFC 5321 section 4.5.3.1.5 allows 512
MAX_REPLY: Final = 128 * 1024  # octets over all lines
KEPT_TEXT: Final = 8 * 1024  # octets of text that are kept of a reply

_LINE: Final = re.compile(rb"([2-5][0-9]{2})(?:([ -])(.*))?", re.DOTALL)
_ENHANCED: Final = re.compile(r"([245])\.[0-9]{1,3}\.[0-9]{1,3}(?= |\t|$)")


class Unreadable(msgspec.Struct, frozen=True, gc=False):
    """Octets that are no reply; `why` says it for the log."""

    why: str


class ReplyParser:
    """Cuts a stream into replies. After an Unreadable it yields nothing but that."""

    __slots__ = ("_at", "_buffer", "_codes", "_octets", "_texts", "_unreadable")

    def __init__(self) -> None:
        self._buffer = b""
        self._at = 0
        self._codes: list[int] = []
        self._texts: list[bytes] = []
        self._octets = 0
        self._unreadable: Unreadable | None = None

    def feed(self, data: bytes) -> None:
        """Take octets as they came from the peer, cut anywhere."""
        rest = self._buffer[self._at :]
        self._buffer = rest + data if rest else data
        self._at = 0

    @property
    def is_empty(self) -> bool:
        """Whether all octets so far belonged to replies that were taken."""
        return self._at == len(self._buffer) and not self._codes and self._unreadable is None

    def next(self) -> Reply | Unreadable | None:
        """Return the next whole reply, None if more octets are needed."""
        if self._unreadable is not None:
            return self._unreadable
        buffer = self._buffer
        while (end := buffer.find(b"\n", at := self._at, at + MAX_LINE)) >= 0:
            line = buffer[at:end]
            self._at = end + 1
            if not self._codes and line[3:4] != b"-":
                return self._whole(_single(line))
            reply = self._continue(line.removesuffix(b"\r"))
            if reply is not None:
                return self._whole(reply)
        if len(buffer) - self._at >= MAX_LINE:
            return self._whole(Unreadable("a reply line that does not end"))
        return None

    def _whole(self, reply: Reply | Unreadable) -> Reply | Unreadable:
        if isinstance(reply, Unreadable):
            self._unreadable = reply
            self._buffer, self._at = b"", 0
        return reply

    def _continue(self, line: bytes) -> Reply | Unreadable | None:
        """Add a line of a multi-line reply; return the reply when the line was its last."""
        match = _LINE.fullmatch(line)
        if match is None:
            return _not_a_reply(line)
        self._octets += len(line)
        if self._octets > MAX_REPLY:
            return Unreadable("a reply that does not end")
        if self._octets <= KEPT_TEXT or not self._codes:
            self._texts.append((match[3] or b"")[:KEPT_TEXT])
        code = int(match[1])
        if not self._codes or self._codes[-1] != code:
            self._codes.append(code)
        if match[2] == b"-":
            return None
        codes, texts = self._codes, self._texts
        self._codes, self._texts, self._octets = [], [], 0
        if code < 400 and max(codes) >= 400:
            return Unreadable("a reply that both refuses and accepts")
        return _reply(code, texts)


@lru_cache(maxsize=1024)
def _single(line: bytes) -> Reply | Unreadable:
    """Return the reply of one line; most replies of a busy session are equal, hence the cache."""
    line = line.removesuffix(b"\r")
    match = _LINE.fullmatch(line)
    if match is None:
        return _not_a_reply(line)
    return _reply(int(match[1]), [(match[3] or b"")[:KEPT_TEXT]])


def _reply(code: int, texts: list[bytes]) -> Reply:
    lines = [text.decode("utf-8", "surrogateescape") for text in texts]
    match = _ENHANCED.match(lines[0])
    if match is None or match[1] != str(code // 100):
        return Reply(code, "", "\n".join(lines))
    enhanced = match[0]
    for number, line in enumerate(lines):
        match = _ENHANCED.match(line)
        if match is not None and match[0] == enhanced:
            lines[number] = line[match.end() + 1 :]
    return Reply(code, enhanced, "\n".join(lines))


def _not_a_reply(line: bytes) -> Unreadable:
    return Unreadable(f"not an SMTP reply: {printable(line[:80].decode('utf-8', 'surrogateescape'))}")
