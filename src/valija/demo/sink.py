"""A next hop that takes every message, encrypted where the client likes, and hands it to a function.

    sink = await Sink.open(caught.append, context)
    sink.port                                          # a free one on 127.0.0.1
    ...
    sink.close()

It is valija's own server machine with the shortest of sessions around it: the smallest example of how the machine is
driven. Known weakness: contents are kept in memory; it is made for a demonstration, not for the world.
"""

import asyncio
import contextlib
import ssl
from collections.abc import Callable
from typing import Final, Self, cast

import msgspec

from valija.mail.reply import Reply
from valija.smtp.events import Closing, ContentChunk, ContentEnd, Data, Event, Mail, Rcpt, Reset, StartTls
from valija.smtp.rules import ServerRules
from valija.smtp.server import ServerMachine
from valija.tls.contexts import tls_facts
from valija.tls.starttls import TlsFailed, start_tls

HOST: Final = "127.0.0.1"
RULES: Final = ServerRules(hostname="sink.localhost", role="smtpd")
HANDSHAKE_TIMEOUT: Final = 30.0

_OK = Reply(250, "2.0.0", "Ok")
_GO_ON = Reply(354, "", "End the message with <CR><LF>.<CR><LF>")
_CAUGHT = Reply(250, "2.0.0", "Caught")


class Caught(msgspec.Struct, frozen=True):
    """A message as it arrived; `tls_version` is `""` in clear."""

    reverse_path: str
    recipients: tuple[str, ...]
    content: bytes
    tls_version: str


class Sink:
    """The listening side. `on_caught` is called for each message before it is answered."""

    def __init__(self, on_caught: Callable[[Caught], None], context: ssl.SSLContext) -> None:
        self.on_caught = on_caught
        self.context = context
        self._server: asyncio.Server | None = None

    @classmethod
    async def open(cls, on_caught: Callable[[Caught], None], context: ssl.SSLContext) -> Self:
        """Listen on a free port."""
        sink = cls(on_caught, context)
        sink._server = await asyncio.get_running_loop().create_server(lambda: _Session(sink), HOST, 0)
        return sink

    @property
    def port(self) -> int:
        """The port it listens on."""
        assert self._server
        return int(self._server.sockets[0].getsockname()[1])

    def close(self) -> None:
        """Listen no more."""
        assert self._server
        self._server.close()


class _Session(asyncio.Protocol):
    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._machine = ServerMachine(RULES, tls_active=False, mechanisms=lambda: ())
        self._handshake: asyncio.Task[None] | None = None
        self._tls_version = ""
        self._reverse_path = ""
        self._recipients: list[str] = []
        self._chunks: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._machine.greet()
        self._advance()

    def data_received(self, data: bytes) -> None:
        self._machine.receive(data)
        if self._handshake is None:
            self._advance()

    def _advance(self) -> None:
        while (event := self._machine.next_event()) is not None:
            if isinstance(event, StartTls):
                self._flush()
                self._handshake = asyncio.get_running_loop().create_task(self._start_tls())
                return
            answer = self._handle(event)
            if event.needs_answer:
                self._machine.answer(answer)
            if isinstance(event, Closing):
                self._flush()
                self._transport.close()
                return
        self._flush()

    def _flush(self) -> None:
        if output := self._machine.take_output():
            self._transport.write(output)

    async def _start_tls(self) -> None:
        with contextlib.suppress(TlsFailed):  # the connection is closed, and the server will tell of it
            self._transport = await start_tls(
                self._transport, self, self._sink.context, server_side=True, timeout=HANDSHAKE_TIMEOUT
            )
            facts = tls_facts(self._transport)
            self._tls_version = facts.version if facts else ""
            self._machine.tls_started()
        self._handshake = None

    def _handle(self, event: Event) -> Reply:
        match event:
            case Mail():
                self._reverse_path = event.reverse_path
            case Rcpt():
                self._recipients.append(event.recipient.address)
            case Data():
                return _GO_ON
            case ContentChunk():
                self._chunks.append(event.data)
            case ContentEnd():
                content = b"".join(self._chunks)
                self._sink.on_caught(Caught(self._reverse_path, tuple(self._recipients), content, self._tls_version))
                self._forget()
                return _CAUGHT
            case Reset():
                self._forget()
        return _OK

    def _forget(self) -> None:
        self._reverse_path = ""
        self._recipients.clear()
        self._chunks.clear()
