"""Fields that other programs want added: one field each, whatever they send."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from valija.content.foreign_field import LONGEST_VALUE, foreign_field
from valija.content.header import check, fields


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("Yes", b"X: Yes\r\n"),
        ("", b"X:\r\n"),
        ("\r\n\r\n", b"X:\r\n"),
        ("a;\r\n\tb;\n c", b"X: a;\r\n\tb;\r\n c\r\n"),  # folds stay: they may be signed
        ("a\r\nBcc: victim@example.org", b"X: a\r\n\tBcc: victim@example.org\r\n"),
        ("a\rBcc: victim@example.org", b"X: a\r\n\tBcc: victim@example.org\r\n"),
        ("a\r\n\r\nbody", b"X: a\r\n\tbody\r\n"),
        ("a\r\n \r\nbody", b"X: a\r\n\tbody\r\n"),
        ("a\0b\x1b[31m\u2028c\u202e\x85", b"X: a\\x{0}b\\x{1B}[31m\\x{2028}c\\x{202E}\\x{85}\r\n"),
        ("t\u00edtulo", b"X: =?utf-8?b?dMOtdHVsbw==?=\r\n"),
        ("=?utf-8?b?dMOtdHVsbw==?=", b"X: =?utf-8?b?dMOtdHVsbw==?=\r\n"),
        ("a\tb", b"X: a b\r\n"),
        ("a\n" + " " * 2000 + "b", b"X: a\r\n b\r\n"),
    ],
)
def test_what_is_written(value: str, written: bytes) -> None:
    assert foreign_field("X", value) == written


@pytest.mark.parametrize("name", ["", "X Y", "X:", "X\r\nBcc", "X\n", " X", "\u00dc", "X\0", "x" * 77])
def test_what_is_no_name(name: str) -> None:
    assert foreign_field(name, "value") is None


@given(st.text(st.characters(), max_size=300) | st.text("ab \t\r\n:\0\u2028", max_size=300))
def test_it_is_one_field_whatever_it_holds(value: str) -> None:
    written = foreign_field("X-Any", value)
    assert written is not None
    around = b"A: 1\r\n" + written + b"B: 2\r\n"
    assert check(around) is None
    assert [each.name for each in fields(around)] == [b"a", b"x-any", b"b"]
    assert not re.search(rb"[^\t\r\n -~]|\r(?!\n)|(?<!\r)\n|\n[ \t]*\r", written)


@pytest.mark.parametrize(
    "value", ["x" * 100_000, "\u00e9" * 100_000, "word " * 20_000, "\n x" * 50_000, "\r\n" * 99_999]
)
def test_its_size_is_bounded(value: str) -> None:
    written = foreign_field("X", value)
    assert written is not None
    assert len(written) < 6 * LONGEST_VALUE
    assert max(map(len, written.split(b"\r\n"))) <= 998
