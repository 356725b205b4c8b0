"""The conversation with one client: the machine's events become decisions, and decisions replies.

The machine has already seen to it that events come in a legal order; what is decided here is who may log in, who may
send as whom, where mail may go, and what becomes of a content. A decision that needs no waiting is returned as a
Reply; one that waits is returned as a coroutine of one.
"""

import asyncio
import base64
from collections.abc import Callable, Coroutine
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
from valija.policy.identity import check_envelope
from valija.policy.relay import Allowed, decide
from valija.policy.requests import Granted, grant
from valija.receive.accept import accept
from valija.receive.binary import IncomingBinary
from valija.receive.incoming import IncomingContent
from valija.receive.site import Site
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
        "_started",
        "channel",
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
        self.site = site
        self.peer = peer
        self.login = ""
        self.tls: TlsFacts | None = None
        self.channel: TlsChannel | None = None
        self.tls_failure = ""
        self.is_committing = False
        self.incoming: IncomingContent | None = None
        self._exchange: Exchange | None = None
        self._mail: Mail | None = None
        self._granted: Granted | None = None
        self._recipients: list[Recipient] = []
        self._rules: list[str] = []
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
            self.site.log.exception("login fault", client=self.peer.address)
            step = Unavailable("internal fault")
        if not isinstance(step, Challenge):
            self._exchange = None
        return self._auth_reply(step)

    def _auth_reply(self, step: Step) -> Reply:
        log = self.site.log
        match step:
            case Challenge(data):
                return Reply(334, "", base64.b64encode(data).decode("ascii"))
            case Success(login):
                self.login = login
                return _LOGGED_IN
            case Wrong(login):
                log.warning("login refused", client=self.peer.address, login=login, role=self.site.role)
                return _WRONG
            case Malformed():
                log.info("login malformed", client=self.peer.address, role=self.site.role)
                return _MALFORMED
            case Unavailable(detail):
                log.error("login unavailable", client=self.peer.address, reason=detail)
                return _UNAVAILABLE
            case Throttled():
                return _THROTTLED  # not a line per attempt: the throttle has said it

    def _on_auth_cancelled(self, _: AuthCancelled) -> None:
        if self._exchange is not None:
            self._exchange.cancel()
            self._exchange = None

    # Envelope

    def _on_mail(self, event: Mail) -> Answer:
        if not self.site.has_room(event.size):
            return _NO_ROOM
        if self.login:
            refusal = self._check_sender(event.reverse_path)
            if refusal:
                return refusal
        self._mail = event
        return _SENDER_OK if event.requests is None else self._grant(event.requests)

    def _grant(self, requests: Requests) -> Reply:
        granted = grant(requests, self.site.clock(), self.site.options.request_limits)
        if isinstance(granted, Reply):
            self._mail = None
            return granted
        self._granted = granted
        return granted.reply or _SENDER_OK

    def _check_sender(self, reverse_path: str) -> Reply | None:
        site = self.site
        refusal = check_envelope(self.login, reverse_path, hosted=site.relay.domains, owns=site.directory.owns)
        if refusal:
            site.log.info("sender refused", client=self.peer.address, login=self.login, reply=str(refusal))
        return refusal

    def _on_rcpt(self, event: Rcpt) -> Answer:
        recipient = event.recipient
        site = self.site
        decision = decide(site.role, self.peer.address, self.login, recipient.address, site.relay)
        if not isinstance(decision, Allowed):
            site.log.info(
                "recipient refused",
                client=self.peer.address,
                recipient=recipient.address,
                reply=str(decision),
                role=site.role,
            )
            return decision
        if decision.rule not in self._rules:
            self._rules.append(decision.rule)
        if decision.address != recipient.address:
            recipient = msgspec.structs.replace(recipient, address=decision.address)
        self._recipients.append(recipient)
        return _RECIPIENT_OK

    # Content

    def _on_data(self, _: Data) -> Answer:
        assert self._mail is not None
        kind = IncomingBinary if self._mail.body == "BINARYMIME" else IncomingContent
        self.incoming = kind(self.site.spool, hashes_body=self._may_be_signed())
        return _GO_ON

    def _may_be_signed(self) -> bool:
        """Only mail of users and trusted clients is signed, never what an outsider sends in a domain's name."""
        return self.site.signer.has_any_keys() and (bool(self.login) or self.site.relay.trusts(self.peer.address))

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
            reply = await accept(self.site, envelope, self._origin(mail.smtputf8), incoming)
        finally:
            self.is_committing = False
            self._drop_transaction()
        self._messages += reply.is_positive
        return reply

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
            protocol=protocol_keyword(
                extended=self.machine.extended,
                tls=self.tls is not None,
                authenticated=bool(self.login),
                smtputf8=smtputf8,
            ),
            login=self.login,
            rule=", ".join(self._rules),
            tls=self.tls,
        )

    def _on_content_refused(self, event: ContentRefused) -> None:
        self.site.log.info("content refused", client=self.peer.address, reply=str(event.reply), login=self.login)
        self._drop_transaction()

    def _on_reset(self, _: Reset) -> None:
        self._drop_transaction()

    def _drop_transaction(self) -> None:
        self._mail = self._granted = None
        self._recipients = []
        self._rules = []
        if self.incoming is not None:
            self.incoming.discard()
            self.incoming = None

    # The session's life

    def _on_hello(self, _: Hello) -> None:
        self._drop_transaction()

    def _on_closing(self, _: Closing) -> None:
        self._drop_transaction()

    def why_ended(self, event: Closing) -> str:
        """The session line's word for how the machine ended it."""
        return "quit" if event.reply.code == 221 else str(event.reply)

    def end(self, how: str) -> None:
        """The connection is gone: let go of everything and write the session's line."""
        if not self.is_committing:
            self._drop_transaction()
        if self._exchange is not None:
            self._exchange.cancel()
            self._exchange = None
        self.channel = None  # it holds OpenSSL's state, which must not wait for the collector of cycles
        tls = self.tls
        self.site.log.info(
            "session",
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
