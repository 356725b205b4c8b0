"""The name in HELO: whether a client says who it is, or pretends to be us (RFC 5321 section 4.1.4).

    Offer("helo", lambda client: HeloCheck(ground), Stage.MAIL | Stage.CONTENT)

A good name is one of a host, with a dot, that the DNS has, or the client's own address in brackets. What is found is
told in the log; it refuses only where that is asked for: RFC 5321 lets nobody refuse mail for a name that merely does
not resolve, and many honest machines have a bad one.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any

import msgspec

from valija.dns.resolver import Resolver, Status
from valija.mail.envelope import Envelope
from valija.mail.reply import Reply
from valija.policy.helo import helo_domain, helo_fault
from valija.receive.checks import Candidate, Check, Client, Verdict
from valija.smtp.events import Mail


class HeloGround(msgspec.Struct, frozen=True):
    """What all sessions share. `patience` in seconds; `refuses`: a bad name is refused."""

    resolver: Resolver
    own_name: str
    refuses: bool
    patience: float


class HeloCheck(Check):
    """One session's: the name is judged anew when it changes."""

    def __init__(self, ground: HeloGround) -> None:
        self._ground = ground
        self._helo = ""
        self._judging: asyncio.Task[str] | None = None

    def on_mail(self, client: Client, mail: Mail) -> Coroutine[Any, Any, Reply | None] | None:
        """Begin to judge the name; wait for it only where it may refuse."""
        if self._judging is None or client.helo != self._helo:
            self.close()
            self._helo = client.helo
            self._judging = asyncio.create_task(self._fault(client))
        return self._refusal(client) if self._ground.refuses else None

    async def on_content(self, client: Client, envelope: Envelope, content: Candidate) -> Verdict:
        """Tell what was found."""
        assert self._judging is not None
        fault = await asyncio.shield(self._judging)
        return Verdict(findings=(("helo_fault", fault),)) if fault else Verdict()

    def close(self) -> None:
        """End what runs."""
        if self._judging is not None:
            self._judging.cancel()
            self._judging = None

    async def _refusal(self, client: Client) -> Reply | None:
        assert self._judging is not None
        fault = await asyncio.shield(self._judging)
        return Reply(550, "5.7.1", f"The name in HELO is not good: {fault}") if fault else None

    async def _fault(self, client: Client) -> str:
        ground = self._ground
        fault = helo_fault(client.helo, client.address, own_name=ground.own_name)
        name = helo_domain(client.helo)
        if fault or not name:
            return fault
        try:
            async with asyncio.timeout(ground.patience):
                return "" if await self._may_exist(name) else "the DNS has no address for it"
        except TimeoutError:
            return ""

    async def _may_exist(self, name: str) -> bool:
        """Whether a name has an address or a mail exchanger, as far as the DNS answers."""
        a, aaaa, mx = await asyncio.gather(
            self._ground.resolver.lookup(name, "A"),
            self._ground.resolver.lookup(name, "AAAA"),
            self._ground.resolver.lookup(name, "MX"),
        )
        statuses = {a.status, aaaa.status, mx.status}
        return Status.FOUND in statuses or Status.FAILED in statuses
