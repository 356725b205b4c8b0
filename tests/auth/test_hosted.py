"""Who lives in the hosted domains: accounts, aliases, the system's users, return addresses, and others' mailboxes."""

from pathlib import Path

import pytest

from valija.auth import accounts as accounts_module
from valija.auth.accounts import Accounts
from valija.auth.hosted import HostedDirectory

ALICE, BOB = "alice@example.org", "bob@example.org"
DOMAINS = ("example.org", "example.net")


@pytest.fixture
def accounts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Accounts:
    monkeypatch.setattr(accounts_module, "hash_password", lambda password: f"hash of {password}")
    monkeypatch.setattr(accounts_module, "SCRAM_ITERATIONS", 4096)
    accounts = Accounts(tmp_path / "accounts.sqlite3")
    for address in (ALICE, BOB):
        accounts.add(address, "x")
    return accounts


@pytest.fixture
def here(accounts: Accounts) -> HostedDirectory:
    return HostedDirectory(accounts, DOMAINS)


def test_expand(accounts: Accounts, here: HostedDirectory) -> None:
    accounts.add_alias("all@example.org", ["team@example.org", BOB])
    accounts.add_alias("team@example.org", [ALICE, "carol@example.com", "all@example.org"])
    assert set(here.expand("All@example.org")) == {ALICE, "carol@example.com", BOB}
    assert here.expand("Alice+News@example.org") == ("Alice+News@example.org",)
    assert here.expand("nobody@example.org") == ()
    assert here.exists("all+x@example.org")
    assert not here.exists("nobody@example.org")
    assert not here.exists("anybody@elsewhere.example")


def test_an_account_that_is_forwarded_with_and_without_a_copy(accounts: Accounts, here: HostedDirectory) -> None:
    accounts.add_alias(ALICE, ["alice@example.com"])
    assert here.expand(ALICE) == ("alice@example.com",)
    accounts.add_alias(ALICE, [ALICE])
    assert here.expand(ALICE) == ("alice@example.com", ALICE)


def test_a_second_way_to_an_alias_does_not_reach_the_account_behind_it(
    accounts: Accounts, here: HostedDirectory
) -> None:
    accounts.add_alias(BOB, ["bob@example.com"])
    accounts.add_alias("a@example.org", [BOB, "b@example.org"])
    accounts.add_alias("b@example.org", [BOB])
    assert here.expand("a@example.org") == ("bob@example.com",)


def test_a_circle_that_came_about_by_a_removal_is_no_address(accounts: Accounts, here: HostedDirectory) -> None:
    accounts.add_alias("a@example.org", ["b@example.org"])
    accounts.add_alias("b@example.org", ["a@example.org", "c@example.com"])
    assert here.exists("a@example.org")
    accounts.remove_alias("b@example.org", ["c@example.com"])
    assert not here.exists("a@example.org"), "refused at RCPT, not lost behind it"


def test_a_domain_that_is_another_name(accounts: Accounts, here: HostedDirectory) -> None:
    accounts.add_alias("@example.net", ["@example.org"])
    assert here.expand("Alice+x@example.net") == ("Alice+x@example.org",)
    assert not here.exists("nobody@example.net")
    assert here.owns(ALICE, "alice@example.net")
    assert not here.owns(BOB, "alice@example.net")


def test_postmaster_and_abuse_are_everywhere(here: HostedDirectory) -> None:
    for domain in DOMAINS:
        assert here.expand(f"Abuse@{domain}") == (f"postmaster@{domain}",)
        assert here.exists(f"postmaster@{domain}")
    assert not here.owns(ALICE, "postmaster@example.org")


# Whose address is it?


def test_owns(accounts: Accounts, here: HostedDirectory) -> None:
    accounts.add_alias("sales@example.org", ["team@example.org"])
    accounts.add_alias("team@example.org", ["Alice+team@example.org", "x@example.com"])
    assert here.owns(ALICE, "SALES+x@example.org")
    assert here.owns(ALICE, "Alice+y@example.org")
    assert not here.owns(BOB, "sales@example.org")
    assert not here.owns(ALICE, BOB)
    assert not here.owns(ALICE, "stranger@example.com")
    assert not here.owns(ALICE, "")


def test_an_alias_of_a_domain_that_is_not_hosted_may_be_sent_as(accounts: Accounts, here: HostedDirectory) -> None:
    accounts.add_alias("alice@example.com", [ALICE])
    assert here.owns(ALICE, "alice@example.com")
    assert not here.owns(BOB, "alice@example.com")


def test_who_gets_all_of_a_domain_may_send_as_what_is_nobody_elses(accounts: Accounts, here: HostedDirectory) -> None:
    accounts.add_alias("@example.org", [ALICE])
    assert here.owns(ALICE, "anything@example.org")
    assert not here.owns(ALICE, BOB)
    assert not here.owns(BOB, "anything@example.org")


def test_forwarded_account_stays_its_own(accounts: Accounts, here: HostedDirectory) -> None:
    """Who gets another account's mail may not write in its name."""
    accounts.add_alias(ALICE, [BOB])
    assert not here.owns(BOB, ALICE)
    assert here.owns(ALICE, ALICE)


def test_what_was_delegated_is_theirs(accounts: Accounts, here: HostedDirectory) -> None:
    accounts.allow(BOB, ALICE)
    assert here.owns(BOB, ALICE)
    assert not here.owns(ALICE, BOB)


def test_subaddress_of_a_login_is_no_login(here: HostedDirectory) -> None:
    assert not here.owns("alice+x@example.org", ALICE)


def test_a_login_without_a_domain_is_at_home_in_each(accounts: Accounts) -> None:
    here = HostedDirectory(accounts, DOMAINS, is_user=lambda address: address.startswith("carol@"))
    accounts.add_alias("press@example.org", ["carol@example.net"])
    assert here.owns("carol", "carol@example.net")
    assert here.owns("carol", "press@example.org")
    assert not here.owns("dave", "press@example.org")
    assert not here.owns(ALICE, "carol@example.org")


def test_another_delimiter(tmp_path: Path) -> None:
    accounts = Accounts(tmp_path / "other.sqlite3", delimiter="-")
    accounts.add("alice+x@example.org", "x")
    accounts.add(ALICE, "x")
    here = HostedDirectory(accounts, DOMAINS)
    assert here.owns(ALICE, "alice-news@example.org")
    assert not here.owns(ALICE, "alice+x@example.org")
    assert here.expand("alice+x-news@example.org") == ("alice+x-news@example.org",)
    assert not here.exists("alice+y@example.org")


# Return addresses


def test_a_return_address_is_its_senders(accounts: Accounts) -> None:
    senders = {"SRS0=good@example.org": "ann@remote.example", "SRS0=back@example.org": "sales@example.org"}
    here = HostedDirectory(accounts, DOMAINS, original=senders.get)
    assert here.expand("SRS0=good@example.org") == ("ann@remote.example",)
    assert not here.exists("SRS0=bad@example.org")
    accounts.add_alias("sales@example.org", [ALICE])
    assert here.expand("SRS0=back@example.org") == (ALICE,)
    assert not here.owns(ALICE, "SRS0=back@example.org")


def test_return_addresses_that_stand_for_each_other_have_an_end(accounts: Accounts) -> None:
    here = HostedDirectory(accounts, DOMAINS, original=lambda address: "SRS0=again@example.net")
    assert here.expand("SRS0=again@example.org") == ()


def test_a_forged_return_address_is_nobodys_though_all_of_the_domain_goes_somewhere(accounts: Accounts) -> None:
    accounts.add_alias("@example.org", [ALICE])
    assert not HostedDirectory(accounts, DOMAINS).exists("SRS0=forged@example.org")
    assert not HostedDirectory(accounts, DOMAINS, may_be_mailbox=lambda _: True).exists("srs1=forged@example.org")


def test_keys_that_cannot_be_had_make_nobody_unknown(accounts: Accounts) -> None:
    def original(address: str) -> str | None:
        raise OSError("the keys can't be read")

    with pytest.raises(OSError, match="can't be read"):
        HostedDirectory(accounts, DOMAINS, original=original).exists("SRS0=x@example.org")


# Others keep the mailboxes


def test_where_others_keep_the_mailboxes_they_are_to_be_asked(accounts: Accounts) -> None:
    nobody = {"ghost@example.org", BOB}
    here = HostedDirectory(accounts, DOMAINS, may_be_mailbox=lambda address: address not in nobody)
    assert here.exists("ghost@example.org"), "whoever goes on asks them"
    assert here.expand("ghost@example.org") == ()
    assert here.expand(BOB) == (), "an account is no mailbox there"
    accounts.add_alias("sales@example.org", ["carol@example.org", BOB])
    assert here.expand("sales@example.org") == ("carol@example.org",)
    accounts.add_alias("@example.org", ["carol@example.org"])
    assert here.expand("ghost@example.org") == ("carol@example.org",)
