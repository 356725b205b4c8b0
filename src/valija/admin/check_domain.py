"""What `valija check` finds in the DNS about a hosted domain: MX, SPF, DMARC, the DKIM keys' records, hints.

    for finding in await check_domain(config, "example.org", resolver, facts):
        print(finding)

Another server may take the mail first, and records may be about to change: what surely keeps mail away, or has it
refused, is a failure, all else a warning.
"""

import asyncio
import re
from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address
from typing import Final

from valija.admin.check_host import SHOWN, DnsFacts, addresses_of, is_full_name, sending_addresses
from valija.admin.check_mta_sts import check_mta_sts
from valija.admin.check_spf import Verdict, evaluate, suggestion
from valija.admin.findings import Finding, failure, fine, missing, unknown, warning
from valija.config import Config
from valija.content.dkim_key import DkimKey, dns_record
from valija.content.dkim_published import judge
from valija.dns.resolver import MxRecord, Resolver, Status


async def check_domain(config: Config, domain: str, resolver: Resolver, facts: DnsFacts) -> list[Finding]:
    """Return the findings about one hosted domain."""
    if not is_full_name(domain):
        return []
    found = await asyncio.gather(
        check_mx(config, domain, resolver, facts),
        check_spf(config, domain, resolver, facts),
        check_dkim_records(domain, resolver, facts),
        check_dmarc(domain, resolver),
        check_mta_sts(config, domain, resolver, facts),
    )
    return [finding for findings in found for finding in findings]


# MX


async def check_mx(config: Config, domain: str, resolver: Resolver, facts: DnsFacts) -> list[Finding]:
    """Return whether mail for the domain is led here."""
    answer = await resolver.lookup(domain, "MX")
    if answer.status is Status.FAILED:
        return [unknown("mx", f"the MX records of {domain} cannot be looked up: {answer.detail}")]
    hosts = _hosts_in_order(answer.records)
    if hosts == [""]:
        text = f"{domain} publishes a null MX: all mail to it bounces"
        return [failure("mx", text, f"let its MX record name {config.hostname}, or take it out of domains")]
    if not hosts:
        return [await _without_mx(config, domain, resolver, facts)]
    return [await _with_mx(config, domain, hosts[:SHOWN], resolver, facts)]


def _hosts_in_order(records: Iterable[MxRecord]) -> list[str]:
    return [record.host for record in sorted(records, key=lambda record: record.preference)]


async def _without_mx(config: Config, domain: str, resolver: Resolver, facts: DnsFacts) -> Finding:
    """Judge a domain whose mail goes to its own address (RFC 5321 section 5.1)."""
    own = await addresses_of(domain, resolver)
    if any(map(facts.is_local, own.addresses)):
        return fine("mx", f"mail for {domain} is led here, by its address: it has no MX record")
    here = config.hostname if is_full_name(config.hostname) else "the.full.name.of.this.machine"
    return missing("mx", f"{domain} has no MX record", f"publish one: {domain}. IN MX 10 {here}.")


async def _with_mx(config: Config, domain: str, hosts: list[str], resolver: Resolver, facts: DnsFacts) -> Finding:
    found = await asyncio.gather(*(addresses_of(host, resolver) for host in [config.hostname, *hosts]))
    addresses = {host: each.addresses for host, each in zip(hosts, found[1:], strict=True)}
    if not any(addresses.values()) and not any(each.failed for each in found[1:]):
        text = f"mail for {domain} is led to {', '.join(hosts)}, which has no address: it cannot arrive"
        return failure("mx", text, "publish an A or AAAA record for it")
    own = set(found[0].addresses)
    for host in hosts:
        if host == config.hostname or any(each in own or facts.is_local(each) for each in addresses[host]):
            return fine("mx", f"mail for {domain} is led here")
    text = f"mail for {domain} is led to {', '.join(hosts)}, not here"
    named = config.hostname if is_full_name(config.hostname) else "this machine's full name"
    return warning("mx", text, f"let an MX record name {named}, unless another server passes the mail on")


# SPF


async def check_spf(config: Config, domain: str, resolver: Resolver, facts: DnsFacts) -> list[Finding]:
    """Return whether the domain lets the addresses send that mail leaves from."""
    if config.relayhost:
        return [await _spf_with_relayhost(config, domain, resolver)]
    addresses = await sending_addresses(config, resolver, facts)
    if not addresses:
        verdict = await _record_at_all(domain, resolver)
        return [verdict or unknown("spf", f"whether {domain} lets this machine send: its address is not known")]
    verdicts = await asyncio.gather(*(evaluate(domain, address, resolver) for address in addresses))
    published = (await addresses_of(config.hostname, resolver)).addresses if is_full_name(config.hostname) else ()
    findings = [
        # What others see is sure of addresses that the internet has, and of those published for the host name.
        _judged(domain, str(address), verdict, suggestion(addresses), address.is_global or str(address) in published)
        for address, verdict in zip(addresses, verdicts, strict=True)
    ]
    return list(dict.fromkeys(findings))  # what is wrong with the record itself is said once


def _judged(domain: str, address: str, verdict: Verdict, suggested: str, is_sure: bool = True) -> Finding:
    add = f"let the SPF record of {domain} name {address}"
    match verdict.result:
        case "pass":
            return fine("spf", f"{domain} lets {address} send ({verdict.why})")
        case "fail":
            grade = failure if is_sure else warning
            return grade("spf", f"{domain} forbids {address} to send ({verdict.why}): its mail is refused", add)
        case "softfail" | "neutral":
            return warning("spf", f"{domain} does not vouch for {address} ({verdict.result}: {verdict.why})", add)
        case "none":
            return _no_spf(domain, suggested)
        case "permerror":
            return failure("spf", f"the SPF record of {domain} is wrong: {verdict.why}", "correct it")
        case "temperror":
            return unknown("spf", f"the SPF record of {domain} cannot be looked up: {verdict.why}")
        case "unknown":
            return unknown("spf", f"whether {domain} lets {address} send: {verdict.why}")


def _no_spf(domain: str, suggested: str) -> Finding:
    text = f"{domain} has no SPF record: others cannot tell its mail from forged mail"
    return missing("spf", text, f'publish one: {domain}. IN TXT "{suggested}"')


async def _spf_with_relayhost(config: Config, domain: str, resolver: Resolver) -> Finding:
    finding = await _record_at_all(domain, resolver)
    text = f"{domain} has an SPF record; it has to cover the addresses that {config.relayhost} sends from"
    return finding or fine("spf", text)


async def _record_at_all(domain: str, resolver: Resolver) -> Finding | None:
    """Return what is wrong where there is no sound record, whatever it says."""
    verdict = await evaluate(domain, IPv4Address("192.0.2.1"), resolver)
    broken = verdict.result in ("none", "permerror", "temperror")
    return _judged(domain, "", verdict, suggestion(())) if broken else None


# DKIM


async def check_dkim_records(domain: str, resolver: Resolver, facts: DnsFacts) -> list[Finding]:
    """Return whether the keys that sign the domain's mail are published as they are."""
    keys = [key for key in facts.keys if key.domain == domain]
    return list(await asyncio.gather(*(_check_key(key, keys, resolver) for key in keys)))


async def _check_key(key: DkimKey, siblings: Sequence[DkimKey], resolver: Resolver) -> Finding:
    name, _ = dns_record(key)
    answer = await resolver.lookup(name, "TXT")
    if answer.status is Status.FAILED:
        return unknown("dkim", f"{name} cannot be looked up: {answer.detail}")
    if not answer.records:
        remedy = f"publish what valija dkim list {key.domain} prints"
        return missing("dkim", f"{name} is not published: nobody can verify the signatures", remedy)
    judged = judge(key, answer.records, siblings)
    if judged.fits and judged.remedy:
        return warning("dkim", f"{name}: {judged.words}", judged.remedy)
    if judged.fits:
        return fine("dkim", f"{name} is published, and is the key that signs")
    return failure("dkim", f"{name}: {judged.words}: signatures are refused", judged.remedy)


def tags_of(record: str) -> dict[str, str]:
    """Return the tags of a DKIM or DMARC record, blanks in values left out (RFC 6376 section 3.2)."""
    pairs = (part.partition("=") for part in record.split(";") if "=" in part)
    return {name.strip(): re.sub(r"\s+", "", value) for name, _, value in pairs}


# DMARC


_POLICIES: Final = ("none", "quarantine", "reject")


async def check_dmarc(domain: str, resolver: Resolver) -> list[Finding]:
    """Return whether the domain, or one above it, says what to do with forged mail (RFC 9989)."""
    above = domain.split(".")
    for place in (".".join(above[at:]) for at in range(max(1, len(above) - 1))):
        answer = await resolver.lookup(f"_dmarc.{place}", "TXT")
        if answer.status is Status.FAILED:
            return [unknown("dmarc", f"_dmarc.{place} cannot be looked up: {answer.detail}")]
        records = [text for text in answer.records if text.replace(" ", "").startswith("v=DMARC1")]
        if len(records) > 1:
            text = f"_dmarc.{place} has {len(records)} DMARC records: all of them are ignored"
            return [warning("dmarc", text, "leave one")]
        if records:
            return [_dmarc_policy(domain, place, tags_of(records[0]))]
    record = f'_dmarc.{domain}. IN TXT "v=DMARC1; p=none"'
    text = f"{domain} has no DMARC record, which large providers want of who sends much"
    return [warning("dmarc", text, f"publish one: {record}")]


def _dmarc_policy(domain: str, place: str, tags: dict[str, str]) -> Finding:
    policy = tags.get("p", "").lower()
    if policy not in _POLICIES:
        said = f"p={policy}" if policy else "no p="
        return warning("dmarc", f"the DMARC record of {place} has {said}", f"write p={', p='.join(_POLICIES)}")
    return fine("dmarc", f"{domain} has a DMARC policy: p={policy}{f', from {place}' if place != domain else ''}")
