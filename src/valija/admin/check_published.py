"""What `valija dns --check` finds: are the records that `valija dns` prints there, as the world sees them?

    published = Published(config, plan, facts, resolver, Authorities(resolver))
    findings = await published.check(config.domains)

The judgement is that of `valija check`: the same functions look through admin/dns_world, which asks every name server
of our zones. What `valija check` lets pass, a record that is not there at all, is what was asked for here: a failure
where mail suffers without it, a warning where a server may do without.
"""

import asyncio
from collections.abc import Coroutine, Mapping, Sequence
from typing import Any, Final

import msgspec

from valija.admin.check_clients import PRINTED, check_clients, check_tls_rpt
from valija.admin.check_dns import PATIENCE, check_tlsa, silence, within
from valija.admin.check_domain import check_dkim_records, check_dmarc, check_mx, check_spf
from valija.admin.check_host import DnsFacts, check_host, check_reverse, is_full_name
from valija.admin.check_mta_sts import check_mta_sts
from valija.admin.dkim_publication import look_up
from valija.admin.dns_records import Plan
from valija.admin.dns_world import World
from valija.admin.findings import Finding, Grade, failure, fine, warning
from valija.config import Config
from valija.content.dkim_key import DkimKey
from valija.dns.authorities import Authorities
from valija.dns.resolver import Resolver

_PATIENCE: Final = 2 * PATIENCE  # seconds: each name server is asked after the resolver
_TOPICS: Final = (
    *("dns", "servers", "host", "reverse", "mx", "spf", "dkim", "dmarc", "mta-sts", "tls-rpt", "tlsa", "clients"),
)
_LIFTED: Final[Mapping[str, Grade]] = {"needed": "failure", "useful": "warning"}


class Published:
    """Compares what is published with a plan. `facts.keys` are all keys that are to be published."""

    def __init__(
        self, config: Config, plan: Plan, facts: DnsFacts, *, resolver: Resolver, authorities: Authorities
    ) -> None:
        self._config = config
        self._plan = plan
        self._facts = facts
        self._resolver = resolver
        self._authorities = authorities
        self._world = World(resolver, authorities, (*config.domains, config.hostname))

    async def check(self, domains: Sequence[str]) -> list[Finding]:
        """Return the findings about the server and some domains, by topic. Never raises for what the network does."""
        deadline = asyncio.get_running_loop().time() + _PATIENCE
        if silent := await silence(self._config, self._resolver):
            return [msgspec.structs.replace(silent, grade="failure")]
        config, world, facts = self._config, self._world, self._facts
        checks = {
            f"host {config.hostname}": check_host(config, world, facts),
            "reverse names": check_reverse(config, world, facts),
            "the server's own SPF record": self._check_own_spf(),
            "TLSA records": check_tlsa(config, world, facts),
            **{f"mail for {domain}": self._check_domain(domain) for domain in filter(is_full_name, domains)},
        }
        found = [_lifted(finding) for finding in await within(deadline, checks)]
        return sorted(dict.fromkeys([*found, *world.findings()]), key=lambda finding: _TOPICS.index(finding.topic))

    async def _check_own_spf(self) -> list[Finding]:
        config = self._config
        if config.relayhost or config.hostname in config.domains or not is_full_name(config.hostname):
            return []
        found = await check_spf(config, config.hostname, self._world, self._facts)
        return [msgspec.structs.replace(each, absent="useful") if each.absent else each for each in found]

    async def _check_domain(self, domain: str) -> list[Finding]:
        config, world, facts = self._config, self._world, self._facts
        found = await asyncio.gather(
            *([check_mx(config, domain, world, facts)] if config.smtpd.listen else []),
            check_spf(config, domain, world, facts),
            self._check_dkim(domain),
            check_dmarc(domain, world),
            self._if_planned(f"_mta-sts.{domain}", check_mta_sts(config, domain, world, facts)),
            self._if_planned(f"_smtp._tls.{domain}", check_tls_rpt(domain, world)),
            check_clients(self._plan.of(domain), world),
        )
        return [finding for findings in found for finding in findings]

    async def _if_planned(self, name: str, check: Coroutine[Any, Any, list[Finding]]) -> list[Finding]:
        """Return what a check finds, without what is missing if nobody was told to publish it."""
        planned = any(record.name == name for record in self._plan.records)
        return [finding for finding in await check if planned or not finding.absent]

    # DKIM: as `valija dkim check` has it

    async def _check_dkim(self, domain: str) -> list[Finding]:
        keys = [key for key in self._facts.keys if key.domain == domain]
        if not keys:
            text = f"no key signs mail of {domain}: large providers distrust it"
            return [warning("dkim", text, f"valija dkim create {domain}")]
        found = await asyncio.gather(*(self._check_key(key, keys) for key in keys))
        if all(found):
            return [finding for findings in found for finding in findings]
        return await check_dkim_records(domain, self._world, self._facts)  # no name server could be asked

    async def _check_key(self, key: DkimKey, keys: Sequence[DkimKey]) -> list[Finding]:
        """Return what the name servers have of a key; nothing where none of them could be asked."""
        publication = await look_up(key, [each for each in keys if each != key], self._authorities)
        if not any(place.answered for place in publication.places):
            return []
        if not all(place.judgement.fits for place in publication.places if place.answered):
            found = "; ".join(publication.lines())
            return [failure("dkim", f"{publication.name} is not published as it should be: {found}", PRINTED)]
        remarks = dict.fromkeys(
            each.judgement for each in publication.places if each.answered and each.judgement.remedy
        )
        if remarks:
            return [warning("dkim", f"{publication.name}: {each.words}", each.remedy) for each in remarks]
        return [fine("dkim", f"{publication.name} is published")]


def _lifted(finding: Finding) -> Finding:
    """Return a finding as it counts where somebody asks what is missing."""
    if not finding.absent:
        return finding
    return msgspec.structs.replace(finding, grade=_LIFTED[finding.absent], remedy=finding.remedy or PRINTED)
