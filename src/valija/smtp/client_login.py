"""A login as SMTP carries it, on the client's side (RFC 4954): AUTH, challenges, responses, and what it came to.

    login = Login("PLAIN", Secret("alice@example.org", b"secret"))
    machine.log_in(login)           # sends `AUTH PLAIN AGFsaWNl...`; see smtp/client
    ...                             # LoggedIn, or LoginRefused with the peer's reply

A server that can't be trusted is told `*`, and the login has failed whatever it answers.
"""

import binascii
from typing import Final

from valija.mail.reply import Reply
from valija.smtp.client_events import LoggedIn, LoginRefused
from valija.smtp.client_sasl import NotTrusted, Secret, begin

LONGEST_COMMAND: Final = 512  # octets with CRLF; a longer initial response waits for a challenge (RFC 4954 section 4)
_MOST_CHALLENGES: Final = 8


class Login:
    """One login under way. `mechanism` is one of client_sasl.MECHANISMS."""

    __slots__ = ("_challenges", "_exchange", "_held", "_why_not", "mechanism")

    def __init__(self, mechanism: str, secret: Secret) -> None:
        self.mechanism = mechanism
        self._exchange = begin(mechanism, secret)
        self._held: bytes | None = None  # an initial response that was too long to go with the command
        self._challenges = 0
        self._why_not = ""

    def command(self) -> bytes:
        """Return the command that begins the login."""
        bare = f"AUTH {self.mechanism}\r\n".encode()
        initial = self._exchange.initial
        if initial is None:
            return bare
        command = bare[:-2] + b" " + (_base64(initial) or b"=") + b"\r\n"
        if len(command) <= LONGEST_COMMAND:
            return command
        self._held = initial
        return bare

    def answer(self, text: str) -> bytes | None:
        """Return the line that answers a 334 with `text`; None where the login was given up before."""
        if self._why_not:
            return None
        try:
            return _base64(self._respond(text)) + b"\r\n"
        except NotTrusted as reason:
            self._why_not = str(reason)
            return b"*\r\n"

    def _respond(self, text: str) -> bytes:
        self._challenges += 1
        if self._challenges > _MOST_CHALLENGES:
            raise NotTrusted("its challenges do not end")
        if self._held is not None:
            response, self._held = self._held, None
            return response
        return self._exchange.respond(_octets(text))

    def ended(self, reply: Reply) -> LoggedIn | LoginRefused:
        """Return what the login came to, `reply` being the last one."""
        if not reply.is_positive or self._why_not:
            return LoginRefused(reply, self._why_not)
        if self._held is not None or not self._exchange.is_proven:
            return LoginRefused(reply, "it lets in without having asked, or without proof that it knows the password")
        return LoggedIn(reply)


def _base64(octets: bytes) -> bytes:
    return binascii.b2a_base64(octets, newline=False)


def _octets(text: str) -> bytes:
    """Raises NotTrusted for what is no base64. A lone `=` stands for nothing, as some servers write it."""
    octets = b"" if text == "=" else text.encode("utf-8", "surrogateescape")
    try:
        return binascii.a2b_base64(octets, strict_mode=True)
    except ValueError:
        raise NotTrusted("its challenge is no base64") from None
