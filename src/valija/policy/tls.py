"""How is the channel to a host to be secured? Decided from what is configured, published and asked, before connecting.

    wish = tls_wish(route, rules)                    # once for a next hop: what is wanted, and what has to be found out
    policy = tls_policy(wish, HostFacts("mx1.example.net", "example.net", mx_authentic=True, tlsa=answer))
    if isinstance(policy, Unusable): ...             # nothing may be sent by this host, and why
    policy.after_hello(offers_starttls=True)         # Decision.STARTTLS

| level       | without STARTTLS | handshake fails | the peer's certificate                                  |
|-------------|------------------|-----------------|---------------------------------------------------------|
| none        | clear            | (not tried)     |                                                         |
| may         | clear            | clear, anew     | not looked at                                           |
| encrypt     | defer 4.7.4      | defer 4.7.5     | not looked at                                           |
| dane        | as dane-only where a host has TLSA records, else as may                                      |
| dane-only   | defer 4.7.4      | defer 4.7.5     | as the TLSA records say; a host without them is no host |
| fingerprint | defer 4.7.4      | defer 4.7.5     | one of those configured, or with such a key             |
| verify      | defer 4.7.4      | defer 4.7.5     | trusted, for the MX host's name                         |
| secure      | defer 4.7.4      | defer 4.7.5     | trusted, for the next hop's domain or a name within it  |

`may`, `encrypt` and `dane` rise by themselves, host by host. To DANE where DNSSEC vouches for the MX set, for the
host's addresses and for its TLSA records (RFC 7672); `dane` alone is content with a signed host in an unsigned MX set,
as in Postfix. Else to MTA-STS where the domain publishes `enforce` (RFC 8461): a host that the policy does not name is
not used. DANE wins where both exist. TLSA records of which none can be used make encryption mandatory (RFC 7672 section
2.2); MTA-STS, where there is any, then asks for more. A TLSA look-up that fails makes the host unusable: it may be an
attack. MTA-STS `testing` is tried and reported, and the mail goes as if there were none.

A route with a login is at `verify` (`secure` where MX hosts are looked up), and never below `encrypt`, whatever a rule
says: a password does not travel in clear.

REQUIRETLS (RFC 8689 section 4.2.1) wants of each host that DNSSEC, MTA-STS or the postmaster vouches for its name, that
it proves to bear it, and that it announces REQUIRETLS inside TLS. That a domain publishes nothing to know its hosts by,
or that an authenticated host does not offer REQUIRETLS, is final (5.7.30). All else is transient. `TLS-Required: No`
lets go of what the domain published; what the postmaster configured stays, be it `encrypt` or more.

Failures of policy are transient, those two apart: they may be an attack, and bouncing is what the attacker wants.
"""

from collections.abc import Iterable
from enum import Enum, auto
from typing import Final, Literal

import msgspec

from valija.mail.envelope import TlsDemand
from valija.mail.job import Route
from valija.mail.reply import Reply
from valija.policy.certificate_names import names_match
from valija.policy.mta_sts import StsPolicy
from valija.policy.tls_ladders import ChannelSecurity, MxAuthenticity, TlsSecurityLevel, TlsSource
from valija.policy.tls_report import ResultType
from valija.policy.tls_rules import TlsRules
from valija.policy.tlsa import TlsaAnswer, TlsaRecord, usable

Proof = Literal["", "pkix", "dane", "fingerprint"]
"""How a peer proves who it is: not at all, by an authority, by TLSA records, by a known certificate."""

_RISING: Final = frozenset({"may", "encrypt", "dane"})


class Decision(Enum):
    """What to do next with a connection."""

    CLEAR = auto()
    STARTTLS = auto()
    DEFER = auto()


class TlsWish(msgspec.Struct, frozen=True, gc=False):
    """What is wanted of the hosts of a next hop. `match` and `fingerprints` are those of a TlsRule."""

    level: TlsSecurityLevel
    source: TlsSource = "default"
    demand: TlsDemand = ""
    lookup_mx: bool = True
    match: tuple[str, ...] = ()
    fingerprints: tuple[bytes, ...] = ()

    @property
    def rises(self) -> bool:
        """Whether what the domain publishes is heeded."""
        return self.level in _RISING and self.demand != "optional"

    @property
    def asks_for_sts(self) -> bool:
        """Whether the next hop's MTA-STS policy matters; a host that the postmaster names needs nobody's word."""
        return self.lookup_mx and (self.rises or self.demand == "required")

    def asks_for_tlsa(self, *, mx_authentic: bool) -> bool:
        """Whether a host's TLSA records matter. `mx_authentic`: DNSSEC vouches for the MX answer that named it."""
        if self.level == "dane-only" or self.rises:
            return mx_authentic or not self.lookup_mx or self.level == "dane"
        return False


class HostFacts(msgspec.Struct, frozen=True, gc=False):
    """What is known of a host before a connection is made.

    `domains` are further names that DNSSEC says the next hop has (where its CNAME leads). `tlsa` is None where it was
    not asked for. `sts` is the next hop's policy; `sts_unknown`: there may be one that can't be had now.
    """

    host: str
    next_hop: str
    mx_authentic: bool = False
    domains: tuple[str, ...] = ()
    tlsa: TlsaAnswer | None = None
    sts: StsPolicy | None = None
    sts_unknown: bool = False


class TlsPolicy(msgspec.Struct, frozen=True, gc=False):
    """The policy towards one host.

    `floor` is the least security that mail may travel with, `mx` how well the host's name is known. `names` are those a
    certificate may bear, a leading dot for what lies below, where `proof` looks at names; `server_name` is sent as SNI.
    `on_trial`: the proof is asked for and reported, not insisted on. `complaint` is what a report says of the host even
    if all goes well. `announces`: the peer has to announce REQUIRETLS. `in_clear`: TLS was tried, and is not any more.
    """

    level: TlsSecurityLevel
    source: TlsSource = "default"
    floor: ChannelSecurity = ChannelSecurity.NONE
    mx: MxAuthenticity = MxAuthenticity.NONE
    proof: Proof = ""
    server_name: str = ""
    names: tuple[str, ...] = ()
    records: tuple[TlsaRecord, ...] = ()
    fingerprints: tuple[bytes, ...] = ()
    on_trial: bool = False
    complaint: str = ""
    announces: bool = False
    next_hop: str = ""
    in_clear: bool = False

    @property
    def is_mandatory(self) -> bool:
        """Whether nothing may travel in clear."""
        return self.floor > ChannelSecurity.NONE

    @property
    def verifies(self) -> bool:
        """Whether the peer has to prove who it is."""
        return bool(self.proof)

    def accepts(self, names: Iterable[str]) -> bool:
        """Whether a trusted certificate for `names`, its DNS names and addresses, is one of whom we mean to reach."""
        return not self.names or names_match(self.names, names)

    def after_hello(self, *, offers_starttls: bool) -> Decision:
        """Decide on what the peer announced."""
        if self.level == "none" or self.in_clear:
            return Decision.CLEAR
        return Decision.STARTTLS if offers_starttls else self._without_tls()

    def after_refusal(self) -> Decision:
        """Decide when STARTTLS was announced and then refused (C058); CLEAR is on the same connection."""
        return self._without_tls()

    def after_failure(self) -> "TlsPolicy | None":
        """Return the policy to connect anew with when the handshake, or the peer's proof, failed; None for none."""
        if self.on_trial:
            return msgspec.structs.replace(self, proof="", names=(), on_trial=False)
        return None if self.is_mandatory else msgspec.structs.replace(self, in_clear=True)

    def _without_tls(self) -> Decision:
        return Decision.DEFER if self.is_mandatory else Decision.CLEAR


class Unusable(msgspec.Struct, frozen=True, gc=False):
    """A host that nothing may be sent by: what its recipients are told, and what a report calls it."""

    reply: Reply
    level: TlsSecurityLevel
    source: TlsSource
    result: ResultType = ""

    @property
    def is_permanent(self) -> bool:
        """Whether trying again would change nothing."""
        return self.reply.is_permanent


def tls_wish(route: Route, rules: TlsRules) -> TlsWish:
    """Return what is wanted on a way."""
    rule = rules.of(route)
    if rule is None:
        source: TlsSource = "default" if rules.level == "may" else "configured"
        wish = TlsWish(rules.level, source, route.tls_demand, route.lookup_mx)
    else:
        wish = TlsWish(rule.level, "configured", route.tls_demand, route.lookup_mx, rule.match, rule.fingerprints)
    if route.login:
        return _fit_for_a_login(wish, is_ruled=rule is not None)
    if route.tls_demand == "optional" and wish.level in ("may", "dane"):
        return msgspec.structs.replace(wish, level="may", source="tls-required-no")
    if route.tls_demand == "required" and wish.level == "none":
        return msgspec.structs.replace(wish, level="may", source="requiretls")
    return wish


def _fit_for_a_login(wish: TlsWish, *, is_ruled: bool) -> TlsWish:
    if not is_ruled and wish.level in ("none", "may", "encrypt", "dane"):
        return msgspec.structs.replace(wish, level="verify" if not wish.lookup_mx else "secure", source="login")
    if wish.level in ("none", "may", "dane"):
        return msgspec.structs.replace(wish, level="encrypt", source="login")
    return wish


def tls_policy(wish: TlsWish, facts: HostFacts) -> TlsPolicy | Unusable:
    """Return the policy towards a host, or why it can't be used."""
    policy = _by_tlsa(wish, facts) or _by_sts(wish, facts) or _as_configured(wish, facts)
    if wish.demand == "required" and isinstance(policy, TlsPolicy):
        return _as_required(policy, facts)
    return policy


def _by_tlsa(wish: TlsWish, facts: HostFacts) -> TlsPolicy | Unusable | None:
    """Return what TLSA records demand (RFC 7672 section 2.2), None where they demand nothing."""
    answer = facts.tlsa
    if answer is not None and answer.failed:
        words = f"The TLSA records of {facts.host} can't be looked up ({answer.failed}): TLS can't be held to them"
        return Unusable(Reply(451, "4.7.5", words), _dane(wish), "dane", "dnssec-invalid")
    if answer is not None and (records := usable(answer.records)):
        return TlsPolicy(
            _dane(wish),
            "configured" if wish.level == "dane-only" else "dane",
            ChannelSecurity.AUTHENTICATED,
            _mx(wish, facts),
            "dane",
            server_name=answer.base_domain,
            names=tuple(dict.fromkeys((answer.base_domain, facts.host, *_domains(wish, facts)))),
            records=records,
            next_hop=facts.next_hop,
        )
    if wish.level == "dane-only":
        return _without_tlsa(wish, facts)
    if answer is None or not answer.records:
        return None
    return _by_sts(wish, facts) or msgspec.structs.replace(
        _as_configured(wish, facts),
        level="encrypt",
        source="dane",
        floor=ChannelSecurity.ENCRYPTED,
        server_name=answer.base_domain,
    )


def _dane(wish: TlsWish) -> TlsSecurityLevel:
    return "dane-only" if wish.level == "dane-only" else "dane"


def _domains(wish: TlsWish, facts: HostFacts) -> tuple[str, ...]:
    """Return the next hop's own names, which a DANE-TA certificate may bear too (RFC 7672 section 3.2.2)."""
    return (facts.next_hop, *facts.domains) if wish.lookup_mx and facts.mx_authentic else ()


def _without_tlsa(wish: TlsWish, facts: HostFacts) -> Unusable:
    exists = facts.tlsa is not None and facts.tlsa.records
    what = "no TLSA record of {} can be used" if exists else "DNSSEC vouches for no TLSA record of {}"
    words = f"DANE alone is configured for {facts.next_hop}, but {what.format(facts.host)}"
    return Unusable(Reply(451, "4.7.5", words), wish.level, wish.source, "tlsa-invalid" if exists else "dane-required")


def _by_sts(wish: TlsWish, facts: HostFacts) -> TlsPolicy | Unusable | None:
    """Return what the domain's MTA-STS policy demands (RFC 8461 section 5), None where it demands nothing."""
    sts = facts.sts
    if sts is None or sts.mode == "none" or not wish.rises:
        return None
    if sts.mode == "testing":
        return _tested(wish, facts, sts)
    if not sts.matches(facts.host):
        words = f"The MTA-STS policy of {facts.next_hop} does not name {facts.host} among its hosts"
        return Unusable(Reply(451, "4.7.5", words), "verify", "mta-sts", "validation-failure")
    return TlsPolicy(
        "verify",
        "mta-sts",
        ChannelSecurity.AUTHENTICATED,
        _mx(wish, facts),
        "pkix",
        facts.host,
        (facts.host,),
        next_hop=facts.next_hop,
    )


def _tested(wish: TlsWish, facts: HostFacts, sts: StsPolicy) -> TlsPolicy:
    policy = _as_configured(wish, facts)
    if not sts.matches(facts.host):
        return msgspec.structs.replace(policy, complaint="the policy does not name the host")
    return msgspec.structs.replace(policy, proof="pkix", names=(facts.host,), on_trial=True)


def _as_configured(wish: TlsWish, facts: HostFacts) -> TlsPolicy:
    level: TlsSecurityLevel = "may" if wish.level == "dane" else wish.level
    policy = TlsPolicy(
        level, wish.source, mx=_mx(wish, facts), server_name=facts.host, next_hop=facts.next_hop, floor=_FLOORS[level]
    )
    if level == "fingerprint":
        return msgspec.structs.replace(
            policy, proof="fingerprint", fingerprints=wish.fingerprints, mx=MxAuthenticity.CONFIGURED
        )
    if level not in ("verify", "secure"):
        return policy
    match = wish.match or _own_match(wish)
    names = _names(match, facts)
    return msgspec.structs.replace(
        policy,
        proof="pkix",
        names=names,
        server_name=facts.host if names_match(names, (facts.host,)) else names[0].removeprefix("."),
        # Names that the DNS had no say in prove who the peer is, whatever MX hosts the DNS told.
        mx=policy.mx if "hostname" in match else MxAuthenticity.CONFIGURED,
    )


_FLOORS: Final[dict[TlsSecurityLevel, ChannelSecurity]] = {
    "none": ChannelSecurity.NONE,
    "may": ChannelSecurity.NONE,
    "encrypt": ChannelSecurity.ENCRYPTED,
    "fingerprint": ChannelSecurity.AUTHENTICATED,
    "verify": ChannelSecurity.AUTHENTICATED,
    "secure": ChannelSecurity.AUTHENTICATED,
}


def _own_match(wish: TlsWish) -> tuple[str, ...]:
    """Return the names that a certificate may bear at `verify` and `secure` where no others are configured."""
    return ("hostname",) if wish.level == "verify" or not wish.lookup_mx else ("nexthop", "dot-nexthop")


def _names(match: tuple[str, ...], facts: HostFacts) -> tuple[str, ...]:
    words = {"hostname": facts.host, "nexthop": facts.next_hop, "dot-nexthop": f".{facts.next_hop}"}
    return tuple(dict.fromkeys(words.get(word, word) for word in match))


def _mx(wish: TlsWish, facts: HostFacts) -> MxAuthenticity:
    """Return who vouches for it that this host takes the next hop's mail."""
    if not wish.lookup_mx:
        return MxAuthenticity.CONFIGURED
    if facts.mx_authentic:
        return MxAuthenticity.DNSSEC
    is_named = facts.sts is not None and facts.sts.mode == "enforce" and facts.sts.matches(facts.host)
    return MxAuthenticity.MTA_STS if is_named else MxAuthenticity.NONE


def _as_required(policy: TlsPolicy, facts: HostFacts) -> TlsPolicy | Unusable:
    """Raise a policy to what REQUIRETLS demands of a host."""
    if policy.mx is MxAuthenticity.NONE:
        what = f"neither DNSSEC nor MTA-STS vouches for {facts.host} as a host of {facts.next_hop}"
        words = f"The sender asks for REQUIRETLS, but {what}"
        reply = Reply(451, "4.7.5", words) if facts.sts_unknown else Reply(550, "5.7.30", words)
        return Unusable(reply, policy.level, "requiretls", "validation-failure")
    if policy.floor is ChannelSecurity.AUTHENTICATED:
        return msgspec.structs.replace(policy, announces=True)
    return msgspec.structs.replace(
        policy,
        level="verify",
        source="requiretls",
        floor=ChannelSecurity.AUTHENTICATED,
        proof="pkix",
        names=(facts.host,),
        server_name=facts.host,
        on_trial=False,
        announces=True,
    )
