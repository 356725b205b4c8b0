"""SPF for one transaction: the identities in MAIL and HELO, judged while the recipients are named (RFC 7208).

    check = SenderPolicy.begin(client, "alice@example.org", resolver, receiver="mx.example.net", ...)
    for identity in await check.identities():
        identity.name, identity.value, identity.result      # "smtp.mailfrom", "alice@example.org", SpfResult(...)

With the null reverse-path the identity is that of HELO alone (section 2.4).
"""

import asyncio
from ipaddress import ip_address
from typing import Final, Literal, Self

import msgspec

from valija.dns.resolver import Resolver
from valija.dns.spf import Sender, SpfResult, check_host
from valija.mail.address import domain_of
from valija.policy.helo import helo_domain
from valija.receive.checks import Client

_LATE: Final = SpfResult("temperror", "the DNS did not answer in time")


class Identity(msgspec.Struct, frozen=True):
    """One identity and what its domain says. `name` is the property of RFC 8601."""

    name: Literal["smtp.mailfrom", "smtp.helo"]
    value: str
    domain: str
    result: SpfResult


class SenderPolicy:
    """The evaluations of one transaction, under way."""

    __slots__ = ("_task",)

    def __init__(self, task: "asyncio.Task[tuple[Identity, ...]]") -> None:
        self._task = task

    @classmethod
    def begin(
        cls, client: Client, reverse_path: str, resolver: Resolver, *, receiver: str, now: float, patience: float
    ) -> Self:
        """Begin to evaluate; the answer has come within `patience` seconds."""
        evaluating = _identities(client, reverse_path, resolver, receiver=receiver, now=now, patience=patience)
        return cls(asyncio.create_task(evaluating))

    async def identities(self) -> tuple[Identity, ...]:
        """Return the identities, that of MAIL first; none where the client's address is not known."""
        return await asyncio.shield(self._task)

    def cancel(self) -> None:
        """End what runs."""
        self._task.cancel()


async def _identities(
    client: Client, reverse_path: str, resolver: Resolver, *, receiver: str, now: float, patience: float
) -> tuple[Identity, ...]:
    if not client.address:
        return ()
    address = ip_address(client.address.partition("%")[0])
    helo = helo_domain(client.helo)

    async def identity(name: Literal["smtp.mailfrom", "smtp.helo"], value: str, mailbox: str) -> Identity:
        sender = Sender(mailbox, client.helo, receiver, now)
        domain = domain_of(mailbox)
        try:
            async with asyncio.timeout(patience):
                result = await check_host(address, domain, sender, resolver, explains=name == "smtp.mailfrom")
        except TimeoutError:
            result = _LATE
        return Identity(name, value, domain, result)

    wanted = []
    if reverse_path:
        wanted.append(identity("smtp.mailfrom", reverse_path, reverse_path))
    if helo or not reverse_path:
        wanted.append(identity("smtp.helo", client.helo, f"postmaster@{helo}"))
    return tuple(await asyncio.gather(*wanted))
