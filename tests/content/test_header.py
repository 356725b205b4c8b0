"""Where the header ends, what is refused in it, and its fields."""

import pytest

from valija.content.header import (
    MAX_FIELDS,
    MAX_HEADER,
    HeaderCollector,
    check,
    fields,
    names,
    split,
    values,
    without,
)
from valija.mail.reply import Reply

HEADER = b"Subject: one\r\n two\r\nFrom: a@example.org\r\nX-Empty:\r\n"


def collect(content: bytes, step: int) -> tuple[HeaderCollector, bytes]:
    collector = HeaderCollector()
    body = b"".join(collector.feed(content[at : at + step]) for at in range(0, len(content), step))
    return collector, body + collector.finish()


@pytest.mark.parametrize("step", [1, 2, 3, 7, 4096])
@pytest.mark.parametrize(
    ("content", "header", "body"),
    [
        (HEADER + b"\r\nbody\r\n\r\nFrom: b@example.org\r\n", HEADER, b"body\r\n\r\nFrom: b@example.org\r\n"),
        (HEADER + b"\r\n", HEADER, b""),
        (HEADER, HEADER, b""),
        (HEADER[:-2], HEADER, b""),
        (b"\r\nbody\r\n", b"", b"body\r\n"),
        (b"\r\n\r\nbody\r\n", b"", b"\r\nbody\r\n"),
        (b"", b"", b""),
        (b"hello\r\n", b"", b"hello\r\n"),
        (b"hello", b"", b"hello"),
        (b"hello world: how are you\r\n\r\nFrom: b@example.org\r\n", b"", None),
        (b"Subject: one\r\n \r\n\r\nbody\r\n", b"Subject: one\r\n \r\n", b"body\r\n"),
    ],
)
def test_the_header_ends_where_it_ends(content: bytes, header: bytes, body: bytes | None, step: int) -> None:
    collector, collected = collect(content, step)
    assert collector.refusal is None
    assert collector.complete
    assert (collector.header, collected) == (header, content if body is None else body)


def refusal_of(content: bytes) -> Reply | None:
    replies = {collect(content, step)[0].refusal for step in (1, 5, 1 << 20)}
    assert len(replies) == 1, "the cut must not matter"
    return replies.pop()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b" X: y\r\nFrom: a@example.org\r\n\r\nbody\r\n", "begins with a blank"),
        (b"\tX: y\r\n\r\n", "begins with a blank"),
        (
            b"From: a@example.org\r\nNot a header\r\nTo: b@example.org\r\n\r\n",
            'Line 2 of the content is no header field: "Not',
        ),
        (b"From: a@example.org\r\n\x1b[31m\xff\r\n\r\n", r'"\x{1B}[31m\xFF"'),
        (b"From : a@example.org\r\n\r\n", "Line 1 of the content has a blank before its colon"),
        (b"To: b@example.org\r\nFrom\t: a@example.org\r\n\r\n", "Line 2 of the content has a blank before its colon"),
        (b"Subject: \0\r\n\r\n", "NUL"),
        (b"From\0: a@example.org\r\n\r\n", "NUL"),
        (b"From alice Tue Nov 25 02:26:00 2025\r\nFrom: a@example.org\r\n\r\n", "mailbox file"),
        (b"\xef\xbb\xbfFrom: a@example.org\r\n\r\n", "no header field"),
        (b": no name\r\n\r\n", None),
        (b"To: b@example.org\r\n: no name\r\n\r\n", "Line 2"),
    ],
)
def test_c105_what_readers_could_differ_on_is_refused(content: bytes, words: str | None) -> None:
    reply = refusal_of(content)
    if words is None:
        assert reply is None, "plain text, all of it body"
        return
    assert reply is not None
    assert (reply.code, reply.enhanced) == (554, "5.6.0")
    assert words in reply.text
    assert reply.text.isascii()
    assert reply.text.isprintable()


def test_c105_two_thousand_fields() -> None:
    assert refusal_of(b"X: y\r\n" * MAX_FIELDS + b"\r\n") is None
    reply = refusal_of(b"X: y\r\n" * (MAX_FIELDS + 1) + b"\r\n")
    assert reply is not None
    assert reply.code == 554
    assert refusal_of(b"X: y\r\n" + b" folded\r\n" * 2 * MAX_FIELDS + b"\r\n") is None


@pytest.mark.parametrize("end", [b"\r\n\r\nbody\r\n", b"\r\n", b""])
@pytest.mark.parametrize("step", [1000, 1 << 20])
def test_c105_a_header_of_300_kilobytes(end: bytes, step: int) -> None:
    collector, body = collect(b"X: " + b"y" * 300_000 + end, step)
    assert collector.refusal is not None
    assert (collector.refusal.code, collector.refusal.enhanced) == (552, "5.3.4")
    assert (collector.header, body) == (b"", b"")


def test_c105_a_header_that_never_ends_is_not_kept() -> None:
    collector = HeaderCollector()
    for _ in range(1000):
        assert collector.feed(b"X: " + b"y" * 10_000 + b"\r\n") == b""
    assert len(collector._held) <= MAX_HEADER + 10_005
    assert collector.complete


def test_c102_text_alone_is_body_even_if_a_later_line_looks_like_a_field() -> None:
    content = b"hello\r\nFrom: b@example.org\r\n\r\nBcc: c@example.org\r\n"
    assert split(content) == (b"", content)


def test_split_refuses_what_the_collector_refuses() -> None:
    with pytest.raises(ValueError, match="begins with a blank"):
        split(b" X: y\r\n\r\n")


def test_fields_keep_their_octets() -> None:
    found = fields(HEADER)
    assert [field.name for field in found] == [b"subject", b"from", b"x-empty"]
    assert b"".join(field.raw for field in found) == HEADER
    assert values(HEADER, b"subject") == [b" one\r\n two"]
    assert values(HEADER, b"x-empty") == [b""]
    assert names(HEADER) == [b"subject", b"from", b"x-empty"]


def test_names_are_no_words_of_a_folded_line() -> None:
    assert names(b"X: y\r\n From: a\r\n\tTo: b\r\n") == [b"x"]


def test_without_leaves_the_others_alone() -> None:
    header = b"bcc: a\r\n b\r\nX-Bcc: c\r\nTo: d\r\nBCC: e\r\nSubject: Bcc: f\r\n"
    assert without(header, b"bcc") == b"X-Bcc: c\r\nTo: d\r\nSubject: Bcc: f\r\n"
    assert without(header, b"bcc", b"to") == b"X-Bcc: c\r\nSubject: Bcc: f\r\n"
    assert without(header, b"absent") == header


def test_an_empty_header_is_a_good_one() -> None:
    assert check(b"") is None
