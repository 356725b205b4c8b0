"""The flags as programs pass them, and those that nobody may pass."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from valija.sendmail.arguments import parse
from valija.sendmail.exits import Exit, Failure


def test_cron() -> None:
    wish = parse("sendmail", ["-FCronDaemon", "-i", "-B8BITMIME", "-oem", "root"])
    assert (wish.mode, wish.recipients, wish.full_name) == ("send", ["root"], "CronDaemon")
    assert not wish.dot_ends
    assert wish.errors_to == "mail"


def test_php() -> None:
    wish = parse("sendmail", ["-t", "-i", "-fwww@example.org"])
    assert wish.from_header
    assert wish.sender == "www@example.org"


def test_git_send_email() -> None:
    wish = parse("sendmail", ["-f", "ana@example.org", "-i", "bob@example.net", "eve@example.net"])
    assert wish.sender == "ana@example.org"
    assert wish.recipients == ["bob@example.net", "eve@example.net"]


def test_flags_may_be_joined_and_stand_behind_recipients() -> None:
    wish = parse("sendmail", ["bob@example.net", "-tif", "ana@example.org", "--", "-odd@example.net"])
    assert wish.from_header
    assert not wish.dot_ends
    assert wish.sender == "ana@example.org"
    assert wish.recipients == ["bob@example.net", "-odd@example.net"]


@pytest.mark.parametrize(("name", "arguments"), [("mailq", []), ("sendmail", ["-bp"])])
def test_mailq_lists(name: str, arguments: list[str]) -> None:
    assert parse(name, arguments).mode == "list"


def test_newaliases_has_nothing_to_do() -> None:
    assert parse("newaliases", []).mode == "aliases"
    assert parse("sendmail", ["-bi"]).mode == "aliases"


@pytest.mark.parametrize(
    "arguments",
    [
        ["-C/tmp/evil.cf", "root"],
        ["-X/var/www/shell.php", "root"],
        ["-OQueueDirectory=/tmp", "root"],
        ["-oQ/tmp", "root"],
        ["-bd"],
        ["-bZ"],
        ["-W", "root"],
        ["-N", "never,success", "root"],
        ["-R", "half", "root"],
        ["-f"],
        ["root\nBcc: everybody@example.net"],
        ["-Fname\r\nBcc: everybody@example.net", "root"],
        ["--", "root\0"],
    ],
)
def test_what_is_refused(arguments: list[str]) -> None:
    with pytest.raises(Failure) as refused:
        parse("sendmail", arguments)
    assert refused.value.status is Exit.USAGE
    assert "\n" not in str(refused.value)


@given(st.lists(st.text(max_size=12), max_size=6))
def test_no_arguments_do_anything_but_wish_or_fail(arguments: list[str]) -> None:
    try:
        wish = parse("sendmail", arguments)
    except Failure:
        return
    assert not any(char in word for word in wish.recipients for char in "\r\n\0")
