"""The command line: valija COMMAND [-c FILE] [--json].

Each module of this package adds its commands to the group made here; what they need is imported when they run.
"""

import os
import sys

import click

from valija import __version__
from valija.cli import aliases, check, dkim, queue, serve, server, users

cli = click.Group(
    "valija",
    help="A mail server for sending: secure by default, easy to understand, and fast.",
    context_settings={"help_option_names": ["-h", "--help"]},
)
click.version_option(__version__, prog_name="valija", message="%(prog)s %(version)s")(cli)

for module in (serve, check, users, queue, aliases, dkim, server):
    module.add_to(cli)


def main(arguments: list[str] | None = None) -> None:
    """Run a command and end the process: exit status 0, 1 (it says no) or 2 (wrong usage)."""
    try:
        cli.main(arguments, prog_name="valija", standalone_mode=False)
    except click.UsageError as error:
        _explain_usage(error)
        sys.exit(2)
    except click.ClickException as error:
        error.show()
        sys.exit(1)
    except (click.Abort, KeyboardInterrupt):
        click.echo("valija: interrupted", err=True)
        sys.exit(1)
    except BrokenPipeError:
        # The reader of our output has gone (`valija queue list | head`); the interpreter shall not complain at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)


def _explain_usage(error: click.UsageError) -> None:
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        error.show()
        return
    if error.ctx is not None:
        click.echo(error.ctx.get_usage(), err=True)
    click.echo(f"valija: {error.format_message()}", err=True)
