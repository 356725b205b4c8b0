"""One connection of the client: octets between the transport and the client machine, each of them recorded.

    connection = await Connection.open(order, machine, record)     # TLS has begun already on submissions
    event = await connection.event()                               # see smtp/client_events
    await connection.encrypt(context, "mail.example.org")          # after TlsReady
    await connection.leave()

Raises NoConnection for what the network does, TlsFailed for what TLS does. The machine is pulled: nothing happens
between two calls of `event`, so that a conversation can be ended after any reply.
"""

import asyncio
import contextlib
import ssl
from typing import Final, cast

from valija.client.order import Order
from valija.client.record import Kind, Record
from valija.mail.reply import Reply
from valija.smtp.client import ClientMachine
from valija.smtp.client_events import ClientEvent, Step
from valija.tls.starttls import start_tls

_PATIENCE_AT_THE_END: Final = 3.0  # seconds for the reply to QUIT

_KINDS: Final = {Step.AUTH: Kind.LOGIN, Step.FINAL: Kind.CONTENT}


class NoConnection(Exception):
    """There is none; the text says why."""


class Connection(asyncio.Protocol):
    """The protocol object. Made by `open`."""

    def __init__(self, machine: ClientMachine, record: Record, timeout: float) -> None:
        self.machine = machine
        self._record = record
        self._timeout = timeout
        self._changed = asyncio.Event()
        self._lost = False

    @classmethod
    async def open(cls, order: Order, machine: ClientMachine, record: Record, context: ssl.SSLContext) -> "Connection":
        """Connect. On `submissions` the handshake is done with `context`. Raises NoConnection, TlsFailed."""
        connection = cls(machine, record, order.timeout)
        try:
            async with asyncio.timeout(order.timeout):
                await asyncio.get_running_loop().create_connection(lambda: connection, order.host, order.port)
        except TimeoutError:
            raise NoConnection(f"no answer within {order.timeout:g} s") from None
        except (OSError, UnicodeError) as error:  # the latter for what can be no host name
            raise NoConnection(getattr(error, "strerror", None) or str(error)) from None
        peer = connection.transport.get_extra_info("peername")
        if peer is None:  # it was reset before we looked
            raise NoConnection("the server hung up at once")
        address, port = peer[:2]
        record.note(f"connected to {f'[{address}]' if ':' in address else address}:{port}")
        if order.mode == "submissions":
            await connection.encrypt(context, order.name)
        return connection

    # What the loop tells

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Nothing is said before the server speaks, or TLS begins."""
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Record, and let `event` look at it."""
        self._record.heard(data, _KINDS.get(self.machine.awaits, Kind.PLAIN))
        self.machine.receive(data)
        self._changed.set()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone, whoever ended it."""
        self._lost = True
        self._changed.set()

    # What the conversation asks for

    async def event(self, *, stop_before: Step | None = None) -> ClientEvent | None:
        """Return the machine's next event, the last being SessionEnded.

        None: it is about to say what gets it to `stop_before`, and has not said it.
        """
        while (event := self.machine.next_event()) is None:
            if stop_before is not None and self.machine.awaits is stop_before:
                self.machine.take_output()
                return None
            self._flush()
            await self._more()
        return event

    async def encrypt(self, context: ssl.SSLContext, name: str) -> None:
        """Do the handshake. Raises TlsFailed."""
        self.transport = await start_tls(
            self.transport, self, context, server_side=False, server_hostname=name, timeout=self._timeout
        )

    async def leave(self) -> None:
        """Say QUIT, hear the server's goodbye, and close."""
        if not self.machine.ended:
            self.machine.quit()
            self._flush()
            await self._end(min(self._timeout, _PATIENCE_AT_THE_END))
        self.transport.abort()

    async def _end(self, patience: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience):
                while not self._lost:
                    self._changed.clear()
                    await self._changed.wait()

    def drop(self) -> None:
        """Close at once, without a word."""
        self.transport.abort()

    def _flush(self) -> None:
        output = self.machine.take_output()
        if output and not self.transport.is_closing():
            self._record.sent(output, _KINDS.get(self.machine.awaits, Kind.PLAIN))
            self.transport.write(output)

    async def _more(self) -> None:
        """Wait for octets, or for the end of the connection or of the time."""
        awaits = self.machine.awaits
        if self._lost:  # and all it had said was looked at
            self.machine.end(Reply(450, "4.4.2", f"the server closed the connection while we waited for {awaits}"))
            return
        try:
            async with asyncio.timeout(self._timeout):
                await self._changed.wait()
            self._changed.clear()
        except TimeoutError:
            self.machine.end(Reply(450, "4.4.2", f"no answer within {self._timeout:g} s while waiting for {awaits}"))
