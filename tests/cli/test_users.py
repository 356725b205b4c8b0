"""valija user."""

import pytest

from tests.cli.here import Here
from valija.auth.accounts import Accounts


def stored_hash(here: Here, address: str) -> str | None:
    accounts = Accounts(here.data_dir / "accounts.sqlite3")
    try:
        return accounts.password_hash(address)
    finally:
        accounts.close()


def test_an_account_is_added_listed_changed_and_removed(here: Here) -> None:
    added = here.json("user", "add", "Alice@EXAMPLE.org.", "--password-stdin", text="correct horse\n")
    assert added == {"address": "alice@example.org", "added": True}
    assert here.json("user", "list") == [{"address": "alice@example.org", "scram": True}]
    before = stored_hash(here, "alice@example.org")
    changed = here.json("user", "passwd", "alice@example.org", "--password-stdin", text="battery staple\n")
    assert changed == {"address": "alice@example.org", "changed": True}
    assert stored_hash(here, "alice@example.org") != before
    here.json("alias", "add", "sales@example.org", "alice@example.org")
    removed = here.json("user", "remove", "alice@example.org")
    assert removed == {"address": "alice@example.org", "removed": True, "aliases": ["sales@example.org"]}
    assert here.json("user", "list") == []


def test_people_read_lines(here: Here) -> None:
    assert (
        here.run("user", "add", "a@example.org", "--password-stdin", text="pw pw pw\n").stdout
        == "a@example.org is added\n"
    )
    assert here.run("user", "list").stdout == "a@example.org\n"


def test_a_domain_that_is_not_hosted_is_noted(here: Here) -> None:
    result = here.run("user", "add", "a@example.net", "--password-stdin", text="pw pw pw\n")
    assert result.exit_code == 0
    assert "valija: example.net is not in domains" in result.stderr


def test_only_the_line_end_is_no_part_of_the_password(here: Here) -> None:
    here.json("user", "add", "a@example.org", "--password-stdin", text=" tést \r\nsecond line\n")
    from argon2 import PasswordHasher

    stored = stored_hash(here, "a@example.org")
    assert stored
    assert PasswordHasher().verify(stored, " tést ")


@pytest.mark.parametrize(
    ("arguments", "text", "words"),
    [
        (("add", "taken@example.org", "--password-stdin"), "secret\n", "there is an account taken@example.org already"),
        (("add", "b@example.org", "--password-stdin"), "\n", "no password on standard input"),
        (("add", "b@example.org", "--password-stdin"), "", "no password on standard input"),
        (("add", "nobody", "--password-stdin"), "secret\n", "'nobody' is no mail address"),
        (("add", "b@exa mple.org", "--password-stdin"), "secret\n", "no mail address"),
        (("add", "b\x1b[31m@example.org", "--password-stdin"), "secret\n", "no mail address"),
        (("passwd", "b@example.org", "--password-stdin"), "secret\n", "there is no account b@example.org"),
        (("remove", "b@example.org"), "", "there is no account b@example.org"),
    ],
)
def test_what_is_refused(here: Here, arguments: tuple[str, ...], text: str, words: str) -> None:
    here.json("user", "add", "taken@example.org", "--password-stdin", text="first\n")
    said = here.refused("user", *arguments, text=text)
    assert words in said
    assert "\x1b" not in said
    assert "secret" not in said


def test_without_a_terminal_the_password_must_come_in(here: Here) -> None:
    result = here.program("user", "add", "a@example.org")
    assert result.returncode == 2
    assert "--password-stdin" in result.stderr


def test_a_damaged_file_is_no_traceback(here: Here) -> None:
    here.data_dir.mkdir()
    (here.data_dir / "accounts.sqlite3").write_bytes(b"not a database, but long enough to look at" * 100)
    assert "accounts.sqlite3 is damaged" in here.refused("user", "list")
