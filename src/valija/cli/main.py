"""The command line: valija COMMAND [-c FILE] [--json].

Each module of this package adds its commands to the group made here; what they need is imported when they run.
"""

import errno
import os
import sys
from typing import Final

import click

from valija import __version__
from valija.cli import (
    aliases,
    certificate,
    check,
    crash_test,
    destinations,
    dkim,
    dns,
    dovecot_config,
    init,
    probe,
    queue,
    relay_proof,
    route,
    send,
    sendmail,
    serve,
    server,
    systemd,
    tls_report,
    users,
    why,
)

cli = click.Group(
    "valija",
    help="A mail server for sending: secure by default, easy to understand, and fast.",
    context_settings={"help_option_names": ["-h", "--help"]},
)
click.version_option(__version__, prog_name="valija", message="%(prog)s %(version)s")(cli)

_MODULES: Final = (
    init,
    serve,
    check,
    crash_test,
    relay_proof,
    route,
    users,
    queue,
    aliases,
    dkim,
    dns,
    dovecot_config,
    certificate,
    systemd,
    server,
    destinations,
    why,
    tls_report,
    probe,
    send,
    sendmail,
)
for module in _MODULES:
    module.add_to(cli)


# What writing an answer to a full or broken disk comes to. Any other OSError that gets here is a fault of ours.
_CANNOT_WRITE: Final = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO}


def main(arguments: list[str] | None = None) -> None:
    """Run a command and end the process: exit status 0, 1 (it says no) or 2 (wrong usage)."""
    os.umask(0o022)  # what is for all can be read by all, and written by nobody else; privileges narrows it further
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
        _forget_output()  # the reader has gone (`valija queue list | head`) and knows that
        sys.exit(1)
    except OSError as error:
        if error.errno not in _CANNOT_WRITE or error.filename is not None:
            raise
        _forget_output()
        click.echo(f"valija: the answer cannot be written: {error.strerror}", err=True)
        sys.exit(1)


def _forget_output() -> None:
    """Let what is still to be written go nowhere: the interpreter would complain of it at its exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _explain_usage(error: click.UsageError) -> None:
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        error.show()
        return
    if error.ctx is not None:
        click.echo(error.ctx.get_usage(), err=True)
    click.echo(f"valija: {error.format_message()}", err=True)
