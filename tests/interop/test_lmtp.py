"""Mail of the hosted domains handed over to the real Dovecot by LMTP."""

from collections.abc import Iterator

import pytest

from tests import dovecot_lmtp
from tests.dovecot_lmtp import LiveLmtp
from tests.live import LiveServer, message

pytestmark = [pytest.mark.interop, pytest.mark.skipif(bool(dovecot_lmtp.MISSING), reason=dovecot_lmtp.MISSING)]

ALICE, SMALL, NOBODY = "alice@example.org", "small@example.org", "nobody-there@example.org"


@pytest.fixture
def dovecot() -> Iterator[LiveLmtp]:
    with LiveLmtp({ALICE: "", SMALL: "1K"}) as dovecot:
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


def test_each_recipient_has_dovecots_own_answer(server: LiveServer, dovecot: LiveLmtp) -> None:
    content = message("large", recipient=SMALL).as_bytes() + b"x" * 70 + b"\r\n" + b"y" * 4000
    server.submit(ALICE, "secret", SMALL, content)
    attempt(server, SMALL, r"outcome=failed .*5[0-9][0-9] 5\.2\.2")
    server.submit(ALICE, "secret", NOBODY, message("hello", recipient=NOBODY))
    attempt(server, NOBODY, r"outcome=failed .*550 5\.1\.1")
    assert not dovecot.mailbox(SMALL)


def test_postmaster_has_a_mailbox_all_the_same(server: LiveServer) -> None:
    server.submit(ALICE, "secret", "postmaster@example.org", message("hello", recipient="postmaster@example.org"))
    attempt(server, "postmaster@example.org", "outcome=delivered")
    kept = list((server.data_dir / "mail" / "example.org" / "postmaster" / "new").iterdir())
    assert len(kept) == 1
