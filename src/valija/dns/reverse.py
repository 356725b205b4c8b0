"""Does an address have a name that leads back to it (forward-confirmed reverse DNS, RFC 1912 section 2.1)?

found = await find_reverse_name(resolver, "192.0.2.7")
found.confirmed          # "mail.example.org", "" where there is none
found.failed             # why it could not be told, "" where it could
await confirmed_name(resolver, "192.0.2.7", 5.0)      # the name alone, if it is told in time
"""

import asyncio
from ipaddress import ip_address
from typing import Final, Literal

import msgspec

from valija.dns.resolver import Resolver, Status

MOST_NAMES: Final = 10  # that are looked up


class ReverseName(msgspec.Struct, frozen=True):
    """What is known: all names of the address, the one that leads back, and in words what could not be looked up."""

    names: tuple[str, ...] = ()
    confirmed: str = ""
    failed: str = ""

    @property
    def is_missing(self) -> bool:
        """Whether there surely is no name that leads back."""
        return not (self.confirmed or self.failed)


async def find_reverse_name(resolver: Resolver, address: str) -> ReverseName:
    """Return the name of an address. One name of several that leads back is enough."""
    wanted = ip_address(address)
    answer = await resolver.lookup(wanted.reverse_pointer, "PTR")
    if answer.status is Status.FAILED:
        return ReverseName(failed=answer.detail)
    names = answer.records[:MOST_NAMES]
    rtype: Literal["A", "AAAA"] = "A" if wanted.version == 4 else "AAAA"
    back = await asyncio.gather(*(resolver.lookup(name, rtype) for name in names))
    for name, leads in zip(names, back, strict=True):
        if wanted in map(ip_address, leads.records):
            return ReverseName(names, confirmed=name)
    return ReverseName(names, failed=next((each.detail for each in back if each.status is Status.FAILED), ""))


async def confirmed_name(resolver: Resolver, address: str, patience: float) -> str:
    """Return the name of an address that leads back to it, `""` where none is found within `patience` seconds."""
    try:
        async with asyncio.timeout(patience):
            return (await find_reverse_name(resolver, address)).confirmed
    except TimeoutError:
        return ""
