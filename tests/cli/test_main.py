"""What holds for every command: help, exit status, where errors go, whose files are left, and a quick start."""

import json
import os
import pwd
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from tests.cli.here import Here
from tests.reachable import let_all_in
from valija import __version__
from valija.cli.main import cli

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root has privileges to drop")


def commands(group: click.Group, *words: str) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    for name, each in group.commands.items():
        if isinstance(each, click.Group):
            yield from commands(each, *words, name)
        else:
            yield (*words, name), each


COMMANDS = dict(commands(cli))
OF_OTHERS = {("probe",), ("send",)}  # they have to do with any server, and read no configuration


def test_the_commands_are_those_of_the_contract() -> None:
    assert {" ".join(words) for words in COMMANDS} >= {
        "serve", "check", "user add", "user passwd", "user remove", "user list", "queue list", "queue show",
        "queue hold", "queue release", "queue retry", "queue delete", "alias add", "alias remove", "alias list",
        "dkim create", "dkim list",
    }  # fmt: skip


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_command_helps_and_has_the_common_options(words: tuple[str, ...]) -> None:
    result = CliRunner().invoke(cli, [*words, "--help"])
    assert result.exit_code == 0
    assert ("--config FILE" in result.stdout) == (words not in OF_OTHERS)
    assert "--json" in result.stdout
    assert COMMANDS[words].help


@pytest.mark.parametrize("words", [words for words in COMMANDS if words not in OF_OTHERS], ids=" ".join)
def test_every_command_refuses_a_bad_configuration(here: Here, words: tuple[str, ...]) -> None:
    here.configuration.write_text("workers = 0\n[smtp]\nprt = 26\n")
    arguments = [
        "x@example.org" for each in COMMANDS[words].params if isinstance(each, click.Argument) and each.required
    ]
    if words[:2] == ("user", "add") or words[:2] == ("user", "passwd"):
        arguments.append("--password-stdin")
    if words[0] == "queue" and words[1] not in ("list", "show"):
        arguments.append("--all")
    if words in (("dkim", "retire"), ("dkim", "remove")):
        arguments += ["--selector", "2026a"]
    result = here.run(*words, *arguments, text="secret\n")
    assert result.exit_code == 1
    assert result.stderr.splitlines() == [
        f"valija: {here.configuration}: workers = 0: it is not between 1 and 256; write a whole number from 1 to 256",
        f"valija: {here.configuration}: [smtp] prt = 26: there is no such setting; did you mean port?",
    ]
    assert not here.data_dir.exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonsense"],
        ["queue"],
        ["queue", "nonsense"],
        ["queue", "list", "--nonsense"],
        ["queue", "hold"],
        ["queue", "hold", "--all", "bmmm9v73d3tbp"],
        ["queue", "show"],
        ["user", "add"],
        ["dkim", "create", "example.org", "--kind", "dsa"],
        ["-c", "valija.toml", "serve"],
    ],
    ids=" ".join,
)
def test_wrong_usage_is_status_2(here: Here, arguments: list[str]) -> None:
    result = here.program(*arguments)
    assert result.returncode == 2
    assert result.stdout == ""
    assert "valija" in result.stderr
    assert "Traceback" not in result.stderr


def test_the_program_says_no_on_standard_error(here: Here) -> None:
    result = here.program("user", "remove", "nobody@example.org")
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.startswith("valija: there is no account nobody@example.org")


def test_a_missing_configuration_is_said(tmp_path: Path) -> None:
    result = CliRunner().invoke(cli, ["check", "-c", str(tmp_path / "missing.toml")])
    assert result.exit_code == 1
    assert "missing.toml: the configuration cannot be read (No such file or directory)" in result.stderr


def test_the_version() -> None:
    assert CliRunner().invoke(cli, ["--version"]).stdout == f"valija {__version__}\n"


def test_a_reader_that_goes_away_is_no_traceback(here: Here) -> None:
    for number in range(3):
        here.run("user", "add", f"user{number}@example.org", "--password-stdin", text="secret\n")
    program = f"from valija.cli.main import main; main(['user', 'list', '-c', {str(here.configuration)!r}])"
    reader, writer = os.pipe()
    os.close(reader)
    result = subprocess.run(
        [sys.executable, "-c", program], stdout=writer, stderr=subprocess.PIPE, text=True, check=False
    )
    os.close(writer)
    assert result.returncode == 1
    assert "Traceback" not in result.stderr
    assert "BrokenPipe" not in result.stderr


@pytest.mark.parametrize("words", [["user", "list"], ["queue", "list", "--json"], ["check"], ["--help"], ["--version"]])
def test_an_answer_that_cannot_be_written_is_one_line(here: Here, words: list[str]) -> None:
    here.add_user("a@example.org")
    configured = [] if words[0].startswith("-") else ["-c", str(here.configuration)]
    program = f"from valija.cli.main import main; main({words + configured!r})"
    with open("/dev/full", "w") as full:
        result = subprocess.run(
            [sys.executable, "-c", program], stdout=full, stderr=subprocess.PIPE, text=True, check=False, timeout=60
        )
    assert result.returncode == 1
    assert result.stderr == "valija: the answer cannot be written: No space left on device\n"


@as_root
def test_commands_of_root_leave_only_files_of_the_user(tmp_path: Path) -> None:
    let_all_in(tmp_path)
    here = Here(tmp_path, user="nobody")
    for arguments, text in (
        (["user", "add", "a@example.org", "--password-stdin"], "secret\n"),
        (["user", "list"], ""),
        (["alias", "add", "b@example.org", "a@example.org"], ""),
        (["dkim", "create", "example.org", "--kind", "ed25519"], ""),
        (["queue", "list"], ""),
        (["queue", "retry", "--all"], ""),
    ):
        result = here.program(*arguments, text=text)
        assert result.returncode == 0, result.stderr
    nobody = pwd.getpwnam("nobody").pw_uid
    owners = {path: path.lstat().st_uid for path in [here.data_dir, *here.data_dir.rglob("*")]}
    assert len(owners) >= 4
    assert set(owners.values()) == {nobody}, owners


@as_root
def test_a_missing_user_is_refused_with_the_remedy(tmp_path: Path) -> None:
    here = Here(tmp_path, user="no-such-user")
    result = here.program("user", "list")
    assert result.returncode == 1
    assert "useradd --system --no-create-home no-such-user" in result.stderr
    assert not here.data_dir.exists()


def test_what_a_quick_command_does_not_import(here: Here) -> None:
    heavy = ["asyncio", "structlog", "rich", "dns.message", "cryptography", "uvloop", "argon2", "ssl"]
    program = (
        "import json, sys\nfrom valija.cli.main import cli\n"
        f"cli.main(['queue', 'list', '--json', '-c', {str(here.configuration)!r}], standalone_mode=False)\n"
        f"print(json.dumps([name for name in {heavy!r} if name in sys.modules]))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    queue, imported = done.stdout.splitlines()
    assert json.loads(queue) == []
    assert json.loads(imported) == []
