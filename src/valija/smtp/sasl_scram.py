"""The server's side of SCRAM with SHA-256 (RFC 5802, RFC 7677), as pure steps.

    first = ClientFirst.parse(b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO")
    exchange = ScramExchange(first, keys, nonce="%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0")
    exchange.challenge                           # b"r=rOprNGfwEbeRWgbNEkqO%hvYDp...,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
    exchange.finish(b"c=biws,r=rOprNG...,p=dHzb...")     # Proven(b"v=6rriTRBi23WpRqqw74...")

The nonce and what TLS is bound to are arguments; who has which keys is for others to say. What does not follow the
grammar is Malformed, what follows it and is not right is Refused, with a reason for the log.

Known weakness: an extension that a client calls mandatory (`m=`) is Malformed, as there is none that we know.
"""

import binascii
import hmac
import re
from collections.abc import Mapping
from hashlib import pbkdf2_hmac, sha256
from typing import Final

import msgspec

from valija.smtp.sasl import Malformed, parse_name

LONGEST_NONCE: Final = 512  # octets of the client's part, which goes back to it; the usual is 20 to 50
_KEY: Final = 32  # octets

_NAME: Final = rb"((?:[^\x00,=]|=2C|=3D)+)"
_NONCE: Final = rb"([\x21-\x2b\x2d-\x7e]+)"
_EXTENSIONS: Final = rb"(?:,[A-Za-z]=[^\x00,]+)*"
_CLIENT_FIRST: Final = re.compile(
    rb"((p=[A-Za-z0-9.-]+|n|y),(?:a=" + _NAME + rb")?,)(n=" + _NAME + rb",r=" + _NONCE + _EXTENSIONS + rb")"
)
_CLIENT_FINAL: Final = re.compile(rb"(c=([^,]+),r=" + _NONCE + _EXTENSIONS + rb"),p=([^,]+)")
_STORED: Final = re.compile(r"SCRAM-SHA-256\$([0-9]{1,9}):([^$:]+)\$([^$:]+):([^$:]+)")


class ScramKeys(msgspec.Struct, frozen=True, gc=False):
    """What a server keeps of a password: enough to recognise it, not enough to log in with it elsewhere."""

    salt: bytes
    iterations: int
    stored_key: bytes
    server_key: bytes

    @classmethod
    def of(cls, password: bytes, salt: bytes, iterations: int) -> "ScramKeys":
        """Derive the keys of a prepared password. 100,000 iterations take some 20 ms of one core."""
        salted = pbkdf2_hmac("sha256", password, salt, iterations)
        client_key = hmac.digest(salted, b"Client Key", "sha256")
        return cls(salt, iterations, sha256(client_key).digest(), hmac.digest(salted, b"Server Key", "sha256"))

    def as_text(self) -> str:
        """Return the keys as they are stored (the form of RFC 5803)."""
        salt, stored_key, server_key = (
            _base64(each).decode() for each in (self.salt, self.stored_key, self.server_key)
        )
        return f"SCRAM-SHA-256${self.iterations}:{salt}${stored_key}:{server_key}"

    @classmethod
    def parse(cls, text: str) -> "ScramKeys":
        """Return stored keys. Raises ValueError for what `as_text` did not make."""
        found = _STORED.fullmatch(text)
        if found is None:
            raise ValueError("the stored SCRAM keys are damaged")
        iterations, *octets = found.groups()
        return cls(_octets(octets[0]), int(iterations), _octets(octets[1]), _octets(octets[2]))

    def __repr__(self) -> str:
        return "ScramKeys(...)"


class ClientFirst(msgspec.Struct, frozen=True, gc=False):
    """The client's first message: `authcid` wants to act as `authzid` (`""`: as itself).

    `flag` is its word about channel binding: `n`, `y`, or `p=` and the name of one. `header` and `bare` are the two
    halves of the message as they came, which later steps sign.
    """

    flag: str
    authzid: str
    authcid: str
    nonce: bytes
    header: bytes
    bare: bytes

    @classmethod
    def parse(cls, message: bytes) -> "ClientFirst | Malformed":
        """Take the message apart (RFC 5802 section 7)."""
        found = _CLIENT_FIRST.fullmatch(message)
        if found is None:
            return Malformed()
        header, flag, authzid, bare, authcid, nonce = found.groups()
        names = parse_name(_unescaped(authzid or b"")), parse_name(_unescaped(authcid))
        if names[0] is None or names[1] is None or len(nonce) > LONGEST_NONCE:
            return Malformed()
        return cls(flag.decode(), names[0], names[1], nonce, header, bare)


class Proven(msgspec.Struct, frozen=True, gc=False):
    """The client knows the password; `data` proves to it that the server does too."""

    data: bytes


class Refused(msgspec.Struct, frozen=True, gc=False):
    """It does not; `reason` in words."""

    reason: str


def choose_binding(flag: str, *, plus: bool, bindings: Mapping[str, bytes]) -> bytes | Refused:
    """Return what the exchange is bound to, b"" for nothing (RFC 5802 section 6).

    `plus` tells that the client chose the mechanism with channel binding; `bindings` are those of the connection by
    name, empty where that mechanism was not offered. A client that could bind and was told that we can't (`y`) has
    somebody between itself and us.
    """
    asked, _, name = flag.partition("=")
    if plus:
        if asked != "p":
            return Refused("no channel binding where it was chosen")
        return bindings.get(name) or Refused(f"channel binding {name} is not offered")
    if asked == "p":
        return Refused("channel binding where it was not chosen")
    return Refused("the offer of channel binding did not reach the client") if asked == "y" and bindings else b""


class ScramExchange:
    """What follows the client's first message. `nonce` is our part: printable, no comma, never used before."""

    def __init__(self, first: ClientFirst, keys: ScramKeys, nonce: str, binding: bytes = b"") -> None:
        self._bare = first.bare
        self._keys = keys
        self._nonce = first.nonce + nonce.encode("ascii")
        self._bound = first.header + binding
        self.challenge = b"r=%b,s=%b,i=%d" % (self._nonce, _base64(keys.salt), keys.iterations)

    def finish(self, message: bytes) -> Proven | Refused | Malformed:
        """Judge the client's final message."""
        found = _CLIENT_FINAL.fullmatch(message)
        if found is None:
            return Malformed()
        unproven, bound, nonce, proof = found.groups()
        try:
            bound, proof = _octets(bound), _octets(proof)
        except ValueError:
            return Malformed()
        if not hmac.compare_digest(nonce, self._nonce):
            return Refused("another nonce")
        if not hmac.compare_digest(bound, self._bound):
            return Refused("another channel binding")
        signed = b"%b,%b,%b" % (self._bare, self.challenge, unproven)
        if not self._is_proof(proof, signed):
            return Refused("wrong password")
        return Proven(b"v=" + _base64(hmac.digest(self._keys.server_key, signed, "sha256")))

    def _is_proof(self, proof: bytes, signed: bytes) -> bool:
        if len(proof) != _KEY:
            return False
        signature = hmac.digest(self._keys.stored_key, signed, "sha256")
        client_key = bytes(one ^ other for one, other in zip(proof, signature, strict=True))
        return hmac.compare_digest(sha256(client_key).digest(), self._keys.stored_key)


def _unescaped(name: bytes) -> bytes:
    return name.replace(b"=2C", b",").replace(b"=3D", b"=")


def _base64(octets: bytes) -> bytes:
    return binascii.b2a_base64(octets, newline=False)


def _octets(base64: bytes | str) -> bytes:
    """Return what base64 means. Raises ValueError."""
    return binascii.a2b_base64(base64, strict_mode=True)
