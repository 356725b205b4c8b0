"""What `valija check` finds in the DNS: does the world find this server, and will it believe its name?

    findings = await check_dns(config, resolver, is_local_address)

- The name server answers.
- The host name has addresses, and at least one of them is this machine's.
- Each address leads back to a name that leads to the address (forward-confirmed reverse DNS): large mail providers
  refuse mail from servers without.
- The MX hosts of each hosted domain lead here.
- The relayhost, where there is one, can be found.

All but one finding are warnings at most: the DNS may be about to change, a router may translate addresses, and another
server may take the mail first. A hosted domain that publishes a null MX (RFC 7505) is a failure: mail to it bounces.
"""

import asyncio
from collections.abc import Callable, Iterable
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final

from valija.admin.findings import Finding, failure, fine, warning
from valija.config import Config
from valija.dns.resolver import Answer, Resolver, Status
from valija.policy.networks import parse_address
from valija.policy.route import Relayhost

_PATIENCE: Final = 15.0  # seconds for all look-ups together
_SHOWN: Final = 10  # hosts or addresses that are looked at

IsLocal = Callable[[str], bool]


async def check_dns(config: Config, resolver: Resolver, is_local: IsLocal) -> list[Finding]:
    """Return the findings. Never raises for what the network does; what takes too long is a finding as well."""
    try:
        async with asyncio.timeout(_PATIENCE):
            host = asyncio.create_task(_check_host(config.hostname, resolver, is_local))
            domains = [asyncio.create_task(_check_domain(config, domain, resolver)) for domain in config.domains]
            relayhost = asyncio.create_task(_check_relayhost(config.relayhost, resolver))
            gathered = await asyncio.gather(host, *domains, relayhost)
            return list(dict.fromkeys(finding for findings in gathered for finding in findings))
    except TimeoutError:
        return [warning("dns", f"the name servers gave no answer within {_PATIENCE:g} s", "see [dns] nameservers")]


async def _check_host(hostname: str, resolver: Resolver, is_local: IsLocal) -> list[Finding]:
    if "." not in hostname:
        text = f"no other server can find {hostname}: that name is not looked up"
        return [fine("dns", text) if hostname == "localhost" else warning("dns", text, "see hostname")]
    a, aaaa = await asyncio.gather(resolver.lookup(hostname, "A"), resolver.lookup(hostname, "AAAA"))
    addresses = [*a.records, *aaaa.records]
    if not addresses:
        return [_no_address(hostname, (a, aaaa))]
    findings = [fine("dns", f"{hostname} has {', '.join(addresses[:_SHOWN])}")]
    if not any(is_local(address) for address in addresses):
        text = f"none of the addresses of {hostname} is this machine's"
        findings.append(warning("dns", text, "fine behind a router that translates addresses; else correct the record"))
    reverse = await asyncio.gather(*(_check_reverse(address, hostname, resolver) for address in addresses[:_SHOWN]))
    return findings + list(reverse)


def _no_address(hostname: str, answers: Iterable[Answer[str]]) -> Finding:
    failed = next((answer for answer in answers if answer.status is Status.FAILED), None)
    if failed is not None:
        return warning("dns", f"{hostname} cannot be looked up: {failed.detail}", "see [dns] nameservers")
    return warning("dns", f"{hostname} has no address", "publish an A or AAAA record, or correct hostname")


async def _check_reverse(address: str, hostname: str, resolver: Resolver) -> Finding:
    names = await resolver.lookup(ip_address(address).reverse_pointer, "PTR")
    if names.status is Status.FAILED:
        return warning("dns", f"the reverse name of {address} cannot be looked up: {names.detail}")
    if not names.records:
        text = f"{address} has no reverse name; many servers refuse mail from such an address"
        return warning("dns", text, f"have your provider set it to {hostname}")
    for name in names.records[:_SHOWN]:
        if await _leads_to(name, address, resolver):
            return fine("dns", f"{address} is {name}, and back")
    shown = ", ".join(names.records[:_SHOWN])
    text = f"{address} is {shown}, which does not lead back to it"
    return warning("dns", text, f"have your provider set the reverse name to {hostname}")


async def _leads_to(name: str, address: str, resolver: Resolver) -> bool:
    wanted = ip_address(address)
    answer = await resolver.lookup(name, "A" if isinstance(wanted, IPv4Address) else "AAAA")
    return any(_same(record, wanted) for record in answer.records)


def _same(record: str, address: IPv4Address | IPv6Address) -> bool:
    try:
        return ip_address(record) == address
    except ValueError:
        return False


async def _check_domain(config: Config, domain: str, resolver: Resolver) -> list[Finding]:
    answer = await resolver.lookup(domain, "MX")
    if answer.status is Status.FAILED:
        return [warning("dns", f"the MX records of {domain} cannot be looked up: {answer.detail}")]
    hosts = [record.host for record in sorted(answer.records, key=lambda record: record.preference)]
    if hosts == [""]:
        text = f"{domain} publishes a null MX: all mail to it bounces"
        return [failure("dns", text, f"let its MX record name {config.hostname}, or take it out of domains")]
    if not hosts:
        return [] if domain == config.hostname else [_no_mx(domain, config.hostname)]
    if config.hostname in hosts or await _shares_address(hosts, config.hostname, resolver):
        return [fine("dns", f"mail for {domain} is led here")]
    text = f"mail for {domain} is led to {', '.join(hosts[:_SHOWN])}, not here"
    named = config.hostname if "." in config.hostname else "this machine's full name"
    return [warning("dns", text, f"let an MX record name {named}, unless another server passes the mail on")]


def _no_mx(domain: str, hostname: str) -> Finding:
    record = f"{domain}. IN MX 10 {hostname if '.' in hostname else 'the.full.name.of.this.machine'}."
    return warning("dns", f"{domain} has no MX record", f"publish one: {record}")


async def _check_relayhost(relayhost: Relayhost | None, resolver: Resolver) -> list[Finding]:
    if relayhost is None or parse_address(relayhost.host) is not None:
        return []
    if relayhost.lookup_mx and (await resolver.lookup(relayhost.host, "MX")).records:
        return []
    answers = await asyncio.gather(*(resolver.lookup(relayhost.host, rtype) for rtype in ("A", "AAAA")))
    if any(answer.records for answer in answers):
        return []
    failed = next((answer for answer in answers if answer.status is Status.FAILED), None)
    why = f"cannot be looked up: {failed.detail}" if failed else "has no address"
    text = f"the relayhost {relayhost.host} {why}; until that changes, mail for other domains waits in the queue"
    return [warning("dns", text, "see [smtp] relayhost")]


async def _shares_address(hosts: list[str], hostname: str, resolver: Resolver) -> bool:
    """Whether an MX host is this server under another name."""
    names = [hostname, *hosts[:_SHOWN]]
    answers = await asyncio.gather(*(resolver.lookup(name, rtype) for name in names for rtype in ("A", "AAAA")))
    own = {record for answer in answers[:2] for record in answer.records}
    return any(record in own for answer in answers[2:] for record in answer.records)
