"""The record shows what was said, and no secret whatever the server does with it."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from valija.client.record import SHOWN_CONTENT, Kind, Record
from valija.mail.reply import Reply
from valija.smtp.client_login import Login
from valija.smtp.client_sasl import MECHANISMS, Secret


def shown(record: Record) -> list[str]:
    return [str(line) for line in record.lines]


def test_who_said_what() -> None:
    seen: list[str] = []
    record = Record(lambda line: seen.append(str(line)))
    record.heard(b"220 mx\r\n250-a\r")
    record.heard(b"\n250 b\nrest")
    record.sent(b"EHLO me\r\n")
    record.note("TLS")
    assert seen == shown(record) == ["S: 220 mx", "S: 250-a", "S: 250 b", "C: EHLO me", "-- TLS"]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b"AUTH PLAIN AGEAYg==\r\n", "C: AUTH PLAIN ***"),
        (b"AUTH LOGIN\r\n", "C: AUTH LOGIN"),
        (b"c2VjcmV0\r\n", "C: ***"),
        (b"*\r\n", "C: *"),
        (b"\r\n", "C:"),
        (b"AUTH EXTERNAL =\r\n", "C: AUTH EXTERNAL ="),
    ],
)
def test_a_login_is_masked(line: bytes, expected: str) -> None:
    record = Record()
    record.sent(line, Kind.LOGIN)
    assert shown(record) == [expected]


def test_challenges_are_masked() -> None:
    record = Record()
    record.heard(b"334 VXNlcm5hbWU6\r\n334 \r\n235 2.7.0 ok\r\n", Kind.LOGIN)
    assert shown(record) == ["S: 334 ***", "S: 334", "S: 235 2.7.0 ok"]


def test_a_server_that_repeats_what_it_heard() -> None:
    record = Record()
    record.hide("hunter2!")
    record.sent(b"AUTH PLAIN AGFsaWNlAGh1bnRlcjIh\r\n", Kind.LOGIN)
    record.heard(b"535 5.7.8 AGFsaWNlAGh1bnRlcjIh is wrong\r\n", Kind.LOGIN)
    record.heard(b"250-Hello hunter2!\r\n250 ok\r\n")
    assert shown(record)[1:] == ["S: 535 ***", "S: 250-***", "S: 250 ok"]


def test_a_content_is_cut_and_its_end_is_shown() -> None:
    record = Record()
    record.sent(b"line\r\n" * 100 + b".\r\n", Kind.CONTENT)
    lines = shown(record)
    assert lines[:SHOWN_CONTENT] == ["C: line"] * SHOWN_CONTENT
    assert lines[SHOWN_CONTENT:] == ["-- and 60 more lines, 603 octets in all", "C: ."]
    record = Record()
    record.sent(b".\r\n", Kind.CONTENT)
    assert shown(record) == ["C: ."]


def test_nothing_plays_tricks_on_the_terminal() -> None:
    record = Record()
    record.heard(b"220 \x1b[31mred\xff \xe2\x80\xae\r\n")
    record.heard(b"x" * 5000 + b"\r\n")
    assert all(line.isprintable() and len(line) < 1100 for line in shown(record))


SECRET = st.text(st.characters(codec="utf-8", categories=("L", "N", "P")), min_size=8, max_size=40)


@given(st.sampled_from(MECHANISMS), SECRET, st.binary(max_size=30), st.lists(st.booleans(), max_size=4))
def test_no_secret_is_ever_shown(mechanism: str, secret: str, noise: bytes, echoes: list[bool]) -> None:
    """A hostile server answers with challenges, and with what it heard, in its plain form and as base64."""
    record = Record()
    record.hide(secret)
    facts = Secret("u", secret.encode(), token=secret, nonce="n0nce")
    login = Login(mechanism, facts)
    line: bytes | None = login.command()
    for echo in echoes:
        assert line is not None
        record.sent(line, Kind.LOGIN)
        heard = line.removesuffix(b"\r\n").split(b" ")[-1]
        words = heard if echo else base64.b64encode(noise)
        record.heard(b"334 " + words + b"\r\n", Kind.LOGIN)
        record.heard(b"250-you said " + heard + b"\r\n250 " + secret.encode() + b"\r\n")
        line = login.answer(words.decode())
        if line is None:
            break
    login.ended(Reply(535, "", secret))
    told = "\n".join(shown(record))
    assert secret not in told
    for form in (secret.encode(), b"\0u\0" + secret.encode()):
        assert base64.b64encode(form).decode() not in told
    assert secret not in repr(facts)
