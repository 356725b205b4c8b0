"""Mail through an alias to another host, and the way back of its bounce, on the running server."""

import smtplib
from collections.abc import Iterator

import pytest

from tests.live import HOST, LiveServer, message
from tests.sink import CatchingSink

OUTSIDER, SALES, TARGET = "ann@remote.example", "sales@example.org", "bob@elsewhere.example"


@pytest.fixture
def sink() -> Iterator[CatchingSink]:
    with CatchingSink() as sink:
        yield sink


@pytest.fixture
def server(sink: CatchingSink) -> Iterator[LiveServer]:
    checks = {"spf": "off", "dmarc": "off", "iprev": "off", "helo": "off"}  # they would ask the DNS of this machine
    with LiveServer(
        {"smtp": {"relayhost": sink.relayhost}, "mynetworks": ["127.0.0.9/32"], "checks": checks}
    ) as server:
        done = server.valija("alias", "add", SALES, TARGET)
        assert done.returncode == 0, done.stderr
        yield server


def from_outside(server: LiveServer, reverse_path: str, recipient: str) -> None:
    with smtplib.SMTP(HOST, server.smtpd, timeout=20) as client:
        client.sendmail(reverse_path, [recipient], message("hello", OUTSIDER, recipient).as_bytes())


def test_what_is_forwarded_has_a_return_address_whose_bounce_finds_the_sender(
    server: LiveServer, sink: CatchingSink
) -> None:
    from_outside(server, OUTSIDER, SALES)
    forwarded = sink.wait_for(1)[0]
    assert forwarded.recipients == (TARGET,)
    assert forwarded.reverse_path.startswith("SRS0=")
    assert forwarded.reverse_path.endswith("=remote.example=ann@example.org")
    from_outside(server, "", forwarded.reverse_path)
    returned = sink.wait_for(2)[1]
    assert (returned.reverse_path, returned.recipients) == ("", (OUTSIDER,))


def test_a_return_address_that_we_never_made_is_nobodys(server: LiveServer, sink: CatchingSink) -> None:
    with pytest.raises(smtplib.SMTPRecipientsRefused, match="550"):
        from_outside(server, "", "SRS0=AAAAAAAA=7C=victim.example=eve@example.org")
    assert not sink.caught


def test_mail_of_our_own_domain_keeps_its_reverse_path(server: LiveServer, sink: CatchingSink) -> None:
    server.add_user("alice@example.org", "secret")
    server.submit("alice@example.org", "secret", SALES, message("hello", recipient=SALES))
    assert sink.wait_for(1)[0].reverse_path == "alice@example.org"
