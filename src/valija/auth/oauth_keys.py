"""The issuer's public keys (RFC 7517), kept, and looked up anew when a token names one that is not there.

    keys = IssuerKeys(lambda: http.get("https://id.example.org/jwks.json"), time.time)
    await keys.find("key-1", "RS256")            # [SigningKey("key-1", ...)], [] where there is no such key

Whoever sends tokens can make us look no more than every ASK_AGAIN seconds. Keys that we have serve on for a day while
the issuer is away.

Known weakness: for a token that does not name its key, a new one is looked up with the hour only.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final

import jwt
import msgspec
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from valija.auth.oauth_http import IssuerAway
from valija.mail.unreadable import UNREADABLE

KEPT_FOR: Final = 3600.0  # seconds
STALE_FOR: Final = 86_400.0
ASK_AGAIN: Final = 30.0
_LEAST_RSA: Final = 2048  # bits (RFC 7518 section 3.3)
_MOST_KEYS: Final = 100


class SigningKey(msgspec.Struct, frozen=True):
    """A key and what it may verify; `kid` is `""` where it has no name."""

    kid: str
    algorithms: frozenset[str]
    key: Any


def parse_keys(document: bytes) -> list[SigningKey]:
    """Return the keys of a JWK Set that are for verifying, and of a kind that we take. Raises IssuerAway."""
    try:
        listed = msgspec.json.decode(document)["keys"]
        return [key for each in listed[:_MOST_KEYS] if (key := _parse_key(each))]
    except (*UNREADABLE, KeyError, TypeError, AttributeError):
        raise IssuerAway("its keys are no JWK Set") from None


def _parse_key(written: dict[str, Any]) -> SigningKey | None:
    if written.get("use", "sig") != "sig" or written.get("kty") not in {"RSA", "EC", "OKP"}:
        return None
    try:
        key = jwt.PyJWK.from_dict(written).key
    except (jwt.PyJWTError, ValueError):
        return None
    algorithms = _algorithms_of(key)
    if "alg" in written:
        algorithms &= {written["alg"]}
    return SigningKey(str(written.get("kid", "")), algorithms, key) if algorithms else None


def _algorithms_of(key: object) -> frozenset[str]:
    match key:
        case rsa.RSAPublicKey() if key.key_size >= _LEAST_RSA:
            return frozenset({"RS256", "PS256"})
        case ec.EllipticCurvePublicKey(curve=ec.SECP256R1()):
            return frozenset({"ES256"})
        case ed25519.Ed25519PublicKey():
            return frozenset({"EdDSA"})
    return frozenset()


class IssuerKeys:
    """The keys of one issuer. `fetch` returns its JWK Set or raises IssuerAway; `clock` gives seconds."""

    def __init__(self, fetch: Callable[[], Awaitable[bytes]], clock: Callable[[], float]) -> None:
        self._fetch = fetch
        self._clock = clock
        self._keys: list[SigningKey] = []
        self._fetched = float("-inf")
        self._tried = float("-inf")
        self._trying: asyncio.Task[None] | None = None
        self._why = ""

    async def find(self, kid: str, algorithm: str) -> list[SigningKey]:
        """Return the keys of that name (`""`: all) for an algorithm. Raises IssuerAway where that can't be told."""
        began = self._clock()
        if began - self._fetched >= KEPT_FOR:
            await self._look()
        if not self._named(kid) and self._fetched < began:
            await self._look()
        if named := self._named(kid):
            return [each for each in named if algorithm in each.algorithms]
        if self._fetched < began:  # it may have come to be since
            raise IssuerAway(self._why or f"there is no key {kid!r}, as of {began - self._fetched:.0f} s ago")
        return []

    def _named(self, kid: str) -> list[SigningKey]:
        is_stale = self._clock() - self._fetched >= STALE_FOR
        return [] if is_stale else [each for each in self._keys if kid in ("", each.kid)]

    async def _look(self) -> None:
        """Fetch the keys, if that is allowed by now; whoever comes meanwhile waits for the same answer."""
        if self._trying is None:
            if self._clock() - self._tried < ASK_AGAIN:
                return
            self._tried = self._clock()
            self._trying = asyncio.create_task(self._renew())
        await asyncio.shield(self._trying)

    async def _renew(self) -> None:
        try:
            self._keys = parse_keys(await self._fetch())
        except IssuerAway as away:
            self._why = str(away)
        else:
            self._fetched, self._why = self._clock(), ""
        finally:
            self._trying = None
