"""What `valija check` finds in the DNS about this machine: the host name's addresses, and reverse names.

    findings = await check_host(config, resolver, facts)      # topic host
    findings = await check_reverse(config, resolver, facts)   # topic reverse

Mail is believed by its address first: large providers refuse what comes from one without a name that leads back to it
(forward-confirmed reverse DNS, RFC 1912 section 2.1). Asked for are the addresses that mail leaves from, and those of
the host name: behind a router that translates addresses the first are private, and mail leaves from the second.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final

import msgspec

from valija.admin.findings import Finding, failure, fine, missing, unknown, warning
from valija.config import Config
from valija.content.dkim_key import DkimKey
from valija.dns.resolver import Resolver, Status
from valija.dns.reverse import find_reverse_name
from valija.policy.mta_sts import StsPolicy
from valija.policy.public import is_public

SHOWN: Final = 10  # hosts or addresses that are looked at

Address = IPv4Address | IPv6Address
FetchPolicy = Callable[[str], Awaitable[StsPolicy]]


class DnsFacts(msgspec.Struct, frozen=True):
    """What the records are held against: this machine's addresses, those that mail leaves from, keys, certificate.

    `chain_pem` is the certificate that is served now, empty where there is none to be read. `fetch_policy` fetches a
    domain's MTA-STS policy as others do, and raises NotFetched; without it policies are not looked at.
    """

    is_local: Callable[[str], bool]
    sources: tuple[str, ...] = ()
    keys: tuple[DkimKey, ...] = ()
    chain_pem: bytes = b""
    fetch_policy: FetchPolicy | None = None


class HostAddresses(msgspec.Struct, frozen=True):
    """A host's addresses; `failed` says in words why there may be more."""

    addresses: tuple[str, ...] = ()
    failed: str = ""


def is_full_name(hostname: str) -> bool:
    """Whether a host name is one that others can look up."""
    return "." in hostname


async def addresses_of(host: str, resolver: Resolver) -> HostAddresses:
    """Return the addresses of a host, of both families."""
    answers = await asyncio.gather(resolver.lookup(host, "A"), resolver.lookup(host, "AAAA"))
    failed = next((answer.detail for answer in answers if answer.status is Status.FAILED), "")
    return HostAddresses(tuple(record for answer in answers for record in answer.records), failed)


def leaving_from(config: Config, kernels_choice: Sequence[str]) -> tuple[str, ...]:
    """Return the addresses that mail leaves from: those of the configuration, and what the kernel chooses beside them.

    `kernels_choice` has one address of each family that there is a way by.
    """
    bound = config.smtp.bind_addresses
    families = {ip_address(address).version for address in bound}
    free = [address for address in kernels_choice if ip_address(address).version not in families]
    pooled = [address for pool in config.smtp.pools for address in pool.addresses]
    return tuple(dict.fromkeys((*bound, *free, *pooled)))


async def sending_addresses(config: Config, resolver: Resolver, facts: DnsFacts) -> tuple[Address, ...]:
    """Return the addresses that others see mail come from: the public ones of this machine, or else the host name's."""
    public = [source for source in facts.sources if is_public(source)]
    families = {ip_address(source).version for source in public}
    known = await addresses_of(config.hostname, resolver) if is_full_name(config.hostname) else HostAddresses()
    others = [address for address in known.addresses if ip_address(address).version not in families]
    return tuple(ip_address(address) for address in dict.fromkeys((*public, *others[:SHOWN])))


# The host name


async def check_host(config: Config, resolver: Resolver, facts: DnsFacts) -> list[Finding]:
    """Return whether others find this machine by its name."""
    hostname = config.hostname
    if not is_full_name(hostname):
        text = f"no other server can find {hostname}: that name is not looked up"
        return [fine("host", text) if hostname == "localhost" else warning("host", text, "see hostname")]
    found = await addresses_of(hostname, resolver)
    if not found.addresses:
        return [_no_address(hostname, found)]
    findings = [fine("host", f"{hostname} has {', '.join(found.addresses[:SHOWN])}")]
    if hidden := [address for address in found.addresses if not is_public(address)]:
        text = f"{', '.join(hidden[:SHOWN])} of {hostname} cannot be reached from the internet"
        findings.append(warning("host", text, "publish public addresses only"))
    if not any(facts.is_local(address) for address in found.addresses):
        findings.append(_elsewhere(hostname, facts.sources))
    return findings


def _no_address(hostname: str, found: HostAddresses) -> Finding:
    if found.failed:
        return unknown("host", f"{hostname} cannot be looked up: {found.failed}", "see [dns] nameservers")
    return missing("host", f"{hostname} has no address", "publish an A or AAAA record, or correct hostname")


def _elsewhere(hostname: str, sources: Sequence[str]) -> Finding:
    """Return what it means that no address of the host name is this machine's."""
    if sources and not any(map(is_public, sources)):
        text = (
            f"{hostname} is not an address of this machine, which has {', '.join(sources)}: a router stands in between"
        )
        return unknown("host", text, "see that it passes the ports of the listeners on to this machine")
    own = f", which has {', '.join(sources)}" if sources else ""
    text = f"none of the addresses of {hostname} is this machine's{own}"
    return warning("host", text, "fine behind a router that translates addresses; else correct the record")


# Reverse names


async def check_reverse(config: Config, resolver: Resolver, facts: DnsFacts) -> list[Finding]:
    """Return for each address that mail leaves from whether it has a name that leads back to it."""
    if config.relayhost:
        return [fine("reverse", f"not needed: mail for others leaves by {config.relayhost}")]
    addresses = [str(address) for address in await sending_addresses(config, resolver, facts)]
    if is_full_name(config.hostname):
        addresses += (await addresses_of(config.hostname, resolver)).addresses
    public = list(dict.fromkeys(filter(is_public, addresses)))[:SHOWN]
    if not public:
        return [unknown("reverse", "the address that mail leaves from is not known", "see hostname")]
    # Only what this machine itself sends from, into the whole internet, is sure to be what others see.
    sure = {source for source in facts.sources if ip_address(source).is_global}
    found = (_reverse(address, config.hostname, resolver, sure=address in sure) for address in public)
    return list(await asyncio.gather(*found))


async def _reverse(address: str, hostname: str, resolver: Resolver, *, sure: bool) -> Finding:
    found = await find_reverse_name(resolver, address)
    if found.confirmed:
        return fine("reverse", f"{address} is {found.confirmed}, and back")
    if found.failed and not found.names:
        return unknown("reverse", f"the name of {address} cannot be looked up: {found.failed}")
    if found.failed:
        text = f"whether {found.names[0]} leads back to {address} cannot be looked up: {found.failed}"
        return unknown("reverse", text)
    grade = failure if sure else warning
    remedy = f"have your provider set it to {hostname}"
    if not found.names:
        return grade("reverse", f"{address} has no reverse name; many servers refuse mail from such an address", remedy)
    return grade("reverse", f"{address} is {', '.join(found.names)}, which does not lead back to it", remedy)
