"""A listener: the connections of one role in one worker.

    listener = Listener(site, certificate_context, doorkeeper, session_limit=1000)
    await listener.serve(sockets)
    ...
    await listener.stop(patience=25.0)

It admits clients, keeps the one clock that all its connections' deadlines are measured by, and ends them when the
server stops. A new Site (reload) holds for connections made from then on.

Strangers may not fill it: the last eighth of its sessions is kept for clients that are trusted, or known to bring mail.
With three quarters taken it is *strained*: a stranger who has not logged in and lets it wait for HURRIED seconds has to
make room, and contents that only drip are such a wait.
"""

import asyncio
import socket
import ssl
from collections.abc import Callable, Iterable
from typing import Final

from valija.mail.reply import Reply
from valija.receive.connection import CONTENT_OCTETS_PER_SECOND, Connection
from valija.receive.doorkeeper import ArrivalLimits, Doorkeeper, Visit
from valija.receive.site import Site
from valija.receive.turns import Turns
from valija.smtp.server import ServerRules

BACKLOG: Final = 1024  # the loop's own default of 100 loses connections in a burst
_LAST_WORDS: Final = 2.0  # seconds a client has to read its 421 when the server stops
HURRIED: Final = 10.0
HURRIED_OCTETS_PER_SECOND: Final = 4000.0  # what the slowest of modems reaches
_TLS_RULE: Final = {"none": "none", "may": "offered", "encrypt": "required"}

_TOO_MANY = Reply(421, "4.3.2", "Too many connections, try again later")


class Listener:
    """Serves one role. `tls_context` is asked at each handshake, so that a renewed certificate is used at once."""

    def __init__(
        self, site: Site, tls_context: Callable[[], ssl.SSLContext], doorkeeper: Doorkeeper, session_limit: int
    ) -> None:
        self._tls_context = tls_context
        self.stopping = False
        self.content_rate = CONTENT_OCTETS_PER_SECOND
        self._doorkeeper = doorkeeper.at(site.role)
        self._session_limit = session_limit
        self._connections: set[Connection] = set()
        self._strangers: dict[Connection, Visit] = {}
        self._servers: list[asyncio.Server] = []
        self.loop = asyncio.get_running_loop()
        self.turns = Turns(self.loop)
        self._sweeper: asyncio.TimerHandle | None = None
        self._emptied: asyncio.Event = asyncio.Event()
        self.use(site)

    def use(self, site: Site) -> None:
        """Have new connections live by `site`."""
        self.site = site
        self._doorkeeper.is_shared = site.is_shared
        options = site.options
        self._limits = ArrivalLimits(
            options.client_connection_count_limit,
            options.client_connection_rate_limit,
            options.unknown_recipient_limit if site.role == "smtpd" else 0,
        )
        self.rules = ServerRules(
            hostname=site.hostname,
            role=site.role,
            size_limit=site.size_limit,
            recipient_limit=options.recipient_limit,
            tls=_TLS_RULE[options.tls_security_level],  # type: ignore[arg-type]  # the table's values are the rule's
            error_limit=options.error_limit,
            future_release_limit=options.request_limits.longest_hold,
        )

    async def serve(self, sockets: Iterable[socket.socket]) -> None:
        """Accept connections on bound sockets."""
        for bound in sockets:
            server = await self.loop.create_server(lambda: Connection(self), sock=bound, backlog=BACKLOG)
            self._servers.append(server)
        self._sweep()

    # What connections ask

    def now(self) -> float:
        """The loop's clock, in seconds."""
        return self.loop.time()

    def tls_context(self) -> ssl.SSLContext:
        """The context for a handshake that begins now."""
        return self._tls_context()

    def admit(self, connection: Connection) -> Reply | None:
        """Count a connection in; return why it may not stay, None if it may. Trusted clients have no limits."""
        session = connection.session
        client = session.peer.address
        if self.trusts(client):
            refusal = _TOO_MANY if len(self._connections) >= self._session_limit else None
        else:
            refusal = self._admit_stranger(connection, client)
        if refusal is None:
            self._connections.add(connection)
        elif self._doorkeeper.is_news(refusal):
            facts = {"session": session.id, "client": client, "role": self.site.role}
            self.site.log.warning("client turned away", **facts, reply=str(refusal))
        return refusal

    def trusts(self, client: str) -> bool:
        """Whether a client has no limits of its own."""
        return self.site.relay.trusts(client)

    def _admit_stranger(self, connection: Connection, client: str) -> Reply | None:
        visit = self._strangers[connection] = self._doorkeeper.enter(client, self._limits)
        connection.session.doorkeeper = self._doorkeeper
        if visit.refusal is None and len(self._connections) >= self._session_limit * 7 // 8:
            is_full = len(self._connections) >= self._session_limit
            return _TOO_MANY if is_full or not visit.caller.is_known else None
        return visit.refusal

    def forget(self, connection: Connection) -> None:
        """A connection is gone."""
        self._connections.discard(connection)
        if visit := self._strangers.pop(connection, None):
            self._doorkeeper.leave(visit)
        if not self._connections:
            self._emptied.set()

    @property
    def session_count(self) -> int:
        """How many sessions are open."""
        return len(self._connections)

    def greet_later(self, connection: Connection) -> None:
        """Have the banner sent once a client has had the chance to speak out of turn.

        Clients that are trusted, or known to bring mail, are only given the time that the loop needs to read what is
        there already.
        """
        pause, visit = self.site.options.greet_pause, self._strangers.get(connection)
        if pause and visit is not None and not visit.caller.is_known:
            connection.deadline += pause  # it is we who let it wait
            self.loop.call_later(pause, connection.greet)
        else:
            self.loop.call_soon(self.loop.call_soon, connection.greet)

    # The end

    async def stop(self, patience: float) -> None:
        """Stop accepting; idle clients get 421, one within a content may end it, for `patience` seconds at most."""
        self.stopping = True
        for server in self._servers:
            server.close()
        for connection in list(self._connections):
            connection.stop(at_once=False)
        await self._until_empty(patience)
        for connection in list(self._connections):
            connection.stop(at_once=True)
        await self._until_empty(_LAST_WORDS)
        for connection in list(self._connections):
            connection.transport.abort()
        if self._sweeper is not None:
            self._sweeper.cancel()

    async def _until_empty(self, patience: float) -> None:
        self._emptied.clear()
        if not self._connections:
            return
        try:
            async with asyncio.timeout(patience):
                await self._emptied.wait()
        except TimeoutError:
            return

    def _sweep(self) -> None:
        """End connections whose deadline has passed."""
        now = self.now()
        is_strained = len(self._connections) > self._session_limit * 3 // 4
        self.content_rate = HURRIED_OCTETS_PER_SECOND if is_strained else CONTENT_OCTETS_PER_SECOND
        for connection in self._late(now, is_strained=is_strained):
            connection.deadline = now + _LAST_WORDS
            connection.time_out()
        interval = min(1.0, self.site.options.timeout / 4)
        self._sweeper = self.loop.call_later(interval, self._sweep)

    def _late(self, now: float, *, is_strained: bool) -> set[Connection]:
        late = {each for each in self._connections if each.deadline < now}
        late.update(each for each in self._strangers if each.brings_nothing(now))
        if is_strained:
            hurried = now + self.site.options.timeout - HURRIED
            late.update(each for each in self._strangers if now <= each.deadline < hurried and not each.session.login)
        return late
