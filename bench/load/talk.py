"""A small SMTP client for the own generators: fast enough to load a server, strict enough to notice its faults.

    talk = await Talk.open(port)
    await talk.ask(b"EHLO c.test\r\n", b"250")
    await talk.start_tls(context)
    await talk.ask(b"MAIL FROM:<a@src.test>\r\n", b"250")

An answer with another code raises Unexpected.
"""

import asyncio
import socket
import ssl
from typing import Self, cast

EHLO = b"EHLO c.test\r\n"
_BIND_ADDRESS_NO_PORT = 24  # of Linux's <netinet/in.h>; Python 3.11 does not name it


class Unexpected(Exception):
    """The server said, or did, something else."""


def any_certificate() -> ssl.SSLContext:
    """Return a context that trusts every server."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def message(octets: int, sender: str = "a@src.test") -> bytes:
    """Return a content of about so many octets, with the dot that ends it."""
    header = f"From: {sender}\r\nTo: b@dst.test\r\nSubject: a message\r\n\r\n".encode()
    line = b"y" * 76 + b"\r\n"
    return header + line * max(1, (octets - len(header)) // len(line)) + b".\r\n"


async def _connected(port: int, local_address: str) -> socket.socket:
    """Return a connection from an address of our own; its port is chosen when the other end is known.

    To find a port that is free for all ends takes the system milliseconds, once some thousands are taken.
    """
    connection = socket.socket()
    connection.setblocking(False)
    connection.setsockopt(socket.IPPROTO_IP, _BIND_ADDRESS_NO_PORT, 1)
    connection.bind((local_address, 0))
    await asyncio.get_running_loop().sock_connect(connection, ("127.0.0.1", port))
    return connection


class Talk(asyncio.Protocol):
    """One session. Replies are read as whole lines; only the last line of a reply counts."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._rest = b""
        self._reply: asyncio.Future[bytes] | None = None
        self._lost: Exception | None = None
        self._early: list[bytes] = []

    @classmethod
    async def open(cls, port: int, local_address: str | None = None) -> Self:
        """Connect to a port of 127.0.0.1 and read the greeting."""
        loop = asyncio.get_running_loop()
        if local_address:
            _, talk = await loop.create_connection(cls, sock=await _connected(port, local_address))
        else:
            _, talk = await loop.create_connection(cls, "127.0.0.1", port)
        greeting = await talk.reply()
        if not greeting.startswith(b"220"):
            talk.close()
            raise Unexpected(f"greeted with {greeting!r}")
        return talk

    async def ask(self, command: bytes, code: bytes) -> None:
        """Send something and read the reply to it."""
        self.send(command)
        reply = await self.reply()
        if not reply.startswith(code):
            raise Unexpected(f"{command[:40]!r} was answered {reply!r}")

    def send(self, octets: bytes) -> None:
        """Send something."""
        if self._lost or self._transport is None:
            raise Unexpected("the connection was closed")
        self._transport.write(octets)

    async def reply(self) -> bytes:
        """Return the last line of the next reply."""
        if self._early:
            return self._early.pop(0)
        if self._lost:
            raise self._lost
        self._reply = asyncio.get_running_loop().create_future()
        return await self._reply

    async def send_message(self, sender: str, content: bytes, recipient: str = "b@dst.test") -> None:
        """Send one message, command by command."""
        await self.ask(f"MAIL FROM:<{sender}>\r\n".encode(), b"250")
        await self.ask(f"RCPT TO:<{recipient}>\r\n".encode(), b"250")
        await self.ask(b"DATA\r\n", b"354")
        await self.ask(content, b"250")

    async def start_tls(self, context: ssl.SSLContext) -> None:
        """STARTTLS, and EHLO anew."""
        await self.ask(b"STARTTLS\r\n", b"220")
        assert self._transport
        upgraded = await asyncio.get_running_loop().start_tls(self._transport, self, context)
        self._transport = cast(asyncio.Transport, upgraded)
        await self.ask(EHLO, b"250")

    def close(self) -> None:
        """Close the connection."""
        if self._transport:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.Protocol."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's are no subclasses of it

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        lines = (self._rest + data).split(b"\r\n")
        self._rest = lines.pop()
        for line in lines:
            if line[3:4] != b"-":
                self._hand_over(line)

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio.Protocol."""
        self._lost = Unexpected(f"the connection was lost: {exc or 'closed'}")
        if self._reply and not self._reply.done():
            self._reply.set_exception(self._lost)

    def _hand_over(self, line: bytes) -> None:
        if self._reply and not self._reply.done():
            self._reply.set_result(line)
        else:
            self._early.append(line)
