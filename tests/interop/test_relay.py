"""A stranger cannot relay on port 25, however the recipient is written; the rightful ways stay open.

The forms are those of open-relay testers: the sink behind the server must see none of them.
"""

import smtplib
from collections.abc import Iterator
from typing import Final, NamedTuple

import pytest

from tests.live import HOST, LiveServer, message, trust_all
from tests.sink import CatchingSink

pytestmark = pytest.mark.interop

FORMS: Final = [
    "<victim@remote.example>",
    "<victim@REMOTE.EXAMPLE.>",
    "<victim%remote.example@example.org>",
    '<"victim%remote.example">',
    "<victim%remote.example>",
    "<victim@remote.example@>",
    '<"victim@remote.example"@example.org>',
    '<"victim@remote.example">',
    "<remote.example!victim@example.org>",
    "<remote.example!victim>",
    "<@example.org:victim@remote.example>",
    "<@example.org,@remote.example:victim@remote.example>",
    "<victim@remote.example@example.org>",
    "<victim@example.org@remote.example>",
    "<victim@[127.0.0.1]>",
    "<victim@[IPv6:::1]>",
    "<victim@localhost>",
    "<victim@mail.example.org>",
    "<victim@xn--rmote-bsa.example>",
    "victim@remote.example",
    "<victim@remote.example> NOTIFY=NEVER",
]
SENDERS: Final = ["<a@evil.example>", "<alice@example.org>", "<>", "<postmaster@example.org>"]


class Setting(NamedTuple):
    server: LiveServer
    sink: CatchingSink


@pytest.fixture(scope="module")
def setting() -> Iterator[Setting]:
    """A server that knows alice, trusts 127.0.0.9 and hands everything else to the sink."""
    with (
        CatchingSink() as sink,
        LiveServer({"mynetworks": ["127.0.0.9/32"], "smtp": {"relayhost": sink.relayhost}}) as server,
    ):
        server.add_user("alice@example.org", "secret")
        yield Setting(server, sink)


@pytest.mark.parametrize("sender", SENDERS)
def test_c062_no_form_of_a_recipient_relays(setting: Setting, sender: str) -> None:
    server, sink = setting
    for form in FORMS:
        with smtplib.SMTP(HOST, server.smtpd, local_hostname="stranger.example", timeout=20) as client:
            client.ehlo()
            assert client.docmd("MAIL", f"FROM:{sender}")[0] == 250
            code, text = client.docmd("RCPT", f"TO:{form}")
            assert 500 <= code < 600, (form, code, text)
            assert client.docmd("DATA")[0] in (503, 554), form
    assert sink.caught == []


def test_relay_is_refused_in_the_words_that_testers_know(setting: Setting) -> None:
    with smtplib.SMTP(HOST, setting.server.smtpd, timeout=20) as client:
        client.ehlo()
        client.docmd("MAIL", "FROM:<a@evil.example>")
        code, text = client.docmd("RCPT", "TO:<victim@remote.example>")
    assert code == 554
    assert text.startswith(b"5.7.1 ")
    assert text.endswith(b"Relay access denied")


def test_a_trusted_network_relays(setting: Setting) -> None:
    server, sink = setting
    before = len(sink.caught)
    with smtplib.SMTP(HOST, server.smtpd, timeout=20, source_address=("127.0.0.9", 0)) as client:
        client.sendmail("a@inside.example", ["victim@remote.example"], message("trusted").as_bytes())
    assert sink.wait_for(before + 1)[before].recipients == ("victim@remote.example",)


def test_a_stranger_reaches_a_hosted_user(setting: Setting) -> None:
    with smtplib.SMTP(HOST, setting.server.smtpd, timeout=20) as client:
        client.sendmail("friend@remote.example", ["alice@example.org"], message("welcome").as_bytes())
    setting.server.wait_for_log(r"recipient=alice@example\.org outcome=delivered")


@pytest.mark.parametrize("listener", ["submission", "submissions"])
def test_c072_no_mail_without_login_even_from_a_trusted_network(setting: Setting, listener: str) -> None:
    server = setting.server
    port = getattr(server, listener)
    source = ("127.0.0.9", 0)
    if listener == "submissions":
        client: smtplib.SMTP = smtplib.SMTP_SSL(HOST, port, timeout=20, source_address=source, context=trust_all())
    else:
        client = smtplib.SMTP(HOST, port, timeout=20, source_address=source)
    with client:
        client.ehlo()
        for recipient in ("victim@remote.example", "alice@example.org"):
            assert client.docmd("MAIL", "FROM:<alice@example.org>")[0] == 530
            assert client.docmd("RCPT", f"TO:<{recipient}>")[0] >= 500
        assert client.docmd("NOOP")[0] == 250
