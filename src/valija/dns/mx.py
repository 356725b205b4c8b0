"""From a domain to the hosts that take its mail, and from a host to its addresses (RFC 5321 section 5, RFC 7505).

    found = await find_mx_hosts(resolver, "example.net", shuffle=random.shuffle, is_ourselves=ourselves.is_own_name)
    if found.refusal: ...                 # 5yz: bounce; 4yz: try later
    for host in found.hosts:              # in the order they are to be tried
        found = await find_addresses(resolver, host.name)

Only what the DNS states makes a refusal permanent: no such domain, neither MX nor address, a null MX, MX hosts of no
address but `0.0.0.0` or `::`, or a domain that leads only back here. What could not be found out is transient, and so
is a domain whose MX hosts are all nonsense: that is somebody's slip, and will be mended.

Whether a host is ourselves is asked by name here; by address it can be known only where the connection is made.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address
from itertools import groupby, zip_longest
from typing import Any, Final

import msgspec

from valija.dns.resolver import Answer, MxRecord, Resolver, Status
from valija.mail.address import AddressError, normalise_domain
from valija.mail.reply import Reply

MAX_HOSTS: Final = 50  # more are some attack
MAX_ADDRESSES: Final = 20  # per host and family

Shuffle = Callable[[list["MxHost"]], None]


class MxHost(msgspec.Struct, frozen=True):
    """A host that takes a domain's mail. `authentic`: DNSSEC vouches for its name."""

    name: str
    preference: int
    authentic: bool


class MxHosts(msgspec.Struct, frozen=True):
    """The hosts in the order they are to be tried, or the reason why there are none.

    `alias_of` is where the domain's CNAMEs led, `""` where it has none.
    """

    hosts: tuple[MxHost, ...] = ()
    refusal: Reply | None = None
    alias_of: str = ""


class Addresses(msgspec.Struct, frozen=True):
    """A host's addresses, IPv6 and IPv4 by turns.

    `failed`: a look-up failed, so there may be more; without any address that is transient. `authentic`: DNSSEC vouches
    for all that was answered. One family that fails does not make the other's answer doubtful: whoever can suppress an
    answer must not thereby choose how it is encrypted. `nowhere`: all there is are unspecified addresses, `0.0.0.0` or
    `::`, by which its owner says that nobody is there. `alias_of` is where the host's CNAMEs led, `""` without any.
    """

    addresses: tuple[str, ...] = ()
    failed: bool = False
    authentic: bool = False
    nowhere: bool = False
    alias_of: str = ""


async def find_mx_hosts(
    resolver: Resolver, domain: str, *, shuffle: Shuffle, is_ourselves: Callable[[str], bool]
) -> MxHosts:
    """Return the hosts that take a domain's mail. `shuffle` brings hosts of equal preference into a random order."""
    if _is_literal(domain):
        return _refuse(550, "5.1.2", f"Mail to address literals is not sent: {domain}")
    answer = await resolver.lookup(domain, "MX")
    match answer.status:
        case Status.FOUND:
            return _choose(domain, answer, shuffle, is_ourselves)
        case Status.NO_DATA:
            return await _implicit(resolver, domain, answer, is_ourselves)
        case Status.NO_DOMAIN:
            return _refuse(550, "5.1.2", f"Domain not found: {domain}")
        case Status.FAILED:
            return _refuse(451, "4.4.3", f"Domain look-up failed for {domain}: {answer.detail}")


def _choose(domain: str, answer: Answer[MxRecord], shuffle: Shuffle, is_ourselves: Callable[[str], bool]) -> MxHosts:
    """Return the hosts of an MX answer in their order, those at or behind ourselves dropped (RFC 5321 section 5.1)."""
    if not any(record.host for record in answer.records):
        return _refuse(556, "5.1.10", f"Domain takes no mail (null MX): {domain}")
    hosts = _named_hosts(answer)
    if not hosts:
        return MxHosts(refusal=no_usable_host(domain))
    own = min((host.preference for host in hosts if is_ourselves(host.name)), default=None)
    nearer = [host for host in hosts if own is None or host.preference < own]
    if not nearer:
        return MxHosts(refusal=loops_back(domain))
    return MxHosts(tuple(_in_order(nearer, shuffle)[:MAX_HOSTS]), alias_of=_alias_of(domain, answer))


def _named_hosts(answer: Answer[MxRecord]) -> list[MxHost]:
    """Return the hosts by preference, each once; the null MX and what is no host name are left out."""
    found: dict[str, MxHost] = {}
    for record in sorted(answer.records, key=lambda record: record.preference):
        if record.host and not _is_literal(record.host) and _is_host_name(record.host):
            found.setdefault(record.host, MxHost(record.host, record.preference, answer.authentic))
    return list(found.values())


def _in_order(hosts: Iterable[MxHost], shuffle: Shuffle) -> list[MxHost]:
    ordered: list[MxHost] = []
    for _, equals in groupby(hosts, key=lambda host: host.preference):
        group = list(equals)
        shuffle(group)
        ordered += group
    return ordered


async def _implicit(
    resolver: Resolver, domain: str, answer: Answer[MxRecord], is_ourselves: Callable[[str], bool]
) -> MxHosts:
    """Return the domain itself as its only host, if it has an address."""
    if is_ourselves(domain):
        return MxHosts(refusal=loops_back(domain))
    found = await find_addresses(resolver, domain)
    if found.addresses:
        return MxHosts((MxHost(domain, 0, answer.authentic),), alias_of=_alias_of(domain, answer))
    if found.failed:
        return _refuse(451, "4.4.3", f"Address look-up failed for {domain}")
    return _refuse(550, "5.4.4", f"Domain has neither MX nor address: {domain}")


async def find_addresses(resolver: Resolver, host: str) -> Addresses:
    """Return a host's addresses, asked for in both families at once; those of an IP address are itself.

    Addresses that no host can have for others (unspecified, link-local, multicast) are left out: on Linux a connection
    to an unspecified one would even reach this machine itself.
    """
    if _is_address(host):
        return Addresses((host,))
    ipv6, ipv4 = await asyncio.gather(resolver.lookup(host, "AAAA"), resolver.lookup(host, "A"))
    turns = zip_longest(_usable(ipv6), _usable(ipv4))
    answers = [answer for answer in (ipv6, ipv4) if answer.status is not Status.FAILED]
    return Addresses(
        tuple(dict.fromkeys(address for pair in turns for address in pair if address)),
        failed=len(answers) < 2,
        authentic=bool(answers) and all(answer.authentic for answer in answers),
        nowhere=_is_nowhere((*ipv6.records, *ipv4.records)),
        alias_of=_alias_of(host, answers[0]) if answers else "",
    )


def _alias_of(name: str, answer: Answer[Any]) -> str:
    return answer.canonical_name if answer.canonical_name != name else ""


def _is_nowhere(records: Sequence[str]) -> bool:
    return bool(records) and all(_plain(text).is_unspecified for text in records)


def _usable(answer: Answer[str]) -> list[str]:
    usable: list[str] = []
    for text in answer.records[:MAX_ADDRESSES]:
        address = _plain(text)
        if not (address.is_unspecified or address.is_link_local or address.is_multicast):
            usable.append(str(address))
    return usable


def _plain(text: str) -> IPv4Address | IPv6Address:
    """Return an address; an IPv4-mapped one is the IPv4 address it stands for."""
    address = ip_address(text)
    return (isinstance(address, IPv6Address) and address.ipv4_mapped) or address


def leads_nowhere(domain: str) -> Reply:
    """Return the refusal of a domain all of whose MX hosts have nothing but unspecified addresses.

    It is what domains without mail published before the null MX (RFC 7505), and it is stated, not failed: permanent.
    """
    return Reply(550, "5.1.2", f"Domain takes no mail (its MX hosts have no real address): {domain}")


def no_usable_host(domain: str) -> Reply:
    """Return the refusal of a domain whose MX hosts have no usable name or no address: transient."""
    return Reply(451, "4.4.4", f"No MX host of {domain} has a usable name and address")


def loops_back(domain: str) -> Reply:
    """Return the refusal of a domain that leads only to this server itself."""
    return Reply(554, "5.4.6", f"Mail for {domain} loops back to myself")


def _refuse(code: int, enhanced: str, text: str) -> MxHosts:
    return MxHosts(refusal=Reply(code, enhanced, text))


def _is_literal(domain: str) -> bool:
    return domain.startswith("[") or _is_address(domain)


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def _is_host_name(name: str) -> bool:
    try:
        normalise_domain(name)
    except AddressError:
        return False
    return True
