"""What a filter is told, octet by octet."""

import struct

import pytest

from valija.milter import questions
from valija.milter.questions import CHUNK


def test_who_is_there() -> None:
    assert questions.connect("mx.example", "192.0.2.7", 4711)[4:] == b"Cmx.example\x004\x12\x67192.0.2.7\0"
    assert questions.connect("[IPv6:::1]", "::1", 25)[4:] == b"C[IPv6:::1]\x006\0\x19::1\0"
    assert questions.connect("unknown", "", 0)[4:] == b"Cunknown\0U"


def test_commands_and_their_parameters() -> None:
    assert questions.helo("mx.example") == b"\0\0\0\x0cHmx.example\0"
    assert questions.mail("a@b.example", ["SIZE=5"])[4:] == b"M<a@b.example>\0SIZE=5\0"
    assert questions.mail("", [])[4:] == b"M<>\0"
    assert questions.rcpt("\u00e9@b.example", [])[4:] == "R<\u00e9@b.example>\0".encode()


def test_macros() -> None:
    assert questions.macros(b"C", [("j", "mail.example"), ("i", "a\0b")])[4:] == b"DCj\0mail.example\0i\0ab\0"
    assert questions.macros(b"C", []) == b""


@pytest.mark.parametrize(
    ("leading_blanks", "told"),
    [
        (True, [b"LSubject\0 one\n\ttwo\0", b"LX-Tab\0\tv\0", b"LX-None\0\0"]),
        (False, [b"LSubject\0one\n\ttwo\0", b"LX-Tab\0\tv\0", b"LX-None\0\0"]),
    ],
)
def test_fields(leading_blanks: bool, told: list[bytes]) -> None:
    header = b"Subject: one\r\n\ttwo\r\nX-Tab:\tv\r\nX-None:\r\n"
    packets = list(questions.header_fields(header, leading_blanks=leading_blanks))
    assert [packet[4:] for packet in packets] == told
    assert [struct.unpack("!I", packet[:4])[0] for packet in packets] == list(map(len, told))


@pytest.mark.parametrize("header", [b"X-Huge: " + b"x" * 200_000 + b"\r\n", b"X" * 200_000 + b": x\r\n"])
def test_no_field_is_larger_than_libmilter_takes(header: bytes) -> None:
    (told,) = questions.header_fields(header, leading_blanks=True)
    name, value, rest = told[5:].split(b"\0")
    assert len(told) <= 5 + CHUNK
    assert header.startswith(name)
    assert value[:2] == b" x"
    assert rest == b""


@pytest.mark.parametrize(
    "pieces", [[], [b""], [b"x" * 10] * 3, [b"x" * CHUNK], [b"x" * (3 * CHUNK + 1)], [b"x"] * 70_000]
)
def test_a_body_goes_in_full_packets(pieces: list[bytes]) -> None:
    packets = list(questions.body_chunks(pieces))
    assert b"".join(packet[5:] for packet in packets) == b"".join(pieces)
    assert all(len(packet) == 5 + CHUNK for packet in packets[:-1])
    assert all(packet[4:5] == b"B" for packet in packets)
