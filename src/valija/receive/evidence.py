"""What a message brings to prove where it comes from, and the look-ups that tell what the proofs are worth.

    evidence = Evidence.read(header, dkim=True, arc=True)     # at the end of the header; no look-up yet
    evidence.bodies                                           # wants to see the body, where there are signatures
    evidence.begin(resolver)                                  # keys and DMARC records, all at once, in the background
    keys = await evidence.keys(patience)                      # texts by name, None for those that did not come

The look-ups run while the body arrives. `cancel` ends them.
"""

import asyncio
from collections.abc import Sequence
from typing import Any, Final, Self, TypeVar

from valija.content.arc import Chain, read_chain
from valija.content.dkim_signature import Signature, signatures
from valija.content.dkim_verify import BodyHashes
from valija.content.header import names
from valija.content.submission import author_addresses
from valija.dns.dmarc import walk
from valija.dns.resolver import Answer, Resolver, Status
from valija.mail.address import domain_of
from valija.mail.reply import Reply
from valija.policy.dmarc import Walk, WalkFailed

MOST_AUTHORS: Final = 5  # domains in From

T = TypeVar("T")


class Authors:
    """The domains in From, or what is wrong with it. `is_odd`: readers would see different authors."""

    __slots__ = ("domains", "fault", "is_odd")

    def __init__(self, domains: Sequence[str] = (), fault: str = "", *, is_odd: bool = False) -> None:
        self.domains = tuple(domains)
        self.fault = fault
        self.is_odd = is_odd

    @classmethod
    def of(cls, header: bytes) -> Self:
        """Return who a header says has written it."""
        count = names(header).count(b"from")
        if count != 1:
            return cls(fault=f"the header has {count} From fields", is_odd=count > 1)
        addresses = author_addresses(header)
        if isinstance(addresses, Reply):
            return cls(fault="the From field is not understood", is_odd=True)
        domains = dict.fromkeys(domain_of(address) for address in addresses)
        if not domains:
            return cls(fault="the From field has no address")
        if len(domains) > MOST_AUTHORS:
            return cls(fault=f"the From field has addresses of more than {MOST_AUTHORS} domains", is_odd=True)
        return cls(tuple(domains))


class Evidence:
    """One message's signatures, chain and authors, and the look-ups that they need."""

    __slots__ = ("_keys", "_walks", "authors", "bodies", "chain", "signatures")

    def __init__(self, found: list[Signature], chain: Chain, authors: Authors) -> None:
        self.signatures = found
        self.chain = chain
        self.authors = authors
        self.bodies = BodyHashes([*found, *chain.signatures])
        self._keys: dict[str, asyncio.Task[Answer[str]]] = {}
        self._walks: dict[str, asyncio.Task[Walk | None]] = {}

    @classmethod
    def read(cls, header: bytes, *, dkim: bool, arc: bool) -> Self:
        """Return what a header has."""
        found = signatures(header) if dkim else []
        return cls(found, read_chain(header) if arc else Chain(), Authors.of(header))

    def begin(self, resolver: Resolver, *, dmarc: bool) -> None:
        """Look everything up, once."""
        if self._keys or self._walks:
            return
        needed = {each.key_name for each in self.signatures if each.fault is None} | self.chain.key_names
        self._keys = {name: asyncio.create_task(resolver.lookup(name, "TXT")) for name in needed}
        if dmarc:
            self._walks = {domain: asyncio.create_task(_walk(domain, resolver)) for domain in self.authors.domains}

    async def keys(self, patience: float) -> dict[str, Sequence[str] | None]:
        """Return the texts at each name, None for those that the DNS did not tell within `patience` seconds."""
        await _all_of(self._keys.values(), patience)
        return {name: _texts(task) for name, task in self._keys.items()}

    async def walks(self, patience: float) -> dict[str, Walk | None]:
        """Return the tree walk from each domain in From, None for those that came to no end."""
        await _all_of(self._walks.values(), patience)
        return {domain: _result(task) for domain, task in self._walks.items()}

    def cancel(self) -> None:
        """End what runs."""
        for task in (*self._keys.values(), *self._walks.values()):
            task.cancel()


async def _walk(domain: str, resolver: Resolver) -> Walk | None:
    try:
        return await walk(domain, resolver)
    except WalkFailed:
        return None


async def _all_of(tasks: Any, patience: float) -> None:
    if tasks:
        await asyncio.wait(tasks, timeout=patience)


def _texts(task: asyncio.Task[Answer[str]]) -> Sequence[str] | None:
    answer = _result(task)
    return None if answer is None or answer.status is Status.FAILED else answer.records


def _result(task: asyncio.Task[T]) -> T | None:
    """Return what a task came to, None where it is not done."""
    return task.result() if task.done() and not task.cancelled() else None
