"""Where the header ends in what a program writes: it may have none, or no blank line behind it."""

import pytest

from valija.sendmail.text import Text


@pytest.mark.parametrize(
    ("written", "header", "body"),
    [
        (b"just text\r\n", b"", b"just text\r\n"),
        (b"Hello you,\r\nmore\r\n", b"", b"Hello you,\r\nmore\r\n"),
        (b"Subject: x\r\n", b"Subject: x\r\n", b""),
        (b"Subject: x\r\n\r\nhi\r\n", b"Subject: x\r\n", b"hi\r\n"),
        (b"Subject: x\r\nno field\r\n", b"Subject: x\r\n", b"no field\r\n"),
        (b"Subject: x\r\n folded\r\nText here\r\n", b"Subject: x\r\n folded\r\n", b"Text here\r\n"),
        (b"", b"", b""),
    ],
)
def test_no_octet_of_the_text_becomes_a_header(written: bytes, header: bytes, body: bytes) -> None:
    assert Text.of(written) == Text(header, body)


def test_a_long_header_takes_no_long_time() -> None:
    fields = b"X-Field: value\r\n folded\r\n" * 20_000
    assert Text.of(fields + b"no field\r\n") == Text(fields, b"no field\r\n")
