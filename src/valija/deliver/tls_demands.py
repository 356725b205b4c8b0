"""What is demanded of TLS with each host of a way: found out when a host's turn comes, decided in policy/tls.

    demands = TlsDemands(route, way, rules, surroundings)
    demand = await demands.of("mx1.example.net")         # demand.policy: TlsPolicy, or Unusable
    demands.note(demand, target, result="starttls-not-supported")

TLSA records are asked for only where they can count, the MTA-STS policy only where no TLSA record holds: the way to an
unsigned domain costs that one question, which is cached. How each session went is told to who reports to the domain
(RFC 8460 section 4.3); of a relayhost nothing is told.
"""

import msgspec

from valija.deliver.errand import Target
from valija.deliver.hosts import Surroundings, Way
from valija.dns.resolver import Status
from valija.dns.tlsa import find_tlsa
from valija.mail.job import Route
from valija.policy.mta_sts import StsPolicy, policy_id
from valija.policy.tls import HostFacts, TlsPolicy, TlsWish, Unusable, tls_policy, tls_wish
from valija.policy.tls_report import SUCCESS, PolicyType, ResultType, TlsResult
from valija.policy.tls_rules import TlsRules
from valija.policy.tlsa import TlsaAnswer


class Demand(msgspec.Struct, frozen=True, gc=False):
    """What is demanded of a host, and the facts it comes from."""

    policy: TlsPolicy | Unusable
    facts: HostFacts


class TlsDemands:
    """The demands on the hosts of one way. `is_told`: its domain hears how sessions went."""

    def __init__(self, route: Route, way: Way, rules: TlsRules, ask: Surroundings) -> None:
        self._route = route
        self._way = way
        self._wish: TlsWish = tls_wish(route, rules)
        self._ask = ask
        self._found: dict[str, Demand] = {}
        self._sts: tuple[StsPolicy | None, bool] | None = None
        # What travels whatever a policy says tells nothing of it; such are the reports themselves (RFC 8460 section 3).
        self.is_told = route.lookup_mx and not route.is_relayhost and route.tls_demand != "optional"

    async def of(self, target: Target) -> Demand:
        """Return the demand on the host of a target."""
        demand = self._found.get(target.host)
        if demand is None:
            facts = await self._facts(target)
            demand = self._found[target.host] = Demand(tls_policy(self._wish, facts), facts)
        return demand

    async def _facts(self, target: Target) -> HostFacts:
        host, wish = self._way.hosts[target.host], self._wish
        tlsa: TlsaAnswer | None = None
        if wish.asks_for_tlsa(mx_authentic=host.mx_authentic):
            tlsa = await find_tlsa(self._ask.resolver, target.host, target.port, host.addresses)
        counts = tlsa is not None and (tlsa.failed or any(record.is_usable for record in tlsa.records))
        sts, unknown = await self._sts_policy() if wish.asks_for_sts and not counts else (None, False)
        return HostFacts(
            target.host,
            self._route.next_hop,
            host.mx_authentic,
            (self._way.alias_of,) if self._way.alias_of else (),
            tlsa,
            sts,
            unknown,
        )

    async def _sts_policy(self) -> tuple[StsPolicy | None, bool]:
        """Return the domain's policy, and whether it may have one that can't be had now."""
        if self._sts is None:
            policy = await self._ask.sts_policy(self._route.next_hop)
            doubts = policy is None and self._route.tls_demand == "required"
            self._sts = policy, doubts and await self._promises_a_policy()
        return self._sts

    async def _promises_a_policy(self) -> bool:
        answer = await self._ask.resolver.lookup(f"_mta-sts.{self._route.next_hop}", "TXT")
        return answer.status is Status.FAILED or policy_id(answer.records) is not None

    def note(
        self,
        demand: Demand,
        target: Target,
        result: ResultType = SUCCESS,
        detail: str = "",
        *,
        sending_address: str = "",
    ) -> None:
        """Tell how a session with a host went."""
        if not self.is_told:
            return
        kind, policy, patterns = _published(demand.facts)
        self._ask.note_tls(
            TlsResult(
                self._route.next_hop,
                kind,
                policy,
                patterns,
                target.host,
                target.address,
                sending_address,
                result,
                detail,
            )
        )


def _published(facts: HostFacts) -> tuple[PolicyType, tuple[str, ...], tuple[str, ...]]:
    """Return what the domain publishes, as reports quote it: the kind of policy, its lines, its mx patterns."""
    tlsa, sts = facts.tlsa, facts.sts
    if sts is not None and sts.mode != "none":
        return "sts", sts.lines, sts.mx
    if tlsa is not None and (tlsa.records or tlsa.failed):
        return "tlsa", tuple(map(str, tlsa.records)), ()
    return "no-policy-found", (), ()
