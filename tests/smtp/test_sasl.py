"""The server's side of PLAIN and LOGIN."""

import pytest

from valija.smtp.sasl import Challenge, Credentials, LoginExchange, Malformed, PlainExchange


def test_plain() -> None:
    assert PlainExchange().respond(b"\0alice\0secret") == Credentials("alice", "", b"secret")
    assert PlainExchange().respond(b"bob\0alice\0secret") == Credentials("alice", "bob", b"secret")


def test_plain_without_an_initial_response() -> None:
    exchange = PlainExchange()
    assert exchange.respond(None) == Challenge(b"")
    assert exchange.respond(b"\0alice\0secret") == Credentials("alice", "", b"secret")


def test_c042_an_empty_password_is_a_password() -> None:
    assert PlainExchange().respond(b"\0alice\0") == Credentials("alice", "", b"")


def test_c047_a_password_stays_octets() -> None:
    assert PlainExchange().respond(b"\0alice\0t\xe9st") == Credentials("alice", "", b"t\xe9st")


@pytest.mark.parametrize(
    "response",
    [
        b"",
        b"alice",
        b"\0alice",
        b"\0\0secret",
        b"\0alice\0secret\0",
        b"\0al\xffice\0x",
        b"\xff\0alice\0x",
        b"\0a\nb\0x",
    ],
)
def test_plain_malformed(response: bytes) -> None:
    assert PlainExchange().respond(response) == Malformed()


def test_c043_login_prompts() -> None:
    exchange = LoginExchange()
    assert exchange.respond(None) == Challenge(b"Username:")
    assert exchange.respond(b"alice") == Challenge(b"Password:")
    assert exchange.respond(b"secret") == Credentials("alice", "", b"secret")


def test_c043_login_with_an_initial_response() -> None:
    exchange = LoginExchange()
    assert exchange.respond(b"alice") == Challenge(b"Password:")
    assert exchange.respond(b"") == Credentials("alice", "", b"")


def test_login_malformed() -> None:
    assert LoginExchange().respond(b"al\xffice") == Malformed()


def test_a_password_is_not_shown() -> None:
    assert "secret" not in repr(Credentials("alice", "", b"secret"))
