"""The TLS policy towards one host: each level on each rung of both ladders, and what may be tried after a failure."""

import itertools
from collections.abc import Sequence
from typing import get_args

import msgspec
import pytest

from valija.mail.envelope import TlsDemand
from valija.mail.job import Route
from valija.policy.mta_sts import Mode, StsPolicy
from valija.policy.tls import (
    Decision,
    HostFacts,
    TlsPolicy,
    TlsWish,
    Unusable,
    tls_policy,
    tls_wish,
)
from valija.policy.tls_ladders import ChannelSecurity, MxAuthenticity
from valija.policy.tls_ladders import TlsSecurityLevel as Level
from valija.policy.tls_rules import TlsRule, TlsRules
from valija.policy.tlsa import NO_TLSA, TlsaAnswer, TlsaRecord

LEVELS: tuple[Level, ...] = get_args(Level)
DOMAIN = "remote.example"
HOST = "mx1.remote.example"
GOOD = TlsaRecord(3, 1, 1, bytes(32))
FOUND = TlsaAnswer(HOST, (GOOD,))
UNUSABLE = TlsaAnswer(HOST, (TlsaRecord(1, 1, 1, bytes(32)), TlsaRecord(3, 1, 1, bytes(31))))
FAILED = TlsaAnswer(HOST, failed="SERVFAIL")


def sts(mode: Mode = "enforce", *mx: str) -> StsPolicy:
    return StsPolicy(mode, mx or (HOST,), 86400)


def wish(level: Level = "may", demand: TlsDemand = "", *, lookup_mx: bool = True, login: str = "") -> TlsWish:
    route = Route("remote", DOMAIN if lookup_mx else HOST, lookup_mx=lookup_mx, tls_demand=demand, login=login)
    return tls_wish(route, TlsRules(level))


def policy(
    level: Level = "may",
    *,
    host: str = HOST,
    next_hop: str = DOMAIN,
    signed: bool = False,
    tlsa: TlsaAnswer | None = None,
    of: StsPolicy | None = None,
    demand: TlsDemand = "",
    lookup_mx: bool = True,
    login: str = "",
    sts_unknown: bool = False,
) -> TlsPolicy | Unusable:
    wanted = wish(level, demand, lookup_mx=lookup_mx, login=login)
    asked = wanted.asks_for_tlsa(mx_authentic=signed)
    return tls_policy(wanted, HostFacts(host, next_hop, signed, (), tlsa if asked else None, of, sts_unknown))


def usable(level: Level = "may", **facts: object) -> TlsPolicy:
    decided = policy(level, **facts)  # type: ignore[arg-type]  # the keywords are those of policy()
    assert isinstance(decided, TlsPolicy)
    return decided


def unusable(level: Level = "may", **facts: object) -> Unusable:
    decided = policy(level, **facts)  # type: ignore[arg-type]  # as above
    assert isinstance(decided, Unusable)
    return decided


# The level alone

FLOORS = {"none": 0, "may": 0, "dane": 0, "encrypt": 1, "fingerprint": 2, "verify": 2, "secure": 2}


@pytest.mark.parametrize("level", FLOORS)
def test_an_unsigned_domain_without_a_policy_is_met_as_configured(level: Level) -> None:
    decided = usable(level)
    assert decided.floor == FLOORS[level]
    assert decided.source == ("default" if level == "may" else "configured")
    clear = Decision.DEFER if decided.is_mandatory else Decision.CLEAR
    assert decided.after_hello(offers_starttls=False) is clear
    assert decided.after_refusal() is clear
    assert (decided.after_failure() is None) is decided.is_mandatory
    assert decided.after_hello(offers_starttls=True) is (Decision.CLEAR if level == "none" else Decision.STARTTLS)
    assert decided.verifies is (decided.floor is ChannelSecurity.AUTHENTICATED)


def test_dane_only_uses_no_host_that_has_none() -> None:
    assert unusable("dane-only").result == "dane-required"  # not even asked: the MX answer is not signed
    assert unusable("dane-only", signed=True, tlsa=NO_TLSA).result == "dane-required"
    assert unusable("dane-only", signed=True, tlsa=UNUSABLE).result == "tlsa-invalid"
    assert usable("dane-only", signed=True, tlsa=FOUND).level == "dane-only"
    assert unusable("dane-only", of=sts()).reply.enhanced == "4.7.5"  # MTA-STS is no substitute


def test_after_a_failed_handshake_may_goes_on_in_clear_and_never_asks_again() -> None:
    again = usable("may").after_failure()
    assert again is not None
    assert again.after_hello(offers_starttls=True) is Decision.CLEAR
    assert (again.level, again.source) == ("may", "default")


# DANE


@pytest.mark.parametrize("level", ["may", "encrypt", "dane"])
def test_the_opportunistic_levels_rise_to_dane_where_all_is_signed(level: Level) -> None:
    decided = usable(level, signed=True, tlsa=FOUND, of=sts("enforce", "other.example"))
    assert (decided.level, decided.source, decided.proof) == ("dane", "dane", "dane")
    assert (decided.mx, decided.floor) == (MxAuthenticity.DNSSEC, ChannelSecurity.AUTHENTICATED)
    assert decided.records == (GOOD,)
    assert decided.after_failure() is None


@pytest.mark.parametrize("level", ["none", "fingerprint", "verify", "secure"])
def test_the_others_ask_for_no_tlsa_and_no_policy(level: Level) -> None:
    wanted = wish(level)
    assert not wanted.asks_for_tlsa(mx_authentic=True)
    assert not wanted.asks_for_sts


def test_a_signed_host_in_an_unsigned_mx_set_counts_for_dane_alone() -> None:
    assert not wish("may").asks_for_tlsa(mx_authentic=False)
    assert not wish("encrypt").asks_for_tlsa(mx_authentic=False)
    assert not wish("dane-only").asks_for_tlsa(mx_authentic=False)
    decided = usable("dane", tlsa=FOUND)
    assert (decided.proof, decided.mx) == ("dane", MxAuthenticity.NONE)
    assert DOMAIN not in decided.names  # nobody vouches for it that this host speaks for the domain
    assert DOMAIN in usable("dane", tlsa=FOUND, signed=True).names


def test_a_configured_host_has_its_own_tlsa_records() -> None:
    decided = usable("may", next_hop=HOST, lookup_mx=False, tlsa=FOUND)
    assert (decided.proof, decided.mx) == ("dane", MxAuthenticity.CONFIGURED)
    assert decided.names == (HOST,)


@pytest.mark.parametrize("level", ["may", "encrypt", "dane", "dane-only"])
@pytest.mark.parametrize("of", [None, sts()], ids=["", "mta-sts"])
def test_a_look_up_that_fails_is_never_a_downgrade(level: Level, of: StsPolicy | None) -> None:
    decided = unusable(level, signed=True, tlsa=FAILED, of=of)
    assert (decided.reply.enhanced, decided.is_permanent, decided.result) == ("4.7.5", False, "dnssec-invalid")
    assert "SERVFAIL" in decided.reply.text


@pytest.mark.parametrize("level", ["may", "encrypt", "dane"])
def test_unusable_records_say_all_the_same_that_there_is_tls(level: Level) -> None:
    decided = usable(level, signed=True, tlsa=UNUSABLE)
    assert (decided.floor, decided.proof, decided.source) == (ChannelSecurity.ENCRYPTED, "", "dane")
    assert usable(level, signed=True, tlsa=UNUSABLE, of=sts()).proof == "pkix"


def test_sni_is_the_base_domain() -> None:
    decided = usable(signed=True, tlsa=TlsaAnswer("real.example", (GOOD,)))
    assert decided.server_name == "real.example"
    assert decided.names == ("real.example", HOST, DOMAIN)


# MTA-STS


@pytest.mark.parametrize("level", ["may", "encrypt", "dane"])
def test_the_opportunistic_levels_rise_to_mta_sts(level: Level) -> None:
    decided = usable(level, of=sts(), signed=True, tlsa=NO_TLSA)
    assert (decided.level, decided.source, decided.proof) == ("verify", "mta-sts", "pkix")
    assert decided.names == (HOST,)
    assert decided.after_failure() is None
    assert usable(level, of=sts()).mx is MxAuthenticity.MTA_STS


def test_a_host_that_the_policy_does_not_name_is_not_used() -> None:
    decided = unusable(of=sts("enforce", "mx2.remote.example", "*.elsewhere.example"))
    assert (decided.reply.enhanced, decided.is_permanent) == ("4.7.5", False)
    assert DOMAIN in decided.reply.text
    assert HOST in decided.reply.text
    assert usable(of=sts("enforce", "*.remote.example")).proof == "pkix"


def test_testing_tries_reports_and_delivers() -> None:
    tried = usable(of=sts("testing"))
    assert (tried.proof, tried.on_trial, tried.is_mandatory, tried.level) == ("pkix", True, False, "may")
    again = tried.after_failure()
    assert again == msgspec.structs.replace(usable(), proof="", on_trial=False)
    unnamed = usable(of=sts("testing", "other.example"))
    assert unnamed.complaint
    assert not unnamed.verifies


def test_a_policy_of_mode_none_is_none() -> None:
    assert usable(of=sts("none", "other.example")) == usable()


def test_a_configured_host_has_no_domain_to_ask() -> None:
    assert not wish(lookup_mx=False).asks_for_sts


# Names


@pytest.mark.parametrize(
    ("level", "host", "lookup_mx", "sni"),
    [
        ("may", HOST, True, HOST),
        ("verify", "mx.elsewhere.example", True, "mx.elsewhere.example"),
        ("secure", HOST, True, HOST),
        ("secure", DOMAIN, True, DOMAIN),
        ("secure", "mx.elsewhere.example", True, DOMAIN),
        ("secure", "evilremote.example", True, DOMAIN),
    ],
)
def test_who_is_asked_for_in_the_handshake(level: Level, host: str, lookup_mx: bool, sni: str) -> None:
    assert usable(level, host=host, lookup_mx=lookup_mx).server_name == sni


@pytest.mark.parametrize("host", [HOST, DOMAIN, "mx.elsewhere.example"])
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
    assert usable("secure", host=host).accepts(names) is accepted


@pytest.mark.parametrize(
    ("level", "lookup_mx", "host", "names", "accepted"),
    [
        ("verify", True, HOST, ["mx1.remote.example"], True),
        ("verify", True, HOST, ["*.remote.example"], True),
        ("verify", True, HOST, ["remote.example"], False),
        ("verify", True, HOST, ["mx2.remote.example"], False),
        ("verify", False, "relay.example", ["relay.example"], True),
        ("verify", False, "relay.example", ["a.relay.example"], False),
        ("secure", False, "relay.example", ["relay.example"], True),
        ("secure", False, "relay.example", ["a.relay.example"], False),
        ("secure", False, "192.0.2.1", ["192.0.2.1"], True),
        ("verify", False, "192.0.2.1", ["*.0.2.1"], False),
    ],
)
def test_the_name_of_a_host(level: Level, lookup_mx: bool, host: str, names: list[str], accepted: bool) -> None:
    next_hop = DOMAIN if lookup_mx else host
    assert usable(level, host=host, next_hop=next_hop, lookup_mx=lookup_mx).accepts(names) is accepted


@pytest.mark.parametrize("level", ["none", "may", "encrypt", "fingerprint"])
def test_elsewhere_names_do_not_matter(level: Level) -> None:
    assert usable(level).accepts([])


@pytest.mark.parametrize(
    ("match", "named", "mx"),
    [
        (("nexthop", "hostname"), (DOMAIN, HOST), MxAuthenticity.NONE),
        (("dot-nexthop",), (f".{DOMAIN}",), MxAuthenticity.CONFIGURED),
        (("mail.partner.example",), ("mail.partner.example",), MxAuthenticity.CONFIGURED),
    ],
)
def test_configured_names(match: tuple[str, ...], named: tuple[str, ...], mx: MxAuthenticity) -> None:
    rules = TlsRules("may", [TlsRule(DOMAIN, "secure", match=match)])
    decided = tls_policy(tls_wish(Route("remote", DOMAIN), rules), HostFacts(HOST, DOMAIN))
    assert isinstance(decided, TlsPolicy)
    assert (decided.names, decided.mx) == (named, mx)


# Logins


@pytest.mark.parametrize("level", ["none", "may", "encrypt", "dane"])
def test_a_password_is_for_a_host_that_proved_its_name(level: Level) -> None:
    to_host = usable(level, next_hop=HOST, lookup_mx=False, login="us")
    assert (to_host.level, to_host.source, to_host.proof, to_host.names) == ("verify", "login", "pkix", (HOST,))
    to_domain = usable(level, login="us")
    assert (to_domain.level, to_domain.names) == ("secure", (DOMAIN, f".{DOMAIN}"))


@pytest.mark.parametrize("level", ["none", "may", "dane"])
def test_no_rule_lets_a_password_travel_in_clear(level: Level) -> None:
    route = Route("remote", HOST, 587, lookup_mx=False, login="us")
    for demand in get_args(TlsDemand):
        asked = msgspec.structs.replace(route, tls_demand=demand)
        wanted = tls_wish(asked, TlsRules("none", [TlsRule(f"[{HOST}]:587", level)]))
        decided = tls_policy(wanted, HostFacts(HOST, HOST))
        assert isinstance(decided, TlsPolicy)
        assert decided.is_mandatory
        assert decided.after_hello(offers_starttls=False) is Decision.DEFER
        assert decided.after_failure() is None


# What senders ask for

VOUCHED: Sequence[dict[str, object]] = (
    {"signed": True, "tlsa": FOUND},
    {"signed": True, "tlsa": UNUSABLE},
    {"signed": True, "tlsa": NO_TLSA},
    {"of": sts()},
    {"next_hop": HOST, "lookup_mx": False},
)


@pytest.mark.parametrize("facts", VOUCHED, ids=["dane", "unusable", "dnssec", "mta-sts", "relayhost"])
@pytest.mark.parametrize("level", ["none", "may", "encrypt", "dane", "verify", "secure", "fingerprint"])
def test_requiretls_wants_a_known_host_that_proves_it(level: Level, facts: dict[str, object]) -> None:
    decided = usable(level, demand="required", **facts)
    assert decided.floor is ChannelSecurity.AUTHENTICATED
    assert decided.mx >= MxAuthenticity.MTA_STS
    assert decided.verifies
    assert not decided.on_trial
    assert decided.announces
    assert decided.after_failure() is None


@pytest.mark.parametrize("level", ["may", "encrypt", "dane", "verify"])
@pytest.mark.parametrize("of", [None, sts("testing"), sts("none")], ids=["", "testing", "none"])
def test_requiretls_to_a_domain_that_nobody_vouches_for_is_returned(level: Level, of: StsPolicy | None) -> None:
    assert str(unusable(level, demand="required", of=of).reply).startswith("550 5.7.30 ")
    assert not unusable(level, demand="required", of=of, sts_unknown=True).is_permanent


@pytest.mark.parametrize("level", ["secure", "fingerprint"])
def test_requiretls_does_where_the_peer_proves_more_than_the_dns_says(level: Level) -> None:
    assert usable(level, demand="required").announces


def test_tls_required_no_lets_go_of_what_the_domain_published() -> None:
    for level in ("may", "dane"):
        decided = usable(level, demand="optional", signed=True, tlsa=FAILED, of=sts("enforce", "other.example"))
        assert (decided.floor, decided.proof, decided.source) == (ChannelSecurity.NONE, "", "tls-required-no")
        assert not wish(level, "optional").asks_for_sts


@pytest.mark.parametrize("level", ["encrypt", "verify", "secure", "fingerprint"])
def test_tls_required_no_does_not_overrule_the_postmaster(level: Level) -> None:
    assert usable(level, demand="optional").floor == FLOORS[level]
    assert unusable("dane-only", demand="optional").reply.is_transient


# All of it


def test_no_combination_falls_below_what_was_asked_or_fails_for_good() -> None:
    answers = (None, NO_TLSA, FOUND, UNUSABLE, FAILED)
    policies = (None, sts(), sts("enforce", "other.example"), sts("testing"), sts("none"))
    demands: tuple[TlsDemand, ...] = get_args(TlsDemand)
    for level, signed, tlsa, of, demand, lookup_mx, login in itertools.product(
        LEVELS, (False, True), answers, policies, demands, (False, True), ("", "us")
    ):
        decided = policy(level, signed=signed, tlsa=tlsa, of=of, demand=demand, lookup_mx=lookup_mx, login=login)
        if isinstance(decided, Unusable):
            assert decided.reply.is_transient or (demand == "required" and decided.reply.enhanced == "5.7.30")
            continue
        if level in FLOORS:
            assert decided.floor >= FLOORS[level]
        else:
            assert decided.floor is ChannelSecurity.AUTHENTICATED
        assert decided.verifies or decided.floor < ChannelSecurity.AUTHENTICATED
        assert decided.names or decided.proof != "pkix"
        if login or demand == "required":
            assert decided.is_mandatory
        if decided.is_mandatory:
            assert decided.after_hello(offers_starttls=False) is Decision.DEFER
            again = decided.after_failure()
            assert again is None or again.is_mandatory
