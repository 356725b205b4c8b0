"""An endpoint: the address and port a listener binds or a client reaches.

    >>> Endpoint.parse("[::]:25")
    Endpoint(host='::', port=25)
    >>> str(Endpoint("::1", 2525))
    '[::1]:2525'

Hosts are IP addresses, never names: a name could come to mean another address while the server runs, and nobody would
see where it listens.
"""

import ipaddress
from typing import Final, Self

import msgspec

_WILDCARDS: Final = frozenset({"0.0.0.0", "::"})  # noqa: S104 looked for, not bound


class Endpoint(msgspec.Struct, frozen=True, gc=False, order=True):
    """An IP address in its canonical spelling and a TCP or UDP port."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str, default_port: int = 0) -> Self:
        """Read `192.0.2.1:25` or `[2001:db8::1]:25`; the port may be missing where there is a default one.

        Raises ValueError; its message says what is wrong with the text.
        """
        host, port = _split(text)
        return cls(_canonical(host), _port(port, default_port))

    @property
    def is_ipv6(self) -> bool:
        """Whether this is an IPv6 endpoint."""
        return ":" in self.host

    def overlaps(self, other: "Endpoint") -> bool:
        """Whether a client could mean both: the same address, or one of them is every address of its family."""
        if self.port != other.port or self.is_ipv6 != other.is_ipv6:
            return False
        return self.host == other.host or not _WILDCARDS.isdisjoint((self.host, other.host))

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if self.is_ipv6 else f"{self.host}:{self.port}"


def _split(text: str) -> tuple[str, str | None]:
    """Return the host, and the port's text: None when the text has none."""
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            raise ValueError("an IPv6 address is written [address]:port")
        if ":" not in host:
            raise ValueError("only an IPv6 address stands in square brackets")
        return host, rest[1:] if rest else None
    if text.count(":") > 1:
        raise ValueError("an IPv6 address is written in square brackets, [address]:port")
    host, colon, port = text.partition(":")
    return host, port if colon else None


def _canonical(host: str) -> str:
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        raise ValueError("it names no IP address" if not host else f"{host!r} is not an IP address") from None


def _port(text: str | None, default: int) -> int:
    if text is None:
        if not default:
            raise ValueError("the port is missing")
        return default
    if not (text.isascii() and text.isdigit() and len(text) <= 5 and 1 <= int(text) <= 65535):
        raise ValueError("a port is a number from 1 to 65535")
    return int(text)
