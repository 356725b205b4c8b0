"""Accounts and aliases: who lives here, and which addresses lead to others.

    accounts = Accounts(data_dir / "accounts.sqlite3")
    accounts.add("alice@example.org", "secret")
    accounts.add_alias("sales@example.org", ["alice@example.org", "bob@example.net"])
    accounts.add_alias("@example.net", ["@example.org"])       # every other address of a domain, its local part kept
    accounts.exists("Sales+spring@example.org")        # True
    accounts.targets("sales@example.org")              # ["alice@example.org", "bob@example.net"]
    accounts.allow("alice@example.org", "@example.net")       # she may send as every address of that domain

Each question goes to the file, so that a command's change counts at once in every process. Addresses are kept and
compared as mail/address says: local parts in ASCII case folding and without a subaddress, domains as A-labels.

A password is stored twice: as argon2id hash, for mechanisms that send it, and as the keys of SCRAM (RFC 5802), for
those that do not. An account that an older version made has no keys until its password is set or used once more.

Where aliases lead in the end, auth/hosted tells.

Known weaknesses: who steals the file guesses passwords at the keys of SCRAM, which cost less to try than argon2id. A
file that is replaced, not written to, is seen after a restart only. Which domains are hosted is not known here: a
target elsewhere is an address like any other.
"""

import builtins
import secrets
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import apsw

from valija.auth.database import open_database, unusable
from valija.auth.password import hash_password, opaque_string
from valija.mail.address import AddressError, fold_case, mailbox_key, normalise_domain, quote, split
from valija.policy.aliases import EVERY_DOMAIN, Book, ends
from valija.smtp.grammar import SyntaxFault
from valija.smtp.grammar import path as parse_path
from valija.smtp.sasl_scram import ScramKeys

SCRAM_ITERATIONS: Final = 100_000  # the client's work at each login, ours when a password is set: some 20 ms
_SALT: Final = 16  # octets

_OF_A_LOGIN: Final = ("delegation", "own_limit", "contact", "frozen")
_ANYBODY: Final = '"any address at all"'  # stands for the addresses of a domain that are nothing else
_EXISTS = "SELECT EXISTS (SELECT 1 FROM account WHERE key = ?1) OR EXISTS (SELECT 1 FROM alias WHERE key = ?1)"


class AccountError(ValueError):
    """What was asked for cannot be done; the message names the input and the remedy."""


def canonical_address(text: str, delimiter: str = "+") -> str:
    """Return an address of an account or alias as it is stored and shown. Raises AccountError."""
    local, domain = split(_parse(text))
    key = f"{fold_case(local)}@{domain}"
    if domain.startswith("["):
        raise AccountError(f"{text!r} has an IP address for a domain; write the address with a domain name")
    if (base := mailbox_key(key, delimiter)) != key:
        raise AccountError(
            f"{text!r} holds a subaddress; leave it out: mail for {_shown(base)} comes with any subaddress"
        )
    return _shown(key)


def canonical_alias(text: str, delimiter: str = "+") -> str:
    """Return what an alias is for as it is stored and shown: an address, or `@domain`. Raises AccountError."""
    return _parse_domain(text) if text.startswith("@") else canonical_address(text, delimiter)


def canonical_login(text: str) -> str | None:
    """Return a login name as it is stored; None where it cannot be one. A subaddress is no part of a login."""
    local, domain = split(text)
    try:
        return f"{quote(fold_case(local))}@{normalise_domain(domain)}" if local and domain else None
    except AddressError:
        return None


def login_name(text: str, delimiter: str = "+") -> str:
    """Return the login that a command names: an account's address, or a system user. Raises AccountError."""
    if "@" in text:
        return canonical_address(text, delimiter)
    if not text or not text.isprintable() or " " in text:
        raise AccountError(f"{text!r} is no login; write an account's address, or the name of a system user")
    return text


def scram_keys(password: str) -> ScramKeys:
    """Return the keys of SCRAM for a password that `hash_password` took."""
    return ScramKeys.of(opaque_string(password).encode(), secrets.token_bytes(_SALT), SCRAM_ITERATIONS)


class Accounts:
    """The accounts and aliases in one file. Not for use by several threads at once, nor across a fork.

    Raises AccountsUnusable (auth/database) wherever the file cannot be read or written. With `create` false it is
    never made, and opened by the first question that finds it sound, so that a damaged one is no reason not to start.
    What stands behind the `delimiter` in a local part is a subaddress, with "" nothing is one.
    """

    def __init__(self, path: Path, *, create: bool = True, delimiter: str = "+") -> None:
        self._path = path
        self.delimiter = delimiter
        self._opened = open_database(path) if create else None

    def close(self) -> None:
        """Close the file."""
        if self._opened is not None:
            self._opened.close()

    # Accounts

    def add(self, address: str, password: str) -> str:
        """Add an account; return its address as stored. Raises AccountError, PasswordRefused."""
        address = canonical_address(address, self.delimiter)
        stored = hash_password(password), scram_keys(password).as_text()
        added = "INSERT OR IGNORE INTO account (key, hash, scram) VALUES (?, ?, ?)"
        if not self._change(added, self._key(address), *stored):
            raise AccountError(f"there is an account {address} already; valija user passwd changes its password")
        return address

    def set_password(self, address: str, password: str) -> str:
        """Change an account's password; return its address as stored. Raises AccountError, PasswordRefused."""
        address = canonical_address(address, self.delimiter)
        stored = hash_password(password), scram_keys(password).as_text()
        if not self._change("UPDATE account SET hash = ?2, scram = ?3 WHERE key = ?1", self._key(address), *stored):
            raise AccountError(_no_account(address))
        return address

    def remove(self, address: str) -> tuple[str, ...]:
        """Remove an account, and its address from the aliases that lead there; return those. Raises AccountError."""
        address = canonical_address(address, self.delimiter)
        key = self._key(address)
        with self._transaction():
            if not self._change("DELETE FROM account WHERE key = ?", key):
                raise AccountError(_no_account(address))
            led_here = self._column("SELECT DISTINCT key FROM alias WHERE target_key = ? ORDER BY key", key)
            self._change("DELETE FROM alias WHERE target_key = ?", key)
            for table in _OF_A_LOGIN:  # or who gets the address next would get these with it
                self._change(f"DELETE FROM {table} WHERE login = ?", address)  # noqa: S608
        return tuple(map(_shown, led_here))

    def password_hash(self, login: str) -> str | None:
        """Return what is stored for a login in its canonical spelling, None where there is no such account."""
        found = self._column("SELECT hash FROM account WHERE key = ?", _login_key(login))
        return found[0] if found else None

    # SCRAM

    def scram_keys(self, login: str) -> ScramKeys | None:
        """Return the keys of a login in its canonical spelling, None where it has none. Raises ValueError (damaged)."""
        found = self._column("SELECT scram FROM account WHERE key = ? AND scram IS NOT NULL", _login_key(login))
        return ScramKeys.parse(found[0]) if found else None

    def add_scram_keys(self, login: str, stored: str, password: str) -> None:
        """Give a login keys for the password that `stored` is the hash of, unless it has some, or another by now.

        Takes some 20 ms of one core.
        """
        keys = scram_keys(password).as_text()
        missing = "UPDATE account SET scram = ?3 WHERE key = ?1 AND hash = ?2 AND scram IS NULL"
        self._change(missing, _login_key(login), stored, keys)

    def without_scram_keys(self) -> frozenset[str]:
        """Return the addresses of the accounts that have no keys."""
        return frozenset(map(_shown, self._column("SELECT key FROM account WHERE scram IS NULL")))

    def all_have_scram_keys(self) -> bool:
        """Whether there is no account without keys."""
        return not self._column("SELECT 1 FROM account WHERE scram IS NULL LIMIT 1")

    def salt_key(self) -> bytes:
        """Return what only this file knows, to make the salts of accounts that do not exist."""
        key: bytes = self._rows("SELECT value FROM salt_key")[0][0]
        return key

    def beside(self) -> "Accounts":
        """Return the same accounts for use in another thread."""
        return Accounts(self._path, create=False, delimiter=self.delimiter)

    # Aliases

    def add_alias(self, address: str, targets: Iterable[str]) -> str:
        """Have mail for an address go to targets, besides those it has; return it as stored. Raises AccountError.

        `@example.org` is for every address of a domain that is nothing else, and may lead to `@example.net`.
        """
        address = canonical_alias(address, self.delimiter)
        parsed = [_parse_target(target, address) for target in targets]
        if not parsed:
            raise AccountError(f"the alias {address} leads nowhere; name the addresses its mail goes to")
        key = self._key(address)
        with self._transaction():
            for target in parsed:
                self._change("INSERT OR IGNORE INTO alias VALUES (?, ?, ?)", key, target, self._key(target))
            if not self._leads_anywhere(key):
                raise AccountError(f"the alias {address} would lead back to itself alone; name another target")
        return address

    def remove_alias(self, address: str, targets: Iterable[str] | None = None) -> str:
        """Remove targets of an alias, None: all of them; return its address as stored. Raises AccountError."""
        address = canonical_alias(address, self.delimiter)
        key = self._key(address)
        if not self.targets(key):
            raise AccountError(f"there is no alias {address}; valija alias list shows those there are")
        if targets is None:
            self._change("DELETE FROM alias WHERE key = ?", key)
            return address
        with self._transaction():
            for target in targets:
                parsed = _parse_target(target, address)
                if not self._change("DELETE FROM alias WHERE key = ? AND target = ?", key, parsed):
                    raise AccountError(f"{target!r} is no target of {address}; valija alias list shows them")
        return address

    def aliases(self) -> dict[str, tuple[str, ...]]:
        """Return the aliases and where each leads, in alphabetical order."""
        found: dict[str, tuple[str, ...]] = {}
        for key, target in self._rows("SELECT key, target FROM alias ORDER BY key, target"):
            found[_shown(key)] = (*found.get(_shown(key), ()), target)
        return found

    # Delegations: addresses of others that a login may send as

    def allow(self, login: str, granted: str) -> tuple[str, str]:
        """Let a login send as an address, or, with `@domain`, as a whole domain; return both as stored.

        A login is an account's address, or the name of a system user. Raises AccountError.
        """
        login, granted = login_name(login, self.delimiter), _grant(granted, self.delimiter)
        self._change("INSERT OR IGNORE INTO delegation VALUES (?, ?)", login, granted)
        return login, granted

    def disallow(self, login: str, granted: str) -> tuple[str, str]:
        """Take a delegation back; return both as they were stored. Raises AccountError."""
        login, granted = login_name(login, self.delimiter), _grant(granted, self.delimiter)
        if not self._change("DELETE FROM delegation WHERE login = ? AND granted = ?", login, granted):
            raise AccountError(f"{login} is not allowed to send as {granted}; valija user list shows what it may")
        return login, granted

    def delegations(self) -> dict[str, tuple[str, ...]]:
        """Return what logins may send as beyond their own, in alphabetical order."""
        found: dict[str, tuple[str, ...]] = {}
        for login, granted in self._rows("SELECT login, granted FROM delegation ORDER BY login, granted"):
            found[login] = (*found.get(login, ()), granted)
        return found

    def is_allowed(self, login: str, address: str) -> bool:
        """Whether an address was delegated to a login in its canonical spelling, by itself or with its domain."""
        domain = split(address)[1]
        of_address = _shown(self._key(address))
        granted = "SELECT 1 FROM delegation WHERE login = ?1 AND granted IN (?2, ?3)"
        return bool(self._column(granted, login, of_address, f"@{domain}"))

    # What the server asks

    def exists(self, address: str) -> bool:
        """Whether an address is an account's or an alias's."""
        return bool(self._column(_EXISTS, self._key(address))[0])

    def is_account(self, login: str) -> bool:
        """Whether there is an account of that login, in its canonical spelling."""
        return self._is_account(_login_key(login))

    def targets(self, key: str) -> builtins.list[str]:
        """Return where an alias leads, by the key of its address (mail/address.mailbox_key) or `@domain`."""
        return self._column("SELECT target FROM alias WHERE key = ? ORDER BY target", key)

    def _is_account(self, key: str) -> bool:
        return bool(self._column("SELECT 1 FROM account WHERE key = ?", key))

    def _leads_anywhere(self, key: str) -> bool:
        """Whether an alias does not only turn in a circle; who has the addresses it leads to does not matter here."""
        start = f"{_ANYBODY}{key}" if key.startswith("@") else key

        def is_mailbox(address: str) -> bool:
            if address.startswith(_ANYBODY):
                return not self.targets(f"@{split(address)[1]}")
            return self._key(address) != key or self._is_account(key)

        return any(ends(start, Book(self.targets, is_mailbox, EVERY_DOMAIN, self.delimiter)))

    def _key(self, address: str) -> str:
        return mailbox_key(address, self.delimiter)

    # The file

    @property
    def _connection(self) -> apsw.Connection:
        if self._opened is None:
            self._opened = open_database(self._path, create=False)
        return self._opened

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        try:
            with self._connection:
                yield
        except apsw.Error as error:
            raise unusable(self._path, error) from error

    def _rows(self, question: str, *values: str) -> Sequence[tuple[Any, ...]]:
        try:
            return self._connection.execute(question, values).fetchall()
        except apsw.Error as error:
            raise unusable(self._path, error) from error

    def _column(self, question: str, *values: str) -> builtins.list[str]:
        return [row[0] for row in self._rows(question, *values)]

    def _change(self, statement: str, *values: str) -> int:
        self._rows(statement, *values)
        return self._connection.changes()

    def list(self) -> tuple[str, ...]:
        """Return the addresses of all accounts, in alphabetical order."""
        return tuple(_shown(key) for (key,) in self._rows("SELECT key FROM account ORDER BY key"))


def _parse(text: str) -> str:
    """Return a mailbox in our spelling: the local part as written, the domain as A-labels. Raises AccountError."""
    try:
        address, rest = parse_path(f"<{text}>") if text.isprintable() else ("", text)
    except SyntaxFault:
        address, rest = "", text
    if not address or rest or address == "postmaster":
        raise AccountError(f"{text!r} is no mail address; write it as alice@example.org")
    return address


def _grant(text: str, delimiter: str) -> str:
    """Return what a delegation is for as it is stored: an address, or `@domain`. Raises AccountError."""
    if not text.startswith("@"):
        return canonical_address(text, delimiter)
    try:
        return f"@{normalise_domain(text[1:])}"
    except AddressError as error:
        remedy = "write @example.org for every address of a domain"
        raise AccountError(f"{text!r} names no domain: {error}; {remedy}") from None


def _parse_target(text: str, alias: str) -> str:
    """Return a target in our spelling: a mailbox, or `@domain` where the alias is one. Raises AccountError."""
    if not text.startswith("@"):
        return _parse(text)
    if not alias.startswith("@"):
        raise AccountError(f"{text!r} is a whole domain: only the alias of one, @{split(alias)[1]}, may lead there")
    return _parse_domain(text)


def _parse_domain(text: str) -> str:
    try:
        return f"@{normalise_domain(text[1:])}"
    except AddressError as error:
        raise AccountError(f"{text!r} is no domain: {error}; write it as @example.org") from None


def _login_key(login: str) -> str:
    return mailbox_key(login, separator="")


def _shown(key: str) -> str:
    local, domain = split(key)
    return f"{quote(local)}@{domain}" if local else key


def _no_account(address: str) -> str:
    return f"there is no account {address}; valija user list shows those there are"
