"""valija route: what it prints, and its exit status."""

from pathlib import Path

from tests.admin.test_way import ROUTES
from tests.cli.here import Here

RULES = ROUTES.format(smtp='relayhost = "[192.0.2.1]:587"')


def test_for_people(tmp_path: Path) -> None:
    here = Here(tmp_path, more=RULES)
    result = here.run("route", "bob@example.net", "--sender", "me@news.example")
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        "mail for bob@example.net goes to [192.0.2.1]:587",
        '  why       [[smtp.route]] #2: sender = "@news.example"; next hop from [smtp] relayhost',
        "  pool      bulk",
        "  TLS       may (default)",
    ]
    assert "stays here, in a Maildir of example.org" in here.run("route", "bob@example.org").stdout
    assert "is not sent; its sender is told: Nobody writes there" in here.run("route", "bad.example").stdout


def test_that_the_sender_matters_is_said(tmp_path: Path) -> None:
    here = Here(tmp_path, more=RULES)
    assert "name one with --sender" in here.run("route", "bob@example.net").stderr
    assert not here.run("route", "bob@example.net", "--sender", "<>").stderr


def test_for_programs(tmp_path: Path) -> None:
    told = Here(tmp_path, more=RULES).json("route", "bob@example.net", "--sender", "<>")
    assert told["next_hop"] == "[192.0.2.1]:587"
    assert told["why"] == "[smtp] relayhost"
    assert told["transport"] == "remote"


def test_what_is_no_address_is_status_1(tmp_path: Path) -> None:
    result = Here(tmp_path).run("route", "a b")
    assert result.exit_code == 1
    assert "valija: a b: a domain is made of labels" in result.stderr
