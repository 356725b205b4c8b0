"""valija sendmail: what local programs call as sendmail, mailq and newaliases; and their installation."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from valija.cli.frame import Call, Refusal, command

if TYPE_CHECKING:
    from valija.config import Config
    from valija.sendmail.program import Places

_OWN: Final = ("-c", "--config", "--install", "--prefix", "--json", "--help")


class _Sendmail(click.Command):
    """The command, whose arguments are sendmail's own: those of click come first, or not at all."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Keep sendmail's arguments from being read as this command's."""
        own = 0
        while own < len(args) and args[own].partition("=")[0] in _OWN:
            takes_value = args[own] in ("-c", "--config", "--prefix")
            own += 2 if takes_value else 1
        rest = super().parse_args(ctx, args[:own])
        ctx.params["arguments"] = tuple(args[own:])
        return rest


def add_to(main: click.Group) -> None:
    """Add the command."""

    @command(main, "sendmail", kind=_Sendmail)
    @click.option("--install", is_flag=True, help="Let local programs find it, as sendmail, mailq and newaliases.")
    @click.option(
        "--prefix",
        type=click.Path(path_type=Path, file_okay=False),
        default=Path("/usr"),
        metavar="FOLDER",
        help="Install into sbin, bin and lib of this folder, by default /usr.",
    )
    @click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
    def sendmail(call: Call, install: bool, prefix: Path, arguments: tuple[str, ...]) -> None:
        """Take a message from a program of this machine, with the flags of sendmail(1)."""
        if install:
            if arguments:
                raise click.UsageError("--install takes no flags of sendmail's")
            _install(call, prefix)
        else:
            sys.exit(_run(call, list(arguments)))


def _run(call: Call, arguments: list[str]) -> int:
    from valija.sendmail import program
    from valija.sendmail.arguments import parse
    from valija.sendmail.exits import Failure

    try:
        wish = parse("sendmail", arguments)
        if wish.mode == "list":
            _list(call)
            return 0
        if wish.mode == "flush":
            _flush(call)
            return 0
        return program.do(wish, _places(call.load()), sys.stdin.buffer, sys.stdout.buffer)
    except Failure as failure:
        program.complain("sendmail", str(failure))
        return failure.status


def _places(config: "Config") -> "Places":
    from valija.sendmail.program import Places

    if not config.local.socket and not config.local.maildrop:
        raise Refusal('nothing is taken from local programs: name a [local] socket, "/run/valija/sendmail.sock"')
    return Places(config.local.socket, config.local.maildrop)


def _list(call: Call) -> None:
    """Print the queue, as mailq does."""
    import time

    from valija.cli import mailq
    from valija.cli.queue import messages, opened
    from valija.config.faults import printable

    with opened(call, _enter(call)) as directory:
        for line in mailq.lines(messages(directory), time.time()):
            click.echo(printable(line))


def _flush(call: Call) -> None:
    """Have all messages attempted now, as `sendmail -q` does."""
    _enter(call)
    configuration = ["-c", str(call.config_path)] if call.config_path else []
    root = click.get_current_context().find_root().command
    root.main(["queue", "retry", "--all", *configuration], prog_name="valija", standalone_mode=False)


def _enter(call: Call) -> "Config":
    """Return the configuration, as the user whose queue it is. Raises Failure for others."""
    from valija.privileges import running_as_root
    from valija.sendmail.exits import Exit, Failure

    readable = call.config_path is None or os.access(call.config_path, os.R_OK)
    config = call.load() if readable else None
    may_look = running_as_root() or (config is not None and os.access(config.data_dir, os.R_OK | os.W_OK))
    if not may_look or config is None:
        whose = f"the user {config.user}" if config else "the server's user"
        raise Failure(Exit.NOPERM, f"only root and {whose} may look into the queue: sudo mailq")
    return call.enter()


def _install(call: Call, prefix: Path) -> None:
    from valija.cli.sendmail_install import install

    if call.config_path is None:
        raise Refusal("there is no configuration to install it for: valija init HOSTNAME writes one")
    config = call.load()
    places = _places(config)
    done = install(prefix, places, call.config_path.absolute())
    lines = [*(f"{name} written" for name in done)] or ["everything is as it should be"]
    call.answer({"written": done, "socket": places.socket, "maildrop": places.maildrop}, lines)
