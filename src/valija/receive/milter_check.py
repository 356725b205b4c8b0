"""A filter that speaks the milter protocol, asked at each step of a session (see valija/milter).

    ground = MilterGround(resolver, log, hostname="mail.example.org", hosted=frozenset({"example.org"}))
    milter_offer(ground, MilterOptions("inet:127.0.0.1:8891"))

The connection is opened when the client comes to its first MAIL, and is the session's alone. What the filter wants
changed is changed: fields, body, recipients, reverse-path; who gets the message is its word, and told in the log.

While the filter can't be asked, `default_action` says what becomes of mail: `tempfail`, `reject`, `accept` (without
it), `quarantine` (kept for a human). The log says why, for each transaction: as a warning where it is news.

Known weaknesses: it hears of DATA once the content is there; of commands that are refused, or unknown, it hears
nothing.
"""

from collections.abc import Collection, Iterator, Mapping
from typing import Final

import msgspec

from valija.dns.resolver import Resolver
from valija.dns.reverse import confirmed_name
from valija.logs import Log
from valija.mail.address import domain_of
from valija.mail.envelope import Envelope, Notify, Recipient
from valija.mail.job import QueueId
from valija.mail.reply import Reply
from valija.milter.answers import Answer, Discard, Refuse
from valija.milter.conversation import Conversation, Guest
from valija.milter.line import MilterFailed
from valija.milter.options import MilterOptions
from valija.milter.standing import Standing
from valija.milter.wishes import Message, Outcome
from valija.receive.body import Body
from valija.receive.checks import Candidate, Check, Client, Offer, Stage, Verdict
from valija.smtp.events import Mail

STAGES: Final = Stage.MAIL | Stage.RCPT | Stage.CONTENT

_NAME_PATIENCE: Final = 5.0  # seconds for the DNS to tell a stranger's name
_LOCALLY: Final = ("localhost", "127.0.0.1")  # who programs of this machine are to a filter, as with Postfix
_AWAY: Final[Mapping[str, Reply]] = {
    "tempfail": Reply(451, "4.7.1", "The message can't be examined now, try again later"),
    "reject": Reply(550, "5.7.1", "The message can't be examined, and is refused"),
}


class MilterGround(msgspec.Struct, frozen=True):
    """What all sessions share. `hosted` are the domains whose mail stays here."""

    resolver: Resolver
    log: Log
    hostname: str
    hosted: Collection[str]


def milter_offer(ground: MilterGround, options: MilterOptions) -> Offer:
    """Return the check that asks a filter, for everybody's mail."""
    standing = Standing()
    return Offer(
        f"milter {options.place}", lambda client: MilterCheck(ground, options, standing), STAGES, of_users=True
    )


class MilterCheck(Check):
    """One session's."""

    def __init__(self, ground: MilterGround, options: MilterOptions, standing: Standing) -> None:
        self._ground = ground
        self._options = options
        self._standing = standing
        self._talk = Conversation(options)
        self._name = ""
        self._is_away = False  # until the next transaction

    async def on_mail(self, client: Client, mail: Mail) -> Reply | None:
        """Tell of the client and of MAIL."""
        self._is_away = False
        guest, known = await self._guest(client), self._known(client)
        known |= self._about_address("mail", mail.reverse_path)
        try:
            answer = await self._asked(guest, mail, known)
        except MilterFailed as failed:
            return self._without(failed, client)
        return _refusal(answer)

    async def _asked(self, guest: Guest, mail: Mail, known: dict[str, str]) -> Answer:
        """Return what the filter says to MAIL, and know whether it is there. Raises MilterFailed."""
        if self._standing.is_waited_for:
            raise MilterFailed("it has been silent, and another session waits for it", is_silent=True)
        with self._standing.asking():
            answer = await self._talk.mail(guest, mail.reverse_path, _of_mail(mail), known)
        if self._standing.has_worked():
            self._ground.log.info("milter is back", milter=self._options.place)
        return answer

    async def on_rcpt(self, client: Client, mail: Mail, recipient: Recipient) -> Reply | None:
        """Tell of RCPT."""
        if self._is_away:
            return _AWAY.get(self._options.default_action)
        known = self._known(client) | self._about_address("rcpt", recipient.address)
        try:
            answer = await self._talk.rcpt(recipient.address, _of_rcpt(recipient), known)
        except MilterFailed as failed:
            return self._without(failed, client)
        return _refusal(answer)

    async def on_content(self, client: Client, envelope: Envelope, content: Candidate) -> Verdict | None:
        """Show the message, and do with it what the filter says."""
        if self._is_away:
            return self._verdict_without()
        begun: list[Body] = []

        def new_body() -> Body:
            begun.append(content.new_body())
            return begun[0]

        known = self._known(client) | {"i": content.queue_id}
        message = Message(
            content.header,
            content.read_body,
            envelope.reverse_path,
            envelope.recipients,
            new_body,
            content.size_limit,
            envelope.smtputf8,
        )
        try:
            outcome = await self._talk.message(message, known)
        except MilterFailed as failed:
            self._without(failed, client, content.queue_id)
            return self._verdict_without()
        return self._verdict(outcome, client, envelope, content.queue_id, begun)

    def on_reset(self) -> None:
        """The transaction is over."""
        self._talk.reset()

    def close(self) -> None:
        """The session is over."""
        self._talk.close()

    # What is told

    async def _guest(self, client: Client) -> Guest:
        tls = client.tls.version if client.tls else ""
        greeting = (client.helo, tls)
        if client.role == "local":
            return Guest(*_LOCALLY, 0, client.helo, greeting)
        address = client.address.partition("%")[0]
        if not self._name:
            self._name = await self._host_name(client, address)
        return Guest(self._name, address, client.port, client.helo, greeting)

    async def _host_name(self, client: Client, address: str) -> str:
        """Return a stranger's name, as far as the DNS tells one; others are not worth the wait."""
        unknown = f"[IPv6:{address}]" if ":" in address else f"[{address}]"
        if not address or client.login or client.is_trusted:
            return unknown
        return await confirmed_name(self._ground.resolver, address, _NAME_PATIENCE) or unknown

    def _known(self, client: Client) -> dict[str, str]:
        """Return the macros that hold for the whole session."""
        hostname = self._ground.hostname
        name, address = _LOCALLY if client.role == "local" else (self._name, client.address)
        return {
            "j": hostname,
            "v": "valija",
            "_": f"{name} [{address}]",
            "{daemon_name}": hostname if client.role == "smtpd" else "ORIGINATING",
            "{daemon_addr}": client.local_address,
            "{daemon_port}": str(client.local_port or ""),
            "{client_addr}": address,
            "{client_name}": name,
            "{client_port}": str(client.port or ""),
            "{client_ptr}": "" if name.startswith("[") else name,
            "{tls_version}": client.tls.version if client.tls else "",
            "{cipher}": client.tls.cipher if client.tls else "",
            # A program's user has not logged in. Filters take a login for the leave to sign.
            "{auth_type}": client.mechanism,
            "{auth_authen}": client.login if client.mechanism else "",
        }

    def _about_address(self, command: str, address: str) -> dict[str, str]:
        domain = domain_of(address)
        mailer = "local" if domain in self._ground.hosted else "smtp"
        return {
            f"{{{command}_addr}}": address,
            f"{{{command}_host}}": domain,
            f"{{{command}_mailer}}": mailer if address else "",
        }

    # What comes of it

    def _verdict(
        self, outcome: Outcome, client: Client, envelope: Envelope, queue_id: QueueId, begun: list[Body]
    ) -> Verdict:
        place = self._options.place
        if isinstance(outcome.answer, Refuse):
            return Verdict(refusal=outcome.answer.reply, findings=(("milter", f"refused by {place}"),))
        if isinstance(outcome.answer, Discard):
            return Verdict(discards=True, findings=(("milter", f"discarded by {place}"),))
        if outcome.recipients == ():
            return Verdict(discards=True, findings=(("milter", f"left without recipients by {place}"),))
        if told := dict(_changes(outcome, envelope)):
            self._ground.log.info(
                "changed by a milter", milter=place, queue_id=queue_id, session=client.session, **told
            )
        return Verdict(
            header=outcome.header,
            body=begun[0] if outcome.has_other_body else None,
            reverse_path=outcome.reverse_path,
            recipients=outcome.recipients,
            hold=f"{outcome.hold} ({place})" if outcome.hold else "",
        )

    def _without(self, failed: MilterFailed, client: Client, queue_id: str = "") -> Reply | None:
        """The filter can't be asked: return what the client hears, None where it goes on."""
        self._is_away = True
        about = {"queue_id": queue_id} if queue_id else {}
        is_news = self._standing.has_failed(str(failed), is_silent=failed.is_silent and not queue_id)
        log = self._ground.log.warning if is_news else self._ground.log.info
        log(
            "milter failed",
            milter=self._options.place,
            reason=str(failed),
            action=self._options.default_action,
            session=client.session,
            **about,
        )
        return _AWAY.get(self._options.default_action)

    def _verdict_without(self) -> Verdict | None:
        if self._options.default_action == "quarantine":
            return Verdict(hold=f"the filter at {self._options.place} could not be asked")
        refusal = _AWAY.get(self._options.default_action)
        if refusal is None:
            return None
        return Verdict(refusal=refusal, findings=(("milter", f"not asked: {self._options.place}"),))


def _refusal(answer: Answer) -> Reply | None:
    return answer.reply if isinstance(answer, Refuse) else None


def _of_mail(mail: Mail) -> Iterator[str]:
    """Yield the parameters of MAIL, written as they may have come."""
    if mail.size:
        yield f"SIZE={mail.size}"
    if mail.body != "7BIT":
        yield "BODY=8BITMIME"  # a binary content has lines by the time that the filter sees it
    if mail.smtputf8:
        yield "SMTPUTF8"
    if mail.ret:
        yield f"RET={mail.ret}"
    if mail.envid:
        yield f"ENVID={mail.envid}"


def _of_rcpt(recipient: Recipient) -> Iterator[str]:
    """Yield the parameters of RCPT."""
    if recipient.notify:
        yield f"NOTIFY={Notify(recipient.notify)}"
    if recipient.orcpt:
        yield f"ORCPT={recipient.orcpt}"


def _changes(outcome: Outcome, envelope: Envelope) -> Iterator[tuple[str, object]]:
    """Yield what was changed, for the log."""
    if outcome.header is not None:
        yield "header", True
    if outcome.has_other_body:
        yield "body", True
    if outcome.reverse_path is not None:
        yield "reverse_path", f"<{outcome.reverse_path}>"
    if outcome.recipients is not None:
        before = {each.address for each in envelope.recipients}
        after = {each.address for each in outcome.recipients}
        yield "added", sorted(after - before)
        yield "removed", sorted(before - after)
