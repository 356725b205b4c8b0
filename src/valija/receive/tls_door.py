"""The way in where TLS comes first (`submissions`, RFC 8314): the handshake is done before there is a session.

Clients are counted and turned away before the handshake, which is the costly part; a handshake that fails or never ends
costs its own connection only, and leaves a line in the log. The context is asked for at each handshake, so that a
renewed certificate is used at once.

loop.create_server(ssl=...) can do none of this, and start_tls() from connection_made() comes too late under uvloop,
which has begun to read by then.
"""

import asyncio
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from valija.receive.admission import Visit

if TYPE_CHECKING:
    from valija.receive.listener import Listener

BACKLOG: Final = 1024  # the loop's own default of 100 loses connections in a burst
HANDSHAKE_TIMEOUT: Final = 60.0  # seconds
SHUTDOWN_TIMEOUT: Final = 5.0  # seconds for the peer's close_notify
_PAUSE: Final = 0.5  # seconds before the next try when the system has no room for another connection

MakeProtocol = Callable[[Visit], asyncio.Protocol]


class TlsDoor:
    """Accepts connections on one bound socket and hands them over inside TLS."""

    def __init__(self, listener: "Listener", bound: socket.socket, make_protocol: MakeProtocol) -> None:
        self._listener = listener
        self._make_protocol = make_protocol
        self._handshakes: set[asyncio.Task[Any]] = set()
        bound.listen(BACKLOG)
        self._accepting = asyncio.get_running_loop().create_task(self._accept_forever(bound))

    def close(self) -> None:
        """Accept no more. Handshakes that are under way are given up: nothing was promised in them."""
        self._accepting.cancel()
        for handshake in self._handshakes:
            handshake.cancel()

    async def _accept_forever(self, bound: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                client, address = await loop.sock_accept(bound)
            except OSError as error:  # no descriptor left, or the client left before it was let in
                self._listener.site.log.warning("cannot accept", role=self._listener.site.role, reason=str(error))
                await asyncio.sleep(_PAUSE)
                continue
            handshake = loop.create_task(self._shake_hands(client, str(address[0]) if address else ""))
            self._handshakes.add(handshake)
            handshake.add_done_callback(self._handshakes.discard)

    async def _shake_hands(self, client: socket.socket, address: str) -> None:
        visit = self._listener.visit(address)
        try:
            if visit.refusal:
                client.close()
                raise ConnectionRefusedError(str(visit.refusal))
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: self._make_protocol(visit),
                client,
                ssl=self._listener.tls_context(),
                ssl_handshake_timeout=HANDSHAKE_TIMEOUT,
                ssl_shutdown_timeout=SHUTDOWN_TIMEOUT,
            )
        except OSError as error:
            self._listener.leave(visit)
            self._log_failure(address, error)
        except BaseException:
            self._listener.leave(visit)
            raise

    def _log_failure(self, address: str, error: OSError) -> None:
        self._listener.site.log.info(
            "session",
            role=self._listener.site.role,
            client=address,
            tls="failed",
            ended=str(error) or type(error).__name__,
        )
