"""A listener: the connections of one role in one worker.

    listener = Listener(site, certificate_context, counter, limits)
    await listener.serve(sockets)
    ...
    await listener.stop(patience=25.0)

It admits clients, keeps the one clock that all its connections' deadlines are measured by, and ends them when the
server stops. A new Site (reload) holds for connections made from then on.
"""

import asyncio
import socket
import ssl
from collections.abc import Callable, Iterable
from typing import Final

from valija.mail.reply import Reply
from valija.receive.admission import SessionCounter
from valija.receive.connection import Connection
from valija.receive.site import Site
from valija.smtp.server import ServerRules

BACKLOG: Final = 1024  # the loop's own default of 100 loses connections in a burst
_LAST_WORDS: Final = 2.0  # seconds a client has to read its 421 when the server stops
_TLS_RULE: Final = {"none": "none", "may": "offered", "encrypt": "required"}

_TOO_MANY_FROM_CLIENT = Reply(421, "4.7.0", "Too many connections from your network, try again later")
_TOO_MANY = Reply(421, "4.3.2", "Too many connections, try again later")


class Listener:
    """Serves one role. `tls_context` is asked at each handshake, so that a renewed certificate is used at once."""

    def __init__(
        self, site: Site, tls_context: Callable[[], ssl.SSLContext], counter: SessionCounter, session_limit: int
    ) -> None:
        self._tls_context = tls_context
        self.stopping = False
        self._counter = counter
        self._session_limit = session_limit
        self._connections: set[Connection] = set()
        self._counted: set[Connection] = set()
        self._servers: list[asyncio.Server] = []
        self.loop = asyncio.get_running_loop()
        self._sweeper: asyncio.TimerHandle | None = None
        self._emptied: asyncio.Event = asyncio.Event()
        self.use(site)

    def use(self, site: Site) -> None:
        """Have new connections live by `site`."""
        self.site = site
        self.rules = ServerRules(
            hostname=site.hostname,
            role=site.role,
            size_limit=site.size_limit,
            recipient_limit=site.options.recipient_limit,
            tls=_TLS_RULE[site.options.tls_security_level],  # type: ignore[arg-type]  # the table's values are the rule's
            error_limit=site.options.error_limit,
            future_release_limit=site.options.request_limits.longest_hold,
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
        """Count a connection in; return why it may not stay, None if it may. Trusted clients are not limited."""
        self._connections.add(connection)
        client = connection.session.peer.address
        refusal = _TOO_MANY if len(self._connections) > self._session_limit else None
        if not self.site.relay.trusts(client):
            self._counted.add(connection)
            if self._counter.enter(client) > self.site.options.client_connection_count_limit:
                refusal = _TOO_MANY_FROM_CLIENT
        if refusal:
            facts = {"session": connection.session.id, "client": client, "role": self.site.role}
            self.site.log.warning("client turned away", **facts, reply=str(refusal))
        return refusal

    def forget(self, connection: Connection) -> None:
        """A connection is gone."""
        self._connections.discard(connection)
        if connection in self._counted:
            self._counted.discard(connection)
            self._counter.leave(connection.session.peer.address)
        if not self._connections:
            self._emptied.set()

    @property
    def session_count(self) -> int:
        """How many sessions are open."""
        return len(self._connections)

    def greet_later(self, connection: Connection) -> None:
        """Have the banner sent once a client has had the chance to speak out of turn.

        Trusted clients are only given the time that the loop needs to read what is there already.
        """
        pause = self.site.options.greet_pause
        if pause and not self.site.relay.trusts(connection.session.peer.address):
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
        for connection in [each for each in self._connections if each.deadline < now]:
            connection.deadline = now + _LAST_WORDS
            connection.time_out()
        interval = min(1.0, self.site.options.timeout / 4)
        self._sweeper = self.loop.call_later(interval, self._sweep)
