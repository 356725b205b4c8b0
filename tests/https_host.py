"""A real web server with TLS for tests, scriptable: it serves MTA-STS policies and takes reports.

    with HttpsHost(ca.issue("mta-sts.example.net"), folder) as host:
        host.answers["/.well-known/mta-sts.txt"] = Answer(b"version: STSv1\\n...")
        host.port
        host.requests                    # what was asked: method, Host, path, header, body
        host.wait_for(lambda: len(host.requests) == 2)

It runs in a thread of its own: it serves other processes and other event loops. Paths that have no answer get 404.
"""

import asyncio
import ssl
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from aiohttp import web

from tests.ca import Issued

PATIENCE = 10.0  # seconds a test waits for an event


@dataclass(frozen=True)
class Answer:
    """What a path answers. `held`: once `release` is called. `endless`: octets without an end."""

    body: bytes = b""
    status: int = 200
    media_type: str = "text/plain"
    header: Mapping[str, str] = field(default_factory=dict)
    held: bool = False
    endless: bool = False


@dataclass(frozen=True)
class Request:
    """One request that came."""

    method: str
    host: str
    path: str
    header: Mapping[str, str]
    body: bytes


class HttpsHost:
    """The server. `answers` may be changed while it runs."""

    def __init__(self, issued: Issued, folder: Path, host: str = "127.0.0.1", port: int = 0) -> None:
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(*issued.write(folder, "https-host"))
        self.host = host
        self.port = port
        self.answers: dict[str, Answer] = {}
        self.requests: list[Request] = []
        self._news = threading.Condition()
        self._started = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._released = asyncio.Event()
        self._stopped = asyncio.Event()

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._run, name="https host", daemon=True)
        self._thread.start()
        assert self._started.wait(PATIENCE)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._stopped.set)
        self._thread.join(PATIENCE)

    def release(self) -> None:
        """Let all answers that are held go."""
        self._loop.call_soon_threadsafe(self._released.set)

    def asked(self, path: str) -> int:
        """Return how often a path was asked for."""
        return sum(request.path == path for request in list(self.requests))

    def wait_for(self, condition: Callable[[], bool], patience: float = PATIENCE) -> None:
        """Wait until a condition on the requests holds; fail after `patience` seconds."""
        with self._news:
            assert self._news.wait_for(condition, patience), f"not in {patience} s; asked were {self.requests}"

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._serve())
        self._loop.close()

    async def _serve(self) -> None:
        runner = web.ServerRunner(web.Server(self._answer), shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, self.host, self.port, ssl_context=self._context)
        await site.start()
        self.port = runner.addresses[0][1]
        self._started.set()
        await self._stopped.wait()
        self._released.set()
        await runner.cleanup()

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        body = await request.read()
        with self._news:
            self.requests.append(Request(request.method, request.host, request.path, dict(request.headers), body))
            self._news.notify_all()
        answer = self.answers.get(request.path, Answer(b"nothing here", 404))
        if answer.held:
            await self._released.wait()
        header = {"Content-Type": answer.media_type, **answer.header}
        if answer.endless:
            return await self._endless(request, header)
        return web.Response(body=answer.body, status=answer.status, headers=header)

    async def _endless(self, request: web.BaseRequest, header: Mapping[str, str]) -> web.StreamResponse:
        response = web.StreamResponse(headers=header)
        await response.prepare(request)
        while request.transport is not None and not request.transport.is_closing():
            await response.write(b"x" * 8192)
            await asyncio.sleep(0)  # to hear that the client has left
        return response
