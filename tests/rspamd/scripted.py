"""A server in the test's own loop that stands where rspamd would, and does as it is told.

    async with ScriptedRspamd() as rspamd:
        rspamd.answers(action="reject")              # what it says from now on, as rspamd says it
        rspamd.does(silence)                         # or what it does instead, once it has the request
        rspamd.options(timeout=0.2)                  # RspamdOptions that lead here
        rspamd.asked                                 # the requests: fields and octets

What a request is answered with is a function of its connection's writer; the connection is kept unless it closes it.
"""

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any, NamedTuple, Self

from tests.ports import free_port
from valija.rspamd.options import RspamdOptions

HOST = "127.0.0.1"

Deed = Callable[[asyncio.StreamWriter], Awaitable[None]]


class Request(NamedTuple):
    fields: list[tuple[str, str]]
    octets: bytes

    def values(self, name: str) -> list[str]:
        return [value for each, value in self.fields if each.lower() == name.lower()]


class ScriptedRspamd:
    """See the module's example. `open` is how many connections there are, `most` how many there were at once."""

    def __init__(self) -> None:
        self.port = free_port(HOST)
        self.url = f"http://{HOST}:{self.port}"
        self.asked: list[Request] = []
        self.came = asyncio.Event()
        self.connections = self.busy = self.most = 0
        self._deed: Deed = reply(action="no action")
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[Any]] = set()

    def options(self, **settings: Any) -> RspamdOptions:
        return RspamdOptions(**{"url": self.url, "timeout": 5.0, **settings})

    def answers(self, **said: Any) -> None:
        self.does(reply(**said))

    def does(self, deed: Deed) -> None:
        self._deed = deed

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, HOST, self.port)

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            while not writer.is_closing():
                self.asked.append(await _request(reader))
                self.came.set()
                self.busy += 1
                self.most = max(self.most, self.busy)
                try:
                    await self._deed(writer)
                finally:
                    self.busy -= 1
        self._tasks.discard(task)
        writer.close()


async def _request(reader: asyncio.StreamReader) -> Request:
    head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    assert head[0] == "POST /checkv2 HTTP/1.1", head[0]
    fields = [(name, value.strip()) for name, _, value in (line.partition(":") for line in head[1:] if line)]
    request = Request(fields, b"")
    (length,) = request.values("Content-Length")
    return Request(fields, await reader.readexactly(int(length)))


# What it may do


def raw(octets: bytes, *, closes: bool = False) -> Deed:
    async def deed(writer: asyncio.StreamWriter) -> None:
        writer.write(octets)
        if closes:
            await writer.drain()
            writer.close()

    return deed


def http(body: bytes, status: str = "200 OK") -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


def reply(**said: Any) -> Deed:
    return raw(http(json.dumps(said).encode()))


async def silence(_: asyncio.StreamWriter) -> None:
    await asyncio.Event().wait()


async def hang_up(writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()


def gated(gate: asyncio.Event, then: Deed) -> Deed:
    async def deed(writer: asyncio.StreamWriter) -> None:
        await gate.wait()
        await then(writer)

    return deed
