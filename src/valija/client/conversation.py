"""Sending one message, or a part of it, by hand: what is said in which order, and where it ends.

    outcome = await converse(order, Record(show=print))
    outcome.accepted, outcome.reason

Commands go one at a time even where the server has PIPELINING: that is what can be read. A certificate is verified
where there is TLS; where it is not accepted, a second connection looks at it without verifying, to tell what it is, and
goes on only if the order tolerates that. Nothing is raised for what a server, the network or a certificate does.
"""

import secrets
import ssl
from typing import Final

import msgspec

from valija.auth.password import opaque_string
from valija.client.certificate import certificate_in, certificate_line, certificate_shown
from valija.client.connection import Connection, NoConnection
from valija.client.order import Order, RecipientOutcome, SendOutcome
from valija.client.record import Record
from valija.mail.content import Content
from valija.mail.envelope import Envelope, Recipient
from valija.mail.reply import Reply
from valija.smtp.client import ClientMachine
from valija.smtp.client_content import Unclean
from valija.smtp.client_events import (
    ContentWanted,
    LoginRefused,
    Ready,
    SessionEnded,
    Step,
    TlsRefused,
    TransactionEnded,
)
from valija.smtp.client_login import Login
from valija.smtp.client_sasl import SCRAM_PLUS, SHOW_THE_SECRET, WITH_TOKEN, Secret, strongest
from valija.smtp.client_transaction import Transaction, needs_smtputf8, plan
from valija.tls.contexts import TrustUnusable, client_context, tls_facts
from valija.tls.end_point import end_point_of
from valija.tls.starttls import TlsFailed

_NONCE: Final = 18  # octets

# Where the machine is about to go when what comes before has been answered.
_BEYOND: Final[dict[str, Step]] = {"connect": Step.EHLO, "mail": Step.RCPT, "rcpt": Step.DATA}


class _Stopped(Exception):
    """The conversation got as far as it was to."""


class _Failed(Exception):
    """It did not; the text says why."""


async def converse(order: Order, record: Record) -> SendOutcome:
    """Hold the conversation. `record` has all of it."""
    if order.account is not None:
        record.hide(order.account.secret)
    try:
        attempt = _Attempt(order, record)
        try:
            return await attempt.run(verify=order.tls != "none" or order.mode == "submissions")
        except TlsFailed as failed:
            if not failed.is_verification:
                raise
            why_not = str(failed).removeprefix("certificate not accepted: ")
        record.note(f"the certificate is not accepted ({why_not}); a second connection looks at it")
        attempt = _Attempt(order, record, why_not)
        return await attempt.run(verify=False)
    except (_Failed, NoConnection, TlsFailed, TrustUnusable, Unclean) as failed:
        return msgspec.structs.replace(attempt.outcome, accepted=False, reason=str(failed))


class _Attempt:
    """One connection. `why_not` is what the handshake of the one before said of the certificate."""

    def __init__(self, order: Order, record: Record, why_not: str = "") -> None:
        self._order = order
        self._record = record
        self._why_not = why_not
        self._machine = ClientMachine(order.ehlo)
        self.outcome = SendOutcome(accepted=True)

    async def run(self, *, verify: bool) -> SendOutcome:
        """Say it all. Raises what `converse` catches."""
        order = self._order
        context = client_context(verify=verify, ca_file=order.ca_file)
        self._connection = await Connection.open(order, self._machine, self._record, context)
        try:
            await self._say_it(context)
        except _Stopped:
            self._note(stopped_after=order.quit_after)
        except BaseException:
            await self._connection.leave()
            raise
        await self._connection.leave()
        return self.outcome

    async def _say_it(self, context: ssl.SSLContext) -> None:
        if self._order.mode == "submissions":
            self._look_at_tls()
        await self._greet()
        if self._order.mode != "submissions":
            await self._encrypt(context)
        if self._order.account is not None:
            await self._log_in()
        self._stop("auth")
        if self._order.recipients:
            await self._send()

    # Steps

    async def _greet(self) -> None:
        ready = await self._connection.event(stop_before=self._end_at("connect"))
        if ready is None:
            raise _Stopped
        self._expect_ready(ready)
        self._stop("ehlo")

    def _expect_ready(self, event: object) -> None:
        """Go on after EHLO, turn by turn: what can be sent ahead would be hard to read."""
        if not isinstance(event, Ready):
            raise _Failed(_ended(event))
        self._machine.capabilities = msgspec.structs.replace(event.capabilities, pipelining=False)

    async def _encrypt(self, context: ssl.SSLContext) -> None:
        """Begin TLS where it is wanted and offered."""
        if self._order.tls != "none":
            if self._machine.capabilities.starttls:
                await self._start_tls(context)
            elif self._order.tls == "required":
                raise _Failed("the server does not offer STARTTLS; --tls may goes on in clear")
        self._stop("starttls")

    async def _start_tls(self, context: ssl.SSLContext) -> None:
        self._machine.start_tls()
        answer = await self._connection.event()
        if isinstance(answer, TlsRefused) and self._order.tls == "may":
            return
        if isinstance(answer, TlsRefused):
            raise _Failed(f"the server refuses STARTTLS: {answer.reply}")
        if isinstance(answer, SessionEnded):
            raise _Failed(_ended(answer))
        await self._connection.encrypt(context, self._order.name)
        self._look_at_tls()
        self._machine.tls_started()
        self._expect_ready(await self._connection.event())

    def _look_at_tls(self) -> None:
        """Tell what TLS came to, and end here if its certificate is not good enough."""
        transport = self._connection.transport
        facts = tls_facts(transport)
        shown = certificate_shown(certificate_in(transport), self._why_not)
        self._note(tls=facts, certificate=shown)
        if facts is not None:
            self._record.note(f"{facts.version}, {facts.cipher}")
        self._record.note(certificate_line(shown))
        if self._why_not and not self._order.tolerates_any_certificate:
            raise _Failed(f"the certificate is not accepted: {self._why_not}; --insecure goes on in spite of it")

    async def _log_in(self) -> None:
        login = self._login()
        self._note(mechanism=login.mechanism)
        self._machine.log_in(login)
        event = await self._connection.event()
        if isinstance(event, SessionEnded):
            raise _Failed(_ended(event))
        if isinstance(event, LoginRefused):
            not_trusted = f"the server is not to be trusted with the login: {event.why_not}"
            raise _Failed(not_trusted if event.why_not else f"the login is refused: {event.reply}")

    async def _send(self) -> None:
        machine, order = self._machine, self._order
        envelope = Envelope(order.reverse_path, tuple(Recipient(address) for address in order.recipients))
        content = Content.of(order.content)
        if not machine.capabilities.smtputf8 and any(needs_smtputf8(envelope, envelope.recipients, content)):
            raise _Failed("an address is not ASCII, and the server does not offer SMTPUTF8")
        transaction = plan(envelope, envelope.recipients, content, machine.capabilities)
        if order.quit_after == "data":
            transaction.payload = None  # the machine asks for the content, and does not get it
        machine.begin(transaction)
        event = await self._connection.event(stop_before=self._end_at("mail", "rcpt"))
        self._account_for(transaction)
        if event is None:
            raise _Stopped
        if isinstance(event, ContentWanted):
            self._record.note("the connection is dropped: the server must forget this message")
            self._connection.drop()
            raise _Stopped
        if not isinstance(event, TransactionEnded):
            raise _Failed(_ended(event))

    def _account_for(self, transaction: Transaction) -> None:
        """Note each recipient's verdict, as far as the conversation goes."""
        if self._order.quit_after == "mail" and transaction.mail_reply and transaction.mail_reply.is_positive:
            return
        told = []
        for place, address in enumerate(self._order.recipients):
            verdict = transaction.verdict(place)
            if verdict is None and self._order.quit_after in ("rcpt", "data"):
                verdict = _so_far(transaction, place)
            told.append(RecipientOutcome(address, verdict is not None and verdict.is_positive, str(verdict or "")))
        refused = [f"{each.address}: {each.reply or 'no answer'}" for each in told if not each.accepted]
        self._note(recipients=tuple(told), accepted=not refused, reason="; ".join(refused))

    # What to do next

    def _end_at(self, *stops: str) -> Step | None:
        """Return the step that is not to be reached, if the conversation ends at one of `stops`."""
        return _BEYOND[self._order.quit_after] if self._order.quit_after in stops else None

    def _stop(self, here: str) -> None:
        if self._order.quit_after == here:
            raise _Stopped

    def _note(self, **facts: object) -> None:
        self.outcome = msgspec.structs.replace(self.outcome, **facts)

    def _login(self) -> Login:
        """Choose the mechanism, and see that no secret is shown to whoever reads along."""
        account = self._order.account
        assert account is not None
        der = certificate_in(self._connection.transport)
        binding = end_point_of(der) if der else b""
        offered = self._machine.capabilities.auth
        is_secure = bool(der) or self._order.insecure
        mechanism = account.mechanism or strongest(offered, is_secure=is_secure, can_bind=bool(binding))
        if not mechanism:
            raise _Failed(f"the server offers no mechanism to log in with here: {' '.join(offered) or 'none at all'}")
        if mechanism in SHOW_THE_SECRET and not is_secure:
            raise _Failed(f"{mechanism} in clear would show the secret to all who listen; use TLS, or --insecure")
        secret = account.secret
        return Login(
            mechanism,
            Secret(
                account.username,
                b"" if mechanism in WITH_TOKEN else opaque_string(secret).encode(),
                token=secret if mechanism in WITH_TOKEN else "",
                nonce=secrets.token_urlsafe(_NONCE),
                binding=binding,
                server_binds=SCRAM_PLUS in offered,
                host=self._order.name,
                port=self._order.port,
            ),
        )


def _so_far(transaction: Transaction, place: int) -> Reply | None:
    """Return the reply to a recipient of a transaction that was ended early."""
    replies = transaction.rcpt_replies
    return replies[place] if place < len(replies) else None


def _ended(event: object) -> str:
    assert isinstance(event, SessionEnded)
    return f"the server says {event.reply}" if event.by_peer else event.reply.text
