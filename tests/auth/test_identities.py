"""Whose login others vouch for."""

from pathlib import Path

import pytest

from valija.auth.accounts import Accounts
from valija.auth.identities import account_logins, system_logins
from valija.auth.system_users import SystemUsers


@pytest.fixture
def accounts(tmp_path: Path) -> Accounts:
    accounts = Accounts(tmp_path / "accounts.sqlite3")
    accounts.add("alice@example.org", "x")
    accounts.add_alias("sales@example.org", ["alice@example.org"])
    return accounts


@pytest.mark.parametrize(
    ("identity", "login"),
    [
        ("alice@example.org", "alice@example.org"),
        ("ALICE@Example.org.", "alice@example.org"),
        ("bob@example.org", None),
        ("sales@example.org", None),
        ("alice+x@example.org", None),
        ("alice", None),
        ("", None),
        ("@", None),
    ],
)
def test_accounts(accounts: Accounts, identity: str, login: str | None) -> None:
    assert account_logins(accounts)(identity) == login


@pytest.mark.parametrize(
    ("identity", "login"),
    [
        ("daemon", "daemon"),
        ("Daemon", "daemon"),
        ("daemon@example.org", "daemon@example.org"),
        ("Daemon@EXAMPLE.org", "daemon@example.org"),
        ("daemon@example.net", None),
        ("daemon+x@example.org", None),
        ("alice@example.org", "alice@example.org"),
        ("root", None),
        ("Root@example.org", None),
        ("nobody-of-that-name", None),
        ("nobody-of-that-name@example.org", None),
        ("", None),
    ],
)
def test_system_users(accounts: Accounts, identity: str, login: str | None) -> None:
    users = SystemUsers(lambda name: name in {"daemon", "root"}, lambda: 0.0)
    assert system_logins(accounts, users, {"example.org"})(identity) == login


def test_a_system_that_cannot_tell_says_so(accounts: Accounts) -> None:
    def away(name: str) -> bool:
        raise OSError("no answer")

    with pytest.raises(OSError, match="no answer"):
        system_logins(accounts, SystemUsers(away, lambda: 0.0), {"example.org"})("daemon")
