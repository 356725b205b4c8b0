"""Logins by token, the issuer being a real HTTP server: good ones, forged ones, and an issuer that is away."""

import asyncio
import base64
import contextlib
import hashlib
import hmac
import json
import os
import ssl
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.ca import CertificateAuthority
from tests.issuer import AUDIENCE, CLIENT, HOST, Issuer, as_jwk, new_key, unsigned
from valija.auth.accounts import Accounts
from valija.auth.backend import Challenge, ConnectionFacts, Malformed, Step, Success, Unavailable, Wrong
from valija.auth.identities import account_logins
from valija.auth.oauth import oauth_backend
from valija.auth.oauth_http import LONGEST_BODY, IssuerAway, IssuerHttp
from valija.auth.oauth_keys import ASK_AGAIN, KEPT_FOR, STALE_FOR, parse_keys
from valija.auth.oauth_tokens import KEPT_FOR as VERDICT_KEPT_FOR
from valija.auth.options import OauthOptions
from valija.logs import LogBuffer, build_log

ALICE = "alice@example.org"
FACTS = ConnectionFacts(True, "192.0.2.1", 40_000, "192.0.2.2", 587)


class Here:
    """A back end with a clock of the test's own, an hour of which costs nothing."""

    def __init__(self, folder: Path, **options: Any) -> None:
        self.ahead = 0.0
        self._log_file = folder / "log"
        self._buffer = LogBuffer(os.open(self._log_file, os.O_WRONLY | os.O_CREAT | os.O_APPEND))
        accounts = Accounts(folder / "accounts.sqlite3")
        for address in (ALICE, "bob@example.org"):
            if not accounts.is_account(address):
                accounts.add(address, "x")
        log = build_log("info", "text", self._buffer)
        self.backend = oauth_backend(OauthOptions(**options), account_logins(accounts), log, self._now)

    def _now(self) -> float:
        return time.time() + self.ahead

    @property
    def log(self) -> str:
        self._buffer.flush()
        return self._log_file.read_text()

    async def says(self, *responses: bytes | None, mechanism: str = "OAUTHBEARER") -> list[Step]:
        exchange = self.backend.start(mechanism, FACTS)
        assert exchange is not None
        return [await exchange.respond(response) for response in responses]

    async def logs_in(self, token: str, authzid: str = ALICE) -> Step:
        header = f"n,a={authzid}," if authzid else "n,,"
        return (await self.says(f"{header}\x01auth=Bearer {token}\x01\x01".encode(), b"\x01"))[0]


@pytest.fixture(scope="module")
def issuer() -> Iterator[Issuer]:
    with Issuer() as issuer:
        yield issuer


@pytest.fixture(autouse=True)
def _healthy(issuer: Issuer) -> None:
    issuer.status = 200
    issuer.asked.clear()


def by_keys(folder: Path, issuer: Issuer, **options: Any) -> Here:
    return Here(folder, **{"issuer": issuer.url, "audience": AUDIENCE, "jwks_url": issuer.jwks_url, **options})


def run(work: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        await asyncio.wait_for(work(), 30)

    asyncio.run(bounded())


def is_refused(step: Step) -> bool:
    return isinstance(step, Challenge) and "status" in json.loads(step.data)


# Signed tokens


def test_logs_in(issuer: Issuer, tmp_path: Path) -> None:
    async def work() -> None:
        here = by_keys(tmp_path, issuer)
        token = issuer.token(email="Alice@Example.ORG")
        assert await here.logs_in(token) == Success(ALICE)
        assert await here.logs_in(token, "") == Success(ALICE)
        assert await here.logs_in(token, "ALICE@example.org") == Success(ALICE)
        said = await here.says(None, f"user={ALICE}\x01auth=Bearer {token}\x01\x01".encode(), mechanism="xoauth2")
        assert said == [Challenge(b""), Success(ALICE)]
        assert issuer.asked == ["/jwks.json"]
        assert token not in here.log

    run(work)


@pytest.mark.parametrize("algorithm", ["RS256", "PS256", "ES256", "EdDSA"])
def test_algorithms(algorithm: str, tmp_path: Path) -> None:
    async def work() -> None:
        issuer = Issuer(algorithm)
        file = issuer.write_jwks(tmp_path / "jwks.json")
        here = by_keys(tmp_path, issuer, jwks_url="", jwks_file=str(file))
        assert await here.logs_in(issuer.token()) == Success(ALICE)
        nameless = jwt.encode(issuer.claims(), issuer.key, algorithm)  # which key it is has to be tried
        assert await here.logs_in(nameless) == Success(ALICE)
        other = jwt.encode(issuer.claims(), new_key(algorithm), algorithm, headers={"kid": issuer.kid})
        assert is_refused(await here.logs_in(other))

    run(work)


def _signed_with_the_public_key(issuer: Issuer) -> str:
    """The classic: the public key, which everybody knows, taken for a shared secret."""
    secret = json.dumps(as_jwk(issuer.key, issuer.kid, use="sig")).encode()
    signed = unsigned(issuer.claims(), alg="HS256", kid=issuer.kid).rstrip(".")
    digest = base64.urlsafe_b64encode(hmac.digest(secret, signed.encode(), hashlib.sha256)).decode().rstrip("=")
    return f"{signed}.{digest}"


FORGED: dict[str, Callable[[Issuer], str]] = {
    "none": lambda issuer: unsigned(issuer.claims(), kid=issuer.kid),
    "None": lambda issuer: unsigned(issuer.claims(), alg="NoNe", kid=issuer.kid),
    "no signature": lambda issuer: issuer.token().rpartition(".")[0] + ".",
    "shared secret": _signed_with_the_public_key,
    "another algorithm's word": lambda issuer: unsigned(issuer.claims(), alg="RS256", kid=issuer.kid) + "AAAA",
    "own key inside": lambda issuer: jwt.encode(
        issuer.claims(), (key := new_key("ES256")), "ES256", headers={"kid": issuer.kid, "jwk": as_jwk(key)}
    ),
    "claims changed": lambda issuer: ".".join(
        (issuer.token().split(".")[0], unsigned(issuer.claims(email="bob@example.org")).split(".")[1], "AAAA")
    ),
    "critical": lambda issuer: jwt.encode(
        issuer.claims(), issuer.key, "ES256", headers={"kid": issuer.kid, "crit": ["exp"]}
    ),
    "expired": lambda issuer: issuer.token(exp=int(time.time()) - 60),
    "endless": lambda issuer: issuer.token(exp=None),
    "early": lambda issuer: issuer.token(nbf=int(time.time()) + 300),
    "for another": lambda issuer: issuer.token(aud="imap.example.org"),
    "for nobody": lambda issuer: issuer.token(aud=None),
    "of another": lambda issuer: issuer.token(iss="https://evil.example"),
    "of nobody": lambda issuer: issuer.token(iss=None),
    "unverified": lambda issuer: issuer.token(email_verified=False),
    "nameless": lambda issuer: issuer.token(email=None),
    "unknown here": lambda issuer: issuer.token(email="mallory@example.org"),
    "empty": lambda issuer: "",
    "no JWT": lambda issuer: "x.y.z",
    "many parts": lambda issuer: "." * 1000,
}


@pytest.mark.parametrize("how", FORGED)
def test_token_that_is_not_good(issuer: Issuer, tmp_path: Path, how: str) -> None:
    async def work() -> None:
        here = by_keys(tmp_path, issuer)
        token = FORGED[how](issuer)
        for authzid in (ALICE, ""):
            assert is_refused(await here.logs_in(token, authzid))
        assert here.log.count("token refused") == 2
        assert len(token) < 5 or token not in here.log
        assert await here.logs_in(issuer.token()) == Success(ALICE)

    run(work)


def test_no_bit_of_a_signature_may_be_flipped(issuer: Issuer, tmp_path: Path) -> None:
    async def work() -> None:
        here = by_keys(tmp_path, issuer)
        signed, _, written = issuer.token().rpartition(".")
        signature = base64.urlsafe_b64decode(written + "==")
        for bit in range(0, len(signature) * 8, 7):
            flipped = bytearray(signature)
            flipped[bit // 8] ^= 1 << bit % 8
            forged = base64.urlsafe_b64encode(flipped).decode().rstrip("=")
            assert is_refused(await here.logs_in(f"{signed}.{forged}"))

    run(work)


def test_token_is_anothers(issuer: Issuer, tmp_path: Path) -> None:
    async def work() -> None:
        here = by_keys(tmp_path, issuer)
        said = await here.says(f"n,a=bob@example.org,\x01auth=Bearer {issuer.token()}\x01\x01".encode(), b"\x01")
        assert said[1] == Wrong("bob@example.org")
        assert said[0] == Challenge(
            b'{"status":"invalid_token","openid-configuration":"%b/.well-known/openid-configuration"}'
            % issuer.url.encode()
        )
        said = await here.says(
            f"user=bob@example.org\x01auth=Bearer {issuer.token()}\x01\x01".encode(), b"", mechanism="XOAUTH2"
        )
        assert said == [Challenge(b'{"status":"401","schemes":"bearer"}'), Wrong("bob@example.org")]
        assert "it is another's" in here.log

    run(work)


def test_malformed_and_in_clear(issuer: Issuer, tmp_path: Path) -> None:
    async def work() -> None:
        here = by_keys(tmp_path, issuer)
        assert await here.says(b"nonsense") == [Malformed()]
        assert here.backend.start("PLAIN", FACTS) is None
        assert here.backend.start("OAUTHBEARER", ConnectionFacts(False, "192.0.2.1", 1, "", 0)) is None
        assert here.backend.mechanisms() == ("OAUTHBEARER", "XOAUTH2")

    run(work)


def test_c046_token_of_several_kilobytes(issuer: Issuer, tmp_path: Path) -> None:
    async def work() -> None:
        token = issuer.token(groups=["a group with a long name"] * 240)
        assert 8000 < len(token) < 9000
        assert await by_keys(tmp_path, issuer).logs_in(token) == Success(ALICE)

    run(work)


# Keys


def test_new_key_is_looked_up_and_not_too_often(issuer: Issuer, tmp_path: Path) -> None:
    async def work() -> None:
        here = by_keys(tmp_path, issuer)
        former = issuer.token()
        assert await here.logs_in(former) == Success(ALICE)
        issuer.rotate()
        step = await here.logs_in(issuer.token())  # just looked: whether there is such a key now, nobody knows
        assert isinstance(step, Unavailable)
        assert issuer.asked == ["/jwks.json"]
        here.ahead = ASK_AGAIN
        steps = await asyncio.gather(*(here.logs_in(issuer.token()) for _ in range(20)))
        assert steps == [Success(ALICE)] * 20
        assert is_refused(await here.logs_in(former)) is False  # its key is gone, and we looked a moment ago
        here.ahead += ASK_AGAIN
        assert is_refused(await here.logs_in(former))
        assert len(issuer.asked) == 3

    run(work)


def test_strangers_cannot_make_us_ask(issuer: Issuer, tmp_path: Path) -> None:
    async def work() -> None:
        here = by_keys(tmp_path, issuer)
        for number in range(50):
            odd = jwt.encode(issuer.claims(), new_key("ES256"), "ES256", headers={"kid": f"made up {number}"})
            assert not isinstance(await here.logs_in(odd), Success)
        assert len(issuer.asked) == 1

    run(work)


def test_issuer_that_is_away(issuer: Issuer, tmp_path: Path) -> None:
    async def work() -> None:
        issuer.status = 503
        here = by_keys(tmp_path, issuer)
        assert await here.logs_in(issuer.token()) == Unavailable(
            f"{issuer.jwks_url}: it answers 503 Service Unavailable"
        )
        issuer.status = 200
        here.ahead = ASK_AGAIN
        assert await here.logs_in(issuer.token()) == Success(ALICE)
        issuer.status = 503
        far = int(time.time()) + 10 * 86_400
        here.ahead = KEPT_FOR * 2
        assert await here.logs_in(issuer.token(exp=far)) == Success(ALICE)  # by the keys that are there
        here.ahead = STALE_FOR + KEPT_FOR
        assert isinstance(await here.logs_in(issuer.token(exp=far)), Unavailable)
        issuer.status = 200
        here.ahead += ASK_AGAIN
        assert await here.logs_in(issuer.token(exp=far)) == Success(ALICE)

    run(work)


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"{}", b'{"keys": 7}', b'{"keys": [7]}', b"<html>", b'"\xcc', b"[" * 9999]
)
def test_keys_that_are_none(content: bytes) -> None:
    with pytest.raises(IssuerAway):
        parse_keys(content)


def test_keys_that_are_not_for_this() -> None:
    good = as_jwk(new_key("RS256"), "good")
    listed = [
        good,
        {"kty": "oct", "k": "c2VjcmV0", "kid": "secret"},
        {**good, "kid": "encrypts", "use": "enc"},
        {**good, "kid": "other", "alg": "RSA-OAEP"},
        {**good, "kid": "damaged", "n": "!"},
        as_jwk(rsa.generate_private_key(65537, 1024), "short"),
        {**as_jwk(new_key("RS256"), "one way"), "alg": "PS256"},
    ]
    found = {key.kid: key.algorithms for key in parse_keys(json.dumps({"keys": listed}).encode())}
    assert found == {"good": {"RS256", "PS256"}, "one way": {"PS256"}}


def test_file_of_keys_that_cannot_be_read(issuer: Issuer, tmp_path: Path) -> None:
    async def work() -> None:
        here = by_keys(tmp_path, issuer, jwks_url="", jwks_file=str(tmp_path / "nowhere"))
        step = await here.logs_in(issuer.token())
        assert step == Unavailable(f"{tmp_path}/nowhere: No such file or directory; let the service's user read it")

    run(work)


# Introspection


def introspecting(folder: Path, issuer: Issuer, secret: str = CLIENT[1], mode: int = 0o640) -> Here:
    file = folder / "secret"
    file.write_text(f"{secret}\n")
    file.chmod(mode)
    return Here(
        folder,
        issuer=issuer.url,
        introspection_url=issuer.introspection_url,
        client_id=CLIENT[0],
        client_secret_file=str(file),
    )


def test_introspection(issuer: Issuer, tmp_path: Path) -> None:
    async def work() -> None:
        here = introspecting(tmp_path, issuer)
        token = issuer.opaque("opaque-1")
        for _ in range(3):
            assert await here.logs_in(token) == Success(ALICE)
        assert issuer.asked == ["/introspect"]
        issuer.known.clear()  # it takes the token back
        here.ahead = VERDICT_KEPT_FOR
        assert is_refused(await here.logs_in(token))
        assert is_refused(await here.logs_in("never-heard-of"))
        assert is_refused(await here.logs_in(issuer.opaque("of-another", iss="https://evil.example")))
        assert is_refused(await here.logs_in(issuer.opaque("old", exp=int(time.time()) - 60)))
        assert is_refused(await here.logs_in(issuer.opaque("bobs", email="bob@example.org")))
        assert "opaque-1" not in here.log
        assert CLIENT[1] not in here.log

    run(work)


def test_what_is_kept_of_a_verdict_ends_with_the_token(issuer: Issuer, tmp_path: Path) -> None:
    async def work() -> None:
        here = introspecting(tmp_path, issuer)
        token = issuer.opaque("brief", exp=int(time.time()) + 5)
        assert await here.logs_in(token) == Success(ALICE)
        here.ahead = 36.0
        assert is_refused(await here.logs_in(token))

    run(work)


def test_introspection_that_cannot_be_asked(issuer: Issuer, tmp_path: Path) -> None:
    async def work() -> None:
        token = issuer.opaque("opaque-2")
        assert await introspecting(tmp_path, issuer, "wrong").logs_in(token) == Unavailable(
            f"{issuer.introspection_url}: it answers 401 Unauthorized"
        )
        step = await introspecting(tmp_path, issuer, mode=0o644).logs_in(token)
        assert isinstance(step, Unavailable)
        assert "others can read this secret" in step.detail
        issuer.status = 500
        assert isinstance(await introspecting(tmp_path, issuer).logs_in(token), Unavailable)

    run(work)


# HTTP


async def _answer(writer: asyncio.StreamWriter, octets: bytes) -> None:
    writer.write(octets)
    await writer.drain()
    writer.close()


ANSWERS = {
    "moved": b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n",
    "endless": b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * (LONGEST_BODY + 1),
    "cut": b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nx",
    "nonsense": b"what would you like?\r\n\r\n",
    "none": b"",
}


@pytest.mark.parametrize("how", ANSWERS)
def test_answer_that_is_none(how: str) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            await _answer(writer, ANSWERS[how])

    async def work() -> None:
        async with await asyncio.start_server(serve, HOST, 0) as server:
            url = f"http://{HOST}:{server.sockets[0].getsockname()[1]}/"
            with pytest.raises(IssuerAway, match=url):
                await IssuerHttp().get(url)
        with pytest.raises(IssuerAway, match="Connect"):
            await IssuerHttp().get(url)

    run(work)


def test_silent_issuer_is_given_up() -> None:
    async def work() -> None:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read()
            writer.close()

        async with await asyncio.start_server(serve, HOST, 0) as server:
            port = server.sockets[0].getsockname()[1]
            with pytest.raises(IssuerAway, match=r"no answer within 0\.2 s"):
                await IssuerHttp(patience=0.2).get(f"http://{HOST}:{port}/")

    run(work)


def test_https_is_verified(tmp_path: Path) -> None:
    ours, theirs = CertificateAuthority(), CertificateAuthority("Theirs")
    chain, key = ours.issue("localhost", HOST).write(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain, key)
    roots = [str(each.write_root(tmp_path / f"{number}.pem")) for number, each in enumerate((ours, theirs))]

    async def work() -> None:
        async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await _answer(writer, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")

        async with await asyncio.start_server(serve, HOST, 0, ssl=context) as server:
            url = f"https://{HOST}:{server.sockets[0].getsockname()[1]}/"
            assert await IssuerHttp(roots[0]).get(url) == b"{}"
            with pytest.raises(IssuerAway, match=r"(?i)certificate"):
                await IssuerHttp(roots[1]).get(url)
            with pytest.raises(IssuerAway):
                await IssuerHttp(str(tmp_path / "nowhere")).get(url)

    run(work)
