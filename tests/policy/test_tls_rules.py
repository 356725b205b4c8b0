"""Which rule of the postmaster's holds for a way."""

import pytest

from valija.mail.job import Route
from valija.policy.tls_rules import TlsRule, TlsRules

RULES = TlsRules(
    "may",
    [
        TlsRule("example.net", "secure"),
        TlsRule(".example.net", "encrypt"),
        TlsRule(".sub.example.net", "verify"),
        TlsRule("example.net:2525", "none"),
        TlsRule("[relay.example.org]:587", "verify"),
        TlsRule("[relay.example.org]", "encrypt"),
        TlsRule("[2001:db8::1]:25", "none"),
        TlsRule(".org", "dane-only"),
    ],
)


@pytest.mark.parametrize(
    ("route", "domain"),
    [
        (Route("remote", "example.net"), "example.net"),
        (Route("remote", "example.net", 2525), "example.net:2525"),
        (Route("remote", "example.net", 26), "example.net"),
        (Route("remote", "a.example.net"), ".example.net"),
        (Route("remote", "a.b.example.net"), ".example.net"),
        (Route("remote", "a.sub.example.net"), ".sub.example.net"),
        (Route("remote", "sub.example.net"), ".example.net"),
        (Route("remote", "evilexample.net"), None),
        (Route("remote", "relay.example.org"), ".org"),
        (Route("remote", "relay.example.org", 587, lookup_mx=False), "[relay.example.org]:587"),
        (Route("remote", "relay.example.org", 465, lookup_mx=False), "[relay.example.org]"),
        (Route("remote", "relay.example.org", lookup_mx=False), "[relay.example.org]"),
        (Route("remote", "other.example.org", lookup_mx=False), None),  # a host is no part of a domain's MX hosts
        (Route("remote", "2001:db8::1", 25, lookup_mx=False), "[2001:db8::1]:25"),
        (Route("remote", "org"), None),
    ],
)
def test_the_narrowest_rule_holds(route: Route, domain: str | None) -> None:
    rule = RULES.of(route)
    assert (rule.domain if rule else None) == domain


def test_without_rules_there_is_none() -> None:
    assert TlsRules().of(Route("remote", "example.net")) is None
