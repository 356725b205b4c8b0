"""Every setting and every command is in the reference, and the reference names no others."""

import re
from pathlib import Path

import click

from tests.config.facts import FACTS
from valija.cli.main import cli
from valija.config.document import Document
from valija.config.tables import build

DOCS = Path(__file__).parent.parent.parent / "docs"


def documented_settings() -> set[tuple[str, str]]:
    found = set()
    table = ""
    for line in (DOCS / "configuration.md").read_text().splitlines():
        if heading := re.match(r"## (?:\[\[?([\w.]+)\])?", line):
            table = heading[1] or ""
        elif row := re.match(r"\| `(\w+)` \|", line):
            found.add((table, row[1]))
    return found


def test_every_setting_is_documented_and_no_other() -> None:
    document = Document("", {})
    build(document, Path("/"), FACTS)
    settings = {(setting.table, setting.key) for setting in document.settings()}
    # These two say in a sentence that they have smtpd's settings; one of them has more.
    of_smtpd = {key for table, key in settings if table == "smtpd"} - {
        "tls_security_level",
        "reject_own_senders",
        "unknown_recipient_limit",
        "milters",
    }
    same = {(table, key) for table in ("submission", "submissions") for key in of_smtpd}
    assert same <= settings
    assert documented_settings() == settings - same


def commands(group: click.Group, prefix: str) -> list[tuple[str, click.Command]]:
    found: list[tuple[str, click.Command]] = []
    for name, each in group.commands.items():
        words = f"{prefix} {name}"
        found += commands(each, words) if isinstance(each, click.Group) else [(words, each)]
    return found


def test_every_command_and_option_is_documented() -> None:
    text = (DOCS / "commands.md").read_text()
    for words, each in commands(cli, "valija"):
        assert words in text
        for option in each.params:
            hidden = isinstance(option, click.Argument) or (isinstance(option, click.Option) and option.hidden)
            assert hidden or option.opts[0] in text, f"{words} {option.opts}"


def test_the_reference_names_no_command_that_is_not_there() -> None:
    known = {words for words, _ in commands(cli, "valija")} | {f"valija {name}" for name in cli.commands}
    told = re.findall(r"^    (valija(?: [a-z][a-z-]*)+)", (DOCS / "commands.md").read_text(), re.MULTILINE)
    assert told
    assert set(told) <= known
