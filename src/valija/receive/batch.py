"""One message that a local program wrote down as SMTP, replayed as if its user were there.

    taken = await replay(site, rules, user, octets)
    taken.reply                 # to the content: 250 once it is durably queued
    taken.refused               # recipients that were refused, each with the reply

What is written is one transaction: EHLO, MAIL, RCPT, and the content by one BDAT. The same machine and the same session
decide as for a program that is there; only, nobody reads the replies. So the machine hears yes at each step, and what
the session said is kept. Of a message that nobody may get, the header is kept for the report.

A recipient that is refused for now refuses the whole for now: to be tried again it has to be in one piece.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from valija.content.header import MAX_HEADER, HeaderCollector
from valija.mail.envelope import Recipient
from valija.mail.reply import Reply
from valija.receive.local import LocalSession, LocalUser
from valija.receive.session import Answer
from valija.receive.site import Site
from valija.smtp import events
from valija.smtp.events import Event
from valija.smtp.server import ServerMachine, ServerRules

_YES: Final = Reply(250, "2.0.0", "Ok")
_GO_ON: Final = Reply(354, "", "Go on")
_BROKEN: Final = Reply(554, "5.6.0", "What was left in the maildrop is no message")
_FAULT: Final = Reply(451, "4.3.0", "Local error in processing, try again later")


@dataclass
class Taken:
    """What became of a message. `is_broken`: what was written is no transaction, so that nobody can be told of it."""

    reply: Reply = _BROKEN
    reverse_path: str = ""
    recipients: list[Recipient] = field(default_factory=list)
    refused: list[tuple[Recipient, Reply]] = field(default_factory=list)
    header: bytes = b""

    @property
    def is_broken(self) -> bool:
        """Whether there is no recipient that could be told of."""
        return not self.recipients

    @property
    def is_for_later(self) -> bool:
        """Whether it may be taken another time."""
        return not self.reply.is_positive and not self.reply.is_permanent


async def replay(site: Site, rules: ServerRules, user: LocalUser, octets: Iterable[bytes]) -> Taken:
    """Return what becomes of the message in `octets`. Never raises for what is written there."""
    replaying = _Replay(site, rules, user)
    try:
        for piece in octets:
            if await replaying.has_ended(piece):
                break
    finally:
        replaying.session.end("replayed")
    return replaying.taken


class _Replay:
    """A session whose client is a file."""

    def __init__(self, site: Site, rules: ServerRules, user: LocalUser) -> None:
        self.session = LocalSession(site, user)
        self.machine = self.session.machine = ServerMachine(rules, clock=site.clock)
        self.machine.greet()
        self.machine.take_output()
        self.taken = Taken()
        self._site = site
        self._verdict: Reply | None = None  # the first refusal that holds for the whole
        self._header = HeaderCollector()
        self._is_over = False

    async def has_ended(self, piece: bytes) -> bool:
        """Take the next octets; tell whether the message is complete, or nothing can come of it."""
        self.machine.receive(piece)
        while not self._is_over and (event := self.machine.next_event()) is not None:
            self._hear_the_machine()
            answer = await self._answer(self.session.completed(event))
            if answer is not None:
                self.machine.answer(answer)
        return self._is_over

    async def _answer(self, event: Event) -> Reply | None:
        """Return what the machine is to hear."""
        if isinstance(event, events.Mail):
            return await self._mail(event)
        if isinstance(event, events.Rcpt):
            return await self._rcpt(event)
        if isinstance(event, events.Data):
            return await self._data(event)
        if isinstance(event, events.ContentChunk):
            self._header.feed(event.data)
        if isinstance(event, events.ContentEnd):
            return await self._end(event)
        if isinstance(event, events.ContentRefused):
            self._give_up(event.reply)
        if isinstance(event, events.Closing):  # by a 421 too: it would be so each time
            self._give_up(event.reply if event.reply.is_permanent else _BROKEN)
        if self._verdict is None:
            return await self._ask(event)
        return None

    async def _mail(self, event: events.Mail) -> Reply:
        self.taken.reverse_path = event.reverse_path
        reply = await self._ask(event) or _FAULT
        if not reply.is_positive:
            self._verdict = reply
        return _YES

    async def _rcpt(self, event: events.Rcpt) -> Reply:
        self.taken.recipients.append(event.recipient)
        reply = self._verdict or await self._ask(event) or _FAULT
        if not reply.is_positive:
            self.taken.refused.append((event.recipient, reply))
        return _YES

    async def _data(self, event: events.Data) -> Reply:
        refusals = [reply for _, reply in self.taken.refused]
        waits = next((reply for reply in refusals if not reply.is_permanent), None)
        if self._verdict is None and waits is not None:
            self._verdict = waits
        elif self._verdict is None and len(refusals) == len(self.taken.recipients):
            self._verdict = refusals[0] if refusals else _BROKEN
        if self._verdict is None:
            reply = await self._ask(event) or _FAULT
            self._verdict = None if reply.is_positive else reply
        if self._verdict is not None and not self._verdict.is_permanent:
            self._give_up(self._verdict)
        return _GO_ON

    async def _end(self, event: events.ContentEnd) -> Reply:
        self._give_up(self._verdict or await self._ask(event) or _FAULT)
        return self.taken.reply

    def _give_up(self, reply: Reply) -> None:
        """Nothing more is to be read."""
        self._header.finish()
        self.taken.reply, self.taken.header = reply, self._header.header[:MAX_HEADER]
        self._is_over = True

    async def _ask(self, event: Event) -> Reply | None:
        """Return the session's own answer; a fault of ours is transient."""
        try:
            answer: Answer = self.session.handle(event)
            return answer if isinstance(answer, Reply) or answer is None else await answer
        except Exception:
            self._site.log.exception("session fault", role="local")
            return _FAULT if event.needs_answer else None

    def _hear_the_machine(self) -> None:
        """Note a refusal that the machine gave by itself: a recipient that it could not read is no recipient here."""
        for line in self.machine.take_output().split(b"\r\n"):
            if line[:1] in (b"4", b"5") and self._verdict is None and not self._is_over:
                self._verdict = _reply_in(line)


def _reply_in(line: bytes) -> Reply:
    code, _, rest = line.decode("utf-8", "replace").partition(" ")
    status, _, words = rest.partition(" ")
    return Reply(int(code[:3]), status, words) if code.isdigit() else _BROKEN
