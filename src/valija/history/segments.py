"""The files of the history, and their form.

    worker-0.log                       lines that a process appends to now
    worker-0-1764037814123.log         the same, when it was large or old enough: nobody writes to it any more
    worker-0-1764037814123.sealed      the same, packed, with an index of its words

    sealed = seal(lines)
    header = Header.read(sealed)       # from when to when, and how long the index is
    lines_in(sealed)                   # raises Damaged

A line that does not end was cut off by a crash, and is none. A file that is neither of the three is nobody's here.
"""

import re
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Literal, Self

import msgspec

from valija.history.lines import time_of
from valija.history.words import index_of, pack

Kind = Literal["open", "closed", "sealed"]

MAGIC: Final = b"VALHIST1"
_HEADER: Final = struct.Struct("<8sddII")
HEADER_SIZE: Final = _HEADER.size
_LEVEL: Final = 3  # of zlib: a higher one gains a tenth and takes twice as long
_LARGEST: Final = 64 << 20  # octets of lines in one file: what is larger is no file of ours
_NAME: Final = re.compile(r"([a-z]+(?:-\d{1,3})?)(?:-(\d{13}))?\.(log|sealed)")
_LOOKED_AT: Final = 100  # lines at each end, for one that tells its time


class Damaged(Exception):
    """A sealed file is not what it should be."""


class Segment(msgspec.Struct, frozen=True):
    """One file. `closed_at` tells, in milliseconds since the epoch, when it was left; 0 where it is written to."""

    path: Path
    source: str
    closed_at: int
    kind: Kind

    @classmethod
    def of(cls, path: Path) -> Self | None:
        """Return what a file's name says; None for what is no file of the history."""
        match = _NAME.fullmatch(path.name)
        if match is None or (match[3] == "sealed" and not match[2]):
            return None
        closed_at = int(match[2] or 0)
        return cls(path, match[1], closed_at, "sealed" if match[3] == "sealed" else "closed" if closed_at else "open")

    @property
    def stem(self) -> str:
        """What a closed file and its sealed form have in common."""
        return self.path.stem


def segments_in(folder: Path) -> list[Segment]:
    """Return the files of a folder, those that are written to first: the order to open them in (see search)."""
    found = [segment for path in _paths(folder) if (segment := Segment.of(path)) is not None]
    sealed = {segment.stem for segment in found if segment.kind == "sealed"}
    # A crash may leave what was sealed beside its sealed form.
    kept = [segment for segment in found if segment.kind != "closed" or segment.stem not in sealed]
    return sorted(kept, key=lambda segment: (segment.kind != "open", segment.path.name))


def _paths(folder: Path) -> Iterator[Path]:
    try:
        yield from folder.iterdir()
    except FileNotFoundError:
        return


class Header(msgspec.Struct, frozen=True):
    """What stands on top of a sealed file: times in epoch seconds, the words of its index, the octets of its lines."""

    begins: float
    ends: float
    words: int
    size: int

    @classmethod
    def read(cls, top: bytes) -> Self:
        """Return the header. Raises Damaged."""
        if len(top) < HEADER_SIZE:
            raise Damaged("it is too short")
        magic, begins, ends, words, size = _HEADER.unpack_from(top)
        if magic != MAGIC or size > _LARGEST:
            raise Damaged("it is no file of the history")
        return cls(begins, ends, words, size)

    @property
    def lines_at(self) -> int:
        """Where the lines begin."""
        return HEADER_SIZE + 4 * self.words


def seal(lines: bytes) -> bytes:
    """Return lines in their sealed form. What does not end in a line's end is left out."""
    lines = whole_lines(lines)
    index = index_of(lines)
    begins, ends = span(lines)
    return b"".join(
        (_HEADER.pack(MAGIC, begins, ends, len(index), len(lines)), pack(index), zlib.compress(lines, _LEVEL))
    )


def lines_in(sealed: bytes) -> bytes:
    """Return the lines of a sealed file. Raises Damaged."""
    header = Header.read(sealed)
    packed = zlib.decompressobj()
    try:
        lines = packed.decompress(sealed[header.lines_at :], header.size + 1)
    except zlib.error as error:
        raise Damaged(str(error)) from None
    if len(lines) != header.size or not packed.eof:
        raise Damaged("some of it is missing")
    return lines


def whole_lines(data: bytes) -> bytes:
    """Return what there is up to the last line's end."""
    return data[: data.rfind(b"\n") + 1]


def span(lines: bytes) -> tuple[float, float]:
    """Return the times of the first and the last line, 0 where none tells one."""
    first = lines[: 1 << 16].split(b"\n", _LOOKED_AT)[:_LOOKED_AT]
    last = lines[-(1 << 16) :].rsplit(b"\n", _LOOKED_AT)[::-1]
    return _first_time(first), _first_time(last)


def _first_time(lines: list[bytes]) -> float:
    return next((moment for line in lines if (moment := time_of(line)) is not None), 0.0)
