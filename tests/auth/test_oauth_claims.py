"""What a token must say."""

from typing import Any

import pytest

from valija.auth.oauth_claims import LEEWAY, ClaimRules, Identity, Rejected, judge

NOW = 1_800_000_000.0
RULES = ClaimRules("https://id.example.org", "smtp", "email", is_complete=True)
GOOD = {"iss": "https://id.example.org", "aud": "smtp", "exp": NOW + 60, "email": "alice@example.org"}


def verdict(rules: ClaimRules = RULES, **claims: Any) -> Identity | Rejected:
    merged = {**GOOD, **claims}
    return judge({name: value for name, value in merged.items() if value is not ...}, rules, NOW)


@pytest.mark.parametrize(
    "claims",
    [
        {},
        {"aud": ["other", "smtp"]},
        {"exp": NOW - LEEWAY + 1},
        {"nbf": NOW + LEEWAY},
        {"iat": NOW - 60, "nbf": NOW - 60},
        {"email_verified": True},
    ],
)
def test_good(claims: dict[str, Any]) -> None:
    assert verdict(**claims) == Identity("alice@example.org", claims.get("exp", NOW + 60))


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        ({"iss": "https://other.example"}, "another issuer"),
        ({"iss": "https://id.example.org/"}, "another issuer"),
        ({"iss": ["https://id.example.org"]}, "another issuer"),
        ({"iss": ...}, "another issuer"),
        ({"aud": "other"}, "somebody else"),
        ({"aud": ["other"]}, "somebody else"),
        ({"aud": []}, "somebody else"),
        ({"aud": {"smtp": 1}}, "somebody else"),
        ({"aud": ...}, "somebody else"),
        ({"exp": NOW - LEEWAY}, "expired"),
        ({"exp": 0}, "expired"),
        ({"exp": ...}, "when it expires"),
        ({"exp": None}, "when it expires"),
        ({"exp": "1900000000"}, "when it expires"),
        ({"exp": True}, "when it expires"),
        ({"exp": 10**400}, "when it expires"),
        ({"nbf": NOW + LEEWAY + 1}, "not valid yet"),
        ({"iat": NOW + LEEWAY + 1}, "not valid yet"),
        ({"nbf": "now"}, "not valid yet"),
        ({"nbf": 10**400}, "not valid yet"),
        ({"email": ...}, "names nobody"),
        ({"email": ""}, "names nobody"),
        ({"email": ["alice@example.org"]}, "names nobody"),
        ({"email": "alice@example.org\n"}, "names nobody"),
        ({"email_verified": False}, "not verified"),
        ({"email_verified": "false"}, "not verified"),
    ],
)
def test_rejected(claims: dict[str, Any], reason: str) -> None:
    rejected = verdict(**claims)
    assert isinstance(rejected, Rejected)
    assert reason in rejected.reason


def test_another_claim_names_who_logs_in() -> None:
    rules = ClaimRules(RULES.issuer, RULES.audience, "preferred_username", is_complete=True)
    assert verdict(rules, preferred_username="alice", email_verified=False) == Identity("alice", NOW + 60)


def test_what_the_issuer_says_itself_may_leave_claims_out() -> None:
    rules = ClaimRules(RULES.issuer, "", "email", is_complete=False)
    assert verdict(rules, iss=..., aud=..., exp=...) == Identity("alice@example.org", float("inf"))
    assert isinstance(verdict(rules, iss="https://other.example"), Rejected)
    assert isinstance(verdict(rules, exp=NOW - 60), Rejected)
    demanding = ClaimRules(RULES.issuer, "smtp", "email", is_complete=False)
    assert isinstance(verdict(demanding, aud=...), Rejected)
