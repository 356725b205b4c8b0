"""Replies as peers really write them (C081), and bounds on what is kept of them."""

import pytest

from valija.mail.reply import Reply
from valija.smtp.replies import KEPT_TEXT, MAX_LINE, MAX_REPLY, ReplyParser, Unreadable


def parse(octets: bytes) -> list[Reply | Unreadable]:
    parser = ReplyParser()
    parser.feed(octets)
    found: list[Reply | Unreadable] = []
    while (reply := parser.next()) is not None:
        found.append(reply)
        if isinstance(reply, Unreadable):
            break
    return found


@pytest.mark.parametrize(
    ("octets", "reply"),
    [
        (b"250 2.1.0 Ok\r\n", Reply(250, "2.1.0", "Ok")),
        (b"250 Ok\r\n", Reply(250, "", "Ok")),
        (b"250\r\n", Reply(250, "", "")),
        (b"250 \r\n", Reply(250, "", "")),
        (b"250-\r\n250\r\n", Reply(250, "", "\n")),
        (b"250 2.0.0\r\n", Reply(250, "2.0.0", "")),
        (b"354 2.0.0 go\r\n", Reply(354, "", "2.0.0 go")),
        (b"550 4.7.1 x\r\n", Reply(550, "", "4.7.1 x")),
        (b"550 5.7.1x y\r\n", Reply(550, "", "5.7.1x y")),
        (b"550 5.1234.1 y\r\n", Reply(550, "", "5.1234.1 y")),
        (b"550-5.1.1 a\r\n550 5.1.1 b\r\n", Reply(550, "5.1.1", "a\nb")),
        (b"550-a\r\n550 5.1.1 b\r\n", Reply(550, "", "a\n5.1.1 b")),
        (b"250-ok\r\n251 ok\r\n", Reply(251, "", "ok\nok")),
        (b"220-x\r\n521 5.7.1 no\r\n", Reply(521, "", "x\n5.7.1 no")),
        (b"220-a\n220 b\n", Reply(220, "", "a\nb")),
        (b"250 \xc7\xeb\r\n", Reply(250, "", "\udcc7\udceb")),
        ("250 olé\r\n".encode(), Reply(250, "", "olé")),
        (b"550 a\rb\0c\x1b[0m\r\n", Reply(550, "", "a\rb\0c\x1b[0m")),
    ],
)
def test_c081_readable(octets: bytes, reply: Reply) -> None:
    assert parse(octets) == [reply]


@pytest.mark.parametrize(
    ("octets", "quoted"),
    [
        (b"550 4.7.1 odd\r\n", "550 4.7.1 odd"),
        (b"550 no\r\n", "550 no"),
        (b"550-no\r\n550 5.1.1 user\r\n", "550 no 5.1.1 user"),
        (b"550-5.1.1 no\r\n550 5.1.1 user\r\n", "550 5.1.1 no user"),
        (b"550-5.1.1 no\r\n550 5.7.1 user\r\n", "550 5.1.1 no 5.7.1 user"),
    ],
)
def test_a_reply_quoted_holds_no_code_that_the_peer_did_not_send(octets: bytes, quoted: str) -> None:
    (reply,) = parse(octets)
    assert str(reply) == quoted


@pytest.mark.parametrize(
    "octets",
    [
        b"25\r\n",
        b"abc\r\n",
        b"\r\n",
        b"2500 x\r\n",
        b"250x\r\n",
        b"150 x\r\n",
        b"650 x\r\n",
        b"-50 x\r\n",
        b"521-no\r\n220 yes\r\n",
        b"250-ok\r\nnonsense\r\n",
        "٢٥٠ x\r\n".encode(),
    ],
)
def test_c081_unreadable(octets: bytes) -> None:
    assert [type(reply) for reply in parse(octets)] == [Unreadable]


def test_nothing_follows_what_cannot_be_read() -> None:
    parser = ReplyParser()
    parser.feed(b"what?\r\n250 ok\r\n")
    first = parser.next()
    assert isinstance(first, Unreadable)
    parser.feed(b"250 ok\r\n")
    assert parser.next() is first
    assert not parser.is_empty


def test_an_incomplete_reply_waits() -> None:
    parser = ReplyParser()
    assert parser.is_empty
    for piece in (b"2", b"50-a\r", b"\n", b"250 b", b"\r"):
        parser.feed(piece)
        assert parser.next() is None
        assert not parser.is_empty
    parser.feed(b"\n")
    assert parser.next() == Reply(250, "", "a\nb")
    assert parser.is_empty


def test_c081_memory_is_bounded() -> None:
    [long] = parse(b"550-a\r\n" + b"550-b\r\n" * 9998 + b"550 c\r\n")
    assert isinstance(long, Reply)
    assert len(long.text) <= KEPT_TEXT
    for endless in (b"250 " + b"x" * MAX_LINE, b"550-" + b"x" * 100 + b"\r\n"):
        parser = ReplyParser()
        fed = 0
        while not isinstance(parser.next(), Unreadable):
            parser.feed(endless)
            fed += len(endless)
            assert fed <= 2 * MAX_REPLY
