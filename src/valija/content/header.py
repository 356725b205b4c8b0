"""The header of a content: where it ends, whether it is well-formed, and its fields (RFC 5322 section 2.2).

A content is header, blank line, body. A *header* here is the fields alone, each line ended by CRLF. Octets of a field
are never changed; what is malformed is refused at the edge, so that signer, log and every later reader see the
same fields. The content comes from the SMTP machine, which lets no bare CR, bare LF or NUL through.

    collector = HeaderCollector()
    body = collector.feed(chunk)           # once per chunk: the octets that belong to the body
    body += collector.finish()             # at the end of the content
    if collector.refusal is None:
        content = received + collector.header + b"\\r\\n" + body

A content whose first line is plain text has an empty header: all of it is body, and no line of it becomes a field.
A content that ends within its header has an empty body; joining it again supplies the blank line.

Known weakness: field names are read strictly, so that the blank before the colon of RFC 5322 section 4.5 is refused.
"""

import re
from functools import lru_cache
from typing import Final, NamedTuple

from valija.content.compose import printable
from valija.mail.reply import Reply

MAX_HEADER: Final = 256 * 1024  # octets
MAX_FIELDS: Final = 1000

_TOO_LARGE: Final = Reply(552, "5.3.4", f"The header is larger than {MAX_HEADER} octets")
_TOO_MANY: Final = Reply(554, "5.6.0", f"The header has more than {MAX_FIELDS} fields")
_NUL: Final = Reply(554, "5.6.0", "The header holds a NUL octet")
_CONTINUES_NOTHING: Final = Reply(554, "5.6.0", "The first line of the header begins with a blank: remove it")
_MAILBOX_LINE: Final = Reply(554, "5.6.0", 'The content begins with a "From " line of a mailbox file: remove it')

_LINE = rb"[^\n]*\n(?:[ \t][^\n]*\n)*"
_FIELD = re.compile(rb"([!-9;-~]+):" + _LINE)
_NAME = re.compile(rb"^([!-9;-~]+):", re.MULTILINE)
_FIELD_START = re.compile(rb"[!-9;-~]+:")
# One literal octet in front lets the search run from line end to line end.
_BROKEN_LINE = re.compile(rb"\n(?![!-9;-~]+:|[ \t]|\Z)")
_ALMOST_A_FIELD = re.compile(rb"[ \t]|>?From |[^ \t\r\n:]+[ \t]*:")
_BLANK_BEFORE_COLON = re.compile(rb"[!-9;-~]+[ \t]+:")


class Field(NamedTuple):
    """One field: its name in lower case, and all its octets from the name to the last CRLF."""

    name: bytes
    raw: bytes

    @property
    def value(self) -> bytes:
        """What follows the colon, folds kept, without the last CRLF."""
        return self.raw[len(self.name) + 1 : -2]


class Opening(NamedTuple):
    """A content taken apart: `header + CRLF + body` is the content."""

    header: bytes
    body: bytes


class HeaderCollector:
    """Takes the octets of one content as they come, cut anywhere; keeps the header, hands on the body.

    `header` is complete, and `refusal` decided, once `complete` is true: at the blank line, or after `finish`. Memory
    is bounded by `limit` octets and one chunk; where the header is refused its body is thrown away.
    """

    __slots__ = ("_held", "_judged", "_limit", "complete", "header", "refusal")

    def __init__(self, limit: int = MAX_HEADER) -> None:
        self._limit = limit
        self._held = bytearray()
        self._judged = False  # whether the first line was looked at
        self.complete = False
        self.header = b""
        self.refusal: Reply | None = None

    def feed(self, data: bytes) -> bytes:
        """Take the next octets; return those among them that belong to the body."""
        if self.complete:
            return data if self.refusal is None else b""
        held = self._held
        seen = len(held)
        held += data
        if not self._judged:
            line_end = held.find(b"\r\n", max(seen - 1, 0))
            if line_end >= 0:
                self._judged = True
                if line_end == 0:
                    return self._complete(0, 2)
                if is_plain_text(held):
                    return self._complete(0, 0)
        end = held.find(b"\r\n\r\n", max(seen - 3, 0))
        if end >= 0:
            return self._complete(end + 2, end + 4)
        if len(held) > self._limit:
            return self._complete(len(held), len(held))
        return b""

    def finish(self) -> bytes:
        """Tell that the content ended; return the octets held back that turn out to be body."""
        if self.complete:
            return b""
        if not self._judged and self._held and is_plain_text(self._held):
            return self._complete(0, 0)
        if self._held and not self._held.endswith(b"\r\n"):
            self._held += b"\r\n"
        return self._complete(len(self._held), len(self._held))

    def _complete(self, header_end: int, body_start: int) -> bytes:
        self.complete = True
        held, self._held = self._held, bytearray()
        if header_end > self._limit:
            self.refusal = _TOO_LARGE
            return b""
        self.header = bytes(held[:header_end])
        self.refusal = check(self.header)
        return bytes(held[body_start:]) if self.refusal is None else b""


def split(content: bytes) -> Opening:
    """Take a whole content apart. Raises ValueError where `HeaderCollector` refuses."""
    collector = HeaderCollector()
    body = collector.feed(content) + collector.finish()
    if collector.refusal is not None:
        raise ValueError(str(collector.refusal))
    return Opening(collector.header, body)


def is_plain_text(content: bytes | bytearray) -> bool:
    """Tell whether the first line is text: neither a field nor an attempt at one, which is refused instead."""
    return _ALMOST_A_FIELD.match(content) is None


def check(header: bytes) -> Reply | None:
    """Return the refusal of a header that readers might understand in different ways, None for a good one."""
    if not header:
        return None
    if b"\0" in header:
        return _NUL
    if not _FIELD_START.match(header):
        return _refuse_line(header, 0)
    broken = _BROKEN_LINE.search(header)
    if broken:
        return _refuse_line(header, broken.end())
    if header.count(b"\n") > MAX_FIELDS and len(names(header)) > MAX_FIELDS:
        return _TOO_MANY
    return None


def _refuse_line(header: bytes, start: int) -> Reply:
    line = header[start:].partition(b"\r\n")[0]
    if start == 0 and line[:1] in (b" ", b"\t"):
        return _CONTINUES_NOTHING
    if start == 0 and line.startswith((b"From ", b">From ")) and not _BLANK_BEFORE_COLON.match(line):
        return _MAILBOX_LINE
    number = header.count(b"\n", 0, start) + 1
    fault = "has a blank before its colon" if _BLANK_BEFORE_COLON.match(line) else "is no header field"
    quoted = printable(line.decode("utf-8", "surrogateescape"), 60)
    return Reply(554, "5.6.0", f'Line {number} of the content {fault}: "{quoted}"')


def fields(header: bytes) -> list[Field]:
    """Return the fields in order. Joined, their octets are the header."""
    return [Field(match[1].lower(), match[0]) for match in _FIELD.finditer(header)]


def names(header: bytes) -> list[bytes]:
    """Return the fields' names in order, in lower case."""
    return _NAME.findall(header.lower())


def values(header: bytes, name: bytes) -> list[bytes]:
    """Return the values of the fields called `name` (lower case), from the top down."""
    return [field.value for field in fields(header) if field.name == name]


def without(header: bytes, *unwanted: bytes) -> bytes:
    """Return the header less the fields of these names (lower case); the others keep every octet."""
    return _fields_named(unwanted).sub(b"", header)


@lru_cache(maxsize=16)
def _fields_named(unwanted: tuple[bytes, ...]) -> re.Pattern[bytes]:
    alternatives = b"|".join(re.escape(name) for name in unwanted)
    return re.compile(rb"^(?:" + alternatives + rb"):" + _LINE, re.MULTILINE | re.IGNORECASE)
