"""What a filter says, read from its packets and looked at: nothing that it writes becomes a line of its own.

    read(Packet(b"y", b"550 5.7.1 We don't want this\\0"))     # Refuse(Reply(550, "5.7.1", "We don't want this"))
    read(Packet(b"h", b"X-Spam\\0yes\\0"))                     # AddField(b"X-Spam", b"yes")

`read` raises Nonsense for everything else.
"""

import re
import struct
from collections.abc import Callable
from typing import Final

import msgspec

from valija.content.compose import printable
from valija.mail.reply import Reply
from valija.milter.packets import Nonsense, Packet, strings

REJECTED: Final = Reply(550, "5.7.1", "Command rejected")
TRY_LATER: Final = Reply(451, "4.7.1", "Service unavailable, try again later")
CLOSING: Final = Reply(421, "4.7.0", "Server closing connection")

_LONGEST_LINE: Final = 400  # characters of a reply's line
_MOST_LINES: Final = 32  # of a reply, as libmilter has it
_LONGEST_REASON: Final = 200
_INDEX: Final = struct.Struct("!I")

_NAME = re.compile(rb"[!-9;-~]+")
_REPLY_LINE = re.compile(r"([45][0-9]{2})(?:[ -](.*))?", re.DOTALL)
_ENHANCED = re.compile(r"\A([245]\.[0-9]{1,3}\.[0-9]{1,3})(?: +|$)")
_LINE_END = re.compile(rb"\r?\n|\r")


class Continue(msgspec.Struct, frozen=True):
    """Go on."""


class Accept(msgspec.Struct, frozen=True):
    """Take it, without asking any further."""


class Refuse(msgspec.Struct, frozen=True):
    """Refuse it, for good or for now."""

    reply: Reply


class Discard(msgspec.Struct, frozen=True):
    """Say yes, and throw it away."""


class Skip(msgspec.Struct, frozen=True):
    """Enough of the body was seen."""


class Progress(msgspec.Struct, frozen=True):
    """It is still at work."""


class GivesUp(msgspec.Struct, frozen=True):
    """It says itself that it can't go on (SMFIR_CONN_FAIL)."""


class AddField(msgspec.Struct, frozen=True):
    """Put a field at the header's end."""

    name: bytes
    value: bytes


class InsertField(msgspec.Struct, frozen=True):
    """Put a field at a place, counted from 0, which is above our own Received field."""

    place: int
    name: bytes
    value: bytes


class ChangeField(msgspec.Struct, frozen=True):
    """Change the field that is the `number`th of its name, from 1; without a value it goes."""

    number: int
    name: bytes
    value: bytes


class AddRecipient(msgspec.Struct, frozen=True):
    """Send it to somebody else, too. `path` is as it stands in RCPT, or without its brackets."""

    path: str
    parameters: str = ""


class DeleteRecipient(msgspec.Struct, frozen=True):
    """Don't send it to somebody."""

    path: str


class ChangeFrom(msgspec.Struct, frozen=True):
    """Have another reverse-path."""

    path: str
    parameters: str = ""


class ReplaceBody(msgspec.Struct, frozen=True):
    """Octets of another body, in order; cut anywhere."""

    data: bytes


class Quarantine(msgspec.Struct, frozen=True):
    """Keep it for a human."""

    reason: str


Answer = Continue | Accept | Refuse | Discard | Skip | Progress | GivesUp
Change = AddField | InsertField | ChangeField | AddRecipient | DeleteRecipient | ChangeFrom | ReplaceBody | Quarantine


def read(packet: Packet) -> Answer | Change:
    """Return what a packet says. Raises Nonsense."""
    kind, data = packet
    if kind in _PLAIN:
        if data:
            raise Nonsense(f"{_shown(kind)} with {len(data)} octets behind it")
        return _PLAIN[kind]
    reader = _READERS.get(kind)
    if reader is None:
        raise Nonsense(f"an answer that there is not: {_shown(kind)}")
    return reader(data)


def folded(value: bytes) -> bytes:
    """Return a field's value on as many lines as it has, each but the first beginning with a blank, without the last
    line's end: no line of it can be taken for another field, or for the header's end.
    """
    first, *others = _LINE_END.split(value)
    lines = [first, *(line if line[:1] in (b" ", b"\t") else b"\t" + line for line in others if line.strip())]
    return b"\r\n".join(lines)


def _reply(data: bytes) -> Refuse:
    """Return a reply whose lines all have its code, and nothing in them but printable ASCII (RFC 5321 section 4.2)."""
    (text,) = _texts(data, 1)
    lines = [line for line in re.split(r"\r?\n|\r", text) if line][:_MOST_LINES]
    matches = [_REPLY_LINE.fullmatch(line) for line in lines]
    if not lines or None in matches:
        raise Nonsense(f"no reply of SMTP's: {printable(text, 60)!r}")
    code = lines[0][:3]
    if any(line[:3] != code for line in lines):
        raise Nonsense("a reply whose lines have different codes")
    words = [match[2] or "" for match in matches if match]
    status = _ENHANCED.match(words[0])
    enhanced = status[1] if status and status[1][0] == code[0] else f"{code[0]}.7.1"
    # Sendmail takes the text for a format, so filters double each "%" in it.
    plain = [_ENHANCED.sub("", line, count=1).replace("%%", "%") for line in words]
    return Refuse(Reply(int(code), enhanced, "\n".join(printable(line, _LONGEST_LINE) for line in plain)))


def _add_field(data: bytes) -> AddField:
    return AddField(*_field(data))


def _insert_field(data: bytes) -> InsertField:
    place, rest = _number(data)
    return InsertField(place, *_field(rest))


def _change_field(data: bytes) -> ChangeField:
    number, rest = _number(data)
    return ChangeField(max(1, number), *_field(rest))  # 0 is 1, as in Sendmail


def _add_recipient(data: bytes) -> AddRecipient:
    return AddRecipient(*_texts(data, 1))


def _add_recipient_with_parameters(data: bytes) -> AddRecipient:
    return AddRecipient(*_texts(data, 1, 2))


def _delete_recipient(data: bytes) -> DeleteRecipient:
    return DeleteRecipient(*_texts(data, 1))


def _change_from(data: bytes) -> ChangeFrom:
    return ChangeFrom(*_texts(data, 1, 2))


def _quarantine(data: bytes) -> Quarantine:
    (reason,) = _texts(data, 1)
    return Quarantine(printable(reason, _LONGEST_REASON))


def _number(data: bytes) -> tuple[int, bytes]:
    if len(data) < _INDEX.size:
        raise Nonsense("a packet without its number")
    (number,) = _INDEX.unpack_from(data)
    return number, data[_INDEX.size :]


def _field(data: bytes) -> tuple[bytes, bytes]:
    found = strings(data)
    if len(found) != 2:
        raise Nonsense(f"a header field of {len(found)} texts, where a name and a value were due")
    name, value = found
    if not _NAME.fullmatch(name):
        raise Nonsense(f"no name of a header field: {printable(name.decode('utf-8', 'surrogateescape'), 60)!r}")
    return name, value


def _texts(data: bytes, *counts: int) -> list[str]:
    found = strings(data)
    if len(found) not in counts:
        raise Nonsense(f"{len(found)} texts, where {' or '.join(map(str, counts))} were due")
    return [text.decode("utf-8", "surrogateescape") for text in found]


def _shown(kind: bytes) -> str:
    return repr(kind)[1:]


_PLAIN: Final[dict[bytes, Answer]] = {
    b"c": Continue(),
    b"a": Accept(),
    b"r": Refuse(REJECTED),
    b"t": Refuse(TRY_LATER),
    b"4": Refuse(CLOSING),
    b"d": Discard(),
    b"s": Skip(),
    b"p": Progress(),
    b"f": GivesUp(),
}
_READERS: Final[dict[bytes, Callable[[bytes], Answer | Change]]] = {
    b"y": _reply,
    b"h": _add_field,
    b"i": _insert_field,
    b"m": _change_field,
    b"+": _add_recipient,
    b"2": _add_recipient_with_parameters,
    b"-": _delete_recipient,
    b"e": _change_from,
    b"b": ReplaceBody,
    b"q": _quarantine,
}
