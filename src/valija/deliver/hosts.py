"""From a route to the addresses that are tried, in their order (RFC 5321 section 5.1).

    way = await find_way(route, surroundings, options)
    if isinstance(way, Failure): ...       # nothing to connect to, and why
    way.targets                            # what to connect to, best first
    way.hosts["mx1.example.net"]           # what the DNS told of a host

An address that would reach one of our own listeners makes its host ourselves: it and all hosts that are not preferred
to it are left out, and a domain that leads nowhere else is bounced, not looped. A relayhost never makes mail bounce.

Known weakness: an address behind a translating router is not recognised as our own.
"""

import asyncio
from collections.abc import Awaitable, Callable
from itertools import groupby
from typing import Final

import msgspec

from valija.deliver.errand import Failure, Target
from valija.deliver.health import Condition, Health
from valija.deliver.login import Logins
from valija.deliver.options import SmtpOptions
from valija.dns.mx import (
    Addresses,
    MxHost,
    MxHosts,
    find_addresses,
    find_mx_hosts,
    leads_nowhere,
    loops_back,
    no_usable_host,
)
from valija.dns.resolver import Resolver
from valija.mail.job import Route
from valija.mail.reply import Reply
from valija.policy.mta_sts import StsPolicy
from valija.policy.tls_report import TlsResult

_HOSTS_LOOKED_UP: Final = 10
_ADDRESSES_OF_ONE_AMONG_SEVERAL: Final = 2


async def no_sts_policy(_domain: str) -> StsPolicy | None:
    """Know of no policy: for where none are asked for."""
    return None


class Surroundings(msgspec.Struct, frozen=True):
    """Who is asked on the way to a host, and told of it.

    `is_own_listener` is given an IP address and a port, `sts_policy` a domain, whose MTA-STS policy it returns, None
    where it has none. `note_tls` hears how each opening of a session went. `health` knows which addresses failed of
    late. `logins` are those that routes may name, None where none are.
    """

    resolver: Resolver
    shuffle: Callable[[list[MxHost]], None]
    is_own_name: Callable[[str], bool]
    is_own_listener: Callable[[str, int], bool]
    sts_policy: Callable[[str], Awaitable[StsPolicy | None]] = no_sts_policy
    note_tls: Callable[[TlsResult], None] = lambda _: None
    health: Health = msgspec.field(default_factory=Health)
    logins: Logins | None = None


class KnownHost(msgspec.Struct, frozen=True, gc=False):
    """What the DNS told of a host. `mx_authentic`: DNSSEC vouches for the answer that named it."""

    addresses: Addresses
    mx_authentic: bool


class Way(msgspec.Struct, frozen=True, gc=False):
    """What to connect to, best first, never nothing; and its hosts by name.

    `alias_of` is where the next hop's own CNAMEs led, `""` where it has none. `is_partial`: there are more addresses,
    and not all of those are suspect.
    """

    targets: list[Target]
    hosts: dict[str, KnownHost]
    alias_of: str = ""
    is_partial: bool = False


async def find_way(route: Route, ask: Surroundings, options: SmtpOptions) -> Way | Failure:
    """Return what to connect to, or why there is nothing."""
    way = await _find(route, ask, options)
    if isinstance(way, Failure) and way.permanent and route.is_relayhost:
        return Failure(Reply(451, "4.4.4", f"The relayhost {route.next_hop} can't be used: {way.reply.text}"))
    return way


async def _find(route: Route, ask: Surroundings, options: SmtpOptions) -> Way | Failure:
    port = route.port or options.port
    found = await _hosts(route, ask)
    if found.refusal is not None:
        return Failure(found.refusal, permanent=found.refusal.is_permanent)
    hosts = found.hosts[:_HOSTS_LOOKED_UP]
    addresses = await asyncio.gather(*(find_addresses(ask.resolver, host.name) for host in hosts))
    nearer = _nearer_than_ourselves(list(zip(hosts, addresses, strict=True)), port, ask)
    if not nearer:
        return _leads_back(route)
    everything = [Target(host.name, address, port) for host, those in nearer for address in those.addresses]
    if not everything:
        return _no_address(route, addresses)
    condition = _condition(ask.health)
    targets = _in_turn(everything, options.mx_address_limit, condition)
    known = {host.name: KnownHost(those, host.authentic) for host, those in nearer}
    left_out = set(everything).difference(targets)
    return Way(targets, known, found.alias_of, any(condition(each) is not Condition.SUSPECT for each in left_out))


async def _hosts(route: Route, ask: Surroundings) -> MxHosts:
    if route.lookup_mx:
        return await find_mx_hosts(ask.resolver, route.next_hop, shuffle=ask.shuffle, is_ourselves=ask.is_own_name)
    return MxHosts((MxHost(route.next_hop, 0, False),))


def _nearer_than_ourselves(
    found: list[tuple[MxHost, Addresses]], port: int, ask: Surroundings
) -> list[tuple[MxHost, Addresses]]:
    own = [
        host.preference
        for host, those in found
        if any(ask.is_own_listener(address, port) for address in those.addresses)
    ]
    return [(host, those) for host, those in found if not own or host.preference < min(own)]


def _condition(health: Health) -> Callable[[Target], Condition]:
    now = asyncio.get_running_loop().time()
    return lambda target: health.condition(target.endpoint, now)


def _in_turn(everything: list[Target], limit: int, condition: Callable[[Target], Condition]) -> list[Target]:
    """Return the first addresses of each host: one with very many must not hide the next host.

    Suspects come last, so that they can't hide a host that lives either, however much they are preferred to it. Of the
    unproven one has its own place: an attempt is to find out about one, and not to wait for all of them.
    """
    hosts = [list(group) for _, group in groupby(everything, key=lambda target: target.host)]
    each = limit if len(hosts) == 1 else min(limit, _ADDRESSES_OF_ONE_AMONG_SEVERAL)
    targets = [target for own in hosts for target in sorted(own, key=condition)[:each]]
    probed = next((target for target in targets if condition(target) is Condition.UNPROVEN), None)
    return sorted(targets, key=lambda target: Condition.GOOD if target is probed else condition(target))[:limit]


def _leads_back(route: Route) -> Failure:
    if route.lookup_mx:
        return Failure(loops_back(route.next_hop), permanent=True)
    return Failure(Reply(451, "4.4.6", f"Next hop {route.next_hop} is this server itself"))


def _no_address(route: Route, addresses: list[Addresses]) -> Failure:
    if any(those.failed for those in addresses):
        return Failure(Reply(451, "4.4.3", f"Address look-up failed for the hosts of {route.next_hop}"))
    if route.lookup_mx and all(those.nowhere for those in addresses):
        return Failure(leads_nowhere(route.next_hop), permanent=True)
    if route.lookup_mx:
        return Failure(no_usable_host(route.next_hop))
    return Failure(Reply(451, "4.4.4", f"Next hop {route.next_hop} has no address"))
