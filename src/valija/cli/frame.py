"""What all commands share: the options -c and --json, the ways to say no, and how values are printed.

    @command(queue, "show")
    @click.argument("queue_id")
    def show(call: Call, queue_id: str) -> None:
        config = call.enter()                       # the service's user by now, if started as root
        call.answer({"queue_id": queue_id}, ["..."])

A command exits 0; or 1 when it says no (Refusal, printed as `valija: ...` on standard error); or 2 for wrong usage.
Nothing heavy is imported here: `valija queue list` has to be there at once.
"""

import functools
import sys
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec

import click
import msgspec

from valija.config.faults import ConfigError, printable

if TYPE_CHECKING:
    from valija.config import Config

P = ParamSpec("P")

_CONTEXT = {"help_option_names": ["-h", "--help"]}


class Refusal(click.ClickException):
    """The command says no: exit status 1, the message on standard error, each line of it as `valija: ...`."""

    exit_code = 1

    def show(self, file: Any = None) -> None:
        """Print the message."""
        for line in self.message.splitlines():
            click.echo(f"valija: {printable(line)}", err=True)


class Call:
    """One call of a command: which configuration is meant, and how the answer is wanted."""

    def __init__(self, config_path: Path | None, *, as_json: bool) -> None:
        from valija.config import find

        self.config_path = config_path or find()
        self.as_json = as_json

    def load(self) -> "Config":
        """Return the configuration. Raises ConfigError."""
        from valija.config import load

        return load(self.config_path)

    def enter(self) -> "Config":
        """Return the configuration, as the user whose files lie in `data_dir`. Raises ConfigError, PrivilegeError."""
        from valija.privileges import enter_data_dir

        config = self.load()
        enter_data_dir(config.data_dir, config.user)
        return config

    def answer(self, value: object, lines: Iterable[str]) -> None:
        """Print the answer: `value` as JSON where that is wanted, else `lines`."""
        if self.as_json:
            click.echo(msgspec.json.format(msgspec.json.encode(value), indent=2))
        else:
            for line in lines:
                click.echo(printable(line))

    def note(self, text: str) -> None:
        """Say something beside the answer, on standard error."""
        click.echo(f"valija: {printable(text)}", err=True)


def command(
    group: click.Group, name: str, *, configured: bool = True, kind: type[click.Command] = click.Command
) -> Callable[[Callable[Concatenate[Call, P], None]], Callable[Concatenate[Call, P], None]]:
    """Add a function to a group as the command `name`, with the options that every command has.

    One that is not `configured` has nothing to do with a server of ours: it takes -c, and reads nothing. `kind` is how
    its arguments are read.
    """

    def add(function: Callable[Concatenate[Call, P], None]) -> Callable[Concatenate[Call, P], None]:
        @functools.wraps(function)
        def run(config_path: Path | None, as_json: bool, *args: P.args, **kwargs: P.kwargs) -> None:
            try:
                function(Call(config_path, as_json=as_json), *args, **kwargs)
            except _reasons_to_say_no() as reason:
                raise Refusal(str(reason)) from None

        # Who may not read it is told so in our words.
        option = click.Path(path_type=Path, dir_okay=False, readable=False)
        with_config = click.option(
            "-c",
            "--config",
            "config_path",
            type=option,
            metavar="FILE",
            help="The configuration.",
            hidden=not configured,
        )
        with_json = click.option("--json", "as_json", is_flag=True, help="Print the answer as JSON.")
        group.command(name, cls=kind, context_settings=_CONTEXT)(with_config(with_json(run)))
        return function

    return add


def _reasons_to_say_no() -> tuple[type[Exception], ...]:
    from valija.admin.control import ControlError
    from valija.privileges import PrivilegeError

    return (ConfigError, PrivilegeError, ControlError)


def group(parent: click.Group, name: str, words: str) -> click.Group:
    """Add a group of commands to a group."""
    made = click.Group(name, help=words, context_settings=_CONTEXT)
    parent.add_command(made)
    return made


def rfc3339(moment: float) -> str:
    """Return seconds since the epoch as RFC 3339 has it, in UTC, in milliseconds."""
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def read_password() -> str:
    """Return the first line of standard input. Raises Refusal for an empty one or what is not UTF-8."""
    try:
        line = sys.stdin.buffer.readline(4096).decode("utf-8")
    except UnicodeDecodeError:
        raise Refusal("the password on standard input is not UTF-8") from None
    password = line.removesuffix("\n").removesuffix("\r")
    if not password:
        raise Refusal("there is no password on standard input; write it on one line")
    return password
