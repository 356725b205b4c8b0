"""TLS, end to end: what the dialogues can't show."""

import re
import ssl

import pytest

from tests.cases.conftest import ALICE, SECRETS, Site
from tests.cases.talk import Talk


@pytest.mark.parametrize("port", ["smtpd", "submission", "submissions"])
def test_c054_starttls_inside_tls_is_out_of_order(site: Site, port: str) -> None:
    with Talk(getattr(site.server, port), tls=port == "submissions") as talk:
        answer = talk.hello()
        if port != "submissions":
            assert talk.say("STARTTLS").startswith("220")
            talk.start_tls()
            answer = talk.ehlo()
        assert "STARTTLS" not in answer
        assert re.match(r"50[23] 5\.5\.1 ", talk.say("STARTTLS"))
        assert talk.say("NOOP").startswith("250")


def test_c054_within_a_transaction_it_ends_the_transaction(site: Site) -> None:
    with site.stranger() as talk:
        assert talk.say("MAIL FROM:<a@remote.example>", f"RCPT TO:<{ALICE}>", "STARTTLS").startswith("220")
        talk.start_tls()
        assert talk.say("DATA").startswith("503")
        talk.ehlo()
        assert talk.say("DATA").startswith("503")
        site.delivered(talk.send_message("a@remote.example", ALICE, b"Subject: x\r\n\r\nx\r\n"))


@pytest.mark.parametrize("port", ["smtpd", "submission"])
def test_c054_who_is_silent_behind_the_220_keeps_nobody_waiting(site: Site, port: str) -> None:
    """A slot is lost for the time of a handshake, and nothing else; the session's end is in test_listener."""
    with Talk(getattr(site.server, port)) as silent:
        silent.hello()
        assert silent.say("STARTTLS").startswith("220")
        with site.alice(tls=False) as other:
            assert other.say("NOOP").startswith("250")
        assert silent.is_silent()


def test_c053_what_is_offered_is_said_anew(site: Site) -> None:
    with Talk(site.server.submission) as talk:
        assert "AUTH" not in talk.hello("before.example")
        assert talk.say("STARTTLS").startswith("220")
        talk.start_tls()
        for command in (f"MAIL FROM:<{ALICE}>", "RCPT TO:<x@remote.example>", "AUTH PLAIN"):
            assert talk.say(command).startswith("503 5.5.1"), "nobody has greeted inside TLS"
        assert "AUTH" in talk.ehlo("after.example")
        talk.log_in(ALICE, SECRETS[ALICE])
        caught = site.caught(talk.send_message(ALICE, "x@remote.example", b"From: alice@local.example\r\n\r\nx\r\n"))
    assert caught.field("Received").startswith("from after.example ")
    assert "before.example" not in caught.content.decode()


def test_c052_inside_tls_only_what_came_inside_is_answered(site: Site) -> None:
    with Talk(site.server.smtpd) as talk:
        talk.hello()
        assert talk.say("STARTTLS").startswith("220")
        talk.start_tls()
        assert isinstance(talk.socket, ssl.SSLSocket)
        talk.send(b"NOOP\r\nQUIT\r\n")
        answers = [talk.reply(), talk.reply(), talk.reply()]
    assert [answer and answer[:3] for answer in answers] == ["250", "221", None]
