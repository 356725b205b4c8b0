"""One AUTH command of a session, from its beginning to its last reply (RFC 4954).

    dialogue = LoginDialogue(session, exchange)
    await dialogue.respond(b"\\0alice\\0secret")        # Reply(235, ...), or 334 and the next response is awaited

A back end that does not answer, or fails by a fault of its own, is "try again later", never "wrong".
"""

import asyncio
import base64
from typing import Final, Protocol

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
)
from valija.mail.origin import TlsFacts
from valija.mail.reply import Reply
from valija.receive.peer import Peer
from valija.receive.site import Site
from valija.tls.channel import TlsChannel

PATIENCE: Final = 9.0  # seconds for a back end's answer; 454 is due within 10

NO_MECHANISM: Final = Reply(504, "5.5.4", "Authentication mechanism not offered")
UNAVAILABLE: Final = Reply(454, "4.7.0", "Temporary authentication failure, try again later")
_LOGGED_IN: Final = Reply(235, "2.7.0", "Authentication successful")
_WRONG: Final = Reply(535, "5.7.8", "Authentication credentials invalid")
_MALFORMED: Final = Reply(501, "5.5.2", "Malformed authentication response")
_THROTTLED: Final = Reply(454, "4.7.0", "Too many failed logins, try again later")


class Claimant(Protocol):
    """The session that somebody logs in to."""

    id: str
    site: Site
    peer: Peer
    tls: TlsFacts | None
    channel: TlsChannel | None

    def log_in(self, name: str) -> Reply | None:
        """Have the session be a user's; return why that may not be."""

    def told(self, reply: Reply) -> Reply:
        """Return a reply as the client hears it."""


def facts_of(session: Claimant) -> ConnectionFacts:
    """Return what a back end is told of the connection."""
    return ConnectionFacts(
        secured=session.tls is not None,
        client_address=session.peer.address,
        client_port=session.peer.port,
        local_address=session.peer.local_address,
        local_port=session.peer.local_port,
        channel=session.channel,
    )


class LoginDialogue:
    """One exchange with the back end, as replies of SMTP."""

    __slots__ = ("_exchange", "_session")

    def __init__(self, session: Claimant, exchange: Exchange) -> None:
        self._session = session
        self._exchange: Exchange | None = exchange

    async def respond(self, response: bytes | None) -> Reply:
        """Return the reply to a client's response, None where AUTH came without one."""
        step = await self._step(response)
        if not isinstance(step, Challenge):
            self._exchange = None
        return self._reply(step)

    def cancel(self) -> None:
        """The client has given up, or is gone."""
        if self._exchange is not None:
            self._exchange.cancel()
            self._exchange = None

    async def _step(self, response: bytes | None) -> Step:
        assert self._exchange is not None
        try:
            async with asyncio.timeout(PATIENCE):
                return await self._exchange.respond(response)
        except TimeoutError:
            return Unavailable("no answer in time")
        except Exception:
            session = self._session
            session.site.log.exception("login fault", session=session.id, client=session.peer.address)
            return Unavailable("internal fault")

    def _reply(self, step: Step) -> Reply:
        session = self._session
        log, client, role = session.site.log, session.peer.address, session.site.role
        match step:
            case Challenge(data):
                return Reply(334, "", base64.b64encode(data).decode("ascii"))
            case Success(name):
                refusal = session.log_in(name)
                if refusal is None:
                    return _LOGGED_IN
                log.warning("login frozen", session=session.id, client=client, login=name, role=role)
                return session.told(refusal)
            case Wrong(name):
                log.warning("login refused", session=session.id, client=client, login=name, role=role)
                return session.told(_WRONG)
            case Malformed():
                log.info("login malformed", session=session.id, client=client, role=role)
                return _MALFORMED
            case Unavailable(detail):
                log.error("login unavailable", session=session.id, client=client, reason=detail)
                return UNAVAILABLE
            case Throttled():
                return session.told(_THROTTLED)  # not a line per attempt: the throttle has said it
