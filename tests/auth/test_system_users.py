"""The system's users as people who have mail here."""

import subprocess
import sys
from pathlib import Path

import pytest

from valija.auth.accounts import Accounts
from valija.auth.hosted import HostedDirectory
from valija.auth.system_users import KNOWN_FOR, UNKNOWN_FOR, SystemUsers, is_system_user


class System:
    """Knows some names, and counts how often it was asked."""

    def __init__(self, *names: str) -> None:
        self.names = set(names)
        self.asked = 0
        self.now = 0.0
        self.users = SystemUsers(self.ask, lambda: self.now)

    def ask(self, name: str) -> bool:
        self.asked += 1
        return name in self.names


def directory(folder: Path, users: SystemUsers) -> tuple[HostedDirectory, Accounts]:
    accounts = Accounts(folder / "accounts.sqlite3")
    return HostedDirectory(accounts, ["example.org", "example.net"], is_user=users.have_mailbox), accounts


def test_the_real_system() -> None:
    assert is_system_user("root")
    assert not is_system_user("no-such-user-here")
    assert not is_system_user("a\0b")


def test_the_real_system_that_cannot_tell_is_no_unknown_user() -> None:
    """Out of descriptors the list of users can't be opened, and Python's own `pwd` says that nobody is in it."""
    code = """
import resource
from valija.auth.system_users import is_system_user
resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3))
for name in ("root", "no-such-user-here"):
    try:
        print(is_system_user(name))
    except OSError as error:
        print(type(error).__name__)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout.split() == ["OSError", "OSError"]


@pytest.mark.parametrize(
    "address",
    ["alice@example.org", "alice@example.net", "Alice@example.org", "alice+news@example.org", "Bob@example.org"],
)
def test_users_have_an_address_in_each_hosted_domain(tmp_path: Path, address: str) -> None:
    here, _ = directory(tmp_path, System("alice", "Bob").users)
    assert here.exists(address)


@pytest.mark.parametrize(
    "address",
    ["alice@elsewhere.example", "carol@example.org", "bob@example.org", "alicex@example.org", "+@example.org"],
)
def test_nobody_else_has(tmp_path: Path, address: str) -> None:
    here, _ = directory(tmp_path, System("alice", "Bob").users)
    assert not here.exists(address)


def test_accounts_and_aliases_stay(tmp_path: Path) -> None:
    here, accounts = directory(tmp_path, System("alice").users)
    accounts.add("carol@example.org", "secret")
    accounts.add_alias("sales@example.org", ["alice@example.org"])
    assert here.exists("carol@example.org")
    assert here.expand("sales@example.org") == ("alice@example.org",)
    assert here.owns("alice", "sales@example.org")
    assert here.owns("carol@example.org", "carol@example.org")
    assert not here.owns("bob", "sales@example.org")


def test_answers_are_kept_for_a_while() -> None:
    system = System("alice")
    for _ in range(5):
        assert system.users.canonical("alice") == "alice"
        assert system.users.canonical("bob") is None
    assert system.asked == 2
    system.now = UNKNOWN_FOR + 1
    system.names.add("bob")
    assert system.users.canonical("bob") == "bob"
    system.now += KNOWN_FOR + 1
    system.names.clear()
    assert system.users.canonical("alice") is None


def test_system_that_cannot_tell_makes_nobody_unknown(tmp_path: Path) -> None:
    def away(name: str) -> bool:
        raise OSError("the directory server is away")

    here, _ = directory(tmp_path, SystemUsers(away, lambda: 0.0))
    with pytest.raises(OSError, match="away"):
        here.exists("alice@example.org")
