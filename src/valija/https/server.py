"""The server itself: connections, TLS, HTTP by aiohttp, and the answers of valija/https/pages. Runs in its own process.

    server = Server(log)
    server.use(site, context)              # and again whenever they change
    await server.serve(sockets)            # until cancelled

One request a connection, which is over after LIFE seconds whatever the client does; AT_ONCE connections, FROM_ONE of
them from one address (from one /64 of IPv6), and each further one is hung up on.
"""

import asyncio
import logging
import socket
import ssl
from collections import Counter
from collections.abc import Sequence
from ipaddress import IPv6Address, ip_address
from typing import Any, Final

from aiohttp import ClientError, web
from aiohttp.web_protocol import RequestHandler

from valija.https.pages import LARGEST_REQUEST, Page, Request, answer
from valija.https.site import Site
from valija.logs import Log

LIFE: Final = 20.0  # seconds of a connection after its handshake
HANDSHAKE: Final = 10.0  # seconds
AT_ONCE: Final = 256  # connections
FROM_ONE: Final = 16
_BACKLOG: Final = 256
_LAST_CALL: Final = 2.0  # seconds for conversations to end when the server stops
_FULL: Final = 0.5  # seconds of rest where there are no descriptors left
_LONGEST_LINE: Final = 4096  # octets of a request's first line, and of a field

# What goes wrong in HTTP is the client's affair, and no reason to fill the log.
_SILENT: Final = logging.Logger("valija.https", logging.CRITICAL + 1)


class Server:
    """Serves a site that may change."""

    def __init__(self, log: Log, *, life: float = LIFE, at_once: int = AT_ONCE, from_one: int = FROM_ONE) -> None:
        self._log = log
        self._life = life
        self._at_once = at_once
        self._from_one = from_one
        self._site: Site
        self._context: ssl.SSLContext
        self._from = Counter[str]()
        self._talks: set[asyncio.Task[None]] = set()

    def use(self, site: Site, context: ssl.SSLContext) -> None:
        """Serve this from now on."""
        self._site, self._context = site, context

    async def serve(self, sockets: Sequence[socket.socket]) -> None:
        """Accept connections until cancelled; then those that are open have a moment to end."""
        self._web = _Web(self._handle)
        for each in sockets:
            each.listen(_BACKLOG)
            each.setblocking(False)
        accepting = [asyncio.create_task(self._accept(each)) for each in sockets]
        try:
            await asyncio.gather(*accepting)
        finally:
            for task in accepting:
                task.cancel()
            if self._talks:
                await asyncio.wait(self._talks, timeout=_LAST_CALL)

    async def _accept(self, listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, address = await loop.sock_accept(listening)
            except OSError as error:
                self._log.warning("HTTPS connection not accepted", reason=error.strerror)
                await asyncio.sleep(_FULL)
                continue
            client = _network(address[0])
            if len(self._talks) >= self._at_once or self._from[client] >= self._from_one:
                connection.close()
                continue
            self._from[client] += 1
            talk = asyncio.create_task(self._talk(connection))
            self._talks.add(talk)
            talk.add_done_callback(lambda done, client=client: self._has_ended(done, client))  # type: ignore[misc]  # bound

    def _has_ended(self, talk: "asyncio.Task[None]", client: str) -> None:
        self._talks.discard(talk)
        self._from[client] -= 1
        if not self._from[client]:
            del self._from[client]
        if not talk.cancelled() and (fault := talk.exception()):
            self._log.error("HTTPS fault", exc_info=fault)

    async def _talk(self, connection: socket.socket) -> None:
        """Have one connection live its life. Its faults are the client's."""
        protocol = self._web()
        ended = self._web.expect_end(protocol)
        try:
            transport, _ = await asyncio.get_running_loop().connect_accepted_socket(
                lambda: protocol, connection, ssl=self._context, ssl_handshake_timeout=HANDSHAKE
            )
            await asyncio.wait([ended], timeout=self._life)
            if not ended.done():
                transport.abort()
        except (OSError, EOFError):
            pass  # no handshake came about
        finally:
            self._web.forget(protocol)

    async def _handle(self, request: web.BaseRequest) -> web.Response:
        try:
            page = await self._page(request)
        except (ConnectionError, ClientError):  # it has hung up
            raise
        except Exception:
            self._log.exception("HTTPS fault", path=request.path)
            page = Page(500, "text/plain", b"a fault of this server\n")
        tell = self._log.info if page.status == 200 else self._log.debug
        tell("HTTPS request", client=request.remote, host=_host(request), path=request.path, status=page.status)
        return _response(page)

    async def _page(self, request: web.BaseRequest) -> Page:
        body = await _body(request) if request.method == "POST" else b""
        if len(body) > LARGEST_REQUEST:
            return Page(413, "text/plain", b"too large\n")
        query = {name: request.query.getone(name) for name in request.query}
        return answer(self._site, Request(request.method, _host(request), request.path, query, body))


def _host(request: web.BaseRequest) -> str:
    """Return the host as it was asked for; the library would look our own name up where there is none."""
    return request.headers.get("Host", "")


async def _body(request: web.BaseRequest) -> bytes:
    """Return the body; of one that is too large no more than shows it."""
    try:
        return await request.content.readexactly(LARGEST_REQUEST + 1)
    except asyncio.IncompleteReadError as whole:
        return whole.partial


class _Web(web.Server):
    """The library's server, which tells when a connection has ended."""

    def __init__(self, handler: Any) -> None:
        super().__init__(
            handler,
            access_log=None,
            logger=_SILENT,
            tcp_keepalive=False,
            lingering_time=0.0,
            max_line_size=_LONGEST_LINE,
            max_field_size=_LONGEST_LINE,
            auto_decompress=False,
        )
        self._ends: dict[RequestHandler, asyncio.Future[None]] = {}

    def expect_end(self, protocol: RequestHandler) -> "asyncio.Future[None]":
        """Return what is done when the connection has ended."""
        end = self._ends[protocol] = asyncio.get_running_loop().create_future()
        return end

    def forget(self, protocol: RequestHandler) -> None:
        """Wait no more."""
        self._ends.pop(protocol, None)

    def connection_lost(self, handler: RequestHandler, exc: BaseException | None = None) -> None:
        """Hear of an end."""
        super().connection_lost(handler, exc)
        end = self._ends.get(handler)
        if end is not None and not end.done():
            end.set_result(None)


def _network(address: str) -> str:
    """Return who counts as one client: an IPv4 address, or a /64 of IPv6."""
    found = ip_address(address.partition("%")[0])
    if isinstance(found, IPv6Address):
        return str(IPv6Address(int(found) >> 64 << 64))
    return str(found)


def _response(page: Page) -> web.Response:
    fields = {"Server": "valija", "X-Content-Type-Options": "nosniff", "Cache-Control": "no-store"}
    if page.allow:
        fields["Allow"] = page.allow
    charset = None if page.media_type.startswith("application/") else "utf-8"
    response = web.Response(
        status=page.status, body=page.body, content_type=page.media_type, charset=charset, headers=fields
    )
    response.force_close()
    return response
