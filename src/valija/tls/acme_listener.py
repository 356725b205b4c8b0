"""The server's own answer on port 80: it listens while an order runs, and knows nothing but that order's challenges.

    with answer_http(sockets, {"/.well-known/acme-challenge/TOKEN": "TOKEN.THUMBPRINT"}):
        ...

Every other path is 404 (RFC 8555 section 8.3). A client has ten seconds, sends a head of 8 KiB at most, and of 64 at
once each further one is hung up on. It runs in a thread of its own, beside the ACME client.
"""

import asyncio
import contextlib
import ctypes
import os
import socket
import ssl
import threading
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from typing import Final

PATIENCE: Final = 10.0  # seconds for one client
_LONGEST_HEAD: Final = 8192
_AT_ONCE: Final = 64
_BACKLOG: Final = 128
_SOCKADDR: Final = 16  # octets of an address, all zero: AF_UNSPEC

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@contextlib.contextmanager
def answer_http(descriptors: Sequence[int], texts: Mapping[str, str]) -> Iterator[None]:
    """Serve each text under its path."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        writer.write(http_answer(head, texts))
        await writer.drain()

    with listening(descriptors, handle):
        yield


def http_answer(head: bytes, texts: Mapping[str, str]) -> bytes:
    """Return the whole answer to a request's head."""
    words = head.split(b"\r\n", 1)[0].split(b" ")
    if len(words) != 3 or not words[2].startswith(b"HTTP/1."):
        return _reply("400 Bad Request", "")
    if words[0] not in (b"GET", b"HEAD"):
        return _reply("405 Method Not Allowed", "")
    text = texts.get(words[1].partition(b"?")[0].decode("latin-1"))
    reply = _reply("404 Not Found", "") if text is None else _reply("200 OK", text)
    return reply if words[0] == b"GET" else reply[: reply.index(b"\r\n\r\n") + 4]


def _reply(status: str, text: str) -> bytes:
    return (
        f"HTTP/1.1 {status}\r\nContent-Type: application/octet-stream\r\n"
        f"Content-Length: {len(text)}\r\nConnection: close\r\n\r\n{text}"
    ).encode("ascii")


@contextlib.contextmanager
def listening(descriptors: Sequence[int], handle: Handler, context: ssl.SSLContext | None = None) -> Iterator[None]:
    """Listen on sockets that are bound, in another thread, and refuse connections again at the end."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="challenge", daemon=True)
    thread.start()
    servers: list[asyncio.Server] = []
    try:
        asyncio.run_coroutine_threadsafe(_serve(descriptors, handle, context, servers), loop).result(PATIENCE)
        yield
    finally:
        asyncio.run_coroutine_threadsafe(_close(servers), loop).result(PATIENCE)
        for each in descriptors:
            refuse_again(each)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(PATIENCE)


def refuse_again(descriptor: int) -> None:
    """Have a socket that listens refuse connections, and stay bound: what was bound as root could not be bound again.

    This is what the system does when a socket is connected to an address of no family; shutdown() would leave a mark
    on every connection accepted later.
    """
    ctypes.CDLL(None).connect(descriptor, bytes(_SOCKADDR), _SOCKADDR)


async def _close(servers: Sequence[asyncio.Server]) -> None:
    for each in servers:
        each.close()


async def _serve(
    descriptors: Sequence[int], handle: Handler, context: ssl.SSLContext | None, servers: list[asyncio.Server]
) -> None:
    open_now = 0

    async def one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal open_now
        open_now += 1
        try:
            if open_now <= _AT_ONCE:
                async with asyncio.timeout(PATIENCE):
                    await handle(reader, writer)
        except (OSError, TimeoutError, EOFError, asyncio.LimitOverrunError):
            pass
        finally:
            open_now -= 1
            writer.close()

    for each in descriptors:
        server = await asyncio.start_server(
            one,
            sock=socket.socket(fileno=os.dup(each)),
            ssl=context,
            limit=_LONGEST_HEAD,
            backlog=_BACKLOG,
            ssl_handshake_timeout=PATIENCE if context else None,
        )
        servers.append(server)
