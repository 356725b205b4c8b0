"""The checks of one session, asked in order: see receive/checks for what each may say.

    examination = Examination(site.checks.of_strangers, client, log)
    answer = examination.on_mail(client, mail)          # None, a Reply that refuses, or a coroutine of either
    verdict = await examination.on_content(client, envelope, candidate)
    examination.close()

Where no check has to wait nothing is awaited. A check that raises is a fault of ours: the client hears a 451, the log
tells which check it was.
"""

from collections.abc import Callable, Coroutine, Iterator, Sequence
from functools import partial
from typing import Any, Final

import msgspec

from valija.logs import Log
from valija.mail.envelope import Envelope, Recipient
from valija.mail.reply import Reply
from valija.receive.checks import Answer, BodyWatcher, Candidate, Check, Client, Offer, Stage, Verdict
from valija.smtp.events import Mail

_OUR_FAULT: Final = Reply(451, "4.3.0", "A check of the message failed, try again later")

Question = tuple[str, Callable[[], Answer]]


class Examination:
    """One session's checks. `close` ends it."""

    __slots__ = ("_checks", "_log", "_met")

    def __init__(self, offers: Sequence[Offer], client: Client, log: Log) -> None:
        self._checks = [(offer, offer.begin(client)) for offer in offers]
        self._log = log
        self._met = False  # whether CONNECT was heard

    def on_mail(self, client: Client, mail: Mail) -> Answer:
        """Return what the checks say to a transaction's beginning, and first to the client itself."""
        return self._first_refusal(client, self._at_mail(client, mail), reverse_path=f"<{mail.reverse_path}>")

    def on_rcpt(self, client: Client, mail: Mail, recipient: Recipient) -> Answer:
        """Return what the checks say to a recipient."""
        asked = ((name, partial(check.on_rcpt, client, mail, recipient)) for name, check in self._at(Stage.RCPT))
        return self._first_refusal(client, asked, recipient=recipient.address)

    def watchers(self, client: Client, header: bytes) -> list[BodyWatcher]:
        """Return who wants to see the body that is yet to come behind `header`."""
        return [
            watcher
            for name, check in self._at(Stage.CONTENT)
            for watcher in self._watchers_of(name, check, client, header)
        ]

    async def on_content(self, client: Client, envelope: Envelope, content: Candidate) -> Verdict:
        """Return what the checks say to a message, in one: its `header` has all their fields on top."""
        said = Verdict()
        for name, check in self._at(Stage.CONTENT):
            verdict = await self._judgement(name, check, client, envelope, content)
            if verdict is not None:
                said = _joined(said, verdict, content.header)
                content = _as_left(content, said)
                envelope = changed_envelope(envelope, verdict)
            if said.refusal is not None or said.discards or _is_broken(said):
                break
        return said

    def on_reset(self) -> None:
        """The transaction is over."""
        for _, check in self._checks:
            check.on_reset()

    def close(self) -> None:
        """The session is over."""
        for _, check in self._checks:
            check.close()
        self._checks = []

    def _at(self, stage: Stage) -> Iterator[tuple[str, Check]]:
        return ((offer.name, check) for offer, check in self._checks if stage in offer.stages)

    def _at_mail(self, client: Client, mail: Mail) -> Iterator[Question]:
        if not self._met:
            self._met = True
            for name, check in self._at(Stage.CONNECT):
                yield name, partial(check.on_connect, client)
        for name, check in self._at(Stage.MAIL):
            yield name, partial(check.on_mail, client, mail)

    def _first_refusal(self, client: Client, questions: Iterator[Question], **about: str) -> Answer:
        for name, ask in questions:
            try:
                answer = ask()
            except Exception:
                return self._fault(name, client)
            if isinstance(answer, Coroutine):
                return self._waited_for(name, answer, client, questions, **about)
            if answer is not None:
                return self._refused(name, client, answer, **about)
        return None

    async def _waited_for(
        self,
        name: str,
        waiting: Coroutine[Any, Any, Reply | None],
        client: Client,
        rest: Iterator[Question],
        **about: str,
    ) -> Reply | None:
        try:
            refusal = await waiting
        except Exception:
            return self._fault(name, client)
        if refusal is not None:
            return self._refused(name, client, refusal, **about)
        answer = self._first_refusal(client, rest, **about)
        return await answer if isinstance(answer, Coroutine) else answer

    async def _judgement(
        self, name: str, check: Check, client: Client, envelope: Envelope, content: Candidate
    ) -> Verdict | None:
        try:
            answer = check.on_content(client, envelope, content)
            return await answer if isinstance(answer, Coroutine) else answer
        except Exception:
            return Verdict(refusal=self._fault(name, client))

    def _watchers_of(self, name: str, check: Check, client: Client, header: bytes) -> Sequence[BodyWatcher]:
        try:
            return check.on_header(client, header)
        except Exception:
            self._fault(name, client)
            return ()

    def _refused(self, name: str, client: Client, reply: Reply, **about: str) -> Reply:
        facts = {"client": client.address, "helo": client.helo, "login": client.login, "role": client.role}
        self._log.info("refused by a check", check=name, **facts, **about, session=client.session, reply=str(reply))
        return reply

    def _fault(self, name: str, client: Client) -> Reply:
        self._log.exception("check fault", session=client.session, check=name, client=client.address)
        return _OUR_FAULT


def _joined(said: Verdict, verdict: Verdict, header: bytes) -> Verdict:
    """Return what two checks say, the second of which saw `header`."""
    changed = header if verdict.header is None else verdict.header
    return Verdict(
        refusal=verdict.refusal,
        header=verdict.fields + changed,
        body=verdict.body or said.body,
        reverse_path=said.reverse_path if verdict.reverse_path is None else verdict.reverse_path,
        recipients=said.recipients if verdict.recipients is None else verdict.recipients,
        hold=said.hold or verdict.hold,
        junk=said.junk or verdict.junk,
        discards=verdict.discards,
        findings=said.findings + verdict.findings,
    )


def _is_broken(said: Verdict) -> bool:
    """Whether there is another body, and no room for it: nobody shall judge a message by what is left of that."""
    return said.body is not None and said.body.write_error is not None


def _as_left(content: Candidate, said: Verdict) -> Candidate:
    """Return a content as the next check sees it."""
    assert said.header is not None
    if said.body is None:
        return msgspec.structs.replace(content, header=said.header)
    return msgspec.structs.replace(content, header=said.header, body_size=said.body.size, read_body=said.body.read)


def changed_envelope(envelope: Envelope, verdict: Verdict) -> Envelope:
    """Return an envelope as a check leaves it."""
    if verdict.reverse_path is not None:
        envelope = msgspec.structs.replace(envelope, reverse_path=verdict.reverse_path)
    if verdict.recipients is not None:
        envelope = msgspec.structs.replace(envelope, recipients=verdict.recipients)
    return envelope
