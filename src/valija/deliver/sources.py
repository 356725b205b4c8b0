"""Which of this machine's addresses a connection leaves from, and by which name it introduces itself.

    sources = Sources(options, "mail.example.org", resolver, log)
    sources.helo_name("bulk")                                               # "bulk.example.org"
    sources.towards("192.0.2.25", pool="bulk", next_hop="example.net")      # ("198.51.100.7", "198.51.100.8")

Of several addresses each next hop has its own favourite, and the others where that can't be used. A next hop that gets
to know one address meets the same one at every attempt: greylists compare it, and trust is won address by address. New
addresses take over only their share of the next hops (rendezvous hashing), in every process and after each start alike.

Mail of a pool leaves from its addresses and no others: where none of them is of the family that is needed, or can be
used, the mail waits. Without a pool the kernel chooses for a family of which `bind_addresses` names no address.

An address without a reverse name that leads back to it is avoided where there is a better one: see `poor`.
"""

import contextlib
import errno
import socket
from collections.abc import Callable, Sequence
from hashlib import blake2b
from typing import Final

from valija.deliver.options import SmtpOptions, SourcePool
from valija.deliver.reverse_names import ReverseNames
from valija.dns.resolver import Resolver
from valija.logs import Log
from valija.machine import source_towards
from valija.policy.public import is_public

KERNELS_CHOICE: Final = ("",)

_IP_BIND_ADDRESS_NO_PORT: Final = 24  # ip(7): the port is chosen at the connect, so that many can share one


class SourceUnusable(OSError):
    """No socket could be bound to any of the addresses."""


class Sources:
    """The addresses and names of one configuration."""

    def __init__(
        self,
        options: SmtpOptions,
        hostname: str,
        resolver: Resolver,
        log: Log,
        *,
        kernels_choice: Callable[[str], str] = source_towards,
    ) -> None:
        own_name = options.helo_name or hostname
        self._pools = {pool.name: pool for pool in options.pools}
        self._bind_addresses = options.bind_addresses
        self._names = {pool.name: pool.helo_name or own_name for pool in options.pools}
        self._own_name = own_name
        self._reverse = ReverseNames(resolver, log, own_name)
        self._log = log
        self._kernels_choice = kernels_choice
        self._unusable: set[str] = set()

    def helo_name(self, pool: str) -> str:
        """Return the name for EHLO."""
        return self._names.get(pool, self._own_name)

    def towards(self, target: str, *, pool: str, next_hop: str) -> Sequence[str]:
        """Return the addresses to leave from to the address `target`, best first; `""` is the kernel's choice."""
        if not pool and not self._bind_addresses:
            return KERNELS_CHOICE
        if not pool:
            return self._of_family(self._bind_addresses, target, next_hop) or KERNELS_CHOICE
        addresses = self._pools.get(pool, SourcePool()).addresses
        if pool in self._pools and not addresses:
            return KERNELS_CHOICE
        return self._of_family(addresses, target, next_hop)

    def poor(self, ways: Sequence[tuple[str, Sequence[str]]]) -> set[int]:
        """Return the numbers of those ways, each a target with its sources, that are to be left for the last.

        They leave from an address without a reverse name, or, by IPv6, from one that the internet does not know; the
        others don't. What leads to inner addresses is not judged. Logs what is avoided, once.
        """
        leaving = [self._leaving(target, sources) for target, sources in ways]
        poor = {number for number, source in enumerate(leaving) if source and self._is_poor(source)}
        instead = next((source for number, source in enumerate(leaving) if source and number not in poor), "")
        if not instead:
            return set()
        for source in {leaving[number] for number in poor}:
            if is_public(source):
                self._reverse.is_avoided(source, instead)
        return poor

    def bind(self, opened: socket.socket, sources: Sequence[str]) -> None:
        """Bind a socket to the first of some addresses that can be bound to. Raises SourceUnusable."""
        with contextlib.suppress(OSError):
            opened.setsockopt(socket.IPPROTO_IP, _IP_BIND_ADDRESS_NO_PORT, 1)
        for source in sources:
            try:
                opened.bind((source, 0))
            except OSError as error:
                self._note_unusable(source, error)
            else:
                self._unusable.discard(source)
                return
        raise SourceUnusable(errno.EADDRNOTAVAIL, f"this machine can't send from {', '.join(sources)}")

    def _of_family(self, addresses: Sequence[str], target: str, next_hop: str) -> Sequence[str]:
        those = [address for address in addresses if (":" in address) == (":" in target)]
        if len(those) < 2:
            return those
        those.sort(key=lambda address: _affinity(address, next_hop))
        return sorted(those, key=self._reverse.is_missing)

    def _leaving(self, target: str, sources: Sequence[str]) -> str:
        """Return the address a connection would leave from, `""` where it is not to be judged or there is no route."""
        if not is_public(target):
            return ""
        return sources[0] or self._kernels_choice(target)

    def _is_poor(self, source: str) -> bool:
        # Private IPv4 addresses are translated, and the world sees another; with IPv6 they mean that there is no way.
        if ":" in source and not is_public(source):
            return True
        return self._reverse.is_missing(source)

    def _note_unusable(self, source: str, error: OSError) -> None:
        if source not in self._unusable:
            self._unusable.add(source)
            self._log.error(
                "source address unusable",
                source=source,
                reason=error.strerror or str(error),
                remedy="give this machine the address, or take it out of [smtp] bind_addresses or its [[smtp.pool]]",
            )


def _affinity(address: str, next_hop: str) -> bytes:
    return blake2b(f"{address} {next_hop}".encode(), digest_size=8).digest()
