"""Where does a recipient's mail go next? Hosted domains to their Maildir, all else to the relayhost, or to its domain.

    router = Router({"example.org"}, relayhost=None)
    router.route(envelope, "alice@example.org")    # Route("maildir", "example.org")
    router.route(envelope, "bob@example.net")      # Route("remote", "example.net")

    parse_relayhost("[relay.example.net]:587")   # Relayhost("relay.example.net", port=587, lookup_mx=False)

Equal routes are equal values: the queue groups by them and connections are shared along them.
"""

import re
from collections.abc import Collection
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import Final

import msgspec

from valija.mail.address import AddressError, domain_of, normalise_domain
from valija.mail.envelope import Envelope
from valija.mail.fault import Fault
from valija.mail.job import Route

_REMEDY: Final = 'write "[host]:port" for one host, or "domain" to use its MX hosts'
_BRACKETED = re.compile(r"\[([^\[\]]*)\](?::(.*))?", re.DOTALL)


class Relayhost(msgspec.Struct, frozen=True):
    """The server that all mail for other domains is handed to.

    `host` is a name in A-labels or an IP address; `port` is 0 for the port MX hosts are reached on. With `lookup_mx` it
    is a domain, whose MX hosts are meant.
    """

    host: str
    port: int = 0
    lookup_mx: bool = False

    def __str__(self) -> str:
        host = self.host if self.lookup_mx else f"[{self.host}]"
        return f"{host}:{self.port}" if self.port else host


class Router:
    """The routes of one configuration."""

    def __init__(self, domains: Collection[str], relayhost: Relayhost | None) -> None:
        self._hosted = {domain: Route("maildir", domain) for domain in domains}
        self._relayhost = _route_to(relayhost) if relayhost else None

    def route(self, envelope: Envelope, address: str) -> Route:
        """Return the way to the next hop of a recipient, whose domain is in A-labels (see mail/address)."""
        domain = domain_of(address)
        if hosted := self._hosted.get(domain):
            return hosted
        route = self._relayhost or Route("remote", domain)
        demand = envelope.tls_demand
        return msgspec.structs.replace(route, tls_demand=demand) if demand else route


def _route_to(relayhost: Relayhost) -> Route:
    return Route("remote", relayhost.host, relayhost.port, relayhost.lookup_mx, is_relayhost=True)


def parse_relayhost(text: object) -> Relayhost | Fault | None:
    """Read `relayhost` as Postfix writes it; None for `""`, which is off.

    `[host]`, `[host]:port` and `[2001:db8::1]:port` are one host; `domain` and `domain:port` have their MX hosts looked
    up. Whether it leads back here is asked in policy/ourselves.
    """
    if not isinstance(text, str):
        return Fault(text, "it is not a string", f"put it in quotes: {_REMEDY}")
    if not text:
        return None
    bracketed = _BRACKETED.fullmatch(text)
    if bracketed:
        return _relayhost(text, bracketed[1], bracketed[2], lookup_mx=False)
    if text.count(":") > 1 or "[" in text or "]" in text:
        return Fault(text, *_why_no_relayhost(text))
    domain, colon, port = text.partition(":")
    if _is_address(domain):
        return Fault(text, "an IP address has no MX hosts", f'write "[{domain}]{colon}{port}"')
    return _relayhost(text, domain, port if colon else None, lookup_mx=True)


def _relayhost(text: str, host: str, port: str | None, *, lookup_mx: bool) -> Relayhost | Fault:
    if port is not None and not (port.isascii() and port.isdigit() and len(port) <= 5 and 1 <= int(port) <= 65535):
        return Fault(text, "the port is no number from 1 to 65535", _REMEDY)
    name = _read_host(host)
    if name is None:
        return Fault(text, f"{host!r} is neither a host name nor an IP address", _REMEDY)
    return Relayhost(name, int(port or 0), lookup_mx)


def _read_host(host: str) -> str | None:
    try:
        if ":" in host:
            return str(IPv6Address(host))
        return str(IPv4Address(host)) if _is_address(host) else normalise_domain(host)
    except (AddressValueError, AddressError):
        return None


def _is_address(text: str) -> bool:
    try:
        IPv4Address(text)
    except AddressValueError:
        return False
    return True


def _why_no_relayhost(text: str) -> tuple[str, str]:
    try:
        address = IPv6Address(text)
    except AddressValueError:
        return "it cannot be read", _REMEDY
    return "an IPv6 address stands in brackets", f'write "[{address}]"'
