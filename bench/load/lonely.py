"""Lonely messages: one at a time on a kept session, with a pause between them, and a sink that tells when each arrives.

    async with watching(sink_port) as arrivals:
        waits = await lonely(talk, "a@src.test", 300, 4096, arrivals)

Sender and sink are one process, so that one clock measures both ends.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from typing import cast

import msgspec

from bench.load.talk import Talk, message

_PAUSE = 0.01  # seconds: long enough that no batch is under way
PATIENCE = 30.0  # seconds for a message, or for a session to begin


class Waits(msgspec.Struct, frozen=True):
    """For each message, in seconds since MAIL was sent: its 250, and its arrival at the sink.

    `dots` are those from the final dot to the 250.
    """

    accepted: list[float]
    dots: list[float]
    arrived: list[float]


class Arrivals:
    """When the messages arrived at the sink, by the monotonic clock."""

    def __init__(self) -> None:
        self._times: asyncio.Queue[float] = asyncio.Queue()

    def note(self) -> None:
        """A message is there."""
        self._times.put_nowait(time.perf_counter())

    async def next(self) -> float:
        """Return the time of the next arrival."""
        return await self._times.get()


class _Sink(asyncio.Protocol):
    """A server side that says yes to everything."""

    def __init__(self, arrivals: Arrivals) -> None:
        self._arrivals = arrivals
        self._rest = b""
        self._in_content = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.Protocol."""
        self._transport = cast(asyncio.Transport, transport)
        self._transport.write(b"220 sink.test ESMTP\r\n")

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        self._rest += data
        replies = []
        while reply := self._step():
            replies.append(reply)
        self._transport.write(b"".join(replies))

    def _step(self) -> bytes:
        """Take one command or content; return the reply, nothing where it is not whole yet."""
        end = b"\r\n.\r\n" if self._in_content else b"\r\n"
        taken, found, rest = self._rest.partition(end)
        if not found:
            return b""
        self._rest = rest
        if self._in_content:
            self._in_content = False
            self._arrivals.note()
            return b"250 2.0.0 swallowed\r\n"
        verb = taken[:4].upper()
        self._in_content = verb == b"DATA"
        return _REPLIES.get(verb, b"250 2.0.0 yes\r\n")


_REPLIES = {
    b"EHLO": b"250-sink.test\r\n250-PIPELINING\r\n250-8BITMIME\r\n250 SIZE\r\n",
    b"DATA": b"354 go on\r\n",
    b"QUIT": b"221 2.0.0 bye\r\n",
}


@contextlib.asynccontextmanager
async def watching(port: int) -> AsyncIterator[Arrivals]:
    """Serve a sink on a port of 127.0.0.1."""
    arrivals = Arrivals()
    server = await asyncio.get_running_loop().create_server(lambda: _Sink(arrivals), "127.0.0.1", port)
    try:
        yield arrivals
    finally:
        server.close()


async def lonely(talk: Talk, sender: str, count: int, octets: int, arrivals: Arrivals) -> Waits:
    """Send `count` messages, each when the one before has arrived.

    Raises TimeoutError where a reply or an arrival does not come.
    """
    content = message(octets, sender)
    waits = Waits([], [], [])
    for _ in range(count):
        await asyncio.sleep(_PAUSE)
        async with asyncio.timeout(PATIENCE):
            began = time.perf_counter()
            await talk.ask(f"MAIL FROM:<{sender}>\r\n".encode(), b"250")
            await talk.ask(b"RCPT TO:<b@dst.test>\r\n", b"250")
            await talk.ask(b"DATA\r\n", b"354")
            dot = time.perf_counter()
            await talk.ask(content, b"250")
            accepted = time.perf_counter()
            waits.accepted.append(accepted - began)
            waits.dots.append(accepted - dot)
            waits.arrived.append(await arrivals.next() - began)
    return waits
