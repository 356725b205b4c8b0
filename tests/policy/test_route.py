import pytest

from valija.mail.envelope import Envelope
from valija.mail.fault import Fault
from valija.mail.job import Route
from valija.policy.route import Relayhost, Router, parse_relayhost

MAIL = Envelope("alice@local.example", ())


def test_hosted_domains_go_to_their_maildir() -> None:
    for relayhost in (None, Relayhost("relay.example")):
        router = Router(["local.example"], relayhost)
        assert router.route(MAIL, "alice@local.example") == Route("maildir", "local.example")
        assert router.route(MAIL, '"bob@remote.example"@local.example') == Route("maildir", "local.example")


def test_all_else_goes_to_its_domain() -> None:
    router = Router(["local.example"], None)
    assert router.route(MAIL, "bob@remote.example") == Route("remote", "remote.example", 0, True)
    assert router.route(MAIL, "bob@sub.local.example") == Route("remote", "sub.local.example")
    assert router.route(MAIL, '"alice@local.example"@remote.example').next_hop == "remote.example"


def test_all_else_goes_to_the_relayhost() -> None:
    router = Router(["local.example"], Relayhost("relay.example", 587))
    assert router.route(MAIL, "bob@remote.example") == Route("remote", "relay.example", 587, False, is_relayhost=True)
    assert router.route(MAIL, "bob@remote.example") == router.route(MAIL, "carol@other.example")
    by_mx = Router([], Relayhost("relay.example", lookup_mx=True))
    assert by_mx.route(MAIL, "bob@remote.example") == Route("remote", "relay.example", 0, True, is_relayhost=True)


@pytest.mark.parametrize(
    ("text", "relayhost"),
    [
        ("", None),
        ("[relay.example]", Relayhost("relay.example")),
        ("[relay.example]:587", Relayhost("relay.example", 587)),
        ("[Relay.Example.]:25", Relayhost("relay.example", 25)),
        ("relay.example", Relayhost("relay.example", 0, True)),
        ("relay.example:2525", Relayhost("relay.example", 2525, True)),
        ("bücher.example", Relayhost("xn--bcher-kva.example", 0, True)),
        ("[192.0.2.1]:25", Relayhost("192.0.2.1", 25)),
        ("[2001:DB8::1]:25", Relayhost("2001:db8::1", 25)),
        ("[2001:db8::1]", Relayhost("2001:db8::1")),
        ("[localhost]:2626", Relayhost("localhost", 2626)),
    ],
)
def test_relayhost_as_postfix_writes_it(text: str, relayhost: Relayhost | None) -> None:
    assert parse_relayhost(text) == relayhost


@pytest.mark.parametrize(
    ("text", "reason", "remedy"),
    [
        ("192.0.2.1", "an IP address has no MX hosts", 'write "[192.0.2.1]"'),
        ("192.0.2.1:25", "an IP address has no MX hosts", 'write "[192.0.2.1]:25"'),
        ("2001:db8::1", "stands in brackets", 'write "[2001:db8::1]"'),
        ("[relay.example]:smtp", "the port is no number", "[host]:port"),
        ("[relay.example]:0", "the port is no number from 1 to 65535", ""),
        ("relay.example:65536", "the port is no number from 1 to 65535", ""),
        ("relay.example:", "the port is no number", ""),
        ("[relay.example]:", "the port is no number", ""),
        ("[relay.example", "it cannot be read", ""),
        ("[relay.example]587", "it cannot be read", ""),
        ("smtp:[relay.example]:25", "it cannot be read", ""),
        ("[]", "'' is neither a host name nor an IP address", ""),
        ("[relay example]", "'relay example' is neither", ""),
        (":25", "'' is neither", ""),
        ("[2001:db8::zz]:25", "'2001:db8::zz' is neither", ""),
        ("[a.example], [b.example]", "it cannot be read", ""),
        (25, "it is not a string", "put it in quotes"),
    ],
)
def test_a_relayhost_s_fault(text: object, reason: str, remedy: str) -> None:
    fault = parse_relayhost(text)
    assert isinstance(fault, Fault)
    assert fault.value == text
    assert reason in fault.reason
    assert remedy in fault.remedy
    assert fault.remedy
