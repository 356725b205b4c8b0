"""How one input is made from others: octets changed, pieces left out, doubled, swapped, and words put in.

mutator = Mutator(random.Random(1), (b"BDAT 0 LAST", b"\\r\\n.\\r\\n"), largest=4096)
mutator.mutated([b"EHLO x\\r\\n", b"QUIT\\r\\n"])
"""

import random
import re
from collections.abc import Callable, Sequence
from typing import Final

# What ends lines, strings and fields, what stands for others, and what is no text at all.
_BITING: Final = (
    b"\r\n", b"\r", b"\n", b"\0", b".", b"\r\n.\r\n", b"\n.\n", b" ", b"\t", b"\f", b'"', b"\\", b"<", b">", b"(", b")",
    b"[", b"]", b"{", b"}", b":", b";", b",", b"=", b"@", b"%", b"+", b"-", b"*", b"/", b"'", b"\x1b", b"\x7f", b"\x80",
    b"\xff", b"\xc3\xbc", b"\xe2\x80\xae", b"\xe2\x80\xa8", b"\xed\xa0\x80", b"\xf0\x9f\x93\xae", b"\xef\xbc\x8e",
    b"=?utf-8?q?=0A?=",
)  # fmt: skip
_NUMBERS: Final = (
    b"0", b"1", b"-1", b"00", b"255", b"256", b"65535", b"65536", b"2147483648", b"4294967296",
    b"18446744073709551616", b"9" * 40, b"1e9", b"0x10", b"\xd9\xa1",
)  # fmt: skip
_NUMBER: Final = re.compile(rb"[0-9]+")


class Mutator:
    """Makes inputs; the same ones for the same state of `chance`."""

    def __init__(self, chance: random.Random, words: Sequence[bytes], largest: int) -> None:
        self._chance = chance
        self._words = tuple(words) or _BITING
        self._largest = largest
        self._ways: tuple[Callable[[bytes, Sequence[bytes]], bytes], ...] = (
            self._with_an_octet_changed,
            self._with_a_biting_piece,
            self._with_a_word,
            self._with_a_word,
            self._without_a_piece,
            self._with_a_piece_doubled,
            self._with_a_piece_of_another,
            self._joined_to_another,
            self._with_another_number,
            self._cut_short,
            self._with_lines_swapped,
        )

    def mutated(self, seeds: Sequence[bytes]) -> bytes:
        """Return one of the seeds, changed in one to five ways."""
        chance = self._chance
        octets = chance.choice(seeds)
        for _ in range(min(5, 1 + int(chance.expovariate(0.9)))):
            octets = chance.choice(self._ways)(octets, seeds)
        return octets[: self._largest]

    def _piece(self, octets: bytes) -> tuple[int, int]:
        start = self._chance.randint(0, len(octets))
        return start, min(len(octets), start + 1 + int(self._chance.expovariate(0.08)))

    def _with_an_octet_changed(self, octets: bytes, _: Sequence[bytes]) -> bytes:
        start, _end = self._piece(octets)
        return octets[:start] + bytes([self._chance.randrange(256)]) + octets[start + 1 :]

    def _with_a_biting_piece(self, octets: bytes, _: Sequence[bytes]) -> bytes:
        start, end = self._piece(octets)
        return octets[:start] + self._chance.choice(_BITING) + octets[self._chance.choice((start, start, end)) :]

    def _with_a_word(self, octets: bytes, _: Sequence[bytes]) -> bytes:
        start, end = self._piece(octets)
        return octets[:start] + self._chance.choice(self._words) + octets[self._chance.choice((start, start, end)) :]

    def _without_a_piece(self, octets: bytes, _: Sequence[bytes]) -> bytes:
        start, end = self._piece(octets)
        return octets[:start] + octets[end:]

    def _with_a_piece_doubled(self, octets: bytes, _: Sequence[bytes]) -> bytes:
        start, end = self._piece(octets)
        times = self._chance.choice((2, 2, 2, 3, 10, 100))
        return octets[:start] + octets[start:end] * times + octets[end:]

    def _with_a_piece_of_another(self, octets: bytes, seeds: Sequence[bytes]) -> bytes:
        other = self._chance.choice(seeds)
        start, end = self._piece(other)
        at, until = self._piece(octets)
        return octets[:at] + other[start:end] + octets[self._chance.choice((at, until)) :]

    def _joined_to_another(self, octets: bytes, seeds: Sequence[bytes]) -> bytes:
        other = self._chance.choice(seeds)
        return octets[: self._piece(octets)[0]] + other[self._piece(other)[0] :]

    def _with_another_number(self, octets: bytes, _: Sequence[bytes]) -> bytes:
        numbers = list(_NUMBER.finditer(octets))
        if not numbers:
            return octets + self._chance.choice(_NUMBERS)
        found = self._chance.choice(numbers)
        return octets[: found.start()] + self._chance.choice(_NUMBERS) + octets[found.end() :]

    def _cut_short(self, octets: bytes, _: Sequence[bytes]) -> bytes:
        return octets[: self._piece(octets)[0]]

    def _with_lines_swapped(self, octets: bytes, _: Sequence[bytes]) -> bytes:
        lines = octets.split(b"\n")
        one, other = self._chance.randrange(len(lines)), self._chance.randrange(len(lines))
        lines[one], lines[other] = lines[other], lines[one]
        return b"\n".join(lines)
