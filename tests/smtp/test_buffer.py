"""Cutting lines and contents from the buffer."""

import pytest

from valija.smtp.buffer import HOPELESS_LINE, LINE_LIMIT, LOGIN_LINE_LIMIT, Buffer, LineTooLong


def buffer_of(octets: bytes) -> Buffer:
    buffer = Buffer()
    buffer.feed(octets)
    return buffer


def test_lines_end_at_crlf_only() -> None:
    buffer = buffer_of(b"a\nb\rc\r\n\r\nrest")
    assert [buffer.take_line(), buffer.take_line(), buffer.take_line()] == [b"a\nb\rc", b"", None]
    assert len(buffer) == 4


@pytest.mark.parametrize(
    ("start", "response", "limit"),
    [(b"NOOP ", False, LINE_LIMIT), (b"auth ", False, LOGIN_LINE_LIMIT), (b"", True, LOGIN_LINE_LIMIT)],
)
@pytest.mark.parametrize("size", [1, 7, 4096, 10**6])
def test_the_limit_of_a_line_is_exact(start: bytes, response: bool, limit: int, size: int) -> None:
    line = start + b"x" * (limit - len(start))
    assert _lines(line + b"\r\nNOOP\r\n", size, response=response) == [line, b"NOOP"]
    assert _lines(line + b"x\r\nNOOP\r\n", size, response=response) == [None, b"NOOP"]


@pytest.mark.parametrize("size", [1000, 4096, 10**6])
def test_c024_a_hopeless_line(size: int) -> None:
    assert _lines(b"x" * HOPELESS_LINE + b"\r\nNOOP\r\n", size) == [None, b"NOOP"]
    with pytest.raises(LineTooLong) as caught:
        _lines(b"GET /" + b"x" * (HOPELESS_LINE - 4) + b"\r\n", size)
    assert caught.value.start.startswith(b"GET /x")


def test_a_cr_at_the_border_of_a_long_line() -> None:
    buffer = buffer_of(b"x" * 5000 + b"\r")
    assert buffer.take_line() is None
    assert len(buffer) == 1
    buffer.feed(b"\nNOOP\r\n")
    with pytest.raises(LineTooLong):
        buffer.take_line()
    assert buffer.take_line() == b"NOOP"


def test_memory_is_bounded_in_a_long_line() -> None:
    buffer = Buffer()
    for _ in range(25):
        buffer.feed(b"AUTH " + b"x" * 5000)
        assert buffer.take_line() is None
        assert len(buffer) <= LOGIN_LINE_LIMIT


@pytest.mark.parametrize(
    ("octets", "verdict", "left"),
    [
        (b"", None, 0),
        (b".", None, 1),
        (b".\r", None, 2),
        (b".\r\nx", True, 1),
        (b"..\r\n", False, 3),
        (b".\rx", False, 2),
        (b"x", False, 1),
    ],
)
def test_the_first_dot(octets: bytes, verdict: bool | None, left: int) -> None:
    buffer = buffer_of(octets)
    assert buffer.take_first_dot() is verdict
    assert len(buffer) == left


@pytest.mark.parametrize("held", [b"", b"\r", b"\r\n", b"\r\n.", b"\r\n.\r"])
def test_what_may_begin_the_end_of_data_is_held_back(held: bytes) -> None:
    buffer = buffer_of(b"abc" + held)
    assert buffer.take_dotted() == (b"abc", False)
    assert len(buffer) == len(held)
    buffer.feed(b"\r\n.\r\n"[len(held) :] + b"next")
    assert buffer.take_dotted() == (b"\r\n", True)
    assert buffer.take(100) == b"next"


def _lines(octets: bytes, size: int, *, response: bool = False) -> list[bytes | None]:
    """Return the lines of `octets`, fed `size` at a time; None for one that is too long. A hopeless one raises."""
    buffer = Buffer()
    lines: list[bytes | None] = []
    for at in range(0, len(octets), size):
        buffer.feed(octets[at : at + size])
        while (line := _line(buffer, response=response)) != b"<incomplete>":
            lines.append(line)
    return lines


def _line(buffer: Buffer, *, response: bool) -> bytes | None:
    try:
        line = buffer.take_line(response=response)
    except LineTooLong as fault:
        if fault.hopeless:
            raise
        return None
    return b"<incomplete>" if line is None else line
