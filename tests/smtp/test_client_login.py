"""A login through the client machine: what leaves, what comes of it, and when it is given up."""

import base64

import pytest

from tests.smtp.test_client import feed
from valija.mail.reply import Reply
from valija.smtp.client import ClientMachine
from valija.smtp.client_capabilities import read_capabilities
from valija.smtp.client_events import LoggedIn, LoginRefused, Ready, SessionEnded, Step
from valija.smtp.client_login import LONGEST_COMMAND, Login
from valija.smtp.client_sasl import MECHANISMS, SCRAM, Secret
from valija.smtp.sasl_scram import ClientFirst, Proven, ScramExchange, ScramKeys

ALICE = Secret("alice@example.org", b"secret", token="vF9dft4q", nonce="abc")
HELLO = b"220 mx\r\n250-mx\r\n250 AUTH PLAIN LOGIN\r\n"


def encoded(octets: bytes) -> bytes:
    return base64.b64encode(octets)


def started(mechanism: str, secret: Secret = ALICE) -> ClientMachine:
    machine = ClientMachine("me")
    [ready] = feed(machine, HELLO)
    assert isinstance(ready, Ready)
    assert ready.capabilities.auth == ("PLAIN", "LOGIN")
    machine.take_output()
    machine.log_in(Login(mechanism, secret))
    return machine


def test_plain_goes_with_the_command() -> None:
    machine = started("PLAIN")
    assert machine.take_output() == b"AUTH PLAIN " + encoded(b"\0alice@example.org\0secret") + b"\r\n"
    assert machine.awaits is Step.AUTH
    assert not machine.can_begin
    assert feed(machine, b"235 2.7.0 ok\r\n") == [LoggedIn(Reply(235, "2.7.0", "ok"))]
    assert machine.can_begin
    assert machine.capabilities.auth  # what EHLO told still counts


def test_login_answers_line_by_line() -> None:
    machine = started("LOGIN")
    assert machine.take_output() == b"AUTH LOGIN\r\n"
    feed(machine, b"334 VXNlcm5hbWU6\r\n")
    assert machine.take_output() == encoded(b"alice@example.org") + b"\r\n"
    feed(machine, b"334 UGFzc3dvcmQ6\r\n")
    assert machine.take_output() == encoded(b"secret") + b"\r\n"
    assert feed(machine, b"535 5.7.8 no\r\n") == [LoginRefused(Reply(535, "5.7.8", "no"))]
    assert machine.is_idle


def test_scram_ends_with_an_empty_answer() -> None:
    machine = started(SCRAM)
    command = machine.take_output().split()
    first = ClientFirst.parse(base64.b64decode(command[2]))
    assert isinstance(first, ClientFirst)
    server = ScramExchange(first, ScramKeys.of(b"secret", b"salt", 4096), "xyz")
    feed(machine, b"334 " + encoded(server.challenge) + b"\r\n")
    verdict = server.finish(base64.b64decode(machine.take_output()))
    assert isinstance(verdict, Proven)
    feed(machine, b"334 " + encoded(verdict.data) + b"\r\n")
    assert machine.take_output() == b"\r\n"
    assert [type(event) for event in feed(machine, b"235 ok\r\n")] == [LoggedIn]


@pytest.mark.parametrize("mechanism", [SCRAM, "LOGIN"])
def test_who_lets_in_unseen_is_not_believed(mechanism: str) -> None:
    [refused] = feed(started(mechanism), b"235 welcome\r\n")
    assert isinstance(refused, LoginRefused)
    assert "without" in refused.why_not


def test_a_long_token_waits_for_the_challenge() -> None:
    token = "x" * 2000
    machine = started("XOAUTH2", Secret("u", token=token))
    assert machine.take_output() == b"AUTH XOAUTH2\r\n"
    feed(machine, b"334 \r\n")
    assert token.encode() in base64.b64decode(machine.take_output())
    assert [type(event) for event in feed(machine, b"235 ok\r\n")] == [LoggedIn]


def test_the_longest_command_that_goes_at_once() -> None:
    for length in range(LONGEST_COMMAND):
        command = Login("PLAIN", Secret("u", b"p" * length)).command()
        assert len(command) <= LONGEST_COMMAND
        if command == b"AUTH PLAIN\r\n":
            return
    raise AssertionError("none was too long")


@pytest.mark.parametrize("challenge", [b"334 !!!\r\n", b"334 more\r\n", b"334 \xff\r\n"])
def test_a_challenge_out_of_place_is_answered_with_a_star(challenge: bytes) -> None:
    machine = started("PLAIN")
    machine.take_output()
    assert feed(machine, challenge) == []
    assert machine.take_output() == b"*\r\n"
    [refused] = feed(machine, b"501 5.7.0 cancelled\r\n")
    assert isinstance(refused, LoginRefused)
    assert refused.why_not


def test_a_given_up_login_is_over_whatever_the_peer_says() -> None:
    machine = started("PLAIN")
    feed(machine, b"334 more\r\n")
    [refused] = feed(machine, b"235 welcome\r\n")
    assert isinstance(refused, LoginRefused)
    machine = started("PLAIN")
    [ended] = feed(machine, b"334 more\r\n334 still more\r\n")
    assert isinstance(ended, SessionEnded)
    assert ended.reply.is_transient


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_challenges_without_end(mechanism: str) -> None:
    machine = started(mechanism)
    [ended] = feed(machine, b"334 \r\n" * 20)
    assert isinstance(ended, SessionEnded)


def test_a_refused_token_is_acknowledged() -> None:
    machine = started("OAUTHBEARER")
    machine.take_output()
    feed(machine, b"334 " + encoded(b'{"status":"invalid_token"}') + b"\r\n")
    assert machine.take_output() == encoded(b"\x01") + b"\r\n"
    assert [type(event) for event in feed(machine, b"535 5.7.8 no\r\n")] == [LoginRefused]


def test_mechanisms_as_peers_announce_them() -> None:
    assert read_capabilities("mx\nAUTH=login plain").auth == ("LOGIN", "PLAIN")
    assert read_capabilities("mx\nauth login\nAUTH=PLAIN").auth == ("LOGIN",)
    assert read_capabilities("mx\nAUTH").auth == ()
