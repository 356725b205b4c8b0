"""Does a domain's SPF record let one of our addresses send? Asked as others ask, by dns/spf (RFC 7208).

    verdict = await evaluate("example.org", ip_address("192.0.2.7"), resolver)
    verdict.result      # "pass"
    verdict.why         # "ip4:192.0.2.0/28"

A record may ask who the sender is; one that did, and did not let the address send, is `unknown`: another sender might.
"""

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address
from typing import Any, Final, Literal, overload

import msgspec

from valija.dns.resolver import Answer, MxRecord, RecordType, Resolver, TextType
from valija.dns.spf import Sender, SpfVerdict, check_host

Address = IPv4Address | IPv6Address

_NOBODY: Final = "nobody-in-particular"  # a local part that shows in the names that a record makes of it


class Verdict(msgspec.Struct, frozen=True):
    """What a record says of an address, and by which of its terms, or what is wrong with it."""

    result: SpfVerdict | Literal["unknown"]
    why: str = ""


class _Noticing:
    """A resolver that notices whether a name was made of the sender's."""

    def __init__(self, resolver: Resolver) -> None:
        self._resolver = resolver
        self.sender_name = ""

    @overload
    async def lookup(self, name: str, rtype: Literal["MX"]) -> Answer[MxRecord]: ...
    @overload
    async def lookup(self, name: str, rtype: TextType) -> Answer[str]: ...
    async def lookup(self, name: str, rtype: RecordType) -> Answer[Any]:
        """Look a name up."""
        if _NOBODY in name:
            self.sender_name = name
        return await self._resolver.lookup(name, rtype)


async def evaluate(domain: str, address: Address, resolver: Resolver) -> Verdict:
    """Return what the SPF record of `domain` says of `address`. Never raises for what network or record say."""
    noticing = _Noticing(resolver)
    found = await check_host(address, domain, Sender(f"{_NOBODY}@{domain}", domain), noticing)
    if noticing.sender_name and found.verdict not in ("pass", "temperror"):
        return Verdict("unknown", f"it depends on the sender, as in {noticing.sender_name}")
    return Verdict(found.verdict, found.why)


def suggestion(addresses: Iterable[Address]) -> str:
    """Return the record that lets these addresses send, and whoever takes the domain's mail."""
    own = " ".join(f"ip{address.version}:{address}" for address in addresses)
    return f"v=spf1 mx {own} -all" if own else "v=spf1 mx -all"
