"""Block lists at the door: a client whose address one of them has is refused, or its mail put aside.

    Offer("dnsbl", lambda client: BlockListCheck(lists, client, patience=10.0, refuses=True), Stage.RCPT)

The lists are asked when the client says hello, and waited for at its first recipient. Mail to postmaster and abuse is
let through: who is listed by mistake has to be able to say so (RFC 5321 section 4.5.1, RFC 2142).
"""

import asyncio
from typing import Final

from valija.content.compose import printable
from valija.dns.dnsbl import BlockLists, Listed
from valija.mail.address import fold_case, split
from valija.mail.envelope import Envelope, Recipient
from valija.mail.reply import Reply
from valija.receive.checks import Candidate, Check, Client, Verdict
from valija.smtp.events import Mail

_ALWAYS_REACHED: Final = frozenset({"postmaster", "abuse"})


class BlockListCheck(Check):
    """One session's. What is not known within `patience` seconds lists nobody."""

    def __init__(self, lists: BlockLists, client: Client, *, patience: float, refuses: bool) -> None:
        self._patience = patience
        self._refuses = refuses
        self._asking: asyncio.Task[Listed | None] | None = None
        if client.address:
            self._asking = asyncio.create_task(self._ask(lists, client.address.partition("%")[0]))

    async def on_rcpt(self, client: Client, mail: Mail, recipient: Recipient) -> Reply | None:
        """Refuse a client that is listed."""
        if fold_case(split(recipient.address)[0]) in _ALWAYS_REACHED:
            return None
        listed = await self._listed()
        if listed is None or not self._refuses:
            return None
        words = f": {printable(listed.words)}" if listed.words else ""
        return Reply(550, "5.7.1", f"{client.address} is on the block list {listed.zone}{words}")

    async def on_content(self, client: Client, envelope: Envelope, content: Candidate) -> Verdict | None:
        """Have the mail of a client that is listed put aside; to postmaster and abuse alone it comes all the same."""
        listed = await self._listed()
        if listed is None:
            return None
        findings = (("dnsbl", f"{listed.zone} {' '.join(listed.codes)}"),)
        return Verdict(junk="" if self._refuses else f"listed by {listed.zone}", findings=findings)

    def close(self) -> None:
        """End what runs."""
        if self._asking is not None:
            self._asking.cancel()

    async def _ask(self, lists: BlockLists, address: str) -> Listed | None:
        try:
            async with asyncio.timeout(self._patience):
                return await lists.find(address)
        except TimeoutError:
            return None

    async def _listed(self) -> Listed | None:
        return await asyncio.shield(self._asking) if self._asking is not None else None
