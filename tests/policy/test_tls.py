"""The TLS policy per next hop: every level at every turn."""

import pytest

from valija.mail.reply import Reply
from valija.policy import tls
from valija.policy.tls import Decision, TlsSecurityLevel, tls_policy

LEVELS: tuple[TlsSecurityLevel, ...] = ("none", "may", "encrypt", "verify", "secure")


def policy(level: TlsSecurityLevel, host: str = "mx1.remote.example", *, lookup_mx: bool = True) -> tls.TlsPolicy:
    return tls_policy(level, next_hop="remote.example", host=host, lookup_mx=lookup_mx)


@pytest.mark.parametrize("level", LEVELS)
def test_nothing_travels_in_clear_above_may(level: TlsSecurityLevel) -> None:
    clear = Decision.CLEAR if level in ("none", "may") else Decision.DEFER
    assert policy(level).after_hello(offers_starttls=False) is clear
    assert policy(level).after_refusal() is clear
    assert policy(level).after_failure() is clear


@pytest.mark.parametrize("level", LEVELS)
def test_what_is_offered_is_used_above_none(level: TlsSecurityLevel) -> None:
    expected = Decision.CLEAR if level == "none" else Decision.STARTTLS
    assert policy(level).after_hello(offers_starttls=True) is expected


@pytest.mark.parametrize(
    ("level", "host", "lookup_mx", "checked"),
    [
        ("none", "mx1.remote.example", True, ""),
        ("may", "mx1.remote.example", True, ""),
        ("encrypt", "mx1.remote.example", True, ""),
        ("verify", "mx.elsewhere.example", True, "mx.elsewhere.example"),
        ("secure", "mx1.remote.example", True, "mx1.remote.example"),
        ("secure", "remote.example", True, "remote.example"),
        ("secure", "mx.elsewhere.example", True, "remote.example"),
        ("secure", "evilremote.example", True, "remote.example"),
        ("secure", "192.0.2.1", False, "192.0.2.1"),
    ],
)
def test_the_name_a_certificate_must_bear(level: TlsSecurityLevel, host: str, lookup_mx: bool, checked: str) -> None:
    decided = policy(level, host, lookup_mx=lookup_mx)
    assert decided.checked_name == checked
    assert decided.verifies == bool(checked)


@pytest.mark.parametrize("host", ["mx1.remote.example", "remote.example", "mx.elsewhere.example"])
@pytest.mark.parametrize(
    ("names", "accepted"),
    [
        (["remote.example"], True),
        (["Remote.Example."], True),
        (["mx1.remote.example"], True),
        (["mx7.remote.example"], True),  # a host within the domain, whichever the DNS named
        (["a.b.remote.example"], True),
        (["*.remote.example"], True),
        (["*.example"], True),  # one label: the domain itself
        (["x.example", "mail.remote.example"], True),
        (["mx.elsewhere.example"], False),
        (["*.elsewhere.example"], False),
        (["evilremote.example"], False),
        (["remote.example.evil.example"], False),
        (["example"], False),
        (["*"], False),
        ([""], False),
        ([], False),
    ],
)
def test_secure_means_the_domain_or_a_host_within_it(host: str, names: list[str], accepted: bool) -> None:
    assert policy("secure", host).accepts(names) is accepted


@pytest.mark.parametrize(
    ("host", "lookup_mx", "names", "accepted"),
    [
        ("mx1.remote.example", True, ["mx1.remote.example"], True),
        ("mx1.remote.example", True, ["*.remote.example"], True),
        ("mx1.remote.example", True, ["remote.example"], False),
        ("mx1.remote.example", True, ["mx2.remote.example"], False),
        ("relay.example", False, ["relay.example"], True),
        ("relay.example", False, ["a.relay.example"], False),
        ("192.0.2.1", False, ["192.0.2.1"], True),
        ("192.0.2.1", False, ["*.0.2.1"], False),
    ],
)
def test_verify_means_the_host(host: str, lookup_mx: bool, names: list[str], accepted: bool) -> None:
    assert policy("verify", host, lookup_mx=lookup_mx).accepts(names) is accepted


@pytest.mark.parametrize("host", ["relay.example", "192.0.2.1"])
def test_secure_takes_a_single_host_at_its_name(host: str) -> None:
    decided = tls_policy("secure", next_hop=host, host=host, lookup_mx=False)
    assert decided.accepts([host])
    assert not decided.accepts([f"a.{host}"])


@pytest.mark.parametrize("level", ["none", "may", "encrypt"])
def test_below_verify_any_certificate_will_do(level: TlsSecurityLevel) -> None:
    assert policy(level).accepts([])


def test_failures_of_policy_are_transient() -> None:
    refusal = Reply(554, "5.7.0", "no TLS for you")
    for reply in (tls.not_offered("h"), tls.refused("h", refusal), tls.failed("h", "x")):
        assert reply.is_transient
        assert reply.enhanced[0] == "4"
