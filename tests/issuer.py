"""An issuer of tokens for a test: a real HTTP server with its keys and its word on tokens, in a thread of its own.

with Issuer() as issuer:
    issuer.jwks_url, issuer.introspection_url
    token = issuer.token(email="alice@example.org")          # a JWT, signed by the present key
    issuer.rotate()                                          # a new key; the former one is gone from the set
    issuer.status = 503                                      # what it answers from now on
    issuer.asked                                             # the paths asked for
"""

import asyncio
import base64
import json
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import unquote_plus

import jwt
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from tests.ports import free_port

HOST = "127.0.0.1"
AUDIENCE = "smtp.example.org"
CLIENT = ("valija", "s3cret: of ours")
READY = 10.0  # seconds

Key = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey


def new_key(algorithm: str) -> Key:
    """Return a fresh key for an algorithm."""
    if algorithm == "ES256":
        return ec.generate_private_key(ec.SECP256R1())
    if algorithm == "EdDSA":
        return ed25519.Ed25519PrivateKey.generate()
    return rsa.generate_private_key(65537, 2048)


def as_jwk(key: Key, kid: str = "", **more: str) -> dict[str, Any]:
    """Return the public half of a key as a JWK."""
    public: Any = key.public_key()
    if isinstance(key, rsa.RSAPrivateKey):
        written = jwt.algorithms.RSAAlgorithm.to_jwk(public)
    elif isinstance(key, ec.EllipticCurvePrivateKey):
        written = jwt.algorithms.ECAlgorithm.to_jwk(public)
    else:
        written = jwt.algorithms.OKPAlgorithm.to_jwk(public)
    return {**json.loads(written), **({"kid": kid} if kid else {}), **more}


class Issuer:
    """See the module's example. `algorithm` is what it signs with."""

    def __init__(self, algorithm: str = "ES256") -> None:
        self.algorithm = algorithm
        self.port = free_port()
        self.url = f"http://{HOST}:{self.port}"
        self.jwks_url, self.introspection_url = f"{self.url}/jwks.json", f"{self.url}/introspect"
        self.status = 200
        self.asked: list[str] = []
        self.known: dict[str, dict[str, Any]] = {}
        self._generation = 0
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self.rotate()

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        assert self._ready.wait(READY)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join(READY)

    def rotate(self) -> None:
        """Sign by a new key from now on, and publish no other."""
        self._generation += 1
        self.kid = f"key-{self._generation}"
        self.key = new_key(self.algorithm)

    @property
    def jwks(self) -> dict[str, Any]:
        return {"keys": [as_jwk(self.key, self.kid, use="sig")]}

    def write_jwks(self, file: Path) -> Path:
        file.write_text(json.dumps(self.jwks))
        return file

    def claims(self, **claims: Any) -> dict[str, Any]:
        """Return the claims of a good token, and others over them; None takes one away."""
        good = {"iss": self.url, "aud": AUDIENCE, "exp": int(time.time()) + 600, "email": "alice@example.org"}
        return {name: value for name, value in {**good, **claims}.items() if value is not None}

    def token(self, **claims: Any) -> str:
        """Return a token signed by the present key."""
        return jwt.encode(self.claims(**claims), self.key, self.algorithm, headers={"kid": self.kid})

    def opaque(self, token: str, **claims: Any) -> str:
        """Have a token be known to introspection."""
        self.known[token] = {"active": True, **self.claims(**claims)}
        return token

    # The server

    def _run(self) -> None:
        self._loop.run_until_complete(self._serve())
        self._loop.close()

    async def _serve(self) -> None:
        self._end = asyncio.Event()
        app = web.Application()
        app.add_routes([web.get("/jwks.json", self._keys), web.post("/introspect", self._introspect)])
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, HOST, self.port).start()
        self._ready.set()
        await self._end.wait()
        await runner.cleanup()

    async def _keys(self, request: web.Request) -> web.Response:
        self.asked.append(request.path)
        return web.json_response(self.jwks, status=self.status)

    async def _introspect(self, request: web.Request) -> web.Response:
        self.asked.append(request.path)
        asking = base64.b64decode(request.headers.get("Authorization", "").removeprefix("Basic ")).decode()
        if tuple(map(unquote_plus, asking.split(":"))) != CLIENT:
            return web.json_response({"error": "invalid_client"}, status=401)
        form = await request.post()
        return web.json_response(self.known.get(str(form["token"]), {"active": False}), status=self.status)


def unsigned(claims: dict[str, Any], **header: str) -> str:
    """Return a token with a header of one's own and no signature."""

    def part(value: dict[str, Any]) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")

    return f"{part({'alg': 'none', **header})}.{part(claims)}."
