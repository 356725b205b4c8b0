"""A provider's token endpoint for a test: a real HTTP server in the test's own loop.

async with TokenEndpoint() as provider:
    provider.url, provider.granted                  # where it is, and the refresh token it takes
    provider.rotates = True                         # each answer brings another one, and the one before is void
    provider.refuses = "invalid_grant"              # what it answers with 400 from now on
    provider.asked                                  # the forms it was sent
"""

import asyncio
import base64
from types import TracebackType
from typing import Any, Self
from urllib.parse import unquote_plus

from aiohttp import web

from tests.ports import free_port

HOST = "127.0.0.1"
CLIENT = ("valija-client", "client's s3cret")


class TokenEndpoint:
    def __init__(self, expires_in: object = 3600, port: int = 0) -> None:
        self.port = port or free_port()
        self.url = f"http://{HOST}:{self.port}/token"
        self.granted = "refresh-0"
        self.expires_in = expires_in
        self.rotates = False
        self.refuses = ""
        self.status = 200
        self.raw: bytes | None = None
        self.gate: asyncio.Event | None = None  # what it waits for before it answers
        self.came = asyncio.Event()  # somebody has asked
        self.asked: list[dict[str, Any]] = []
        self.clients: list[str] = []

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.add_routes([web.post("/token", self._answer)])
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        await web.TCPSite(self._runner, HOST, self.port).start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._runner.cleanup()

    async def _answer(self, request: web.Request) -> web.Response:
        form = dict(await request.post())
        self.asked.append(form)
        self.came.set()
        basic = request.headers.get("Authorization", "").removeprefix("Basic ")
        name, _, secret = base64.b64decode(basic).decode().partition(":")
        self.clients.append(unquote_plus(name) or str(form.get("client_id", "")))
        if self.gate is not None:
            await self.gate.wait()
        if self.raw is not None:
            return web.Response(body=self.raw, status=self.status)
        if basic and (unquote_plus(name), unquote_plus(secret)) != CLIENT:
            return _refusal("invalid_client")
        if self.refuses or form.get("grant_type") != "refresh_token" or form.get("refresh_token") != self.granted:
            return _refusal(self.refuses or "invalid_grant")
        answer: dict[str, Any] = {"access_token": f"access-{len(self.asked)}", "token_type": "Bearer"}
        if self.expires_in is not None:
            answer["expires_in"] = self.expires_in
        if self.rotates:
            answer["refresh_token"] = self.granted = f"refresh-{len(self.asked)}"
        return web.json_response(answer, status=self.status)


def _refusal(error: str) -> web.Response:
    return web.json_response({"error": error, "error_description": "as told"}, status=400)
