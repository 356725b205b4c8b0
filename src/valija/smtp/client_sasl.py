"""The client's side of SASL, as pure steps: PLAIN, LOGIN, SCRAM-SHA-256 with and without channel binding, tokens.

    exchange = begin("SCRAM-SHA-256", Secret("alice@example.org", b"secret", nonce="rOprNGfwEbeRWgbNEkqO"))
    exchange.initial                                # b"n,,n=alice@example.org,r=rOprNGfwEbeRWgbNEkqO"
    exchange.respond(b"r=rOprNG...,s=...,i=4096")   # b"c=biws,r=rOprNG...,p=..."
    exchange.respond(b"v=...")                      # b""
    exchange.is_proven                              # True: the server knows the password too

How the steps travel in SMTP is told in smtp/client_login. The nonce and what TLS is bound to are arguments; passwords
are octets, prepared already.

Known weaknesses: SCRAM's passes over the password are done at once, some 20 ms for 100,000 of them. A server that asks
for more than a million is not served.
"""

import binascii
import hmac
import re
from collections.abc import Callable, Collection
from hashlib import pbkdf2_hmac, sha256
from typing import Final, Protocol

import msgspec

from valija.content.compose import printable

FEWEST_ITERATIONS: Final = 4096  # RFC 7677 section 4: fewer would let a false server find the password by trying
MOST_ITERATIONS: Final = 1_000_000

SCRAM: Final = "SCRAM-SHA-256"
SCRAM_PLUS: Final = "SCRAM-SHA-256-PLUS"
_BINDING: Final = "tls-server-end-point"

# The server's first message. An extension that it calls mandatory (m=) is none that we know.
_SERVER_FIRST: Final = re.compile(
    rb"r=([\x21-\x2b\x2d-\x7e]+),s=([A-Za-z0-9/+=]+),i=([1-9][0-9]{0,9})(?:,.*)?", re.DOTALL
)


class NotTrusted(Exception):
    """The server says what no honest server of this mechanism says; the text tells what."""


class Secret(msgspec.Struct, frozen=True):
    """Who logs in, and by what: `password`, or `token` for XOAUTH2 and OAUTHBEARER.

    `nonce` is printable, holds no comma, and is never used twice. `binding` is what `tls-server-end-point` binds to
    (RFC 5929 section 4), b"" where there is nothing; `server_binds` tells that the server offers to bind. `host` and
    `port` name the server.
    """

    username: str
    password: bytes = b""
    token: str = ""
    nonce: str = ""
    binding: bytes = b""
    server_binds: bool = False
    host: str = ""
    port: int = 0

    def __repr__(self) -> str:
        return f"Secret({self.username!r}, ...)"


class ClientExchange(Protocol):
    """One login. `initial` is the first response, None where the server has to ask first."""

    initial: bytes | None

    def respond(self, challenge: bytes) -> bytes:
        """Return the response to a challenge. Raises NotTrusted."""

    @property
    def is_proven(self) -> bool:
        """Whether a success that is told now may be believed."""


class PlainClient:
    """PLAIN (RFC 4616): everything at once."""

    is_proven: Final = True

    def __init__(self, secret: Secret) -> None:
        self.initial: bytes | None = b"\0%b\0%b" % (secret.username.encode(), secret.password)

    def respond(self, challenge: bytes) -> bytes:
        """There is nothing more to say."""
        raise NotTrusted("it asks for more than PLAIN has")


class LoginClient:
    """LOGIN (draft-murchison-sasl-login): the name, then the password, whatever the prompts say."""

    def __init__(self, secret: Secret) -> None:
        self.initial: bytes | None = None
        self._answers = [secret.password, secret.username.encode()]

    def respond(self, challenge: bytes) -> bytes:
        """Return the next of the two answers."""
        if not self._answers:
            raise NotTrusted("it asks for more than a name and a password")
        return self._answers.pop()

    @property
    def is_proven(self) -> bool:
        """A server that wants no password has not looked at it."""
        return not self._answers


class ScramClient:
    """SCRAM-SHA-256 and SCRAM-SHA-256-PLUS (RFC 5802, RFC 7677)."""

    def __init__(self, secret: Secret, *, plus: bool = False) -> None:
        header = f"{_flag(secret, plus=plus)},,".encode()
        self._bound = header + (secret.binding if plus else b"")
        self._password = secret.password
        self._nonce = secret.nonce.encode("ascii")
        self._bare = b"n=%b,r=%b" % (_escaped(secret.username), self._nonce)
        self._signature = b""
        self.is_proven = False
        self.initial: bytes | None = header + self._bare

    def respond(self, challenge: bytes) -> bytes:
        """Prove the knowledge of the password, then hear the server prove its own."""
        if not self._signature:
            return self._prove(challenge)
        self._judge(challenge)
        return b""

    def _prove(self, challenge: bytes) -> bytes:
        nonce, salt, iterations = self._read(challenge)
        salted = pbkdf2_hmac("sha256", self._password, salt, iterations)
        client_key = hmac.digest(salted, b"Client Key", "sha256")
        unproven = b"c=%b,r=%b" % (_base64(self._bound), nonce)
        signed = b"%b,%b,%b" % (self._bare, challenge, unproven)
        self._signature = hmac.digest(hmac.digest(salted, b"Server Key", "sha256"), signed, "sha256")
        mask = hmac.digest(sha256(client_key).digest(), signed, "sha256")
        proof = bytes(one ^ other for one, other in zip(client_key, mask, strict=True))
        return unproven + b",p=" + _base64(proof)

    def _read(self, challenge: bytes) -> tuple[bytes, bytes, int]:
        found = _SERVER_FIRST.fullmatch(challenge)
        salt = _octets(found[2]) if found else None
        if found is None or salt is None:
            raise NotTrusted("its first message does not follow SCRAM")
        nonce, iterations = found[1], int(found[3])
        if not nonce.startswith(self._nonce) or nonce == self._nonce:
            raise NotTrusted("it answers with another nonce")
        if not FEWEST_ITERATIONS <= iterations <= MOST_ITERATIONS:
            raise NotTrusted(f"it asks for {iterations} iterations; {FEWEST_ITERATIONS} to {MOST_ITERATIONS} are sound")
        return nonce, salt, iterations

    def _judge(self, challenge: bytes) -> None:
        if challenge.startswith(b"e="):
            raise NotTrusted(f"it says {printable(challenge[2:60].decode('utf-8', 'surrogateescape'))}")
        if self.is_proven or not hmac.compare_digest(challenge, b"v=" + _base64(self._signature)):
            raise NotTrusted("it does not know the password")
        self.is_proven = True


class TokenClient:
    """XOAUTH2 and OAUTHBEARER (RFC 7628): the token at once; a challenge is a refusal that wants an empty answer."""

    def __init__(self, initial: bytes, acknowledgement: bytes) -> None:
        self.initial: bytes | None = initial
        self._acknowledgement = acknowledgement
        self.is_proven = True

    def respond(self, challenge: bytes) -> bytes:
        """Acknowledge the refusal."""
        if not self.is_proven:
            raise NotTrusted("it refuses the token twice")
        self.is_proven = False
        return self._acknowledgement


def begin(mechanism: str, secret: Secret) -> ClientExchange:
    """Return the exchange of a mechanism in MECHANISMS."""
    return _EXCHANGES[mechanism](secret)


def strongest(offered: Collection[str], *, is_secure: bool, can_bind: bool) -> str:
    """Return the best mechanism for a password among those offered, `""` where there is none.

    One that shows the password is none at all in clear.
    """
    fit = (SCRAM_PLUS,) * can_bind + (SCRAM,) + ("PLAIN", "LOGIN") * is_secure
    return next((mechanism for mechanism in fit if mechanism in offered), "")


def _bearer(secret: Secret) -> TokenClient:
    header = b"n,a=%b," % _escaped(secret.username)
    place = f"host={secret.host}\x01port={secret.port}\x01" if secret.host else ""
    return TokenClient(header + f"\x01{place}auth=Bearer {secret.token}\x01\x01".encode(), b"\x01")


def _xoauth2(secret: Secret) -> TokenClient:
    return TokenClient(f"user={secret.username}\x01auth=Bearer {secret.token}\x01\x01".encode(), b"")


_EXCHANGES: Final[dict[str, Callable[[Secret], ClientExchange]]] = {
    "PLAIN": PlainClient,
    "LOGIN": LoginClient,
    SCRAM: ScramClient,
    SCRAM_PLUS: lambda secret: ScramClient(secret, plus=True),
    "XOAUTH2": _xoauth2,
    "OAUTHBEARER": _bearer,
}
MECHANISMS: Final = tuple(_EXCHANGES)
SHOW_THE_SECRET: Final = frozenset({"PLAIN", "LOGIN", "XOAUTH2", "OAUTHBEARER"})  # whoever reads along has it
WITH_TOKEN: Final = frozenset({"XOAUTH2", "OAUTHBEARER"})


def _flag(secret: Secret, *, plus: bool) -> str:
    """Return the word on channel binding: `y` lets a server that does bind notice who hid that (RFC 5802 section 6)."""
    if plus:
        return f"p={_BINDING}"
    return "y" if secret.binding and not secret.server_binds else "n"


def _escaped(name: str) -> bytes:
    return name.replace("=", "=3D").replace(",", "=2C").encode()


def _base64(octets: bytes) -> bytes:
    return binascii.b2a_base64(octets, newline=False)


def _octets(base64: bytes) -> bytes | None:
    try:
        return binascii.a2b_base64(base64, strict_mode=True)
    except ValueError:
        return None
