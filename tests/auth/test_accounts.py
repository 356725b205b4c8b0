"""Accounts and aliases in their file."""

import itertools
import multiprocessing
import os
import stat
from collections.abc import Sequence
from pathlib import Path

import apsw
import pytest
from hypothesis import given
from hypothesis import strategies as st

from valija.auth import accounts as accounts_module
from valija.auth.accounts import AccountError, Accounts, canonical_address, canonical_login
from valija.auth.database import APPLICATION_ID, AccountsUnusable
from valija.auth.password import ARGON2, PasswordRefused
from valija.smtp.sasl_scram import ScramKeys

ALICE, BOB = "alice@example.org", "bob@example.org"


@pytest.fixture(autouse=True)
def _quick_hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accounts_module, "hash_password", lambda password: f"hash of {password}")
    monkeypatch.setattr(accounts_module, "SCRAM_ITERATIONS", 4096)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "accounts.sqlite3"


@pytest.fixture
def accounts(file: Path) -> Accounts:
    return Accounts(file)


# Accounts


def test_life_of_an_account(accounts: Accounts) -> None:
    assert accounts.list() == ()
    assert accounts.add("Alice@EXAMPLE.org", "one") == ALICE
    assert accounts.list() == (ALICE,)
    assert accounts.password_hash(ALICE) == "hash of one"
    accounts.set_password(ALICE, "two")
    assert accounts.password_hash(ALICE) == "hash of two"
    assert accounts.exists(ALICE)
    assert accounts.remove("ALICE@example.org") == ()
    assert not accounts.exists(ALICE)
    assert accounts.password_hash(ALICE) is None


def test_stored_hashes_are_argon2(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    accounts = Accounts(file)
    accounts.add(ALICE, "secret")
    assert ARGON2.verify(accounts.password_hash(ALICE) or "", "secret")
    assert b"secret" not in file.read_bytes()
    with pytest.raises(PasswordRefused):
        accounts.add(BOB, "")
    assert not accounts.exists(BOB)


@pytest.mark.parametrize(
    ("written", "stored"),
    [
        ("Alice@Example.ORG", ALICE),
        ("alice@example.org.", ALICE),
        ('"alice"@example.org', ALICE),
        ('"odd user"@example.org', '"odd user"@example.org'),
        ('"Odd User"@example.org', '"odd user"@example.org'),
        ("jos\u00e9@b\u00fccher.example", "jos\u00e9@xn--bcher-kva.example"),
        ("alice@XN--BCHER-KVA.example", "alice@xn--bcher-kva.example"),
        ("postmaster@localhost", "postmaster@localhost"),
    ],
)
def test_addresses_are_kept_in_one_spelling(accounts: Accounts, written: str, stored: str) -> None:
    assert accounts.add(written, "x") == stored
    assert accounts.list() == (stored,)
    assert accounts.exists(stored)
    assert accounts.password_hash(stored) == "hash of x"
    assert canonical_login(written) == stored
    with pytest.raises(AccountError, match="already"):
        accounts.add(stored, "y")


@pytest.mark.parametrize(
    "text",
    ["", "alice", "@example.org", "alice@", "alice@@example.org", "alice bob@example.org", "<alice@example.org>",
     "alice@exa mple.org", "alice@example..org", "alice@example.org\n", "al\0ice@example.org", "alice@[192.0.2.1]",
     "postmaster", "alice@example.org,bob@example.org", "a" * 300 + "@example.org", "alice@-", "\udc80@example.org"],
)  # fmt: skip
def test_no_addresses(accounts: Accounts, text: str) -> None:
    with pytest.raises(AccountError) as caught:
        accounts.add(text, "x")
    assert repr(text) in str(caught.value)
    assert "; write" in str(caught.value)
    assert accounts.list() == ()


def test_subaddress_is_no_account(accounts: Accounts) -> None:
    with pytest.raises(AccountError, match=r"leave it out: mail for alice@example\.org"):
        accounts.add("alice+news@example.org", "x")


@pytest.mark.parametrize("verb", ["remove", "set_password"])
def test_account_that_is_not_there(accounts: Accounts, verb: str) -> None:
    with pytest.raises(AccountError, match=r"no account bob@example\.org; valija user list"):
        accounts.remove(BOB) if verb == "remove" else accounts.set_password(BOB, "x")


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        (ALICE, True),
        ("ALICE@example.org", True),
        ("alice+news@example.org", True),
        ("Alice+a+b@example.org", True),
        ('"alice"@example.org', True),
        ('"alice+x"@example.org', True),
        ("alicia@example.org", False),
        ("alice@example.net", False),
        ("alice@sub.example.org", False),
        ("+alice@example.org", False),
        ("", False),
        ("postmaster", False),
    ],
)
def test_exists(accounts: Accounts, address: str, expected: bool) -> None:
    accounts.add(ALICE, "x")
    assert accounts.exists(address) is expected


def test_a_login_has_no_subaddress(accounts: Accounts) -> None:
    accounts.add(ALICE, "x")
    assert accounts.password_hash("alice+news@example.org") is None


@pytest.mark.parametrize("text", ["", "alice", "@example.org", "alice@", "a@b c", "alice@[192.0.2.1]"])
def test_no_logins(text: str) -> None:
    assert canonical_login(text) is None


@given(st.text(max_size=30), st.text(max_size=30))
def test_any_text_is_an_address_or_an_account_error(local: str, domain: str) -> None:
    try:
        stored = canonical_address(f"{local}@{domain}")
    except AccountError:
        return
    assert canonical_address(stored) == stored == canonical_login(stored)


# Aliases


def test_life_of_an_alias(accounts: Accounts) -> None:
    assert accounts.add_alias("Sales@example.org", [ALICE, "Bob+x@EXAMPLE.net"]) == "sales@example.org"
    accounts.add_alias("sales@example.org", [ALICE, "carol@example.org"])
    assert accounts.aliases() == {"sales@example.org": ("Bob+x@example.net", ALICE, "carol@example.org")}
    assert accounts.exists("SALES+spring@example.org")
    accounts.remove_alias("sales@example.org", [ALICE])
    assert accounts.targets("sales@example.org") == ["Bob+x@example.net", "carol@example.org"]
    assert accounts.remove_alias("SALES@example.org") == "sales@example.org"
    assert accounts.aliases() == {}
    assert not accounts.exists("sales@example.org")


def test_alias_faults(accounts: Accounts) -> None:
    with pytest.raises(AccountError, match="leads nowhere"):
        accounts.add_alias("sales@example.org", [])
    with pytest.raises(AccountError, match="'nonsense' is no mail address"):
        accounts.add_alias("sales@example.org", [ALICE, "nonsense"])
    with pytest.raises(AccountError, match="no alias sales"):
        accounts.remove_alias("sales@example.org")
    accounts.add_alias("sales@example.org", [ALICE])
    with pytest.raises(AccountError, match="no target of sales"):
        accounts.remove_alias("sales@example.org", [ALICE, BOB])
    assert accounts.aliases() == {"sales@example.org": (ALICE,)}, "all of a change or nothing"


@pytest.mark.parametrize("length", [1, 2, 5])
def test_alias_that_only_turns_in_a_circle_is_refused(accounts: Accounts, length: int) -> None:
    ring = [f"a{number}@example.org" for number in range(length)]
    for here, there in itertools.pairwise(ring):
        accounts.add_alias(here, [there])
    with pytest.raises(AccountError, match="back to itself"):
        accounts.add_alias(ring[-1], [ring[0]])
    assert ring[-1] not in accounts.aliases()


@pytest.mark.parametrize("targets", [["@example.org"], ["@example.net"]])
def test_domains_that_only_name_each_other_are_refused(accounts: Accounts, targets: list[str]) -> None:
    accounts.add_alias("@example.net", ["@example.com", BOB])
    accounts.add_alias("@example.com", ["@example.org"])
    accounts.remove_alias("@example.net", [BOB])
    with pytest.raises(AccountError, match="back to itself"):
        accounts.add_alias("@example.org", targets)


def test_life_of_the_alias_of_a_domain(accounts: Accounts) -> None:
    assert accounts.add_alias("@EXAMPLE.org", [BOB, "@B\u00fccher.example"]) == "@example.org"
    assert accounts.aliases() == {"@example.org": ("@xn--bcher-kva.example", BOB)}
    assert accounts.targets("@example.org") == ["@xn--bcher-kva.example", BOB]
    assert not accounts.exists("anybody@example.org"), "that is for auth/hosted to say"
    accounts.remove_alias("@example.org", ["@b\u00fccher.example"])
    assert accounts.aliases() == {"@example.org": (BOB,)}
    with pytest.raises(AccountError, match="whole domain"):
        accounts.add_alias("sales@example.org", ["@example.net"])
    with pytest.raises(AccountError, match="no domain"):
        accounts.add_alias("@", [BOB])


def test_another_delimiter(file: Path) -> None:
    accounts = Accounts(file, delimiter="-")
    assert accounts.add("alice+x@example.org", "x") == "alice+x@example.org"
    with pytest.raises(AccountError, match="subaddress"):
        accounts.add("mary-ann@example.org", "x")
    assert accounts.exists("alice+x-news@example.org")
    assert not accounts.exists("alice@example.org")
    accounts.delimiter = ""
    assert accounts.add("mary-ann@example.org", "x") == "mary-ann@example.org"
    assert not accounts.exists("alice+x-news@example.org")


def test_aliases_lose_an_account_that_is_removed(accounts: Accounts) -> None:
    accounts.add(ALICE, "x")
    accounts.add_alias("sales@example.org", [ALICE, BOB])
    accounts.add_alias("ceo@example.org", ["Alice+ceo@example.org"])
    assert accounts.remove(ALICE) == ("ceo@example.org", "sales@example.org")
    assert accounts.aliases() == {"sales@example.org": (BOB,)}
    assert not accounts.exists("ceo@example.org"), "refused at RCPT, not lost behind it"


# The file


def test_changes_of_another_process_count_at_once(file: Path, accounts: Accounts) -> None:
    def change() -> None:
        other = Accounts(file)
        other.add(ALICE, "x")
        other.add_alias("sales@example.org", [ALICE])

    assert not accounts.exists(ALICE)
    process = multiprocessing.get_context("fork").Process(target=change)
    process.start()
    process.join(20)
    assert process.exitcode == 0
    assert accounts.exists(ALICE)
    assert accounts.targets("sales@example.org") == [ALICE]


def test_processes_that_make_the_file_at_once(file: Path) -> None:
    def add(number: int) -> None:
        Accounts(file).add(f"user{number}@example.org", "x")

    processes = [multiprocessing.get_context("fork").Process(target=add, args=(n,)) for n in range(5)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(30)
    assert [process.exitcode for process in processes] == [0] * 5
    assert len(Accounts(file).list()) == 5
    assert not list(file.parent.glob("*.new*"))


def test_reading_goes_on_while_another_writes(file: Path, accounts: Accounts) -> None:
    accounts.add(ALICE, "x")
    writer = Accounts(file)
    with writer._connection:
        writer._change("DELETE FROM account")
        assert accounts.exists(ALICE)
    assert not accounts.exists(ALICE)


def test_only_the_owner_can_read_it(file: Path) -> None:
    old = os.umask(0)
    try:
        accounts = Accounts(file)
        accounts.add(ALICE, "x")
        assert {stat.S_IMODE(path.stat().st_mode) for path in file.parent.iterdir()} == {0o600}
        accounts.close()
        file.chmod(0o644)
        Accounts(file)
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    finally:
        os.umask(old)


def test_survives_a_restart(file: Path, accounts: Accounts) -> None:
    accounts.add(ALICE, "x")
    accounts.close()
    assert Accounts(file).list() == (ALICE,)


@pytest.mark.parametrize("content", [b"nonsense" * 1000, b"\0" * 8192, b""])
def test_file_that_is_no_database(file: Path, content: bytes) -> None:
    file.write_bytes(content)
    with pytest.raises(AccountsUnusable, match="no database of accounts") as caught:
        Accounts(file)
    assert str(file) in str(caught.value)
    assert "mv " in str(caught.value)
    assert file.read_bytes() == content


def test_database_of_another_program(file: Path) -> None:
    apsw.Connection(str(file)).execute("CREATE TABLE theirs (x); PRAGMA user_version = 1")
    with pytest.raises(AccountsUnusable, match="no database of accounts"):
        Accounts(file)


def test_database_of_a_newer_version(file: Path, accounts: Accounts) -> None:
    accounts._connection.execute("PRAGMA user_version = 99")
    with pytest.raises(AccountsUnusable, match="newer valija"):
        Accounts(file)


def test_database_that_is_damaged_within(file: Path, accounts: Accounts) -> None:
    for number in range(200):
        accounts._change("INSERT INTO account (key, hash) VALUES (?, ?)", f"user{number}@example.org", "x" * 200)
    accounts.close()
    with file.open("r+b") as damaged:
        damaged.seek(4096)
        damaged.write(b"\xff" * (file.stat().st_size - 4096))
    accounts = Accounts(file)
    with pytest.raises(AccountsUnusable, match="malformed") as caught:
        accounts.exists("user5@example.org")
    assert str(file) in str(caught.value)
    with pytest.raises(AccountsUnusable):
        accounts.remove("user5@example.org")


def test_without_create_a_question_waits_for_the_file_to_be_sound(file: Path, accounts: Accounts) -> None:
    accounts.add(ALICE, "x")
    accounts.close()
    sound = file.read_bytes()
    file.unlink()
    waiting = Accounts(file, create=False)
    with pytest.raises(AccountsUnusable, match="No such file"):
        waiting.exists(ALICE)
    assert not file.exists()
    file.write_bytes(b"nonsense" * 1000)
    with pytest.raises(AccountsUnusable, match="no database of accounts"):
        waiting.exists(ALICE)
    file.write_bytes(sound)
    assert waiting.exists(ALICE)


# Keys of SCRAM, and files from before there were any

_OLD_SCHEMA = f"""
    CREATE TABLE account (key TEXT PRIMARY KEY, hash TEXT NOT NULL) WITHOUT ROWID;
    CREATE TABLE alias (
        key TEXT NOT NULL, target TEXT NOT NULL, target_key TEXT NOT NULL, PRIMARY KEY (key, target)
    ) WITHOUT ROWID;
    CREATE INDEX alias_target ON alias (target_key);
    PRAGMA application_id = {APPLICATION_ID};
    PRAGMA user_version = 1;
    PRAGMA journal_mode = WAL;
    INSERT INTO account VALUES ('alice@example.org', 'hash of x');
    INSERT INTO alias VALUES ('sales@example.org', 'alice@example.org', 'alice@example.org');
"""


def write_old(file: Path) -> None:
    connection = apsw.Connection(str(file))
    connection.execute(_OLD_SCHEMA).fetchall()
    connection.close()


def keys_of_alice(accounts: Accounts) -> ScramKeys:
    keys = accounts.scram_keys(ALICE)
    assert keys is not None
    return keys


def test_keys_come_and_go_with_the_password(accounts: Accounts) -> None:
    accounts.add(ALICE, "one")
    first = keys_of_alice(accounts)
    assert first == ScramKeys.of(b"one", first.salt, 4096)
    accounts.set_password(ALICE, "two")
    second = keys_of_alice(accounts)
    assert second == ScramKeys.of(b"two", second.salt, 4096)
    assert second.salt != first.salt
    accounts.remove(ALICE)
    assert accounts.scram_keys(ALICE) is None
    assert accounts.all_have_scram_keys()


def test_a_file_of_an_older_version_is_brought_up_to_date(file: Path) -> None:
    write_old(file)
    accounts = Accounts(file, create=False)
    assert accounts.list() == (ALICE,)
    assert accounts.aliases() == {"sales@example.org": (ALICE,)}
    assert accounts.password_hash(ALICE) == "hash of x"
    assert accounts.without_scram_keys() == {ALICE}
    assert not accounts.all_have_scram_keys()
    assert len(accounts.salt_key()) == 32
    assert Accounts(file).salt_key() == accounts.salt_key()
    fresh = Accounts(file.with_name("fresh"))
    schema = "SELECT type, name, tbl_name, sql FROM sqlite_schema ORDER BY name"
    assert _normal(accounts._rows(schema)) == _normal(fresh._rows(schema))


def _normal(schema: Sequence[tuple[str, ...]]) -> list[tuple[str, ...]]:
    return [tuple(" ".join(str(each).split()) for each in row) for row in schema]


def test_keys_are_added_to_the_password_that_was_verified_and_no_other(file: Path) -> None:
    write_old(file)
    accounts = Accounts(file)
    accounts.add_scram_keys(ALICE, "hash of another", "another")
    assert accounts.scram_keys(ALICE) is None
    accounts.add_scram_keys(ALICE, "hash of x", "x")
    keys = keys_of_alice(accounts)
    assert keys == ScramKeys.of(b"x", keys.salt, 4096)
    accounts.add_scram_keys(ALICE, "hash of x", "x")
    assert accounts.scram_keys(ALICE) == keys


def _open_old(file: Path) -> None:
    assert Accounts(file).list() == (ALICE,)


def test_many_may_bring_it_up_to_date_at_once(file: Path) -> None:
    write_old(file)
    processes = [multiprocessing.get_context("spawn").Process(target=_open_old, args=(file,)) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(30)
    assert [process.exitcode for process in processes] == [0] * 4


def test_a_step_that_fails_leaves_the_file_as_it_was(file: Path) -> None:
    write_old(file)
    apsw.Connection(str(file)).execute("CREATE TABLE salt_key (taken)")
    with pytest.raises(AccountsUnusable, match="salt_key"):
        Accounts(file)
    found = apsw.Connection(str(file))
    assert found.pragma("user_version") == 1
    assert len(found.execute("PRAGMA table_info(account)").fetchall()) == 2


def test_folder_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(AccountsUnusable, match="No such file"):
        Accounts(tmp_path / "nowhere" / "accounts.sqlite3")


# Delegations


@pytest.mark.parametrize(
    ("granted", "address", "allowed"),
    [
        ("boss@example.org", "boss@example.org", True),
        ("boss@example.org", "Boss+minutes@example.org", True),
        ("boss@example.org", "bosse@example.org", False),
        ("Boss@EXAMPLE.org", "boss@example.org", True),
        ("@example.net", "anybody@example.net", True),
        ("@example.net", "anybody@sub.example.net", False),
        ("@B\u00fccher.example", "x@xn--bcher-kva.example", True),
    ],
)
def test_what_was_delegated_is_theirs_until_it_is_taken_back(
    tmp_path: Path, granted: str, address: str, allowed: bool
) -> None:
    accounts = Accounts(tmp_path / "accounts.sqlite3")
    accounts.add("alice@example.org", "secret")
    accounts.add("boss@example.org", "secret")
    accounts.allow("Alice@example.org", granted)
    assert accounts.is_allowed("alice@example.org", address) is allowed
    assert not accounts.is_allowed("bob@example.org", address)
    accounts.disallow("alice@example.org", granted)
    assert not accounts.is_allowed("alice@example.org", address)
    accounts.close()


@pytest.mark.parametrize("granted", ["@", "@-", "nonsense", "@exa mple.org", "boss+x@example.org", ""])
def test_what_is_no_address_and_no_domain_is_not_delegated(tmp_path: Path, granted: str) -> None:
    accounts = Accounts(tmp_path / "accounts.sqlite3")
    with pytest.raises(AccountError):
        accounts.allow("alice@example.org", granted)
    with pytest.raises(AccountError, match="is not allowed to send as"):
        accounts.disallow("alice@example.org", "boss@example.org")
    accounts.close()


def test_a_system_user_is_a_login_too(tmp_path: Path) -> None:
    accounts = Accounts(tmp_path / "accounts.sqlite3")
    assert accounts.allow("carol", "@example.net") == ("carol", "@example.net")
    assert accounts.is_allowed("carol", "news@example.net")
    with pytest.raises(AccountError, match="is no login"):
        accounts.allow("car ol", "@example.net")
    accounts.close()
