"""Logins: what clients respond, what servers challenge us with, what Dovecot says, and what tokens claim."""

import binascii
import itertools
import re
from collections.abc import Hashable, Sequence

import msgspec

from tests.fuzz.engine import Target
from valija.auth.backend import Challenge as Asked
from valija.auth.backend import ConnectionFacts, Success
from valija.auth.dovecot_protocol import DovecotLink, Nonsense, Verdict
from valija.auth.oauth_claims import ClaimRules, Identity, judge
from valija.mail.unreadable import UNREADABLE
from valija.smtp.client_sasl import MECHANISMS, NotTrusted, Secret, begin
from valija.smtp.commands import Refused as CommandRefused
from valija.smtp.commands import sasl_response
from valija.smtp.sasl import EXCHANGES, Challenge, Credentials, Malformed
from valija.smtp.sasl_oauth import BEARERS
from valija.smtp.sasl_scram import ClientFirst, Proven, ScramExchange, ScramKeys, choose_binding

_FACTS = ConnectionFacts(True, "192.0.2.1", 1, "192.0.2.2", 587)
_KEYS = ScramKeys.of(b"secret", b"salt" * 4, 2)
_NONCE = "our+nonce"
_RULES = ClaimRules("https://id.example.org", "smtp", "email", is_complete=True)


def run_responses(given: bytes) -> Hashable:
    """Be a server to a client that responds anything; nobody is let in who does not know the password."""
    mechanism, *responses = given.split(b"\f")
    name = mechanism.decode("latin-1")
    for response in responses:
        decoded = _decoded(response)
        assert decoded is None or binascii.b2a_base64(decoded, newline=False) == response
    if name in EXCHANGES:
        return _plain(name, responses)
    if name in BEARERS:
        bearer = BEARERS[name].parse(responses[0] if responses else b"")
        assert msgspec.json.decode(BEARERS[name].refusal("https://id.example.org"))
        if isinstance(bearer, Malformed):
            return "malformed"
        assert bearer.authzid.isprintable()
        assert bearer.token.isascii()
        return bool(bearer.authzid), bool(bearer.token)
    return _scram(responses)


def _plain(name: str, responses: Sequence[bytes]) -> Hashable:
    exchange = EXCHANGES[name]()
    for response in (None, *responses):
        step = exchange.respond(response)
        if isinstance(step, Credentials):
            assert step.authcid.isprintable()
            assert step.authzid.isprintable()
            assert repr(step) == f"Credentials({step.authcid!r}, {step.authzid!r}, ...)"
        if not isinstance(step, Challenge):
            return type(step).__name__
    return "challenge"


def _scram(responses: Sequence[bytes]) -> Hashable:
    first = ClientFirst.parse(responses[0] if responses else b"")
    if isinstance(first, Malformed):
        return "malformed"
    assert first.header + first.bare == responses[0]
    for plus, bindings in itertools.product((True, False), ({}, {"tls-server-end-point": b"x"})):
        binding = choose_binding(first.flag, plus=plus, bindings=bindings)
        if not isinstance(binding, bytes):
            continue
        exchange = ScramExchange(first, _KEYS, _NONCE, binding)
        for response in responses[1:]:
            verdict = exchange.finish(response)
            assert not isinstance(verdict, Proven), "let in by chance"
    return first.flag


def _decoded(response: bytes) -> bytes | None:
    try:
        return sasl_response(response)
    except CommandRefused:
        return None


def run_challenges(given: bytes) -> Hashable:
    """Log in at a server that challenges us with anything; it is not proven unless it knows the password."""
    name, *challenges = given.split(b"\f")
    mechanism = name.decode("latin-1")
    secret = Secret("alice,=@example.org", b"secret", nonce="our+nonce", token="t")
    exchange = begin(mechanism if mechanism in MECHANISMS else "SCRAM-SHA-256", secret)
    count = 0
    try:
        for challenge in challenges:
            answer = exchange.respond(challenge)
            assert b"secret" not in answer or mechanism in ("PLAIN", "LOGIN")
            count += 1
    except NotTrusted as reason:
        assert str(reason).isprintable()
        return mechanism, count
    assert not mechanism.startswith("SCRAM") or not exchange.is_proven
    return mechanism, count, exchange.is_proven


def run_dovecot(given: bytes) -> Hashable:
    """Hear Dovecot say anything, cut otherwise. Three requests are open; only they have verdicts, one each."""
    whole = _heard(given, 10**9)
    assert _heard(given, 1) == whole
    assert _heard(given, 5) == whole
    verdicts = [each for each in whole if isinstance(each, Verdict)]
    ended = [each.number for each in verdicts if not isinstance(each.step, Asked)]
    assert len(set(ended)) == len(ended)
    assert all(1 <= each.number <= 3 for each in verdicts)
    for each in verdicts:
        if isinstance(each.step, Success):
            assert each.step.login.isprintable()
            assert re.search(rb"OK\t0*%d\t" % each.number, given)
    return tuple(type(each.step).__name__ for each in verdicts)


def _heard(given: bytes, size: int) -> list[Verdict | str]:
    link, found = DovecotLink(pid=1), list[Verdict | str]()
    for _ in range(3):
        _, octets = link.begin("PLAIN", _FACTS, b"\0alice\0secret")
        assert octets.count(b"\n") == 1
    try:
        for start in range(0, len(given), size):
            found += link.receive(given[start : start + size])
    except Nonsense as nonsense:
        return [str(nonsense)]  # whatever came before it in one piece is lost with the connection
    return found


def run_claims(given: bytes) -> Hashable:
    """Judge the claims of a token."""
    try:
        claims = msgspec.json.decode(given, type=dict[str, object])
    except UNREADABLE:
        return "no claims"
    found = judge(claims, _RULES, 1_700_000_000.0)
    if isinstance(found, Identity):
        assert found.name.isprintable()
        return "identity"
    return found.reason


_RESPONSE_WORDS = (
    b"PLAIN\f", b"LOGIN\f", b"OAUTHBEARER\f", b"XOAUTH2\f", b"\f", b"\0", b"alice@example.org", b"n,,n=alice,r=abc",
    b"y,,n=a,r=b", b"p=tls-server-end-point,,", b"n,a=bob,", b"=2C", b"=3D", b"c=biws,r=abcour+nonce,p=AAAA", b",m=x",
    b"\x01auth=Bearer abc\x01\x01", b"user=alice\x01", b"host=x\x01", b"AGFsaWNl", b"=", b"====", b"\xff",
)  # fmt: skip
_CHALLENGE_WORDS = (
    b"SCRAM-SHA-256\f", b"SCRAM-SHA-256-PLUS\f", b"PLAIN\f", b"LOGIN\f", b"XOAUTH2\f", b"\f",
    b"r=our+nonceX,s=AAAA,i=4096", b"v=AAAA", b"e=other-error", b"r=our+nonce", b",i=1", b",i=9999999999", b",m=x",
    b"Username:", b"Password:", b"{}",
)  # fmt: skip
_DOVECOT_WORDS = (
    b"VERSION\t1\t2\n", b"VERSION\t2\t0\n", b"MECH\tPLAIN\tplaintext\n", b"MECH\tANONYMOUS\tanonymous\n",
    b"SPID\t1\n", b"CUID\t1\n", b"COOKIE\tx\n", b"DONE\n", b"OK\t1\tuser=alice\n", b"FAIL\t2\tuser=bob\ttemp\n",
    b"CONT\t3\tAAAA\n", b"OK\t4\tuser=x\n", b"\t", b"\n", b"\x01t", b"\x01n", b"resp=AAAA", b"code=temp_fail",
    b"OK\t0001\tuser=a\n", b"OK\t\n", b"user=", b"=", b"\0", b"\r\n",
)  # fmt: skip
_CLAIM_WORDS = (
    b'"iss":"https://id.example.org"', b'"aud":"smtp"', b'"aud":["smtp"]', b'"exp":1800000000',
    b'"email":"a@b.example"', b",", b'"exp":1e999', b'"exp":' + b"9" * 400, b'"nbf":', b'"iat":', b"null", b"true",
    b"{}", b"[", b'"email_verified":false', b"-1", b"NaN",
)  # fmt: skip

TARGETS = (
    Target("login_responses", run_responses, _RESPONSE_WORDS),
    Target("login_challenges", run_challenges, _CHALLENGE_WORDS, largest=2000, cost=8),
    Target("dovecot", run_dovecot, _DOVECOT_WORDS, cost=2),
    Target("claims", run_claims, _CLAIM_WORDS),
)
