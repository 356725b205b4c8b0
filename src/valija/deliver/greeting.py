"""From a fresh connection to where mail can be sent: banner, EHLO, TLS and its proof by policy, login.

    greeting = Greeting(session, policy, ca_file="")
    failure = await greeting.run()           # None when mail can be sent
    greeting.next_policy                     # after a failure: what may be tried on a new connection, None for nothing
    greeting.result                          # how TLS went, as RFC 8460 calls it; None where it was not got to

Everything about TLS is done before the first command that concerns mail, and before anything is believed that the peer
announces.
"""

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import msgspec

from valija.deliver.errand import Failure, Peer, Target
from valija.deliver.session import Session
from valija.mail.outcome import Channel
from valija.mail.reply import Reply
from valija.policy import tls_replies
from valija.policy.tls import Decision, TlsPolicy
from valija.policy.tls_report import SUCCESS, ResultType
from valija.smtp.client_events import ClientEvent, Ready, SessionEnded, TlsRefused
from valija.tls.contexts import TrustUnusable
from valija.tls.proof import proof_rejection, proving_context
from valija.tls.starttls import TlsFailed

if TYPE_CHECKING:
    import ssl


class TlsResultSoFar(msgspec.Struct, frozen=True, gc=False):
    """How the TLS of a session went: a result of RFC 8460 section 4.3, and details in words."""

    result: ResultType
    detail: str = ""


class _NotProved(Exception):
    """The handshake is done, and the peer has not proved who it is."""

    def __init__(self, result: ResultType, words: str) -> None:
        super().__init__(words)
        self.result = result


class Greeting:
    """The opening of one session under one policy. `tls_first`: the port speaks TLS from the first octet (RFC 8314)."""

    def __init__(self, session: Session, policy: TlsPolicy, ca_file: str, *, tls_first: bool = False) -> None:
        self._session = session
        self._policy = policy
        self._ca_file = ca_file
        self._tls_first = tls_first
        self.next_policy: TlsPolicy | None = None
        self.result: TlsResultSoFar | None = None
        self.said_hello = False
        own = session.transport.get_extra_info("sockname")  # now: a transport that is closed may not be asked
        self.sending_address = str(own[0]) if isinstance(own, tuple) else ""

    @property
    def target(self) -> Target:
        """Who was talked to."""
        return self._session.target

    async def run(self) -> Failure | None:
        """Bring the session to where mail can be sent; None when it is there."""
        if self._tls_first and (failure := await self._encrypt()):
            return failure
        event = await self._session.event()
        if not isinstance(event, Ready):
            return self._ended(event)
        self.said_hello = True
        if not self._tls_first and (failure := await self._start_tls(event)):
            return failure
        if self._policy.announces and not self._session.machine.capabilities.require_tls:
            return Failure(tls_replies.not_announced(self._host), self._session.peer, permanent=True)
        return None

    @property
    def _host(self) -> str:
        return self._session.target.host

    async def _start_tls(self, event: Ready) -> Failure | None:
        """Go on inside TLS where the policy wants it and the peer offers it."""
        decision = self._policy.after_hello(offers_starttls=event.capabilities.starttls)
        if decision is not Decision.STARTTLS:
            if self._policy.level != "none" and not self._policy.in_clear:
                self.result = TlsResultSoFar("starttls-not-supported")
            return self._without_tls(decision, tls_replies.not_offered(self._host, self._policy))
        self._session.ask_for_tls()
        answer = await self._session.event()
        if isinstance(answer, TlsRefused):
            self.result = TlsResultSoFar("starttls-not-supported", str(answer.reply))
            words = tls_replies.refused(self._host, self._policy, answer.reply)
            return self._without_tls(self._policy.after_refusal(), words)
        if isinstance(answer, SessionEnded):
            return self._handshake_failed(str(answer.reply))
        return await self._encrypt() or await self._hear_hello()

    def _without_tls(self, decision: Decision, why_not: Reply) -> Failure | None:
        return None if decision is Decision.CLEAR else Failure(why_not, self._session.peer)

    async def _encrypt(self) -> Failure | None:
        """Do the handshake, and see that the peer proves what it has to."""
        try:
            context = proving_context(self._policy, self._ca_file)
            channel = Channel.VERIFIED if self._policy.verifies else Channel.ENCRYPTED
            await self._session.take_up_tls(
                context, self._policy.server_name or self._host, self._check, channel=channel, first=self._tls_first
            )
        except _NotProved as failed:
            self._session.abort()
            return self._proof_failed(str(failed), failed.result)
        except TlsFailed as failed:
            if failed.is_verification:
                result: ResultType = "certificate-expired" if failed.is_expired else "certificate-not-trusted"
                return self._proof_failed(str(failed), result)
            return self._handshake_failed(str(failed))
        except TrustUnusable as failed:
            failure = self._proof_failed(str(failed), "validation-failure")
            self.result = None  # no fault of the peer
            return failure
        self.result = TlsResultSoFar(SUCCESS)
        return None

    def _check(self, connection: "ssl.SSLObject") -> None:
        if rejection := proof_rejection(connection, self._policy, datetime.now(UTC)):
            raise _NotProved(rejection.result, rejection.words)

    async def _hear_hello(self) -> Failure | None:
        event = await self._session.event()
        # In TLS 1.3 a peer's alert comes only after our side of the handshake is done.
        return None if isinstance(event, Ready) else self._handshake_failed(str(self._ended(event).reply))

    def _handshake_failed(self, why: str) -> Failure:
        self.result = TlsResultSoFar("validation-failure", why)
        self.next_policy = None if self._tls_first else self._policy.after_failure()
        return Failure(tls_replies.failed(self._host, self._policy, why), self._bare_peer())

    def _proof_failed(self, why: str, result: ResultType) -> Failure:
        self.result = TlsResultSoFar(result, why)
        self.next_policy = self._policy.after_failure()
        return Failure(tls_replies.not_proved(self._host, self._policy, why), self._bare_peer())

    def _bare_peer(self) -> Peer:
        return Peer(self._session.target, tls_level=self._policy.level, tls_source=self._policy.source)

    def _ended(self, event: ClientEvent) -> Failure:
        assert isinstance(event, SessionEnded)
        return Failure(event.reply, self._session.peer, event.by_peer)
