"""The server's side of SASL PLAIN (RFC 4616) and LOGIN (draft-murchison-sasl-login), as pure steps.

    exchange = PlainExchange()
    exchange.respond(b"\\0alice@example.org\\0secret")   # Credentials("alice@example.org", "", b"secret")

An exchange takes the decoded responses of the client, `None` first where AUTH came without an initial response, and
ends with Credentials or Malformed. Whether the credentials are right is for others to say; passwords stay octets, for a
password in another character set than UTF-8 is a wrong password and not a malformed one.
"""

from collections.abc import Callable
from typing import Final

import msgspec

USERNAME_PROMPT: Final = b"Username:"  # mail programs compare these two octet by octet
PASSWORD_PROMPT: Final = b"Password:"


class Credentials(msgspec.Struct, frozen=True, gc=False):
    """What the client claims: `authcid` wants to act as `authzid` (`""`: as itself)."""

    authcid: str
    authzid: str
    password: bytes

    def __repr__(self) -> str:
        return f"Credentials({self.authcid!r}, {self.authzid!r}, ...)"


class Challenge(msgspec.Struct, frozen=True, gc=False):
    """The server's next challenge, before base64."""

    data: bytes


class Malformed(msgspec.Struct, frozen=True, gc=False):
    """The response does not follow the mechanism's grammar."""


Step = Credentials | Challenge | Malformed


class PlainExchange:
    """PLAIN: `[authzid] NUL authcid NUL password`, in one response."""

    def respond(self, response: bytes | None) -> Step:
        """Take the client's response and return the next step."""
        if response is None:
            return Challenge(b"")
        parts = response.split(b"\0")
        if len(parts) != 3 or not parts[1]:
            return Malformed()
        authzid, authcid = parse_name(parts[0]), parse_name(parts[1])
        if authzid is None or authcid is None:
            return Malformed()
        return Credentials(authcid, authzid, parts[2])


class LoginExchange:
    """LOGIN: the name, then the password. An initial response is the name."""

    def __init__(self) -> None:
        self._authcid: str | None = None

    def respond(self, response: bytes | None) -> Step:
        """Take the client's response and return the next step."""
        if response is None:
            return Challenge(USERNAME_PROMPT)
        if self._authcid is not None:
            return Credentials(self._authcid, "", response)
        self._authcid = parse_name(response)
        return Malformed() if self._authcid is None else Challenge(PASSWORD_PROMPT)


EXCHANGES: Final[dict[str, Callable[[], PlainExchange | LoginExchange]]] = {
    "PLAIN": PlainExchange,
    "LOGIN": LoginExchange,
}


def parse_name(octets: bytes) -> str | None:
    """Return a login name, None where it is no UTF-8 or holds a control character, which no name does."""
    try:
        name = octets.decode()
    except UnicodeDecodeError:
        return None
    return name if name.isprintable() else None
