"""The conversation with one client: the machine's events become decisions, and decisions replies.

The machine has already seen to it that events come in a legal order; what is decided here is who may log in, who may
send as whom, where mail may go, and what becomes of a content. A decision that needs no waiting is returned as a
Reply; one that waits is returned as a coroutine of one.
"""

import asyncio
import base64
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, Final

import msgspec

from valija.auth.backend import (
    Challenge,
    ConnectionFacts,
    Exchange,
    Malformed,
    Step,
    Success,
    Throttled,
    Unavailable,
    Wrong,
    fitting,
)
from valija.content.trace import protocol_keyword
from valija.mail.envelope import Envelope, Recipient
from valija.mail.origin import Origin, TlsFacts
from valija.mail.reply import Reply
from valija.policy.identity import check_envelope, check_outsider
from valija.policy.relay import Allowed, decide
from valija.policy.requests import Granted, grant
from valija.receive import checks
from valija.receive.accept import accept
from valija.receive.binary import IncomingBinary
from valija.receive.examination import Examination
from valija.receive.following import leaves
from valija.receive.incoming import IncomingContent
from valija.receive.session_id import new_session_id
from valija.receive.site import Site, Spending
from valija.smtp.events import (
    Auth,
    AuthCancelled,
    AuthResponse,
    Closing,
    ContentChunk,
    ContentEnd,
    ContentRefused,
    Data,
    Event,
    Hello,
    Mail,
    Rcpt,
    Reset,
)
from valija.smtp.requests import Requests
from valija.smtp.server import ServerMachine
from valija.tls.channel import TlsChannel

AUTH_PATIENCE: Final = 9.0  # seconds for a back end's answer; 454 is due within 10

_SENDER_OK = Reply(250, "2.1.0", "Sender ok")
_RECIPIENT_OK = Reply(250, "2.1.5", "Recipient ok")
_GO_ON = Reply(354, "", "End the message with <CR><LF>.<CR><LF>")
_LOGGED_IN = Reply(235, "2.7.0", "Authentication successful")
_WRONG = Reply(535, "5.7.8", "Authentication credentials invalid")
_MALFORMED = Reply(501, "5.5.2", "Malformed authentication response")
_NO_MECHANISM = Reply(504, "5.5.4", "Authentication mechanism not offered")
_UNAVAILABLE = Reply(454, "4.7.0", "Temporary authentication failure, try again later")
_THROTTLED = Reply(454, "4.7.0", "Too many failed logins, try again later")
_NO_ROOM = Reply(452, "4.3.1", "Insufficient system storage, try again later")

Answer = Reply | Coroutine[Any, Any, Reply] | None


class Peer(msgspec.Struct, frozen=True, gc=False):
    """Both ends of the connection; an address that is not known is `""`."""

    address: str
    port: int
    local_address: str = ""
    local_port: int = 0


class Session:
    """One client's session. `machine` is set by the connection that owns both."""

    __slots__ = (
        "_exchange",
        "_granted",
        "_mail",
        "_messages",
        "_recipients",
        "_rules",
        "_spending",
        "_started",
        "channel",
        "examination",
        "id",
        "incoming",
        "is_committing",
        "login",
        "machine",
        "peer",
        "site",
        "tls",
        "tls_failure",
    )

    machine: ServerMachine

    def __init__(self, site: Site, peer: Peer) -> None:
        self.id = new_session_id()
        self.site = site
        self.peer = peer
        self.login = ""
        self.tls: TlsFacts | None = None
        self.channel: TlsChannel | None = None
        self.tls_failure = ""
        self.is_committing = False
        self.incoming: IncomingContent | None = None
        self.examination: Examination | None = None  # where checks are switched on for a client like this
        self._exchange: Exchange | None = None
        self._mail: Mail | None = None
        self._granted: Granted | None = None
        self._recipients: list[Recipient] = []
        self._rules: list[str] = []
        self._spending: Spending | None = None
        self._messages = 0
        self._started = site.clock()

    def handle(self, event: Event) -> Answer:
        """Return the answer to an event, or None for one that only informs."""
        return _HANDLERS[type(event)](self, event)

    def mechanisms(self) -> tuple[str, ...]:
        """The SASL mechanisms to offer now."""
        return fitting(self.site.backend.mechanisms(), self.channel) if self.site.takes_logins else ()

    def forget(self) -> None:
        """Drop the transaction, and all a client said before TLS (RFC 3207 section 4.2)."""
        self._drop_transaction()

    # Login

    def _on_auth(self, event: Auth) -> Answer:
        exchange = self.site.backend.start(
            event.mechanism,
            ConnectionFacts(
                secured=self.tls is not None,
                client_address=self.peer.address,
                client_port=self.peer.port,
                local_address=self.peer.local_address,
                local_port=self.peer.local_port,
                channel=self.channel,
            ),
        )
        if exchange is None:
            return _NO_MECHANISM if self.site.backend.mechanisms() else _UNAVAILABLE
        self._exchange = exchange
        return self._authenticate(event.mechanism, event.initial)

    def _on_auth_response(self, event: AuthResponse) -> Answer:
        return self._authenticate("", event.data)

    async def _authenticate(self, mechanism: str, response: bytes | None) -> Reply:
        exchange = self._exchange
        assert exchange is not None
        try:
            async with asyncio.timeout(AUTH_PATIENCE):
                step = await exchange.respond(response)
        except TimeoutError:
            step = Unavailable("no answer in time")
        except Exception:
            self.site.log.exception("login fault", session=self.id, client=self.peer.address)
            step = Unavailable("internal fault")
        if not isinstance(step, Challenge):
            self._exchange = None
        return self._auth_reply(step)

    def _auth_reply(self, step: Step) -> Reply:
        log, client = self.site.log, self.peer.address
        match step:
            case Challenge(data):
                return Reply(334, "", base64.b64encode(data).decode("ascii"))
            case Success(login):
                return self._log_in(login)
            case Wrong(login):
                log.warning("login refused", session=self.id, client=client, login=login, role=self.site.role)
                return self._told(_WRONG)
            case Malformed():
                log.info("login malformed", session=self.id, client=client, role=self.site.role)
                return _MALFORMED
            case Unavailable(detail):
                log.error("login unavailable", session=self.id, client=client, reason=detail)
                return _UNAVAILABLE
            case Throttled():
                return self._told(_THROTTLED)  # not a line per attempt: the throttle has said it

    def _log_in(self, login: str) -> Reply:
        conduct = self.site.conduct
        if conduct is not None and (refusal := conduct.login_refusal(login)):
            client, role = self.peer.address, self.site.role
            self.site.log.warning("login frozen", session=self.id, client=client, login=login, role=role)
            return self._told(refusal)
        self.login = login
        self._begin_examination()
        return _LOGGED_IN

    def _on_auth_cancelled(self, _: AuthCancelled) -> None:
        if self._exchange is not None:
            self._exchange.cancel()
            self._exchange = None

    # Envelope

    def _on_mail(self, event: Mail) -> Answer:
        if not self.site.has_room(event.size):
            return _NO_ROOM
        refusal = self._check_sender(event.reverse_path)
        if refusal:
            return refusal
        if self.examination is not None:
            answer = self.examination.on_mail(self._client(), event)
            return self._after(answer, partial(self._begin_transaction, event))
        return self._begin_transaction(event)

    def _begin_transaction(self, event: Mail) -> Reply:
        self._mail = event
        if self.login and self.site.conduct is not None:
            self._spending = self.site.conduct.begin(self.login, self.peer.address)
        return _SENDER_OK if event.requests is None else self._grant(event.requests)

    def _grant(self, requests: Requests) -> Reply:
        granted = grant(requests, self.site.clock(), self.site.options.request_limits)
        if isinstance(granted, Reply):
            self._mail = None
            return granted
        self._granted = granted
        return granted.reply or _SENDER_OK

    def _check_sender(self, reverse_path: str) -> Reply | None:
        """Return why a transaction may not begin: who asks may not send, or not in this name."""
        site, refusal = self.site, None
        if self.login:
            if site.conduct is not None and (frozen := site.conduct.refusal(self.login)):
                return self._told(frozen)  # not a line per attempt: the freeze was logged
            refusal = check_envelope(
                self.login,
                reverse_path,
                hosted=site.relay.domains,
                owns=site.directory.owns,
                delimiter=site.delimiter,
            )
        elif site.options.reject_own_senders and not site.relay.trusts(self.peer.address):
            refusal = check_outsider(reverse_path, site.relay.domains)
        if refusal:
            self._log_refusal("sender refused", refusal, reverse_path=f"<{reverse_path}>")
            return self._told(refusal)
        return None

    def _on_rcpt(self, event: Rcpt) -> Answer:
        recipient = event.recipient
        site = self.site
        decision = decide(site.role, self.peer.address, self.login, recipient.address, site.relay)
        if not isinstance(decision, Allowed):
            self._log_refusal("recipient refused", decision, recipient=recipient.address)
            return decision  # in the very words that others know, without an id behind them
        if decision.address != recipient.address:
            recipient = msgspec.structs.replace(recipient, address=decision.address)
        if self.examination is not None:
            assert self._mail is not None
            answer = self.examination.on_rcpt(self._client(), self._mail, recipient)
            return self._after(answer, partial(self._add_recipient, recipient, decision.rule))
        return self._add_recipient(recipient, decision.rule)

    def _add_recipient(self, recipient: Recipient, rule: str) -> Reply:
        if self._spending is not None and (refusal := self._spending.add(recipient.address)):
            self._log_refusal("recipient refused", refusal, recipient=recipient.address)
            return self._told(refusal)
        if rule not in self._rules:
            self._rules.append(rule)
        self._recipients.append(recipient)
        return _RECIPIENT_OK

    # Content

    def _on_data(self, _: Data) -> Answer:
        assert self._mail is not None
        kind = IncomingBinary if self._mail.body == "BINARYMIME" else IncomingContent
        examination = self.examination
        watch = partial(examination.watchers, self._client()) if examination is not None else None
        self.incoming = kind(self.site.spool, hashes_body=self._needs_body_hash(), watch=watch)
        return _GO_ON

    def _needs_body_hash(self) -> bool:
        """Whether the message may be signed, or sealed where it is sent on to others."""
        site = self.site
        if not site.signer.has_any_keys():
            return False
        if site.signs_for(self.login, self.peer.address):
            return True
        return site.seals and leaves(site.directory, site.relay.domains, self._recipients)

    def _on_content_chunk(self, event: ContentChunk) -> None:
        assert self.incoming is not None
        self.incoming.add(event.data)

    def _on_content_end(self, _: ContentEnd) -> Answer:
        return self._accept()

    async def _accept(self) -> Reply:
        incoming, mail = self.incoming, self._mail
        assert incoming is not None
        assert mail is not None
        envelope = self._envelope(mail)
        self.incoming = None  # the content belongs to the acceptance now, which keeps or discards it
        self.is_committing = True
        try:
            examine = None if self.examination is None else partial(self._examine, self.examination)
            origin = self._origin(mail.smtputf8)
            reply = await accept(self.site, envelope, origin, incoming, examine=examine, spending=self._spending)
        finally:
            self.is_committing = False
            self._drop_transaction()
        self._messages += reply.is_positive
        return self._told(reply)

    async def _examine(self, examination: Examination, envelope: Envelope, content: checks.Candidate) -> checks.Verdict:
        """Have the checks look at a message. A client that leaves meanwhile has no message here: it will come again."""
        self.is_committing = False
        verdict = await examination.on_content(self._client(), envelope, content)
        self.is_committing = True
        return verdict

    def _envelope(self, mail: Mail) -> Envelope:
        # A binary content is converted before it is stored, and parts of it may be 8bit then.
        body = "8BITMIME" if mail.body == "BINARYMIME" else mail.body
        recipients = tuple(self._recipients)
        envelope = Envelope(mail.reverse_path, recipients, body, mail.smtputf8, mail.ret, mail.envid)
        return envelope if self._granted is None else self._granted.applied_to(envelope)

    def _origin(self, smtputf8: bool) -> Origin:
        return Origin(
            role=self.site.role,
            received_at=self.site.clock(),
            client_address=self.peer.address,
            helo=self.machine.hello_name,
            protocol=self._protocol(smtputf8=smtputf8),
            login=self.login,
            rule=", ".join(self._rules),
            tls=self.tls,
            session=self.id,
        )

    def _protocol(self, *, smtputf8: bool) -> str:
        return protocol_keyword(
            extended=self.machine.extended,
            tls=self.tls is not None,
            authenticated=bool(self.login),
            smtputf8=smtputf8,
        )

    def _on_content_refused(self, event: ContentRefused) -> None:
        self._log_refusal("content refused", event.reply)
        self._drop_transaction()

    def _on_reset(self, _: Reset) -> None:
        self._drop_transaction()

    def _drop_transaction(self) -> None:
        self._mail = self._granted = None
        self._recipients = []
        self._rules = []
        self._spending = None
        if self.incoming is not None:
            self.incoming.discard()
            self.incoming = None
        if self.examination is not None:
            self.examination.on_reset()

    # Checks

    def _begin_examination(self) -> None:
        """Have the checks look at this session that are meant for a client like this; most often there are none."""
        self._end_examination()
        client = self._client()
        switched_on = self.site.checks
        offers = switched_on.of_users if client.login or client.is_trusted else switched_on.of_strangers
        if offers:
            self.examination = Examination(offers, client, self.site.log)

    def _end_examination(self) -> None:
        if self.examination is not None:
            self.examination.close()
            self.examination = None

    def _client(self) -> checks.Client:
        machine, peer, site = self.machine, self.peer, self.site
        return checks.Client(
            role=site.role,
            address=peer.address,
            port=peer.port,
            helo=machine.hello_name,
            login=self.login,
            is_trusted=not site.takes_logins and site.relay.trusts(peer.address),
            protocol=self._protocol(smtputf8=False),
            tls=self.tls,
            local_address=peer.local_address,
            local_port=peer.local_port,
            session=self.id,
        )

    def _after(self, answer: checks.Answer, go_on: Callable[[], Reply]) -> Reply | Coroutine[Any, Any, Reply]:
        """Return the refusal of a check, or else what going on comes to."""
        if isinstance(answer, Coroutine):
            return self._after_waiting(answer, go_on)
        return go_on() if answer is None else self._told(answer)

    async def _after_waiting(self, waiting: Coroutine[Any, Any, Reply | None], go_on: Callable[[], Reply]) -> Reply:
        refusal = await waiting
        return go_on() if refusal is None else self._told(refusal)

    # Refusals

    def _told(self, reply: Reply) -> Reply:
        """Return a reply as the client hears it: a refusal by policy (x.7.y) names the session, which `why` knows."""
        if reply.code < 400 or not reply.enhanced.startswith(".7.", 1):
            return reply
        return Reply(reply.code, reply.enhanced, f"{reply.text} (session {self.id})")

    def _log_refusal(self, event: str, reply: Reply, **facts: str) -> None:
        client, role = self.peer.address, self.site.role
        helo = self.machine.hello_name
        self.site.log.info(
            event, session=self.id, client=client, **facts, reply=str(reply), login=self.login, role=role, helo=helo
        )

    # The session's life

    def _on_hello(self, _: Hello) -> None:
        self._drop_transaction()
        if self.examination is None and self.site.checks is not checks.NO_CHECKS and not self.site.takes_logins:
            self._begin_examination()  # users are examined from their login on

    def _on_closing(self, _: Closing) -> None:
        self._drop_transaction()

    def why_ended(self, event: Closing) -> str:
        """The session line's word for how the machine ended it."""
        return "quit" if event.reply.code == 221 else str(event.reply)

    def end(self, how: str) -> None:
        """The connection is gone: let go of everything and write the session's line."""
        if not self.is_committing:
            self._drop_transaction()
        self._end_examination()
        if self._exchange is not None:
            self._exchange.cancel()
            self._exchange = None
        self.channel = None  # it holds OpenSSL's state, which must not wait for the collector of cycles
        tls = self.tls
        self.site.log.info(
            "session",
            session=self.id,
            role=self.site.role,
            client=self.peer.address,
            helo=self.machine.hello_name,
            tls=tls.version if tls else "none",
            cipher=tls.cipher if tls else "",
            login=self.login,
            messages=self._messages,
            errors=self.machine.errors,
            seconds=round(self.site.clock() - self._started, 3),
            ended=f"{how}: {self.tls_failure}" if self.tls_failure else how,
        )


_HANDLERS: dict[type, Callable[[Session, Any], Answer]] = {
    Hello: Session._on_hello,
    Auth: Session._on_auth,
    AuthResponse: Session._on_auth_response,
    AuthCancelled: Session._on_auth_cancelled,
    Mail: Session._on_mail,
    Rcpt: Session._on_rcpt,
    Data: Session._on_data,
    ContentChunk: Session._on_content_chunk,
    ContentEnd: Session._on_content_end,
    ContentRefused: Session._on_content_refused,
    Reset: Session._on_reset,
    Closing: Session._on_closing,
}
