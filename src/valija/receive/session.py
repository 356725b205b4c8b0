"""The conversation with one client: the machine's events become decisions, and decisions replies.

The machine has already seen to it that events come in a legal order; what is decided here is who may log in, who may
send as whom, where mail may go, and what becomes of a content. A decision that needs no waiting is returned as a
Reply; one that waits is returned as a coroutine of one.
"""

from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, Final

import msgspec

from valija.auth.backend import fitting
from valija.content.trace import protocol_keyword
from valija.mail.envelope import Envelope, Recipient
from valija.mail.origin import Origin, TlsFacts
from valija.mail.reply import Reply
from valija.policy.identity import check_envelope, check_outsider
from valija.policy.relay import Allowed, decide
from valija.policy.requests import grant
from valija.receive import checks, login
from valija.receive.accept import accept
from valija.receive.binary import IncomingBinary
from valija.receive.doorkeeper import Doorkeeper
from valija.receive.examination import Examination
from valija.receive.following import leaves
from valija.receive.incoming import IncomingContent
from valija.receive.peer import Peer
from valija.receive.session_id import new_session_id
from valija.receive.session_line import write_line
from valija.receive.site import Site
from valija.receive.transaction import Transaction
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
from valija.smtp.server import ServerMachine
from valija.tls.channel import TlsChannel

_SENDER_OK = Reply(250, "2.1.0", "Sender ok")
_RECIPIENT_OK = Reply(250, "2.1.5", "Recipient ok")
_GO_ON = Reply(354, "", "End the message with <CR><LF>.<CR><LF>")
_NO_SUCH_MAILBOX: Final = "5.1.1"
_NO_ROOM = Reply(452, "4.3.1", "Insufficient system storage, try again later")

Answer = Reply | Coroutine[Any, Any, Reply] | None


class Session:
    """One client's session. `machine` is set by the connection that owns both."""

    __slots__ = (
        "_login",
        "_transaction",
        "channel",
        "doorkeeper",
        "examination",
        "id",
        "incoming",
        "is_committing",
        "login",
        "machine",
        "mechanism",
        "messages",
        "peer",
        "site",
        "started",
        "tls",
        "tls_failure",
    )

    machine: ServerMachine

    def __init__(self, site: Site, peer: Peer) -> None:
        self.id = new_session_id()
        self.site = site
        self.peer = peer
        self.login = ""
        self.mechanism = ""
        self.tls: TlsFacts | None = None
        self.channel: TlsChannel | None = None
        self.tls_failure = ""
        self.is_committing = False
        self.incoming: IncomingContent | None = None
        self.examination: Examination | None = None  # where checks are switched on for a client like this
        self.doorkeeper: Doorkeeper | None = None  # where the client is a stranger
        self._login: login.LoginDialogue | None = None
        self._transaction: Transaction | None = None
        self.messages = 0
        self.started = site.clock()

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
        exchange = self.site.backend.start(event.mechanism, login.facts_of(self))
        if exchange is None:
            return login.NO_MECHANISM if self.site.backend.mechanisms() else login.UNAVAILABLE
        self.mechanism = event.mechanism.upper()
        self._login = login.LoginDialogue(self, exchange)
        return self._login.respond(event.initial)

    def _on_auth_response(self, event: AuthResponse) -> Answer:
        assert self._login is not None
        return self._login.respond(event.data)

    def _on_auth_cancelled(self, _: AuthCancelled) -> None:
        if self._login is not None:
            self._login.cancel()

    def log_in(self, name: str) -> Reply | None:
        """Have the session be a user's; return why that may not be."""
        conduct = self.site.conduct
        if conduct is not None and (refusal := conduct.login_refusal(name)):
            return refusal
        self.login = name
        self._begin_examination()
        return None

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
        site = self.site
        granted = grant(event.requests, site.clock(), site.options.request_limits) if event.requests else None
        if isinstance(granted, Reply):
            return granted
        spending = site.conduct.begin(self.login, self.peer.address) if self.login and site.conduct else None
        self._transaction = Transaction(event, granted, spending)
        return _SENDER_OK if granted is None else granted.reply or _SENDER_OK

    def _check_sender(self, reverse_path: str) -> Reply | None:
        """Return why a transaction may not begin: who asks may not send, or not in this name."""
        site, refusal = self.site, None
        if self.login:
            if site.conduct is not None and (frozen := site.conduct.refusal(self.login)):
                return self.told(frozen)  # not a line per attempt: the freeze was logged
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
            return self.told(refusal)
        return None

    def _on_rcpt(self, event: Rcpt) -> Answer:
        recipient = event.recipient
        site = self.site
        decision = decide(site.role, self.peer.address, self.login, recipient.address, site.relay)
        if not isinstance(decision, Allowed):
            self._log_refusal("recipient refused", decision, recipient=recipient.address)
            return self._unless_harvesting(decision)  # in the very words that others know, without an id behind them
        if decision.address != recipient.address:
            recipient = msgspec.structs.replace(recipient, address=decision.address)
        if self.examination is not None:
            assert self._transaction is not None
            answer = self.examination.on_rcpt(self._client(), self._transaction.mail, recipient)
            return self._after(answer, partial(self._add_recipient, recipient, decision.rule))
        return self._add_recipient(recipient, decision.rule)

    def _add_recipient(self, recipient: Recipient, rule: str) -> Reply:
        assert self._transaction is not None
        refusal = self._transaction.add(recipient, rule)
        if refusal is None:
            return _RECIPIENT_OK
        self._log_refusal("recipient refused", refusal, recipient=recipient.address)
        return self.told(refusal)

    # Content

    def _on_data(self, _: Data) -> Answer:
        transaction = self._transaction
        assert transaction is not None
        kind = IncomingBinary if transaction.mail.body == "BINARYMIME" else IncomingContent
        examination = self.examination
        watch = partial(examination.watchers, self._client()) if examination is not None else None
        self.incoming = kind(self.site.spool, hashes_body=self._needs_body_hash(transaction), watch=watch)
        return _GO_ON

    def _needs_body_hash(self, transaction: Transaction) -> bool:
        """Whether the message may be signed, or sealed where it is sent on to others."""
        site = self.site
        if not site.signer.has_any_keys():
            return False
        if site.signs_for(self.login, self.peer.address):
            return True
        return site.seals and leaves(site.directory, site.relay.domains, transaction.recipients)

    def _on_content_chunk(self, event: ContentChunk) -> None:
        assert self.incoming is not None
        self.incoming.add(event.data)

    def _on_content_end(self, _: ContentEnd) -> Answer:
        return self._accept()

    async def _accept(self) -> Reply:
        incoming, transaction = self.incoming, self._transaction
        assert incoming is not None
        assert transaction is not None
        envelope = self._envelope(transaction)
        self.incoming = None  # the content belongs to the acceptance now, which keeps or discards it
        self.is_committing = True
        try:
            examine = None if self.examination is None else partial(self._examine, self.examination)
            origin = self._origin(transaction)
            reply = await accept(self.site, envelope, origin, incoming, examine=examine, spending=transaction.spending)
        finally:
            self.is_committing = False
            self._drop_transaction()
        if reply.is_positive:
            self.messages += 1
            if self.doorkeeper is not None and self.messages == 1:
                self.doorkeeper.remember(self.peer.address)
        return self.told(reply)

    async def _examine(self, examination: Examination, envelope: Envelope, content: checks.Candidate) -> checks.Verdict:
        """Have the checks look at a message. A client that leaves meanwhile has no message here: it will come again."""
        self.is_committing = False
        verdict = await examination.on_content(self._client(), envelope, content)
        self.is_committing = True
        return verdict

    def _envelope(self, transaction: Transaction) -> Envelope:
        return transaction.envelope()

    def _origin(self, transaction: Transaction) -> Origin:
        return Origin(
            role=self.site.role,
            received_at=self.site.clock(),
            client_address=self.peer.address,
            helo=self.machine.hello_name,
            protocol=self._protocol(smtputf8=transaction.mail.smtputf8),
            login=self.login,
            rule=", ".join(transaction.rules),
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
        self._transaction = None
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
            mechanism=self.mechanism if self.login else "",
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
        return go_on() if answer is None else self._unless_harvesting(self.told(answer))

    async def _after_waiting(self, waiting: Coroutine[Any, Any, Reply | None], go_on: Callable[[], Reply]) -> Reply:
        refusal = await waiting
        return go_on() if refusal is None else self._unless_harvesting(self.told(refusal))

    # Refusals

    def told(self, reply: Reply) -> Reply:
        """Return a reply as the client hears it: a refusal by policy (x.7.y) names the session, which `why` knows."""
        if reply.code < 400 or not reply.enhanced.startswith(".7.", 1):
            return reply
        return Reply(reply.code, reply.enhanced, f"{reply.text} (session {self.id})")

    def _unless_harvesting(self, refusal: Reply) -> Reply:
        """Return a refusal, or the last one that a stranger gets who has asked for too many that do not exist."""
        if self.doorkeeper is None or self.login or refusal.enhanced != _NO_SUCH_MAILBOX:
            return refusal
        self.doorkeeper.count_unknown_recipient(self.peer.address)
        return self.doorkeeper.harvest(self.peer.address, self.site.options.unknown_recipient_limit) or refusal

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
        if self._login is not None:
            self._login.cancel()
        self.channel = None  # it holds OpenSSL's state, which must not wait for the collector of cycles
        write_line(self, how)


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
