"""The guides stay true: their configurations load, their commands exist, and both languages tell the same."""

import re
import shlex
from pathlib import Path

import click
import pytest

from tests.config.facts import FACTS
from tests.walkthrough import Command, read
from valija.cli.main import cli
from valija.config import parse

DOCS = Path(__file__).parent.parent / "docs"
ENGLISH = DOCS / "guide.md"
SPANISH = DOCS / "es" / "guia.md"
GUIDES = (ENGLISH, SPANISH)
CASE_5 = DOCS / "es" / "caso-5.md"  # tests/interop runs it; here it is read where nobody can

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_HEADING = re.compile(r"^(#+) ", re.MULTILINE)
_LINK = re.compile(r"\]\(([^)]+)\)")
_IN_TEXT = re.compile(r"`(valija [^`]+)`")
_BETWEEN = re.compile(r"\s*(?:\|\||&&|[|;])\s*")
_REDIRECTION = re.compile(r"\s*\d*[<>]{1,2}\s*\S+")


def blocks(page: Path, language: str) -> list[str]:
    return [text for found, text in _FENCE.findall(page.read_text()) if found == language]


def without_blocks(page: Path) -> str:
    return _FENCE.sub("", page.read_text())


def shell_commands(page: Path) -> list[str]:
    lines = [line for block in blocks(page, "sh") for line in block.splitlines()]
    return [line for line in lines if line.startswith("valija ")]


def walked_commands(page: Path) -> list[str]:
    """Return the valija commands of a walk-through, without what stands before and behind them in a line."""
    lines = [_REDIRECTION.sub("", step.text) for step in read(page) if isinstance(step, Command)]
    return [part for line in lines for part in _BETWEEN.split(line) if part.startswith("valija ")]


def resolve(line: str) -> tuple[click.Command, list[str]]:
    """Return the command that a line names, as far as it names one, and the arguments left."""
    found: click.Command = cli
    words = shlex.split(line)[1:]
    while words and isinstance(found, click.Group):
        name = words.pop(0)
        assert name in found.commands, f"{line}: there is no {name}"
        found = found.commands[name]
    return found, words


def complain_of_usage(line: str) -> None:
    """Parse a whole command line as the program does, without running it."""
    command, arguments = resolve(line)
    assert not isinstance(command, click.Group), f"{line}: {command.name} wants a command"
    command.make_context(line, arguments)


def complain_of_options(line: str) -> None:
    """Look at the options alone: a sentence leaves arguments out."""
    command, words = resolve(line)
    known = {name for parameter in command.params for name in parameter.opts}
    unknown = {word.partition("=")[0] for word in words if word.startswith("-")} - known
    assert not unknown, f"{line}: there is no {unknown}"


@pytest.mark.parametrize("page", [*GUIDES, CASE_5], ids=lambda page: page.name)
def test_each_configuration_loads(page: Path) -> None:
    found = blocks(page, "toml")
    assert len(found) >= (3 if page == CASE_5 else 5)
    for number, text in enumerate(found, 1):
        parse(text, f"{page.name}, configuration {number}", page.parent, FACTS)


@pytest.mark.parametrize("page", GUIDES, ids=lambda page: page.name)
def test_each_command_is_one(page: Path) -> None:
    lines = shell_commands(page)
    assert len(lines) >= 15
    for line in lines:
        complain_of_usage(line)


def test_each_command_of_the_walk_through_is_one() -> None:
    lines = walked_commands(CASE_5)
    assert {resolve(line)[0].name for line in lines} >= {
        "init",
        "dovecot-config",
        "check",
        "relay-proof",
        "send",
        "probe",
    }
    for line in lines:
        complain_of_usage(line)


@pytest.mark.parametrize("page", [*GUIDES, CASE_5], ids=lambda page: page.name)
def test_each_command_in_a_sentence_is_one(page: Path) -> None:
    lines = _IN_TEXT.findall(without_blocks(page))
    assert len(lines) >= 5
    for line in lines:
        complain_of_options(line)


@pytest.mark.parametrize(
    "line", ["valija queue retry --everything", "valija users list", "valija dkim create", "valija queue"]
)
def test_a_command_that_is_none_is_found(line: str) -> None:
    with pytest.raises((AssertionError, click.UsageError)):
        complain_of_usage(line)


def test_both_guides_have_the_same_sections() -> None:
    levels = [_HEADING.findall(without_blocks(page)) for page in GUIDES]
    assert levels[0] == levels[1]
    assert len(levels[0]) > 10


def test_both_guides_have_the_same_blocks() -> None:
    assert _FENCE.findall(ENGLISH.read_text()) == _FENCE.findall(SPANISH.read_text())


def test_both_guides_have_tables_of_the_same_length() -> None:
    rows = [len(re.findall(r"^\|", without_blocks(page), re.MULTILINE)) for page in GUIDES]
    assert rows[0] == rows[1] > 0


def test_both_guides_name_the_same_replies_and_settings() -> None:
    """What stands in code is the program's, in whatever language the sentence around it is."""
    code = [set(re.findall(r"`([^`\n]+)`", without_blocks(page))) for page in GUIDES]
    subaddress = {"alice+anything@", "alice+loquesea@"}
    assert code[0] ^ code[1] == subaddress


def test_both_guides_have_the_same_links() -> None:
    """Each guide links to the other; all other links lead to the same files."""
    targets = [[(page.parent / link).resolve() for link in _LINK.findall(without_blocks(page))] for page in GUIDES]
    english, spanish = targets
    assert [SPANISH if link == ENGLISH else link for link in spanish] == english
    assert all(link.exists() for link in english)
    assert SPANISH in english
    assert ENGLISH in spanish


@pytest.mark.parametrize("page", GUIDES, ids=lambda page: page.name)
def test_the_readme_links_to_the_guide(page: Path) -> None:
    assert f"]({page.relative_to(DOCS.parent)})" in (DOCS.parent / "README.md").read_text()
