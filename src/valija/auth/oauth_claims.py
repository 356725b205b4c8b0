"""What a token must say to be good for a login here: pure rules over its claims (RFC 7519 section 4.1, RFC 7662).

    rules = ClaimRules("https://id.example.org", audience="smtp", login_claim="email", is_complete=True)
    claims = {"iss": "https://id.example.org", "aud": ["smtp"], "exp": 1_800_000_000, "email": "alice@example.org"}
    judge(claims, rules, now)                    # Identity("alice@example.org", until=1_800_000_000.0)

Whose signature it is, others have seen to.
"""

from collections.abc import Mapping
from typing import Final, TypeGuard

import msgspec

LEEWAY: Final = 30.0  # seconds that clocks may differ
_MOST_BITS: Final = 64  # of a time


class ClaimRules(msgspec.Struct, frozen=True):
    """What is demanded. With `""` an issuer or audience is not looked at.

    `is_complete`: claims that are missing are a fault, as in a token of which nobody else has said that it is good.
    """

    issuer: str
    audience: str
    login_claim: str
    is_complete: bool


class Identity(msgspec.Struct, frozen=True, gc=False):
    """Whom a good token names. It is good `until` then, in seconds since the epoch."""

    name: str
    until: float


class Rejected(msgspec.Struct, frozen=True, gc=False):
    """The token is good for nothing here; `reason` for the log."""

    reason: str


def judge(claims: Mapping[str, object], rules: ClaimRules, now: float) -> Identity | Rejected:
    """Return whom the claims name, or why they don't. `now` in seconds since the epoch."""
    issuer, audience = claims.get("iss"), claims.get("aud")
    if rules.issuer and issuer != rules.issuer and (rules.is_complete or issuer is not None):
        return Rejected("it is another issuer's")
    if rules.audience and rules.audience not in (audience if isinstance(audience, list) else [audience]):
        return Rejected("it is for somebody else (aud)")
    until = claims.get("exp", None if rules.is_complete else float("inf"))
    if not _is_number(until):
        return Rejected("it does not say when it expires")
    if now >= float(until) + LEEWAY:
        return Rejected("it has expired")
    if any(not _has_come(claims.get(begin), now) for begin in ("nbf", "iat")):
        return Rejected("it is not valid yet")
    return _identity(claims, rules.login_claim, float(until))


def _identity(claims: Mapping[str, object], login_claim: str, until: float) -> Identity | Rejected:
    name = claims.get(login_claim)
    if not isinstance(name, str) or not name or not name.isprintable():
        return Rejected(f"it names nobody (no {login_claim})")
    # Many issuers let their users write any address there, and say here whether they have looked.
    if login_claim == "email" and claims.get("email_verified", True) is not True:
        return Rejected("its address is not verified")
    return Identity(name, until)


def _has_come(moment: object, now: float) -> bool:
    return moment is None or (_is_number(moment) and float(moment) <= now + LEEWAY)


def _is_number(value: object) -> TypeGuard[float]:
    # An integer may be longer than any float, which it is compared as.
    if isinstance(value, int):
        return not isinstance(value, bool) and value.bit_length() <= _MOST_BITS
    return isinstance(value, float)
