"""What a filter's packets say."""

import pytest

from valija.mail.reply import Reply
from valija.milter.answers import (
    Accept,
    AddField,
    AddRecipient,
    ChangeField,
    ChangeFrom,
    Continue,
    Discard,
    GivesUp,
    InsertField,
    Progress,
    Quarantine,
    Refuse,
    ReplaceBody,
    Skip,
    folded,
    read,
)
from valija.milter.packets import Nonsense, Packet


@pytest.mark.parametrize(
    ("packet", "answer"),
    [
        (Packet(b"c", b""), Continue()),
        (Packet(b"a", b""), Accept()),
        (Packet(b"d", b""), Discard()),
        (Packet(b"s", b""), Skip()),
        (Packet(b"p", b""), Progress()),
        (Packet(b"f", b""), GivesUp()),
        (Packet(b"r", b""), Refuse(Reply(550, "5.7.1", "Command rejected"))),
        (Packet(b"t", b""), Refuse(Reply(451, "4.7.1", "Service unavailable, try again later"))),
        (Packet(b"4", b""), Refuse(Reply(421, "4.7.0", "Server closing connection"))),
        (Packet(b"h", b"X-A\x001\0"), AddField(b"X-A", b"1")),
        (Packet(b"i", b"\0\0\0\x05X-A\x001\0"), InsertField(5, b"X-A", b"1")),
        (Packet(b"m", b"\0\0\0\0X-A\0\0"), ChangeField(1, b"X-A", b"")),
        (Packet(b"+", b"<a@b.example>\0"), AddRecipient("<a@b.example>")),
        (Packet(b"2", b"<a@b.example>\0NOTIFY=NEVER\0"), AddRecipient("<a@b.example>", "NOTIFY=NEVER")),
        (Packet(b"2", b"<a@b.example>\0"), AddRecipient("<a@b.example>")),
        (Packet(b"e", b"<>\0"), ChangeFrom("<>")),
        (Packet(b"b", b"any\0octets"), ReplaceBody(b"any\0octets")),
        (Packet(b"q", b"odd\n\0"), Quarantine("odd\\x{A}")),
    ],
)
def test_each_kind_is_read(packet: Packet, answer: object) -> None:
    assert read(packet) == answer


@pytest.mark.parametrize(
    ("data", "reply"),
    [
        (b"550 No\0", Reply(550, "5.7.1", "No")),
        (b"550\0", Reply(550, "5.7.1", "")),
        (b"550 5.1.1 Unknown 5.1.1 user\0", Reply(550, "5.1.1", "Unknown 5.1.1 user")),
        (b"451 5.7.1 Its own class\0", Reply(451, "4.7.1", "Its own class")),
        (b"451-4.7.0 One\r\n451-4.7.0 two\n451 4.7.0 three\0", Reply(451, "4.7.0", "One\ntwo\nthree")),
        (b"550 5.7.1 caf\xc3\xa9 \xff\x00", Reply(550, "5.7.1", "caf\\x{E9} \\xFF")),
    ],
)
def test_replies(data: bytes, reply: Reply) -> None:
    assert read(Packet(b"y", data)) == Refuse(reply)


def test_a_reply_has_lines_that_smtp_can_bear() -> None:
    answer = read(Packet(b"y", b"\r\n".join([b"550 5.7.1 " + b"x" * 5000] * 100) + b"\0"))
    assert isinstance(answer, Refuse)
    lines = answer.reply.encode().split(b"\r\n")[:-1]
    assert len(lines) == 32
    assert max(map(len, lines)) <= 510


@pytest.mark.parametrize(
    "packet",
    [
        Packet(b"c", b"\0"),
        Packet(b"x", b""),
        Packet(b"y", b""),
        Packet(b"y", b"\0"),
        Packet(b"y", b"250 Fine\0"),
        Packet(b"y", b"5500 No\0"),
        Packet(b"y", b"550 No\r\n551 No\0"),
        Packet(b"y", b"550 No\r\nQUIT\0"),
        Packet(b"y", b"550 No"),
        Packet(b"h", b"X-A\0"),
        Packet(b"h", b"X A\x001\0"),
        Packet(b"h", b"\x001\0"),
        Packet(b"i", b"\0\0\0"),
        Packet(b"+", b"a\0b\0"),
        Packet(b"2", b"a\0b\0c\0"),
        Packet(b"-", b""),
        Packet(b"q", b"no end"),
    ],
)
def test_all_else_is_nonsense(packet: Packet) -> None:
    with pytest.raises(Nonsense):
        read(packet)


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (b"plain", b"plain"),
        (b"one\n\ttwo\n three", b"one\r\n\ttwo\r\n three"),
        (b"one\ntwo", b"one\r\n\ttwo"),
        (b"one\r\n\r\ntwo\r\n", b"one\r\n\ttwo"),
        (b"one\rtwo\n \n\t\n", b"one\r\n\ttwo"),
        (b"\n folded at once", b"\r\n folded at once"),
    ],
)
def test_values_are_folded(value: bytes, written: bytes) -> None:
    assert folded(value) == written
