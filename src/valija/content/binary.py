"""Binary contents (BODY=BINARYMIME, RFC 3030 section 3) made fit for every hop, and for the queue.

    content = to_transportable(octets)             # bytes, or the Reply that refuses it

Nothing that is stored holds a lone CR, a lone LF or a NUL, and no next hop needs to know of BINARYMIME. So a content
that came as binary is converted once, at the door, the way RFC 2045 section 6 has it:

| part                                               | becomes                                                      |
|----------------------------------------------------|--------------------------------------------------------------|
| `binary`, or with octets that no line may hold     | base64, its header field rewritten                           |
| text that is `binary` by its label only            | the same octets, labelled `7bit` or `8bit`                   |
| multipart, message/rfc822, message/global          | looked into; their own label becomes `7bit` or `8bit`        |
| all else: preambles, encoded parts, fields, borders | itself, octet for octet                                     |

What decodes from a part is the same before and after. Whatever can't be converted without guessing is refused, where
the sender's program still listens: malformed structure with 554 5.6.0, a part that may not be encoded, or that is
signed as it is, with 554 5.6.3.

Known weaknesses: the whole content is in memory, and once more for each level of nesting while it is converted. A
signature by DKIM that the client brought breaks, where a part had to be converted.
"""

import binascii
import re
from itertools import pairwise
from typing import Final, NamedTuple

from valija.content.compose import printable
from valija.content.header import check, fields, values
from valija.mail.reply import Reply

__all__ = ["MAX_DEPTH", "MAX_PARTS", "to_transportable"]

MAX_DEPTH: Final = 20  # multiparts and messages within each other
MAX_PARTS: Final = 10_000
_LONGEST_LINE: Final = 998  # octets, RFC 5322 section 2.1.1
_BASE64_LINE: Final = 76  # octets, RFC 2045 section 6.8
_BLOCK: Final = 1024 * 57  # octets of whole lines

_TOKEN: Final = rb"[!#$%&'*+.0-9A-Z^_`a-z{|}~-]+"
_MEDIA_TYPE: Final = re.compile(rb"\s*(" + _TOKEN + rb"/" + _TOKEN + rb")\s*")
_COMPOSITE: Final = re.compile(rb"\s*(multipart|message)\b", re.IGNORECASE)
_PARAMETER: Final = re.compile(
    rb";\s*(" + _TOKEN + rb")\s*=\s*(?:(" + _TOKEN + rb')|"((?:[^"\\]|\\.)*)")\s*', re.DOTALL
)
_BEHIND: Final = re.compile(rb"(?:[\s;]|\([^()\\]*\))*")  # blanks and comments
_QUOTED_PAIR: Final = re.compile(rb"\\(.)", re.DOTALL)
_BOUNDARY: Final = re.compile(rb"[0-9A-Za-z'()+_,./:=? -]{0,69}[0-9A-Za-z'()+_,./:=?-]")
_OVERLONG_LINE: Final = re.compile(rb"[^\n]{%d}" % _LONGEST_LINE)
_IDENTITIES: Final = (b"", b"7bit", b"8bit", b"binary")

_MALFORMED = "The binary message is malformed: "
_UNFIT = "The binary message can't be converted: "


class _Refused(Exception):
    """The content can't be taken; `reply` says why."""

    def __init__(self, enhanced: str, why: str) -> None:
        self.reply = Reply(554, enhanced, why)


class _Facts(NamedTuple):
    """What a part's header says of its body. `encoding` is None where it can't be told for sure."""

    media_type: bytes
    boundary: bytes
    encoding: bytes | None

    @property
    def main_type(self) -> bytes:
        return self.media_type.partition(b"/")[0]


def to_transportable(content: bytes) -> bytes | Reply:
    """Return a content whose lines all end in CRLF and that holds no NUL, or the 554 reply that refuses it."""
    try:
        return _Conversion().message(content)
    except _Refused as refused:
        return refused.reply


class _Conversion:
    """Walks one content from the outside in, and counts what it meets."""

    def __init__(self) -> None:
        self._parts = 0

    def message(self, content: bytes) -> bytes:
        converted = self._entity(content, 0, b"text/plain", is_message=True)
        # What was encoded ended nowhere: no octet of it could be told from a line end.
        return converted if converted is content or converted.endswith(b"\r\n") else converted + b"\r\n"

    def _entity(self, entity: bytes, depth: int, default: bytes, *, is_message: bool = False) -> bytes:
        """Return a message or part converted: itself, and not a copy, where nothing had to be done."""
        self._parts += 1
        if depth > MAX_DEPTH or self._parts > MAX_PARTS:
            raise _Refused("5.6.0", f"{_MALFORMED}it has more than {MAX_DEPTH} levels or {MAX_PARTS} parts")
        header, border, body = _split(entity)
        if not _is_clean(header):
            raise _Refused("5.6.0", f"{_MALFORMED}a header holds a NUL, or a CR or LF alone")
        if not border:
            return entity
        facts = _facts(header, default)
        converted = self._body(body, facts, depth)
        encoding = _encoding_for(converted, body, facts)
        if encoding == facts.encoding and converted is body:
            return entity
        return _relabelled(header, encoding, is_message=is_message) + border + converted

    def _body(self, body: bytes, facts: _Facts, depth: int) -> bytes:
        if facts.encoding in _IDENTITIES:
            if facts.main_type == b"multipart":
                return self._multipart(body, facts, depth)
            if facts.media_type in (b"message/rfc822", b"message/global"):
                return self._entity(body, depth + 1, b"text/plain", is_message=True)
            if facts.main_type != b"message":
                return _leaf(body, facts)
        if _is_clean(body):
            return body
        if facts.encoding is None:
            raise _Refused("5.6.0", f"{_MALFORMED}what its header says of a binary part is contradictory")
        kind = facts.media_type if facts.encoding in _IDENTITIES else facts.encoding
        shown = printable(kind.decode("utf-8", "surrogateescape"), 60)
        raise _Refused("5.6.3", f"{_UNFIT}a part that is {shown} holds a NUL, or a CR or LF alone")

    def _multipart(self, body: bytes, facts: _Facts, depth: int) -> bytes:
        borders = _borders(body, facts.boundary)
        default = b"message/rfc822" if facts.media_type == b"multipart/digest" else b"text/plain"
        pieces = [body[: borders[0].start()]]
        changed = False
        for border, following in pairwise(borders):
            start = min(border.end() + 2, following.start())
            part = body[start : following.start()]
            converted = self._entity(part, depth + 1, default)
            changed |= converted is not part
            pieces += (border[0], body[border.end() : start], converted)
        if changed and facts.media_type == b"multipart/signed":
            raise _Refused("5.6.3", f"{_UNFIT}what is signed is binary; encode it as base64 before signing")
        pieces.append(body[borders[-1].start() :])
        if not (_is_clean(pieces[0]) and _is_clean(pieces[-1])):
            raise _Refused("5.6.0", f"{_MALFORMED}there is binary data outside of the parts of a multipart")
        return b"".join(pieces) if changed else body


def _split(entity: bytes) -> tuple[bytes, bytes, bytes]:
    """Return the header, the blank line behind it, and the body: the last two are empty where no blank line is."""
    if entity.startswith(b"\r\n"):
        return b"", entity[:2], entity[2:]
    end = entity.find(b"\r\n\r\n")
    if end < 0:
        return entity, b"", b""
    return entity[: end + 2], entity[end + 2 : end + 4], entity[end + 4 :]


def _borders(body: bytes, boundary: bytes) -> list[re.Match[bytes]]:
    """Return the lines that part a multipart, the last of them its end (RFC 2046 section 5.1.1)."""
    borders: list[re.Match[bytes]] = []
    if _BOUNDARY.fullmatch(boundary):
        line = re.compile(rb"(?:\A|\r\n)--" + re.escape(boundary) + rb"(--)?[ \t]*(?=\r\n|\Z)")
        for border in line.finditer(body):
            borders.append(border)
            if border[1]:
                break
    if len(borders) < 2 or not borders[-1][1]:
        raise _Refused("5.6.0", f"{_MALFORMED}a multipart has no boundary, or does not end with it")
    return borders


def _leaf(body: bytes, facts: _Facts) -> bytes:
    is_text = facts.main_type == b"text"
    if _is_clean(body) and (facts.encoding != b"binary" or (is_text and not _OVERLONG_LINE.search(body))):
        return body
    # Block by block: the lines of a large part, each an object of its own, would weigh more than all the rest.
    return b"\r\n".join([_base64(body[start : start + _BLOCK]) for start in range(0, len(body), _BLOCK)])


def _base64(octets: bytes) -> bytes:
    encoded = binascii.b2a_base64(octets, newline=False)
    return b"\r\n".join([encoded[start : start + _BASE64_LINE] for start in range(0, len(encoded), _BASE64_LINE)])


def _encoding_for(converted: bytes, body: bytes, facts: _Facts) -> bytes | None:
    """Return the label of a body that was `body` and is now `converted`."""
    is_container = facts.main_type in (b"multipart", b"message")
    if converted is not body and not is_container:
        return b"base64"
    if facts.encoding != b"binary":
        return facts.encoding  # base64 within it makes nothing wider than it was
    return b"7bit" if converted.isascii() else b"8bit"


def _relabelled(header: bytes, encoding: bytes | None, *, is_message: bool) -> bytes:
    """Return a header whose Content-Transfer-Encoding is `encoding`; all other fields keep every octet."""
    if not encoding:
        return header
    label = b"Content-Transfer-Encoding: " + encoding + b"\r\n"
    found = fields(header)
    relabelled = b"".join([label if field.name == b"content-transfer-encoding" else field.raw for field in found])
    names = {field.name for field in found}
    if b"content-transfer-encoding" not in names:
        relabelled += label
    if is_message and b"mime-version" not in names:
        relabelled += b"MIME-Version: 1.0\r\n"
    return relabelled


def _facts(header: bytes, default: bytes) -> _Facts:
    types = values(header, b"content-type")
    encodings = values(header, b"content-transfer-encoding")
    encoding = encodings[0].strip().lower() if encodings else b""
    if len(types) > 1 or len(encodings) > 1 or check(header) is not None:
        return _Facts(b"application/octet-stream", b"", None)
    media_type, boundary = _content_type(types[0]) if types else (default, b"")
    return _Facts(media_type, boundary, encoding)


def _content_type(value: bytes) -> tuple[bytes, bytes]:
    """Return a media type in lower case and its boundary; of a value that can't be read, a type that is opaque.

    What might be a container to other readers stays one: as base64 it would be none any more.
    """
    match = _MEDIA_TYPE.match(value)
    if match is None:
        composite = _COMPOSITE.match(value)
        return (composite[1].lower() + b"/unreadable" if composite else b"application/octet-stream"), b""
    boundaries = []
    at = match.end()
    while parameter := _PARAMETER.match(value, at):
        at = parameter.end()
        if parameter[1].lower() == b"boundary":
            boundaries.append(parameter[2] or _QUOTED_PAIR.sub(rb"\1", parameter[3] or b""))
    is_whole = _BEHIND.fullmatch(value, at)  # where more follows, other readers may see another boundary
    return match[1].lower(), boundaries[0] if is_whole and len(boundaries) == 1 else b""


def _is_clean(octets: bytes) -> bool:
    """Whether all CR and LF are pairs, and there is no NUL."""
    feeds = octets.count(b"\n")
    return octets.count(b"\r\n") == feeds == octets.count(b"\r") and b"\0" not in octets
