"""The milter protocol's frames: a length of four octets, a letter that says what it is, and data.

    packets = Packets()
    packets.receive(b"\\0\\0\\0\\x01c")
    packets.next()                            # Packet(kind=b"c", data=b""), then None
    packet(b"H", b"mail.example.org\\0")       # what goes over the line

Any cutting of the octets into pieces gives the same packets. What is no packet raises Nonsense, and so does one larger
than LONGEST: nothing is kept that could not be one.
"""

import struct
from typing import Final, NamedTuple

LONGEST: Final = 512 * 1024  # octets of a packet; the largest that means anything is a header field of 256 KiB
_LENGTH: Final = struct.Struct("!I")


class Nonsense(Exception):
    """What came is not the milter protocol; the message says in which way."""


class Packet(NamedTuple):
    """One packet. `kind` is one octet."""

    kind: bytes
    data: bytes


def packet(kind: bytes, data: bytes = b"") -> bytes:
    """Return a packet as it goes over the line."""
    return _LENGTH.pack(1 + len(data)) + kind + data


class Packets:
    """Cuts packets out of what arrives."""

    __slots__ = ("_held",)

    def __init__(self) -> None:
        self._held = bytearray()

    def receive(self, octets: bytes) -> None:
        """Take the next octets."""
        self._held += octets

    def next(self) -> Packet | None:
        """Return the next packet, None where it is not complete. Raises Nonsense."""
        held = self._held
        if len(held) < _LENGTH.size:
            return None
        (length,) = _LENGTH.unpack_from(held)
        if not 1 <= length <= LONGEST:
            raise Nonsense(f"a packet of {length} octets, which has 1 to {LONGEST}")
        end = _LENGTH.size + length
        if len(held) < end:
            return None
        found = Packet(bytes(held[4:5]), bytes(held[5:end]))
        del held[:end]
        return found


def strings(data: bytes) -> list[bytes]:
    """Return texts that end in a NUL each. Raises Nonsense."""
    if not data:
        return []
    if data[-1:] != b"\0":
        raise Nonsense("a text without its end")
    return data[:-1].split(b"\0")
