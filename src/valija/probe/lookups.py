"""What the DNS says of a server: the names of its address, and the addresses of the name it gives itself.

asyncio.run(ask(resolver, "192.0.2.1", "mx.example.net"))      # Names(reverse=(...), addresses=(...))
"""

import asyncio
import ipaddress

from valija.dns.resolver import Answer, Resolver, Status
from valija.probe.names import Names


async def ask(resolver: Resolver, address: str, name: str) -> Names:
    """Ask for both. Takes no longer than the resolver's timeouts."""
    pointer = ipaddress.ip_address(address.partition("%")[0]).reverse_pointer
    if not name:
        return Names(reverse=_told(await resolver.lookup(pointer, "PTR")))
    reverse, *found = await asyncio.gather(
        resolver.lookup(pointer, "PTR"), resolver.lookup(name, "A"), resolver.lookup(name, "AAAA")
    )
    addresses = [_told(answer) for answer in found]
    if all(told is None for told in addresses):
        return Names(_told(reverse), None)
    return Names(_told(reverse), tuple(each for told in addresses for each in told or ()))


def _told(answer: Answer[str]) -> tuple[str, ...] | None:
    return None if answer.status is Status.FAILED else answer.records
