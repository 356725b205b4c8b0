"""From a route to the addresses that are tried, in their order (RFC 5321 section 5.1).

    targets = await find_targets(route, surroundings, options)
    if isinstance(targets, Failure): ...   # nothing to connect to, and why

An address that would reach one of our own listeners makes its host ourselves: it and all hosts that are not preferred
to it are left out, and a domain that leads nowhere else is bounced, not looped. A relayhost never makes mail bounce.

Known weakness: an address behind a translating router is not recognised as our own.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

import msgspec

from valija.deliver.errand import Failure, Target
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


async def _no_policy(_domain: str) -> StsPolicy | None:
    return None


class Surroundings(msgspec.Struct, frozen=True):
    """Who is asked on the way to a host, and told of it.

    `is_own_listener` is given an IP address and a port, `sts_policy` a domain, whose MTA-STS policy it returns, None
    where it has none. `note_tls` hears how each opening of a session went.
    """

    resolver: Resolver
    shuffle: Callable[[list[MxHost]], None]
    is_own_name: Callable[[str], bool]
    is_own_listener: Callable[[str, int], bool]
    sts_policy: Callable[[str], Awaitable[StsPolicy | None]] = _no_policy
    note_tls: Callable[[TlsResult], None] = lambda _: None


async def find_targets(route: Route, ask: Surroundings, options: SmtpOptions) -> list[Target] | Failure:
    """Return what to connect to, best first; never an empty list."""
    targets = await _find(route, ask, options)
    if isinstance(targets, Failure) and targets.permanent and route.is_relayhost:
        return Failure(Reply(451, "4.4.4", f"The relayhost {route.next_hop} can't be used: {targets.reply.text}"))
    return targets


async def _find(route: Route, ask: Surroundings, options: SmtpOptions) -> list[Target] | Failure:
    port = route.port or options.port
    found = await _hosts(route, ask)
    if found.refusal is not None:
        return Failure(found.refusal, permanent=found.refusal.is_permanent)
    hosts = found.hosts[:_HOSTS_LOOKED_UP]
    addresses = await asyncio.gather(*(find_addresses(ask.resolver, host.name) for host in hosts))
    nearer = _nearer_than_ourselves(list(zip(hosts, addresses, strict=True)), port, ask)
    if not nearer:
        return _leads_back(route)
    targets = _in_turn(nearer, port, options.mx_address_limit)
    return targets or _no_address(route, addresses)


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


def _in_turn(found: list[tuple[MxHost, Addresses]], port: int, limit: int) -> list[Target]:
    """Return the first addresses of each host: one with very many must not hide the next host."""
    each = limit if len(found) == 1 else min(limit, _ADDRESSES_OF_ONE_AMONG_SEVERAL)
    targets = [Target(host.name, address, port) for host, those in found for address in those.addresses[:each]]
    return targets[:limit]


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
