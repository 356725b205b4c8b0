"""Fix-ups of users' headers, and what is refused in them."""

import pytest

from valija.content.header import fields, names, split, values
from valija.content.submission import author_addresses, check_once, fix_up, sender_claims
from valija.mail.reply import Reply

WHOLE = (
    b"From: Alice <alice@local.example>\r\nTo: x@remote.example\r\nSubject: hi\r\n there\r\n"
    b"Date: Tue, 25 Nov 2025 12:00:00 +0000\r\nMessage-ID: <1@local.example>\r\n"
)


def fixed(header: bytes) -> bytes:
    return fix_up(
        header, user_address="alice@local.example", hostname="mail.local.example", now=1764072000.0, unique="4F2.1"
    )


def less(*dropped: bytes) -> bytes:
    return b"".join(field.raw for field in fields(WHOLE) if field.name not in dropped)


def test_a_whole_header_is_left_alone() -> None:
    assert check_once(WHOLE) is None
    assert fixed(WHOLE) == WHOLE


def test_c102_a_missing_date_is_added() -> None:
    assert fixed(less(b"date")) == less(b"date") + b"Date: Tue, 25 Nov 2025 12:00:00 +0000\r\n"


def test_c102_a_missing_message_id_is_added_in_the_domain_of_from() -> None:
    assert fixed(less(b"message-id")) == less(b"message-id") + b"Message-ID: <4F2.1@local.example>\r\n"
    odd = fixed(b"From: alice@[192.0.2.1]\r\n")
    assert values(odd, b"message-id") == [b" <4F2.1@mail.local.example>"]


def test_c102_a_missing_from_is_set_from_the_login() -> None:
    assert fixed(less(b"from")) == less(b"from") + b"From: <alice@local.example>\r\n"


def test_c102_text_alone_stays_body() -> None:
    header, body = split(b"hello\r\nBcc: x@remote.example\r\n")
    content = fixed(header) + b"\r\n" + body
    again = split(content)
    assert again.body == b"hello\r\nBcc: x@remote.example\r\n"
    assert names(again.header) == [b"from", b"date", b"message-id"]


def test_blind_copies_stay_blind() -> None:
    header = (
        WHOLE + b"bcc: secret@remote.example,\r\n other@remote.example\r\nResent-Bcc: third@remote.example\r\nX: y\r\n"
    )
    assert fixed(header) == WHOLE + b"X: y\r\n"


def test_what_is_not_the_users_to_set_goes() -> None:
    assert fixed(b"Return-Path: <x@y.example>\r\nContent-Length: 5\r\n" + WHOLE) == WHOLE


@pytest.mark.parametrize(
    "name", ["From", "Sender", "Reply-To", "To", "Cc", "Subject", "Date", "Message-ID", "In-Reply-To", "References"]
)
def test_c070_what_must_stand_once_and_stands_twice_is_refused(name: str) -> None:
    twice = f"{name}: a@local.example\r\n{name.swapcase()}: b@local.example\r\n".encode()
    reply = check_once(twice)
    assert reply is not None
    assert (reply.code, reply.enhanced) == (550, "5.6.0")
    assert f"2 {name} fields" in reply.text


def test_authors() -> None:
    assert author_addresses(WHOLE) == ["alice@local.example"]
    assert author_addresses(less(b"from")) == []
    assert author_addresses(b"From: a@x.example, B <b@y.example>\r\n") == ["a@x.example", "b@y.example"]


@pytest.mark.parametrize("value", [b"", b" ", b" undisclosed:;", b" Alice", b" a@x.example b@y.example", b" <>"])
def test_c070_a_from_that_names_nobody_is_refused(value: bytes) -> None:
    reply = author_addresses(b"From:" + value + b"\r\n")
    assert isinstance(reply, Reply)
    assert (reply.code, reply.enhanced) == (550, "5.6.0")
    assert reply.text.isprintable()


@pytest.mark.parametrize(
    ("header", "claims"),
    [
        (WHOLE, {}),
        (b"X-Sender: x\r\n", {}),
        (b"SENDER: Bob <bob@local.example>\r\n", {b"sender": ["bob@local.example"]}),
        (
            b"Resent-From: a@x.example, b@x.example\r\nResent-Sender: c@x.example\r\nResent-From: d@x.example\r\n",
            {b"resent-from": ["a@x.example", "b@x.example"], b"resent-sender": ["c@x.example"]},
        ),
    ],
)
def test_who_else_is_said_to_have_sent_it(header: bytes, claims: dict[bytes, list[str]]) -> None:
    assert sender_claims(header) == claims


def test_a_claim_that_is_not_understood_is_a_refusal() -> None:
    for header in (b"Sender: nobody in particular\r\n", b"Sender:\r\n"):
        (refusal,) = sender_claims(header).values()
        assert isinstance(refusal, Reply)
        assert refusal.text.startswith("The Sender field ")
