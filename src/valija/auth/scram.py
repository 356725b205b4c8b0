"""SCRAM-SHA-256 and SCRAM-SHA-256-PLUS against the embedded accounts (RFC 5802, RFC 7677).

    scram = Scram(accounts)
    exchange = scram.start("SCRAM-SHA-256", facts)
    await exchange.respond(b"n,,n=alice@example.org,r=rOprNGfwEb")    # Challenge(b"r=rOprNGfwEb...,s=...,i=100000")
    await exchange.respond(b"c=biws,r=rOprNGfwEb...,p=...")           # Challenge(b"v=...")
    await exchange.respond(b"")                                       # Success("alice@example.org")

The server's work is a few HMACs, done at once: the passes over the password are the client's. What the server proves in
turn goes out as a challenge, since a reply of SMTP's has no room for it (RFC 4954 section 4), and is answered by an
empty response.

Who has no account gets a salt too, always the same one, made from a key that lies with the accounts: neither the answer
nor a second one tells who has an account.

Known weakness: passwords are prepared as OpaqueString (RFC 8265), as for PLAIN. A client that still uses SASLprep has
another password where that holds compatibility characters (a ligature, a full-width letter), and must use PLAIN.
"""

import hmac
import secrets
from collections.abc import Callable
from typing import Final

from valija.auth.accounts import SCRAM_ITERATIONS, Accounts, canonical_login
from valija.auth.backend import (
    Challenge,
    ConnectionFacts,
    Exchange,
    Malformed,
    Step,
    Success,
    Unavailable,
    Wrong,
)
from valija.smtp import sasl
from valija.smtp.sasl_scram import ClientFirst, Proven, Refused, ScramExchange, ScramKeys, choose_binding

SCRAM: Final = "SCRAM-SHA-256"
SCRAM_PLUS: Final = "SCRAM-SHA-256-PLUS"
_BINDING: Final = "tls-server-end-point"
_SALT: Final = 16  # octets
_NONCE: Final = 18  # octets, 24 characters

Nonce = Callable[[], str]


class Scram:
    """Makes exchanges. Without `binds` there is no channel binding, and clients are told so."""

    def __init__(
        self, accounts: Accounts, *, binds: bool = True, nonce: Nonce = lambda: secrets.token_urlsafe(_NONCE)
    ) -> None:
        self._accounts = accounts
        self._binds = binds
        self.nonce = nonce
        self.mechanisms = (SCRAM_PLUS, SCRAM) if binds else (SCRAM,)

    def start(self, mechanism: str, facts: ConnectionFacts) -> Exchange | None:
        """Begin an exchange; None for other mechanisms, and where there is nothing to bind to."""
        bindings = self._bindings(facts)
        if mechanism == SCRAM or (mechanism == SCRAM_PLUS and bindings):
            return _Exchange(self, bindings, plus=mechanism == SCRAM_PLUS)
        return None

    def _bindings(self, facts: ConnectionFacts) -> dict[str, bytes]:
        end_point = facts.channel.binding() if self._binds and facts.channel is not None else b""
        return {_BINDING: end_point} if end_point else {}

    def keys(self, claimed: str) -> tuple[ScramKeys, str]:
        """Return the keys of whom a client claims to be, and the login; keys that nothing fits where there is none."""
        login = canonical_login(claimed)
        keys = self._accounts.scram_keys(login) if login else None
        if keys is not None and login:
            return keys, login
        return _keys_of_nobody(self._accounts.salt_key(), login or claimed), ""


def _keys_of_nobody(key: bytes, name: str) -> ScramKeys:
    salt = hmac.digest(key, name.encode(), "sha256")[:_SALT]
    return ScramKeys(salt, SCRAM_ITERATIONS, secrets.token_bytes(32), secrets.token_bytes(32))


class _Exchange:
    """One exchange: the client's first message, its final one, and its word that it has heard us."""

    def __init__(self, scram: Scram, bindings: dict[str, bytes], *, plus: bool) -> None:
        self._scram = scram
        self._bindings = bindings
        self._plus = plus
        self._first: ClientFirst | None = None
        self._machine: ScramExchange | None = None
        self._login = ""
        self._proven = False

    async def respond(self, response: bytes | None) -> Step:
        try:
            return self._respond(response)
        except Exception as error:  # a fault of ours must not make a mail program forget its password
            return Unavailable(f"{type(error).__name__}: {error}")

    def cancel(self) -> None:
        """Nothing is held between two responses."""

    def _respond(self, response: bytes | None) -> Step:
        if response is None:
            return Challenge(b"")
        if self._first is None or self._machine is None:
            return self._begin(response)
        if self._proven:
            return Malformed() if response else Success(self._login)
        return self._judge(self._first, self._machine.finish(response))

    def _begin(self, response: bytes) -> Step:
        first = ClientFirst.parse(response)
        if isinstance(first, sasl.Malformed):
            return Malformed()
        binding = choose_binding(first.flag, plus=self._plus, bindings=self._bindings)
        if isinstance(binding, Refused):
            return Wrong(first.authcid)
        keys, self._login = self._scram.keys(first.authcid)
        self._first = first
        self._machine = ScramExchange(first, keys, self._scram.nonce(), binding)
        return Challenge(self._machine.challenge)

    def _judge(self, first: ClientFirst, verdict: Proven | Refused | sasl.Malformed) -> Step:
        if isinstance(verdict, sasl.Malformed):
            return Malformed()
        if not isinstance(verdict, Proven) or not self._login or not self._may_act_as(first.authzid):
            return Wrong(first.authcid)
        self._proven = True
        return Challenge(verdict.data)

    def _may_act_as(self, authzid: str) -> bool:
        return not authzid or canonical_login(authzid) == self._login
