"""The embedded accounts as a back end: PLAIN and LOGIN against the file of accounts.

    backend = AccountsBackend(accounts, Passwords(threads=2))
    exchange = backend.start("PLAIN", facts)
    await exchange.respond(b"\\0alice@example.org\\0secret")      # Success("alice@example.org")

A login is the address of an account, in any case, without a subaddress. Who asks to act as somebody else (an authzid
other than the login) is Wrong. Whatever goes wrong on our side is Unavailable.
"""

from valija.auth.accounts import Accounts, canonical_login
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
from valija.auth.password import Passwords
from valija.smtp import sasl


class AccountsBackend:
    """An AuthBackend over Accounts."""

    def __init__(self, accounts: Accounts, passwords: Passwords) -> None:
        self._accounts = accounts
        self._passwords = passwords

    def mechanisms(self) -> tuple[str, ...]:
        """Both mechanisms, always: the file is asked when somebody logs in."""
        return tuple(sasl.EXCHANGES)

    def start(self, mechanism: str, facts: ConnectionFacts) -> Exchange | None:
        """Begin an exchange; None for other mechanisms, and in clear, where a password must not travel."""
        machine = sasl.EXCHANGES.get(mechanism.upper())
        return _PasswordExchange(self, machine()) if machine and facts.secured else None

    def close(self) -> None:
        """Let the threads end that verify passwords."""
        self._passwords.close()

    async def verify(self, credentials: sasl.Credentials) -> Step:
        """Tell whether the credentials are right."""
        claimed = credentials.authcid
        try:
            login = canonical_login(claimed)
            if credentials.authzid and credentials.authzid != claimed and canonical_login(credentials.authzid) != login:
                return Wrong(claimed)
            stored = self._accounts.password_hash(login) if login else None
            right = await self._passwords.verify(login or "", stored, credentials.password)
        except Exception as error:  # a fault of ours must not make a mail program forget its password
            return Unavailable(f"{type(error).__name__}: {error}")
        return Success(login) if right and login else Wrong(claimed)


class _PasswordExchange:
    def __init__(self, backend: AccountsBackend, machine: sasl.PlainExchange | sasl.LoginExchange) -> None:
        self._backend = backend
        self._machine = machine

    async def respond(self, response: bytes | None) -> Step:
        match self._machine.respond(response):
            case sasl.Challenge(data):
                return Challenge(data)
            case sasl.Credentials() as credentials:
                return await self._backend.verify(credentials)
            case _:
                return Malformed()

    def cancel(self) -> None:
        """Nothing is held between two responses."""
