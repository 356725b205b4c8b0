"""The flags of sendmail(1), as programs pass them."""

import pytest

from valija.sendmail.arguments import Wish, parse
from valija.sendmail.exits import Exit, Failure


def wish(*arguments: str, name: str = "sendmail") -> Wish:
    return parse(name, list(arguments))


def refusal(*arguments: str) -> tuple[Exit, str]:
    with pytest.raises(Failure) as caught:
        wish(*arguments)
    return caught.value.status, str(caught.value)


# The command lines of real programs


def test_cron_of_debian() -> None:
    found = wish("-i", "-FCronDaemon", "-B8BITMIME", "-oem", "root")
    assert found == Wish(recipients=["root"], dot_ends=False, full_name="CronDaemon", errors_to="mail")


def test_cronie() -> None:
    found = wish("-FCronDaemon", "-i", "-odi", "-oem", "-oi", "-t", "-f", "root")
    assert found == Wish(from_header=True, dot_ends=False, full_name="CronDaemon", sender="root", errors_to="mail")


def test_php_with_an_additional_parameter() -> None:
    assert wish("-t", "-i", "-fshop@example.org") == Wish(from_header=True, dot_ends=False, sender="shop@example.org")


def test_git_send_email() -> None:
    found = wish("-f", "alice@example.org", "-i", "bob@example.net", "list@example.net")
    assert found == Wish(recipients=["bob@example.net", "list@example.net"], dot_ends=False, sender="alice@example.org")


def test_mutt() -> None:
    found = wish("-oem", "-oi", "-f", "a@example.org", "-N", "failure,delay", "-R", "hdrs", "--", "b@example.net")
    assert found.notify == "FAILURE,DELAY"
    assert found.ret == "HDRS"
    assert found.recipients == ["b@example.net"]


def test_msmtp_and_exim_words_that_mean_nothing_here() -> None:
    found = wish(
        "-bm", "-odb", "-om", "-oee", "-Am", "-v", "-U", "-G", "-h", "3", "-n", "-x", "-L", "tag", "a@b.example"
    )
    assert found == Wish(recipients=["a@b.example"], errors_to="mail", verbose=True)


def test_joined_flags_and_flags_behind_a_recipient() -> None:
    assert wish("-ti") == Wish(from_header=True, dot_ends=False)
    assert wish("a@b.example", "-i", "-f", "") == Wish(recipients=["a@b.example"], dot_ends=False, sender="")


def test_a_minus_alone_and_what_follows_two() -> None:
    assert wish("-").recipients == ["-"]
    assert wish("--", "-f", "x").recipients == ["-f", "x"]


@pytest.mark.parametrize(
    ("name", "arguments", "mode"),
    [
        ("mailq", (), "list"),
        ("newaliases", (), "aliases"),
        ("sendmail", ("-bp",), "list"),
        ("sendmail", ("-bs",), "talk"),
        ("sendmail", ("-bi",), "aliases"),
        ("sendmail", ("-I",), "aliases"),
        ("sendmail", ("-q",), "flush"),
    ],
)
def test_what_else_it_is(name: str, arguments: tuple[str, ...], mode: str) -> None:
    assert wish(*arguments, name=name).mode == mode


# What is refused


@pytest.mark.parametrize(
    "arguments",
    [
        ("-C/etc/shadow", "a@b.example"),
        ("-C", "/etc/shadow"),
        ("-X/var/www/html/shell.php",),
        ("-OQueueDirectory=/tmp",),
        ("-O", "QueueDirectory=/tmp"),
        ("-oQ/tmp",),
        ("-oA/tmp/aliases",),
        ("-bd",),
        ("-bD",),
        ("-bt",),
        ("-bv",),
        ("-q30m",),
        ("-f",),
        ("-N", "sometimes"),
        ("-N", "never,failure"),
        ("-R", "nothing"),
        ("-V", "x" * 60),
        ("-V", "caf\u00e9"),
        ("-Z",),
        ("--help",),
    ],
)
def test_what_names_files_starts_daemons_or_means_nothing_is_wrong_usage(arguments: tuple[str, ...]) -> None:
    status, words = refusal(*arguments)
    assert status == Exit.USAGE
    assert words


def test_cve_2016_10033_the_arguments_of_a_web_form() -> None:
    status, words = refusal("-t", "-i", "-fattacker@example.net", "-OQueueDirectory=/tmp", "-X/var/www/shell.php")
    assert status == Exit.USAGE
    assert "QueueDirectory" in words


@pytest.mark.parametrize(
    "arguments",
    [
        ("-fa@b.example\nRCPT TO:<victim@example.net>", "x@y.example"),
        ("-f", "a@b.example\r\nBcc: victim@example.net", "x@y.example"),
        ("-FName\nBcc: victim@example.net", "x@y.example"),
        ("x@y.example\nRCPT TO:<z@y.example>",),
        ("--", "x@y.example\n.\n"),
        ("-V", "id\rX: y"),
    ],
)
def test_no_argument_brings_a_line_of_its_own(arguments: tuple[str, ...]) -> None:
    status, words = refusal(*arguments)
    assert status == Exit.USAGE
    assert "line break" in words
    assert "\n" not in words
    assert "\r" not in words
