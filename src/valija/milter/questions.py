"""What a filter is told: the commands of the milter protocol as packets.

    connect("mail.example.net", "192.0.2.7", 4711)
    macros(b"C", [("j", "mail.example.org")])
    mail("ann@example.net", ["SIZE=1000"])
    for each in header_fields(header, leading_blanks=True): ...
    for each in body_chunks(pieces): ...
    END_OF_MESSAGE

Texts go out as UTF-8. None can hold a NUL: what comes here was looked at by the SMTP machine, and a text from elsewhere
loses it.
"""

import struct
from collections.abc import Iterable, Iterator
from typing import Final

from valija.content.header import fields
from valija.milter.packets import packet

CHUNK: Final = 65_535  # octets of data in one packet; libmilter hangs up on more
_LONGEST_NAME: Final = 998

DATA: Final = packet(b"T")
END_OF_HEADER: Final = packet(b"N")
END_OF_MESSAGE: Final = packet(b"E")
ABORT: Final = packet(b"A")
QUIT: Final = packet(b"Q")

_PORT: Final = struct.Struct("!H")


def connect(name: str, address: str, port: int) -> bytes:
    """Tell who is there; an address that is not known is `""`."""
    if not address:
        return packet(b"C", _text(name) + b"U")
    family = b"6" if ":" in address else b"4"
    return packet(b"C", _text(name) + family + _PORT.pack(port) + _text(address))


def helo(name: str) -> bytes:
    """Tell what the client calls itself."""
    return packet(b"H", _text(name))


def mail(address: str, parameters: Iterable[str]) -> bytes:
    """Tell of MAIL."""
    return packet(b"M", _path(address, parameters))


def rcpt(address: str, parameters: Iterable[str]) -> bytes:
    """Tell of RCPT."""
    return packet(b"R", _path(address, parameters))


def macros(command: bytes, pairs: Iterable[tuple[str, str]]) -> bytes:
    """Give what the next command's macros are; nothing where there are none."""
    given = b"".join(_text(name) + _text(value) for name, value in pairs)
    return packet(b"D", command + given) if given else b""


def header_fields(header: bytes, *, leading_blanks: bool) -> Iterator[bytes]:
    """Yield the packet of each field. Lines of a folded one are parted by LF alone, as Sendmail does it.

    Of a field that no packet can hold its beginning is told: else who writes such a field would get by the filter.
    """
    for field in fields(header):
        name, value = field.raw[: len(field.name)][:_LONGEST_NAME], field.value.replace(b"\r\n", b"\n")
        if not leading_blanks:
            value = value.removeprefix(b" ")
        yield packet(b"L", (name + b"\0" + value)[: CHUNK - 1] + b"\0")


def body_chunks(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the packets of a body that comes in pieces of any size: full ones, and the rest."""
    held = bytearray()
    for piece in pieces:
        held += piece
        while len(held) >= CHUNK:
            yield packet(b"B", bytes(held[:CHUNK]))
            del held[:CHUNK]
    if held:
        yield packet(b"B", bytes(held))


def _path(address: str, parameters: Iterable[str]) -> bytes:
    return _text(f"<{address}>") + b"".join(map(_text, parameters))


def _text(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape").replace(b"\0", b"") + b"\0"
