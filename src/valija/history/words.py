"""The words that lines can be found by: ids, addresses of mail and of the network. Pure.

    packed = pack(index_of(lines))      # what stands beside a file of lines
    may_have(packed, "bob@example.net") # False: surely not in there

Each word is kept as 32 bits, in order: some 25 octets a message, and one look in a hundred thousand is in vain. Words
are compared in lower case, ASCII only, as the log's lines are searched.
"""

import re
import sys
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from typing import Final
from zlib import crc32

# What parts words. An address may hold some of these: it is found by the part that has its @.
_SEPARATORS: Final = " =<>\",()[]{};\\'\n\t"
_BLANKS: Final = bytes(32 if chr(octet) in _SEPARATORS else octet for octet in range(256))
_PIECE: Final = 256 << 10  # octets looked at in one go

_ID: Final = rb"[0-9bcdfghjkmnpqrstvwxz]"  # the alphabet of queue ids, and of the ids of sessions
_INDEXED: Final = re.compile(
    rb"[^@]*@.*"
    rb"|" + _ID + rb"{9}"
    rb"|" + _ID + rb"{13}"
    rb"|\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3}"
    rb"|[0-9a-f:]*:[0-9a-f:.]*",
    re.DOTALL,
).fullmatch


def fold(text: str) -> bytes:
    """Return a text as it is searched for."""
    return text.encode("utf-8", "backslashreplace").lower()


def index_of(lines: bytes) -> "array[int]":
    """Return the index of the words in some lines."""
    found: set[bytes] = set()
    for piece in _pieces(lines):
        found.update(piece.lower().translate(_BLANKS).split())
    return array("I", sorted({crc32(word) for word in found if _INDEXED(word)}))


def _pieces(lines: bytes) -> Iterator[bytes]:
    """Cut lines into pieces, at their ends."""
    begin = 0
    while begin < len(lines):
        end = lines.find(b"\n", begin + _PIECE) + 1 or len(lines)
        yield lines[begin:end]
        begin = end


def pack(index: "array[int]") -> bytes:
    """Return an index as it is stored: 32 bits each, little endian."""
    if sys.byteorder == "big":
        index = array("I", index)
        index.byteswap()
    return index.tobytes()


def unpack(stored: bytes) -> "array[int]":
    """Return a stored index."""
    index = array("I")
    index.frombytes(stored)
    if sys.byteorder == "big":
        index.byteswap()
    return index


def may_have(index: "array[int]", words: Iterable[str]) -> bool:
    """Whether lines may have one of these words."""
    return any(_may_have(index, word) for word in words)


def _may_have(index: "array[int]", word: str) -> bool:
    parts = [part for part in fold(word).translate(_BLANKS).split() if _INDEXED(part)]
    return all(_holds(index, crc32(part)) for part in parts)


def _holds(index: "array[int]", number: int) -> bool:
    place = bisect_left(index, number)
    return place < len(index) and index[place] == number
