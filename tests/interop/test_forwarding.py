"""Mail through an alias to another host, and the way back of its bounce, on the running server."""

import smtplib
from collections.abc import Iterator

import pytest

from tests.interop.postfix import DOMAIN, Postfix, need_postfix
from tests.live import HOST, LiveServer, message
from tests.ports import free_port
from tests.sink import CatchingSink

OUTSIDER, SALES, TARGET = "ann@remote.example", "sales@example.org", "bob@elsewhere.example"

UNASKED = {"spf": "off", "dmarc": "off", "iprev": "off", "helo": "off"}  # they would ask the DNS of this machine


@pytest.fixture
def sink() -> Iterator[CatchingSink]:
    with CatchingSink() as sink:
        yield sink


@pytest.fixture
def server(sink: CatchingSink) -> Iterator[LiveServer]:
    settings = {"smtp": {"relayhost": sink.relayhost}, "mynetworks": ["127.0.0.9/32"], "checks": UNASKED}
    with LiveServer(settings) as server:
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


def test_postfix_takes_what_is_forwarded_and_its_bounce_finds_back() -> None:
    """A return address is longer than what RFC 5321 promises to a local part, and Postfix bounces to it."""
    need_postfix()
    author = f"{'a-long-name-' * 5}@a-rather-long-domain.of.remote.example"
    postfix_port, port = free_port(), free_port()
    back = {
        "relayhost": f"[{HOST}]:{port}",
        "virtual_alias_maps": f"inline:{{ {{bob@{DOMAIN} = bob@moved.example}} }}",
        "transport_maps": "inline:{ {moved.example = error:5.1.6 moved to nowhere} }",
    }
    with CatchingSink() as sink, Postfix(back, port=postfix_port):
        settings = {
            "smtpd": {"listen": [f"{HOST}:{port}"]},
            "smtp": {
                "relayhost": sink.relayhost,
                "route": [{"domain": DOMAIN, "next_hop": f"[{HOST}]:{postfix_port}"}],
            },
            "mynetworks": ["127.0.0.9/32"],
            "checks": UNASKED,
        }
        with LiveServer(settings) as server:
            server.smtpd = port
            assert server.valija("alias", "add", SALES, f"bob@{DOMAIN}").returncode == 0
            from_outside(server, author, SALES)
            returned = sink.wait_for(1)[0]
    assert (returned.reverse_path, returned.recipients) == ("", (author,))
    assert b"rfc822;sales@example.org" in returned.content, "the address that the sender knows"
    assert b"moved to nowhere" in returned.content
