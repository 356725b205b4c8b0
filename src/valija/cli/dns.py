"""valija dns: every record to publish, and whether the world sees them."""

import time
from typing import TYPE_CHECKING

import click

from valija.cli.check import refuse_failures, tell
from valija.cli.frame import Call, Refusal, command

if TYPE_CHECKING:
    from valija.admin.dns_records import Plan, RecordFacts
    from valija.admin.findings import Finding
    from valija.config import Config
    from valija.content.dkim_key import DkimKey
    from valija.dns.caching import CachingResolver


def add_to(main: click.Group) -> None:
    """Add the command."""

    @command(main, "dns")
    @click.argument("domain", required=False)
    @click.option("--zone", is_flag=True, help="Print the records as a zone file has them.")
    @click.option("--check", is_flag=True, help="Ask the name servers which are missing or wrong.")
    def dns(call: Call, domain: str | None, zone: bool, check: bool) -> None:
        """Print the DNS records of the server and its domains, or of DOMAIN alone."""
        import asyncio

        config = call.load()
        chosen = _chosen(config, domain)
        keys = _keys(call, config)
        if check:
            findings = asyncio.run(_check(config, chosen, keys))
            tell(call, findings)
            refuse_failures(findings)
        else:
            _print(call, config, asyncio.run(_plan(config, keys, only=chosen if domain else ())), zone=zone)


def _chosen(config: "Config", domain: str | None) -> tuple[str, ...]:
    from valija.cli.dkim_records import domain_name

    if domain is None:
        return config.domains
    name = domain_name(domain)
    if name not in config.domains:
        raise Refusal(f"{name} is not hosted here; hosted are {', '.join(config.domains)}")
    return (name,)


def _keys(call: Call, config: "Config") -> "list[DkimKey]":
    from valija.admin.dns_facts import keys_to_publish
    from valija.dkim_keys import DkimKeys

    try:
        return keys_to_publish(DkimKeys(config.dkim_dir, call.note), config.domains, time.time())
    except OSError as error:
        call.note(f"DKIM keys are left out: {error.filename} cannot be read ({error.strerror}); ask as root")
        return []


# Printing


async def _plan(config: "Config", keys: "list[DkimKey]", only: tuple[str, ...]) -> "Plan":
    import msgspec

    from valija.admin.dns_facts import quiet_resolver
    from valija.admin.dns_records import plan_records

    resolver = quiet_resolver(config)
    try:
        plan = plan_records(config, await _facts(config, resolver, keys))
    finally:
        await resolver.close()
    if not only:
        return plan
    return msgspec.structs.replace(plan, records=tuple(each for each in plan.records if each.owner in only))


async def _facts(config: "Config", resolver: "CachingResolver", keys: "list[DkimKey]") -> "RecordFacts":
    from valija.admin.dns_facts import gather_facts
    from valija.machine import is_local_address, source_addresses

    return await gather_facts(config, resolver, keys, sources=source_addresses, is_local=is_local_address)


def _print(call: Call, config: "Config", plan: "Plan", *, zone: bool) -> None:
    from valija.admin.dns_zone import as_rows, form_lines, zone_file

    lines = (zone_file if zone else form_lines)(plan, config.hostname)
    call.answer({"records": as_rows(plan.records), "notes": plan.notes}, lines)


# Checking


async def _check(config: "Config", domains: tuple[str, ...], keys: "list[DkimKey]") -> "list[Finding]":
    from valija.admin.check_certificate import served_chain
    from valija.admin.check_host import DnsFacts, leaving_from
    from valija.admin.check_published import Published
    from valija.admin.dns_facts import quiet_resolver
    from valija.admin.dns_records import plan_records
    from valija.admin.policy_fetching import PolicyFetching
    from valija.dns.authorities import Authorities
    from valija.machine import is_local_address, source_addresses

    resolver = quiet_resolver(config)
    try:
        plan = plan_records(config, await _facts(config, resolver, keys))
        leaving = leaving_from(config, source_addresses())
        fetching = PolicyFetching(resolver)
        facts = DnsFacts(is_local_address, leaving, tuple(keys), served_chain(config), fetching.fetch)
        published = Published(config, plan, facts, resolver=resolver, authorities=Authorities(resolver))
        return await published.check(domains)
    finally:
        await resolver.close()
