"""The two forms in which DKIM sees a message, `simple` and `relaxed` (RFC 6376 section 3.4), and the hash of a body.

    hasher = BodyHasher()                                 # relaxed, the whole of it
    hasher.update(chunk)                                  # while the body arrives, cut anywhere
    hasher.digest()                                       # 32 octets
    signed_octets(relaxed_fields(header), [b"from", b"subject"])

Memory does not grow with what comes in: blank lines at the end of a body, which do not count, are held back as a
number. Lines end in CRLF: the SMTP machine lets nothing else through.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Final, Literal

from valija.content.header import fields

Form = Literal["simple", "relaxed"]

_BLANK_LINES_AT_ONCE: Final = 32 * 1024


class BodyHasher:
    """The SHA-256 of a body in a form, of its first `length` canonical octets where that is given.

    Blanks and line ends at the end of what came are held back, as a number and at most two octets, until it is known
    whether more follows.
    """

    __slots__ = ("_add", "_blank_lines", "_hash", "_length", "_relaxes", "_rest", "_size", "_some")

    def __init__(self, form: Form = "relaxed", length: int | None = None) -> None:
        self._hash = hashlib.sha256()
        self._relaxes = form == "relaxed"
        self._length = length
        self._add: Callable[[bytes], None] = self._hash.update if length is None else self._add_within
        self._size = 0  # canonical octets, counted where there is a length
        self._blank_lines = 0
        self._rest = b""
        self._some = False

    def update(self, data: bytes) -> None:
        """Take the next octets of the body."""
        if self._relaxes:
            canonical = _relax(self._rest + data)
            core = canonical.rstrip(b" \r\n")
        else:
            canonical = self._rest + data
            core = canonical.rstrip(b"\r\n")
        if not core:
            self._hold(canonical)
            return
        self._flush_blank_lines()
        self._add(core)
        self._some = True
        self._hold(canonical[len(core) :])

    def digest(self) -> bytes:
        """Return the body hash; the body is complete now."""
        whole = self._hash.copy()
        if self._last_line_end and (self._length is None or self._size < self._length):
            end = b"\r\n"
            whole.update(end if self._length is None else end[: self._length - self._size])
        return whole.digest()

    @property
    def surplus(self) -> int:
        """How many canonical octets lie beyond the length; below zero where the body is shorter; 0 without one."""
        if self._length is None:
            return 0
        return self._size + (2 if self._last_line_end else 0) - self._length

    @property
    def _last_line_end(self) -> bool:
        """Whether the canonical body ends in a line end: a simple one that is empty has one too (section 3.4.3)."""
        return self._some or not self._relaxes

    def _add_within(self, octets: bytes) -> None:
        assert self._length is not None
        if self._size < self._length:
            self._hash.update(octets[: self._length - self._size])
        self._size += len(octets)

    def _hold(self, tail: bytes) -> None:
        self._blank_lines += tail.count(b"\r\n")
        self._rest = tail[tail.rfind(b"\n") + 1 :]

    def _flush_blank_lines(self) -> None:
        while self._blank_lines:
            lines = min(self._blank_lines, _BLANK_LINES_AT_ONCE)
            self._add(b"\r\n" * lines)
            self._blank_lines -= lines


def body_hash(body: bytes) -> bytes:
    """Return the hash of a whole body in relaxed form."""
    hasher = BodyHasher()
    hasher.update(body)
    return hasher.digest()


Fields = Mapping[bytes, Sequence[bytes]]
"""Fields in a canonical form, CRLF included, from the top down, by their lower-case names."""


def canonical_fields(header: bytes, form: Form) -> Fields:
    """Return the fields of a header in a form."""
    return relaxed_fields(header) if form == "relaxed" else simple_fields(header)


def relaxed_fields(header: bytes) -> dict[bytes, list[bytes]]:
    """Return the fields in relaxed form (RFC 6376 section 3.4.2)."""
    unfolded = _relax(header.replace(b"\r\n\t", b" ").replace(b"\r\n ", b" "))
    found: dict[bytes, list[bytes]] = {}
    for line in unfolded.split(b"\r\n")[:-1]:
        name, _, value = line.partition(b":")
        name = name.lower().rstrip(b" ")
        found.setdefault(name, []).append(name + b":" + value.lstrip(b" ") + b"\r\n")
    return found


def simple_fields(header: bytes) -> dict[bytes, list[bytes]]:
    """Return the fields in simple form: as they are (RFC 6376 section 3.4.1)."""
    found: dict[bytes, list[bytes]] = {}
    for each in fields(header):
        found.setdefault(each.name, []).append(each.raw)
    return found


def signed_octets(found: Fields, listed: Sequence[bytes]) -> bytes:
    """Return the fields that h= lists: of equal names the lowest first, and nothing for those beyond the last."""
    taken: dict[bytes, int] = {}
    octets = []
    for name in listed:
        number = taken[name] = taken.get(name, 0) + 1
        instances = found.get(name, ())
        if number <= len(instances):
            octets.append(instances[-number])
    return b"".join(octets)


def _relax(octets: bytes) -> bytes:
    """Return octets with runs of blanks as one space, and none before a line end."""
    relaxed = octets.replace(b"\t", b" ")
    while b"  " in relaxed:
        relaxed = relaxed.replace(b"  ", b" ")
    return relaxed.replace(b" \r\n", b"\r\n")
