"""The embedded accounts as a back end: PLAIN, LOGIN and SCRAM against the file of accounts.

    backend = AccountsBackend(accounts, Passwords(threads=2))
    exchange = backend.start("PLAIN", facts)
    await exchange.respond(b"\\0alice@example.org\\0secret")      # Success("alice@example.org")

A login is the address of an account, in any case, without a subaddress. Who asks to act as somebody else (an authzid
other than the login) is Wrong. Whatever goes wrong on our side is Unavailable.

SCRAM is offered once every account has keys for it (those of an older version get them at their next login by PLAIN or
LOGIN): many mail programs take the strongest mechanism that they are offered, and have no other password to try.
"""

import asyncio
import contextlib

from valija.auth.accounts import Accounts, canonical_login
from valija.auth.backend import (
    ConnectionFacts,
    Exchange,
    Step,
    Success,
    Unavailable,
    Wrong,
)
from valija.auth.database import AccountsUnusable
from valija.auth.password import Passwords
from valija.auth.password_exchange import PasswordExchange
from valija.auth.scram import Scram
from valija.smtp import sasl


class AccountsBackend:
    """An AuthBackend over Accounts."""

    def __init__(self, accounts: Accounts, passwords: Passwords, *, binds: bool = True) -> None:
        """`binds`: offer SCRAM with channel binding too."""
        self._accounts = accounts
        self._passwords = passwords
        self._scram = Scram(accounts, binds=binds)
        self._all_have_keys = False

    def mechanisms(self) -> tuple[str, ...]:
        """Those with a password always, whether the file can be read or not; SCRAM where it is of use to everybody."""
        return (*sasl.EXCHANGES, *self._scram.mechanisms) if self._is_scram_for_all() else tuple(sasl.EXCHANGES)

    def start(self, mechanism: str, facts: ConnectionFacts) -> Exchange | None:
        """Begin an exchange; None for other mechanisms, and in clear, where a password must not travel."""
        if not facts.secured:
            return None
        machine = sasl.EXCHANGES.get(mechanism.upper())
        if machine is not None:
            return PasswordExchange(machine(), self.verify)
        return self._scram.start(mechanism.upper(), facts) if self._is_scram_for_all() else None

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
        if not right or not login:
            return Wrong(claimed)
        if stored and not self._is_scram_for_all():
            await self._add_scram_keys(login, stored, credentials.password)
        return Success(login)

    def _is_scram_for_all(self) -> bool:
        """Whether all have keys. Once they do they always will: no account is made without."""
        with contextlib.suppress(AccountsUnusable):
            self._all_have_keys = self._all_have_keys or self._accounts.all_have_scram_keys()
        return self._all_have_keys

    async def _add_scram_keys(self, login: str, stored: str, password: bytes) -> None:
        """Give a login keys that it lacks. Where that can't be, it is tried again at the next one."""
        with contextlib.suppress(AccountsUnusable, ValueError):
            if self._accounts.scram_keys(login) is None:
                await asyncio.to_thread(_add_scram_keys, self._accounts, login, stored, password.decode())


def _add_scram_keys(accounts: Accounts, login: str, stored: str, password: str) -> None:
    with contextlib.closing(accounts.beside()) as beside:
        beside.add_scram_keys(login, stored, password)
