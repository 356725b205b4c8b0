"""Does a recipient have a mailbox where others keep them? Asked at RCPT, so that nothing is taken that bounces later.

    mailboxes = Mailboxes(ask, is_known=directory.is_somebodys, monotonic=time.monotonic)
    directory = HostedDirectory(..., may_be_mailbox=mailboxes.may_exist)
    offer = mailbox_offer(mailboxes, directory, domains)

The server of the mailboxes (Dovecot, by LMTP) says what it thinks of an address; its word is kept for a while. Aliases
of ours are not asked about, nor is what comes behind them: `valija alias` looks at that. Where it knows no such mailbox
there may still be the alias of the whole domain, or postmaster.

A mailbox that is full, or that may not be written to now, is refused in the server's own words. While it can't be
asked, accounts, the system's users and mailboxes that it once knew are taken, and their mail waits; for all others the
client has to come again.
"""

from collections.abc import Awaitable, Callable, Collection, Coroutine
from typing import Any, Final, Protocol

import msgspec

from valija.content.compose import printable
from valija.mail.address import domain_of, mailbox_key
from valija.mail.envelope import Recipient
from valija.mail.reply import Reply
from valija.receive.checks import Answer, Check, Client, Offer, Stage
from valija.smtp.events import Mail

KNOWN_FOR: Final = 300.0  # seconds
UNKNOWN_FOR: Final = 5.0  # somebody just made should not have to wait
_NOBODY_FOR: Final = 120.0  # so long an unknown mailbox is none, asked about again or not: a content takes its time
_REMEMBERED: Final = 10_000
_LONGEST: Final = 200  # characters

Ask = Callable[[str], Awaitable[Reply]]
"""Returns what the server says to a recipient; 4yz of ours where it can't be asked."""


class Hosted(Protocol):
    """Who lives here."""

    def exists(self, address: str) -> bool:
        """Whether mail for an address goes anywhere."""

    def expand(self, address: str) -> tuple[str, ...]:
        """Return where mail for an address goes."""


class _Word(msgspec.Struct, frozen=True):
    """What the server said, and when."""

    reply: Reply
    at: float


class Mailboxes:
    """What the server of the mailboxes said. `is_known` is who is here without it; `monotonic` gives seconds."""

    def __init__(self, ask: Ask, *, is_known: Callable[[str], bool], monotonic: Callable[[], float]) -> None:
        self._ask = ask
        self._is_known = is_known
        self._monotonic = monotonic
        self._words: dict[str, _Word] = {}

    def may_exist(self, address: str) -> bool:
        """Whether an address may be a mailbox: the server did not say otherwise a while ago."""
        word = self._words.get(_key(address))
        return word is None or not is_unknown(word.reply) or self._age(word) > _NOBODY_FOR

    def is_due(self, address: str) -> bool:
        """Whether the server has to be asked about an address."""
        word = self._words.get(_key(address))
        return word is None or self._age(word) > (KNOWN_FOR if word.reply.is_positive else UNKNOWN_FOR)

    async def learn(self, address: str) -> None:
        """Ask the server about an address; what it can't tell changes nothing about what it once knew."""
        reply = await self._ask(address)
        key = _key(address)
        former = self._words.get(key)
        if reply.is_transient and former is not None and former.reply.is_positive:
            reply = former.reply
        if len(self._words) >= _REMEMBERED:
            self._words.clear()
        self._words[key] = _Word(reply, self._monotonic())

    def refusal(self, address: str) -> Reply | None:
        """Return why an address gets no mail now, by the last word about it; None where it does, or is no mailbox."""
        word = self._words.get(_key(address))
        if word is None or word.reply.is_positive or is_unknown(word.reply):
            return None
        reply, told = word.reply, printable(word.reply.text, _LONGEST)
        if reply.is_permanent:
            return Reply(550 if reply.code < 550 else reply.code, reply.enhanced or "5.2.0", f"<{address}>: {told}")
        return None if self._is_known(address) else Reply(450, "4.2.0", f"<{address}>: {told}")

    def _age(self, word: _Word) -> float:
        return self._monotonic() - word.at


def _key(address: str) -> str:
    return mailbox_key(address, separator="")  # whether it knows subaddresses is for the server to say


def is_unknown(reply: Reply) -> bool:
    """Whether a reply says that there is no such mailbox, rather than what is wrong with it."""
    return reply.is_permanent and (reply.enhanced.startswith("5.1.") or (not reply.enhanced and reply.code == 550))


class MailboxCheck(Check):
    """One session's."""

    def __init__(self, mailboxes: Mailboxes, directory: Hosted, domains: Collection[str]) -> None:
        self._mailboxes = mailboxes
        self._directory = directory
        self._domains = domains

    def on_rcpt(self, client: Client, mail: Mail, recipient: Recipient) -> Answer:
        """Refuse who has no mailbox; wait only where the server has to be asked."""
        address = recipient.address
        if domain_of(address) not in self._domains:
            return None
        if self._mailboxes.is_due(address):
            return self._asked(address) if self._directory.expand(address) in ((address,), ()) else None
        return self._judged(address)

    def _asked(self, address: str) -> Coroutine[Any, Any, Reply | None]:
        async def answer() -> Reply | None:
            await self._mailboxes.learn(address)
            return self._judged(address)

        return answer()

    def _judged(self, address: str) -> Reply | None:
        ends = self._directory.expand(address)
        if ends == (address,):
            return self._mailboxes.refusal(address)
        return None if ends else Reply(550, "5.1.1", f"<{printable(address)}>: User unknown")


def mailbox_offer(mailboxes: Mailboxes, directory: Hosted, domains: Collection[str]) -> Offer:
    """Return the check, for everybody's mail."""
    return Offer("mailbox", lambda client: MailboxCheck(mailboxes, directory, domains), Stage.RCPT, of_users=True)
