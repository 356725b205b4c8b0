"""Dot-stuffing and the guard against lone line ends (C005)."""

import pytest

from valija.smtp.client_content import Stuffing, Unclean, stuff


@pytest.mark.parametrize(
    ("content", "stuffed"),
    [
        (b"", b".\r\n"),
        (b"a\r\n", b"a\r\n.\r\n"),
        (b"a", b"a\r\n.\r\n"),
        (b".a\r\n", b"..a\r\n.\r\n"),
        (b".\r\n", b"..\r\n.\r\n"),
        (b"a\r\n.\r\n.\r\n..b\r\n", b"a\r\n..\r\n..\r\n...b\r\n.\r\n"),
        (b"a.\r\n", b"a.\r\n.\r\n"),
    ],
)
def test_stuffed(content: bytes, stuffed: bytes) -> None:
    assert stuff(content) == stuffed


@pytest.mark.parametrize(
    "content",
    [b"a\nb\r\n", b"a\rb\r\n", b"\n", b"\r", b"a\r", b"a\n.\r\nMAIL", b"a\r.\r\n", b"a\r\r\n", b"\n\r\n", b"a\n\r"],
)
def test_c005_refused_however_it_is_cut(content: bytes) -> None:
    for cut in range(len(content) + 1):
        stuffing = Stuffing()
        with pytest.raises(Unclean):  # noqa: PT012 - it may be noticed in any of the pieces
            stuffing.feed(content[:cut])
            stuffing.feed(content[cut:])
            stuffing.finish()
