"""What programs write to sendmail, made into a message."""

import io
from typing import BinaryIO, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from valija.content.header import check, names
from valija.sendmail.exits import Exit, Failure
from valija.sendmail.text import ASK_AT, Text, read


class Endless:
    """A stream without an end, and without line ends."""

    given = 0

    def read(self, size: int) -> bytes:
        self.given += size
        return b"x" * size

    readline = read


def never() -> int:
    raise AssertionError("the limit is asked of large messages alone")


def content(written: bytes) -> bytes:
    return Text.of(written).content


# Reading


@pytest.mark.parametrize(
    ("written", "taken"),
    [
        (b"a\n.\nb\n", b"a\n"),
        (b"a\r\n.\r\nb\r\n", b"a\r\n"),
        (b".\nb\n", b""),
        (b"a\n.", b"a\n"),
        (b"a\n..\n.b\n .\n", b"a\n..\n.b\n .\n"),
    ],
)
def test_a_line_with_a_lone_dot_ends_a_message(written: bytes, taken: bytes) -> None:
    assert read(io.BytesIO(written), dot_ends=True, limit=never) == taken
    assert read(io.BytesIO(written), dot_ends=False, limit=never) == written


def test_a_dot_that_only_looks_alone_because_a_long_line_is_read_in_pieces_ends_nothing() -> None:
    written = b"x" * (64 * 1024) + b".\nmore\n"
    assert read(io.BytesIO(written), dot_ends=True, limit=never) == written


@pytest.mark.parametrize("dot_ends", [True, False])
def test_an_endless_message_is_given_up_at_the_limit(dot_ends: bool) -> None:
    endless = Endless()
    with pytest.raises(Failure) as caught:
        read(cast("BinaryIO", endless), dot_ends=dot_ends, limit=lambda: 3 * ASK_AT)
    assert caught.value.status == Exit.DATAERR
    assert endless.given < 4 * ASK_AT


# Header and body


@pytest.mark.parametrize(
    ("written", "made"),
    [
        (b"Subject: x\n\nbody\n", b"Subject: x\r\n\r\nbody\r\n"),
        (b"Subject: x\r\n\r\nbody\n", b"Subject: x\r\n\r\nbody\r\n"),
        (b"Subject: x\nbody\n", b"Subject: x\r\n\r\nbody\r\n"),
        (b"Subject : x\n\tfolded\nTo: a\n\n", b"Subject: x\r\n\tfolded\r\nTo: a\r\n\r\n"),
        (b"From alice Tue Nov 25\nSubject: x\n\nb\n", b"Subject: x\r\n\r\nb\r\n"),
        (b"just text", b"\r\njust text\r\n"),
        (b"just: text\nand more", b"just: text\r\n\r\nand more\r\n"),
        (b"\n\ntwo blank lines\n", b"\r\n\r\ntwo blank lines\r\n"),
        (b"", b"\r\n"),
        (b" begins with a blank\n", b"\r\n begins with a blank\r\n"),
    ],
)
def test_the_header_ends_where_a_line_is_no_field(written: bytes, made: bytes) -> None:
    assert content(written) == made


def test_a_progress_bar_has_lines_and_a_nul_is_shown() -> None:
    assert (
        content(b"Subject: x\n\n10%\r50%\r100%\nraw \0\r\r\n") == b"Subject: x\r\n\r\n10%\r\n50%\r\n100%\r\nraw ?\r\n"
    )


@pytest.mark.parametrize("header", [b"Subject: x\rBcc: victim@example.net\n\n", b"Subject: \0\n\n"])
def test_a_field_that_a_visitor_could_end_is_refused(header: bytes) -> None:
    with pytest.raises(Failure) as caught:
        Text.of(header)
    assert caught.value.status == Exit.DATAERR


@given(st.binary(max_size=300))
def test_whatever_is_written_is_refused_or_a_message_that_the_server_takes(written: bytes) -> None:
    try:
        text = Text.of(written)
    except Failure:
        return
    assert check(text.header) is None
    plain = text.content.replace(b"\r\n", b"")
    assert b"\r" not in plain
    assert b"\n" not in plain
    assert b"\0" not in plain


def test_a_body_of_one_long_line_is_looked_at_once() -> None:
    assert content(b"x" * 5_000_000).endswith(b"x\r\n")


# The envelope in the header


def test_recipients_stand_in_to_cc_and_bcc() -> None:
    text = Text.of(b"To: root, Bob <bob@example.net>,\nCc: carol@example.net\nBcc: dave\nSubject: x\n\n")
    assert text.recipients() == ["root", "bob@example.net", "carol@example.net", "dave"]


def test_who_resends_names_the_recipients_anew() -> None:
    text = Text.of(b"Resent-To: erin\nResent-Bcc: frank\nTo: alice\n\n")
    assert text.recipients() == ["erin", "frank"]


def test_a_field_that_makes_no_sense_is_named() -> None:
    with pytest.raises(Failure, match=r"^Cc: ") as caught:
        Text.of(b"To: alice\nCc: <broken\n\n").recipients()
    assert caught.value.status == Exit.DATAERR


@pytest.mark.parametrize(
    ("name", "field"),
    [
        ("", b"From: <root>\r\n"),
        ("Cron Daemon", b"From: Cron Daemon <root>\r\n"),
        ('Do "it", Co.', b'From: "Do \\"it\\", Co." <root>\r\n'),
        ("J\u00f6rg", b"From: =?utf-8?b?SsO2cmc=?= <root>\r\n"),
        ("a\x1b[31m\x00b", b'From: "a[31mb" <root>\r\n'),
    ],
)
def test_the_author_is_named_where_nobody_is(name: str, field: bytes) -> None:
    assert Text.of(b"Subject: x\n\n").with_author("root", name).header == b"Subject: x\r\n" + field


def test_an_author_who_is_named_stays() -> None:
    assert names(Text.of(b"From: alice\n\n").with_author("root", "Root").header) == [b"from"]


@given(st.text(max_size=300))
def test_no_name_breaks_the_field(name: str) -> None:
    header = Text.of(b"Subject: x\n\n").with_author("root", name).header
    assert names(header) == [b"subject", b"from"]
