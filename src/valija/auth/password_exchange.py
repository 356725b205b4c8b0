"""PLAIN and LOGIN before a back end that judges names and passwords.

exchange = PasswordExchange(sasl.PlainExchange(), backend.verify)
await exchange.respond(b"\\0alice\\0secret")      # what verify says
"""

from collections.abc import Awaitable, Callable

from valija.auth.backend import Challenge, Malformed, Step
from valija.smtp import sasl


class PasswordExchange:
    """An Exchange (auth/backend). `verify` is asked once name and password are there."""

    def __init__(
        self, grammar: sasl.PlainExchange | sasl.LoginExchange, verify: Callable[[sasl.Credentials], Awaitable[Step]]
    ) -> None:
        self._grammar = grammar
        self._verify = verify

    async def respond(self, response: bytes | None) -> Step:
        """Take the client's response and return the next step."""
        match self._grammar.respond(response):
            case sasl.Challenge(data):
                return Challenge(data)
            case sasl.Credentials() as credentials:
                return await self._verify(credentials)
            case _:
                return Malformed()

    def cancel(self) -> None:
        """Nothing is held between two responses."""
