"""What an administrator, or the circuit breaker, has laid down for a login: frozen, limits of its own, a contact.

    standings = Standings(data_dir / "accounts.sqlite3")
    standings.freeze("alice@example.org", Freeze(at=now, began=now - 600, reason="it looks stolen: ..."))   # True: new
    standings.frozen()                                   # {"alice@example.org": Freeze(...)}
    standings.set_limit("news@example.org", "messages_per_day", 0)        # 0: none
    standings.set_contact("alice@example.org", "alice@home.example")

It lies in the file of accounts, also for logins that Dovecot or PAM judges. A login stands in its canonical spelling
(auth/accounts.login_name). `has_changed` is cheap enough to be asked every second; whoever has changed something in
another process is heard of by it.

Not for use by several threads at once, nor across a fork. Raises AccountsUnusable where the file can't be used.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import apsw
import msgspec

from valija.auth.accounts import AccountError, canonical_address
from valija.auth.database import open_database, unusable


class Freeze(msgspec.Struct, frozen=True):
    """A login that may not be used. `at` and `began` (of the misuse) are in epoch seconds; `reason` is for people."""

    at: float
    began: float
    reason: str


class Standings:
    """The standings in one file, opened by the first question."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._opened: apsw.Connection | None = None
        self._version = -1

    def close(self) -> None:
        """Close the file."""
        if self._opened is not None:
            self._opened.close()
            self._opened = None

    def has_changed(self) -> bool:
        """Whether another process has written to the file since this was last asked."""
        version = int(self._rows("PRAGMA data_version")[0][0])
        before, self._version = self._version, version
        return version != before

    # Frozen

    def freeze(self, login: str, freeze: Freeze) -> bool:
        """Freeze a login; False where it was frozen already, which stays as it is."""
        added = "INSERT OR IGNORE INTO frozen VALUES (?, ?, ?, ?)"
        return self._change(added, login, freeze.at, freeze.began, freeze.reason) > 0

    def unfreeze(self, login: str) -> Freeze | None:
        """Let a login be used again; return what held it, None where it was not frozen."""
        freeze = self.frozen().get(login)
        self._change("DELETE FROM frozen WHERE login = ?", login)
        return freeze

    def frozen(self) -> dict[str, Freeze]:
        """Return the logins that are frozen."""
        return {login: Freeze(*rest) for login, *rest in self._rows("SELECT * FROM frozen ORDER BY login")}

    # Limits of their own

    def set_limit(self, login: str, name: str, value: int | None) -> None:
        """Give a login a limit of its own in the place of everybody's; None: take it back."""
        if value is None:
            self._change("DELETE FROM own_limit WHERE login = ? AND name = ?", login, name)
        else:
            self._change("INSERT OR REPLACE INTO own_limit VALUES (?, ?, ?)", login, name, value)

    def limits(self) -> dict[str, dict[str, int]]:
        """Return the limits of their own that logins have, each by its name."""
        found: dict[str, dict[str, int]] = {}
        for login, name, value in self._rows("SELECT login, name, value FROM own_limit ORDER BY login, name"):
            found.setdefault(login, {})[name] = value
        return found

    # Contacts

    def set_contact(self, login: str, address: str | None) -> str | None:
        """Set where a login's owner is told what must not go to the mailbox itself; None: nowhere else.

        Returns the address as stored. Raises AccountError.
        """
        if address is None:
            self._change("DELETE FROM contact WHERE login = ?", login)
            return None
        stored = canonical_address(address)
        if stored == login:
            raise AccountError(f"{stored} is the account itself; name an address that works without it")
        self._change("INSERT OR REPLACE INTO contact VALUES (?, ?)", login, stored)
        return stored

    def contacts(self) -> dict[str, str]:
        """Return where owners are told."""
        return dict(self._rows("SELECT login, address FROM contact ORDER BY login"))

    # The file

    def _rows(self, question: str, *values: str | float) -> Sequence[tuple[Any, ...]]:
        try:
            if self._opened is None:
                self._opened = open_database(self._path, create=False)
            return self._opened.execute(question, values).fetchall()
        except apsw.Error as error:
            raise unusable(self._path, error) from error

    def _change(self, statement: str, *values: str | float) -> int:
        self._rows(statement, *values)
        assert self._opened is not None
        return self._opened.changes()
