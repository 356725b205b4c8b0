"""Mail of the hosted domains handed over to the real Dovecot by LMTP."""

import smtplib
import time
from collections.abc import Callable, Iterator

import pytest

from tests import dovecot_lmtp
from tests.dovecot_lmtp import LiveLmtp
from tests.live import HOST, LiveServer, message

pytestmark = [pytest.mark.interop, pytest.mark.skipif(bool(dovecot_lmtp.MISSING), reason=dovecot_lmtp.MISSING)]

ALICE, SMALL = "alice@example.org", "small@example.org"
NOBODY = "nobody-there@example.org"  # an account of ours that Dovecot does not know
DOVECOTS_OWN = "carol@example.org"  # whom Dovecot alone knows


@pytest.fixture
def dovecot() -> Iterator[LiveLmtp]:
    with LiveLmtp({ALICE: "", SMALL: "storage=1K", DOVECOTS_OWN: ""}) as dovecot:
        yield dovecot


@pytest.fixture
def server(dovecot: LiveLmtp) -> Iterator[LiveServer]:
    with LiveServer({"mailbox": {"transport": dovecot.transport}}) as server:
        for address in (ALICE, SMALL, NOBODY):
            server.add_user(address, "secret")
        yield server


def attempt(server: LiveServer, recipient: str, words: str, since: int = 0) -> None:
    server.wait_for_log(rf"attempt .*recipient={recipient} {words}", since=since)


def test_mail_arrives_in_dovecots_maildir(server: LiveServer, dovecot: LiveLmtp) -> None:
    server.submit(ALICE, "secret", ALICE, message("hello", recipient=ALICE))
    attempt(server, ALICE, "outcome=delivered .*remote=mail.example.org")
    [content] = dovecot.mailbox(ALICE)
    assert b"Subject: hello" in content
    assert b"Return-Path: <alice@example.org>" in content


def test_a_subaddress_is_the_same_mailbox(server: LiveServer, dovecot: LiveLmtp) -> None:
    server.submit(ALICE, "secret", "alice+news@example.org", message("hello", recipient="alice+news@example.org"))
    attempt(server, r"alice\+news@example.org", "outcome=delivered")
    assert len(dovecot.mailbox(ALICE)) == 1


def test_a_dovecot_that_is_away_is_waited_for(server: LiveServer, dovecot: LiveLmtp) -> None:
    dovecot.stop()
    server.submit(ALICE, "secret", ALICE, message("hello", recipient=ALICE))
    attempt(server, ALICE, r"outcome=deferred .*4\.4\.")
    dovecot.start()
    since = server.log.mark()
    server.valija("queue", "retry", "--all")
    attempt(server, ALICE, "outcome=delivered", since)
    assert len(dovecot.mailbox(ALICE)) == 1


def test_each_recipient_of_a_message_has_dovecots_own_answer(server: LiveServer, dovecot: LiveLmtp) -> None:
    content = message("large", recipient=SMALL).as_bytes() + b"x" * 70 + b"\r\n" + b"y" * 900 + b"\r\n" * 2000
    with smtplib.SMTP(HOST, server.smtpd, timeout=20) as client:
        client.sendmail("ann@remote.example", [SMALL, ALICE], content)
    attempt(server, SMALL, r"outcome=failed .*5[0-9][0-9] 5\.2\.2")
    attempt(server, ALICE, "outcome=delivered")
    assert not dovecot.mailbox(SMALL)


def rcpt(server: LiveServer, address: str) -> str:
    """Return what the server says to a recipient."""
    with smtplib.SMTP(HOST, server.smtpd, timeout=20) as client:
        client.ehlo()
        client.mail("ann@remote.example")
        code, text = client.rcpt(address)
        return f"{code} {text.decode()}"


def test_whom_dovecot_does_not_know_is_refused_at_once(server: LiveServer, dovecot: LiveLmtp) -> None:
    assert rcpt(server, NOBODY).startswith("550 5.1.1"), "an account of ours, and no mailbox there"
    assert rcpt(server, "ghost@example.org").startswith("550 5.1.1")
    assert rcpt(server, DOVECOTS_OWN).startswith("250"), "a mailbox there, and no account of ours"
    assert rcpt(server, "postmaster@example.org").startswith("250")
    assert rcpt(server, "abuse@example.org").startswith("250")
    dovecot.set_users({ALICE: "", SMALL: "storage=1K", DOVECOTS_OWN: "", "ghost@example.org": ""})
    wait_until(lambda: rcpt(server, "ghost@example.org").startswith("250"))


def test_while_dovecot_is_away_those_who_are_known_are_taken(server: LiveServer, dovecot: LiveLmtp) -> None:
    assert rcpt(server, DOVECOTS_OWN).startswith("250")
    dovecot.stop()
    assert rcpt(server, DOVECOTS_OWN).startswith("250"), "known a moment ago"
    assert rcpt(server, ALICE).startswith("250"), "an account"
    assert rcpt(server, "ghost@example.org").startswith("450 4.2.0"), "nobody can tell"
    dovecot.start()
    wait_until(lambda: rcpt(server, "ghost@example.org").startswith("550"))


def test_the_alias_of_the_domain_comes_behind_dovecots_mailboxes(server: LiveServer, dovecot: LiveLmtp) -> None:
    done = server.valija("alias", "add", "@example.org", DOVECOTS_OWN)
    assert done.returncode == 0, done.stderr
    for recipient in ("ghost@example.org", ALICE):
        server.submit(ALICE, "secret", recipient, message(f"to {recipient}", recipient=recipient))
    attempt(server, DOVECOTS_OWN, "outcome=delivered")
    attempt(server, ALICE, "outcome=delivered")
    assert b"Subject: to ghost" in dovecot.mailbox(DOVECOTS_OWN)[0]
    assert len(dovecot.mailbox(ALICE)) == 1


def test_an_alias_may_lead_to_whom_only_dovecot_knows(server: LiveServer) -> None:
    assert server.valija("alias", "add", "sales@example.org", DOVECOTS_OWN).returncode == 0
    refused = server.valija("alias", "add", "sales@example.org", "ghost@example.org")
    assert "nobody would read its mail" in refused.stderr
    server.submit(ALICE, "secret", "sales@example.org", message("hello", recipient="sales@example.org"))
    attempt(server, DOVECOTS_OWN, "outcome=delivered")


def test_a_full_mailbox_is_told_of_at_rcpt_where_dovecot_looks() -> None:
    with (
        LiveLmtp({SMALL: "messages=1"}, at_rcpt=True) as dovecot,
        LiveServer({"mailbox": {"transport": dovecot.transport}}) as server,
    ):
        with smtplib.SMTP(HOST, server.smtpd, timeout=20) as client:
            client.sendmail("ann@remote.example", [SMALL], message("the only one", recipient=SMALL).as_bytes())
        attempt(server, SMALL, "outcome=delivered")
        server.stop()
        server.start()  # it forgets that there was room
        assert rcpt(server, SMALL).startswith("552 5.2.2")


def test_letters_of_all_kinds_arrive_as_they_are(server: LiveServer, dovecot: LiveLmtp) -> None:
    content = "From: alice@example.org\r\nSubject: Grüße\r\n\r\nñandú\r\n".encode()
    with smtplib.SMTP(HOST, server.smtpd, timeout=20) as client:
        client.sendmail("añn@remote.example", [ALICE], content, ["SMTPUTF8", "BODY=8BITMIME"])
    attempt(server, ALICE, "outcome=delivered")
    assert "Subject: Grüße".encode() in dovecot.mailbox(ALICE)[0]


def test_connections_are_shared(server: LiveServer, dovecot: LiveLmtp) -> None:
    with smtplib.SMTP(HOST, server.smtpd, timeout=20) as client:
        for number in range(50):
            client.sendmail("ann@remote.example", [ALICE], message(f"number {number}", recipient=ALICE).as_bytes())
    wait_until(lambda: len(dovecot.mailbox(ALICE)) == 50)
    assert dovecot.log.count("Connect from local") < 20


def wait_until(condition: Callable[[], bool], deadline: float = 20.0) -> None:
    end = time.monotonic() + deadline
    while not condition():
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.1)


def test_postmaster_has_a_mailbox_all_the_same(server: LiveServer) -> None:
    server.submit(ALICE, "secret", "postmaster@example.org", message("hello", recipient="postmaster@example.org"))
    attempt(server, "postmaster@example.org", "outcome=delivered")
    kept = list((server.data_dir / "mail" / "example.org" / "postmaster" / "new").iterdir())
    assert len(kept) == 1
