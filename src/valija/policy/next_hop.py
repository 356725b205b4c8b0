"""A next hop as it is written in the configuration, in Postfix's notation.

    parse_next_hop("[relay.example.net]:587")     # NextHop("relay.example.net", port=587, lookup_mx=False)
    parse_next_hop("example.net")                 # NextHop("example.net", lookup_mx=True)

`relayhost`, `fallback_relay` and the `next_hop` of a route are written in it.
"""

import re
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import Final

import msgspec

from valija.mail.address import AddressError, normalise_domain
from valija.mail.fault import Fault

_REMEDY: Final = 'write "[host]:port" for one host, or "domain" to use its MX hosts'
_BRACKETED = re.compile(r"\[([^\[\]]*)\](?::(.*))?", re.DOTALL)


class NextHop(msgspec.Struct, frozen=True):
    """A server, or the MX hosts of a domain, that mail is handed to.

    `host` is a name in A-labels or an IP address; `port` is 0 for the port MX hosts are reached on. With `lookup_mx` it
    is a domain, whose MX hosts are meant.
    """

    host: str
    port: int = 0
    lookup_mx: bool = False

    def __str__(self) -> str:
        host = self.host if self.lookup_mx else f"[{self.host}]"
        return f"{host}:{self.port}" if self.port else host


def parse_next_hop(text: object) -> NextHop | Fault | None:
    """Read a next hop as Postfix writes it; None for `""`, which is none.

    `[host]`, `[host]:port` and `[2001:db8::1]:port` are one host; `domain` and `domain:port` have their MX hosts looked
    up. Whether it leads back here is asked in policy/ourselves.
    """
    if not isinstance(text, str):
        return Fault(text, "it is not a string", f"put it in quotes: {_REMEDY}")
    if not text:
        return None
    bracketed = _BRACKETED.fullmatch(text)
    if bracketed:
        return _next_hop(text, bracketed[1], bracketed[2], lookup_mx=False)
    if text.count(":") > 1 or "[" in text or "]" in text:
        return Fault(text, *_why_none(text))
    domain, colon, port = text.partition(":")
    if _is_address(domain):
        return Fault(text, "an IP address has no MX hosts", f'write "[{domain}]{colon}{port}"')
    return _next_hop(text, domain, port if colon else None, lookup_mx=True)


def _next_hop(text: str, host: str, port: str | None, *, lookup_mx: bool) -> NextHop | Fault:
    if port is not None and not (port.isascii() and port.isdigit() and len(port) <= 5 and 1 <= int(port) <= 65535):
        return Fault(text, "the port is no number from 1 to 65535", _REMEDY)
    name = _read_host(host)
    if name is None:
        return Fault(text, f"{host!r} is neither a host name nor an IP address", _REMEDY)
    return NextHop(name, int(port or 0), lookup_mx)


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


def _why_none(text: str) -> tuple[str, str]:
    try:
        address = IPv6Address(text)
    except AddressValueError:
        return "it cannot be read", _REMEDY
    return "an IPv6 address stands in brackets", f'write "[{address}]"'
