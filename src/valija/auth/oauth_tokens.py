"""Is a token good, and whom does it name? Two ways to tell: by its signature, or by asking its issuer.

    verifier = SignedTokens(keys, rules, time.time)            # JWTs (RFC 7519), by the issuer's keys
    verifier = IntrospectedTokens(ask, rules, time.time)       # any token (RFC 7662)
    await verifier.verify(token)                               # Identity or Rejected; raises IssuerAway

Signatures are RS256, PS256, ES256 or EdDSA, by a key of the kind that the algorithm is for: never none, never one with
a shared secret. What the issuer said of a token is kept for a minute, so that one it takes back is good for no longer.
"""

from collections import OrderedDict
from collections.abc import Awaitable, Callable
from hashlib import sha256
from typing import Final, Protocol

import jwt
import msgspec

from valija.auth.oauth_claims import ClaimRules, Identity, Rejected, judge
from valija.auth.oauth_http import IssuerAway
from valija.auth.oauth_keys import IssuerKeys
from valija.mail.unreadable import UNREADABLE

ALGORITHMS: Final = frozenset({"RS256", "PS256", "ES256", "EdDSA"})
KEPT_FOR: Final = 60.0  # seconds
MOST_KEPT: Final = 4096
_MOST_TRIED: Final = 8  # keys, for a token that names none


class TokenVerifier(Protocol):
    """What tells good tokens from others."""

    async def verify(self, token: str) -> Identity | Rejected:
        """Return whom a token names. Raises IssuerAway where that can't be told now."""


class SignedTokens:
    """Verifies JWTs by the issuer's keys."""

    def __init__(self, keys: IssuerKeys, rules: ClaimRules, clock: Callable[[], float]) -> None:
        self._keys = keys
        self._rules = rules
        self._clock = clock
        self._jws = jwt.PyJWS(algorithms=list(ALGORITHMS))

    async def verify(self, token: str) -> Identity | Rejected:
        """Return whom a token names. Raises IssuerAway."""
        try:
            header = self._jws.get_unverified_header(token)
        except jwt.PyJWTError:
            return Rejected("it is no JWT")
        algorithm, kid = header.get("alg"), header.get("kid", "")
        if algorithm not in ALGORITHMS or not isinstance(kid, str) or "crit" in header:
            return Rejected(f"it is signed in a way that is not taken here ({str(algorithm)[:20]!r})")
        for key in (await self._keys.find(kid, algorithm))[:_MOST_TRIED]:
            if (claims := self._claims(token, key.key, algorithm)) is not None:
                return judge(claims, self._rules, self._clock())
        return Rejected("its signature is not the issuer's")

    def _claims(self, token: str, key: object, algorithm: str) -> dict[str, object] | None:
        """Return what a token says, None where this key has not signed it."""
        try:
            payload = self._jws.decode(token, key, algorithms=[algorithm])  # type: ignore[arg-type]  # any public key
            return msgspec.json.decode(payload, type=dict[str, object])
        except (jwt.PyJWTError, *UNREADABLE):
            return None


class IntrospectedTokens:
    """Asks the issuer. `ask` returns its answer to a token, and raises IssuerAway."""

    def __init__(self, ask: Callable[[str], Awaitable[bytes]], rules: ClaimRules, clock: Callable[[], float]) -> None:
        self._ask = ask
        self._rules = rules
        self._clock = clock
        self._kept: OrderedDict[bytes, tuple[Identity, float]] = OrderedDict()

    async def verify(self, token: str) -> Identity | Rejected:
        """Return whom a token names. Raises IssuerAway."""
        digest = sha256(token.encode()).digest()
        if (known := self._known(digest)) is not None:
            return known
        try:
            claims = msgspec.json.decode(await self._ask(token), type=dict[str, object])
        except UNREADABLE:
            raise IssuerAway("what it says of a token is no JSON") from None
        if claims.get("active") is not True:
            return Rejected("the issuer says that it is not active")
        verdict = judge(claims, self._rules, self._clock())
        if isinstance(verdict, Identity):
            self._keep(digest, verdict)
        return verdict

    def _known(self, digest: bytes) -> Identity | None:
        identity, until = self._kept.get(digest, (None, 0.0))
        return identity if self._clock() < until else None

    def _keep(self, digest: bytes, identity: Identity) -> None:
        self._kept[digest] = identity, min(self._clock() + KEPT_FOR, identity.until)
        self._kept.move_to_end(digest)
        if len(self._kept) > MOST_KEPT:
            self._kept.popitem(last=False)
