"""Frozen logins, limits of their own, contacts: kept beside the accounts, seen by other processes, gone with them."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from valija.auth.accounts import AccountError, Accounts
from valija.auth.database import AccountsUnusable
from valija.auth.standings import Freeze, Standings

ALICE = "alice@example.org"
FREEZE = Freeze(1000.0, 900.0, "it looks stolen")


@pytest.fixture
def accounts(tmp_path: Path) -> Iterator[Accounts]:
    accounts = Accounts(tmp_path / "accounts.sqlite3")
    accounts.add(ALICE, "secret")
    yield accounts
    accounts.close()


@pytest.fixture
def standings(accounts: Accounts, tmp_path: Path) -> Iterator[Standings]:
    standings = Standings(tmp_path / "accounts.sqlite3")
    yield standings
    standings.close()


def test_a_login_is_frozen_once(standings: Standings) -> None:
    assert standings.freeze(ALICE, FREEZE)
    assert not standings.freeze(ALICE, Freeze(2000.0, 1900.0, "again"))
    assert standings.frozen() == {ALICE: FREEZE}
    assert standings.unfreeze(ALICE) == FREEZE
    assert standings.unfreeze(ALICE) is None
    assert standings.frozen() == {}


def test_limits_of_their_own(standings: Standings) -> None:
    standings.set_limit(ALICE, "messages_per_day", 10)
    standings.set_limit(ALICE, "messages_per_day", 20)
    standings.set_limit("carol", "circuit_breaker", 0)
    assert standings.limits() == {ALICE: {"messages_per_day": 20}, "carol": {"circuit_breaker": 0}}
    standings.set_limit(ALICE, "messages_per_day", None)
    assert ALICE not in standings.limits()


def test_contacts(standings: Standings) -> None:
    assert standings.set_contact(ALICE, "Alice@Home.example") == "alice@home.example"
    assert standings.contacts() == {ALICE: "alice@home.example"}
    with pytest.raises(AccountError, match="the account itself"):
        standings.set_contact(ALICE, "ALICE@example.org")
    with pytest.raises(AccountError, match="no mail address"):
        standings.set_contact(ALICE, "nonsense")
    assert standings.set_contact(ALICE, None) is None
    assert standings.contacts() == {}


def test_what_another_process_changes_is_noticed(standings: Standings, tmp_path: Path) -> None:
    assert standings.has_changed(), "nothing was known yet"
    assert not standings.has_changed()
    standings.freeze("bob@example.org", FREEZE)
    assert not standings.has_changed(), "one's own changes are no news"
    other = Standings(tmp_path / "accounts.sqlite3")
    other.freeze(ALICE, FREEZE)
    other.close()
    assert standings.has_changed()
    assert ALICE in standings.frozen()


def test_who_gets_an_address_next_gets_none_of_it(accounts: Accounts, standings: Standings) -> None:
    standings.freeze(ALICE, FREEZE)
    standings.set_limit(ALICE, "messages_per_day", 10)
    standings.set_contact(ALICE, "alice@home.example")
    accounts.allow(ALICE, "@example.net")
    accounts.remove(ALICE)
    accounts.add(ALICE, "another")
    assert (standings.frozen(), standings.limits(), standings.contacts()) == ({}, {}, {})
    assert accounts.delegations() == {}
    assert not accounts.is_allowed(ALICE, "x@example.net")


def test_without_the_file_it_says_so(tmp_path: Path) -> None:
    with pytest.raises(AccountsUnusable):
        Standings(tmp_path / "missing.sqlite3").frozen()
