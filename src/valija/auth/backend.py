"""Who is logging in? The AuthBackend protocol: an exchange per AUTH command, whatever stands behind it.

    exchange = backend.start("PLAIN", ConnectionFacts(...))
    step = await exchange.respond(b"\\0alice@example.org\\0secret")   # Success("alice@example.org")

An unknown state of the back end is `Unavailable` (454 4.7.0), never `Wrong` (535): a broken Dovecot must not make mail
programs forget passwords.
"""

from typing import Final, Protocol

import msgspec

_PLUS: Final = "-PLUS"
_EXTERNAL: Final = "EXTERNAL"


class Channel(Protocol):
    """What a back end may ask about the TLS of a connection. Nothing is worked out before it is asked for."""

    def binding(self) -> bytes:
        """What `tls-server-end-point` binds to (RFC 5929), b"" where the certificate has none."""

    def client_certificate(self) -> bytes:
        """The client's certificate in DER, verified by the handshake; b"" where it showed none."""


class ConnectionFacts(msgspec.Struct, frozen=True, gc=False):
    """What a back end may want to know of the connection; `secured` tells that TLS stands.

    `channel` is None in clear, and where nothing is known of the TLS.
    """

    secured: bool
    client_address: str
    client_port: int
    local_address: str
    local_port: int
    channel: Channel | None = None


def fitting(mechanisms: tuple[str, ...], channel: Channel | None) -> tuple[str, ...]:
    """Return those of a back end's mechanisms that can be used on a connection.

    Channel binding needs something to bind to, EXTERNAL a client's certificate.
    """
    return tuple([each for each in mechanisms if _fits(each, channel)])


def _fits(mechanism: str, channel: Channel | None) -> bool:
    if mechanism == _EXTERNAL:
        return channel is not None and bool(channel.client_certificate())
    return not mechanism.endswith(_PLUS) or (channel is not None and bool(channel.binding()))


class Challenge(msgspec.Struct, frozen=True, gc=False):
    """The server's next challenge, before base64."""

    data: bytes


class Success(msgspec.Struct, frozen=True, gc=False):
    """The client is `login`, in the back end's canonical spelling; `data` is a last word for the client (SCRAM)."""

    login: str
    data: bytes = b""


class Wrong(msgspec.Struct, frozen=True, gc=False):
    """The credentials are not right (535 5.7.8). `login` is what was claimed, for the log."""

    login: str = ""


class Malformed(msgspec.Struct, frozen=True, gc=False):
    """The response does not follow the mechanism's grammar (501 5.5.2)."""


class Unavailable(msgspec.Struct, frozen=True, gc=False):
    """Nobody can tell now (454 4.7.0). `detail` is for the log."""

    detail: str


class Throttled(msgspec.Struct, frozen=True, gc=False):
    """Too many guesses; these credentials were not looked at (454 4.7.0). `login` is what was claimed."""

    login: str


Step = Challenge | Success | Wrong | Malformed | Unavailable | Throttled


class Exchange(Protocol):
    """One SASL exchange (RFC 4422)."""

    async def respond(self, response: bytes | None) -> Step:
        """Take the client's response (None: AUTH came without an initial one) and return the next step."""

    def cancel(self) -> None:
        """The client gave up with `*`, or went away."""


class AuthBackend(Protocol):
    """A source of truth about logins."""

    def mechanisms(self) -> tuple[str, ...]:
        """The SASL mechanisms that may be offered inside TLS now, upper case; () when the back end is away."""

    def start(self, mechanism: str, facts: ConnectionFacts) -> Exchange | None:
        """Begin an exchange; None for a mechanism that is not offered (504 5.5.4)."""

    def close(self) -> None:
        """Let go of everything; exchanges that run end as Unavailable."""
