"""Fields as we write them."""

from email.header import decode_header, make_header

import pytest
from hypothesis import given
from hypothesis import strategies as st

from valija.content.compose import date_time, encoded_words, field, fold, printable, readable


@pytest.mark.parametrize(
    ("at", "text"),
    [
        (0, "Thu, 01 Jan 1970 00:00:00 +0000"),
        (1764037560.999, "Tue, 25 Nov 2025 02:26:00 +0000"),
        (1709210096.5, "Thu, 29 Feb 2024 12:34:56 +0000"),
    ],
)
def test_dates(at: float, text: str) -> None:
    assert date_time(at) == text


def test_a_long_field_is_folded_at_blanks_and_means_the_same() -> None:
    value = " ".join(f"word{number}" for number in range(50))
    octets = field("X", value)
    lines = octets.split(b"\r\n")
    assert lines.pop() == b""
    assert len(lines) > 1
    assert max(map(len, lines)) <= 78
    assert octets.replace(b"\r\n ", b" ") == f"X: {value}\r\n".encode()


def test_no_line_is_blank_and_none_too_long() -> None:
    octets = field("X", "a" + " " * 200 + "b" * 3000 + " " * 200 + "\u00e9" * 3000)
    lines = octets.split(b"\r\n")[:-1]
    assert all(line.strip() for line in lines)
    assert max(map(len, lines)) <= 998


@pytest.mark.parametrize("value", ["a\r\nBcc: b", "a\nb", "a\rb", "a\0b"])
def test_a_value_can_not_open_another_field(value: str) -> None:
    with pytest.raises(ValueError, match="the field X"):
        field("X", value)


def test_short_texts_are_not_folded() -> None:
    assert fold("X: y") == "X: y"


def test_printable_is_ascii_on_one_line() -> None:
    assert printable("plain") == "plain"
    assert printable("caf\u00e9 \x1b[31m\r\n\0\udcff\u202e") == r"caf\x{E9} \x{1B}[31m\x{D}\x{A}\x{0}\xFF\x{202E}"
    assert printable("x" * 300, 10) == "x" * 10 + "..."


def test_readable_keeps_scripts_but_no_controls() -> None:
    assert readable("Gr\u00fc\u00dfe \u4f60\u597d") == "Gr\u00fc\u00dfe \u4f60\u597d"
    assert readable("a\x9bb\u202ec\udc80") == r"a\x{9B}b\x{202E}c\x80"


@given(st.text(st.characters(exclude_categories=["C", "Z"], include_characters=" "), max_size=200))
def test_encoded_words_are_ascii_of_bounded_length_and_read_as_what_they_were(text: str) -> None:
    text = f"Re: {text.strip()} ñ"
    encoded = encoded_words(text)
    assert encoded.isascii()
    assert all(len(word) <= 75 for word in encoded.split(" ") if word.startswith("=?utf-8?b?"))
    assert len(encoded.split("=?utf-8?b?")) > 1
    if "=?" not in text:
        assert str(make_header(decode_header(encoded))) == text


def test_ascii_needs_no_encoded_words() -> None:
    assert encoded_words("Mail not delivered: x@remote.example") == "Mail not delivered: x@remote.example"
