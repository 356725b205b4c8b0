"""valija serve: run the server in the foreground, until SIGTERM."""

import sys

import click
import msgspec

from valija.cli.frame import Call, command


def add_to(main: click.Group) -> None:
    """Add the command."""

    @command(main, "serve")
    def serve(call: Call) -> None:
        """Run the server in the foreground. With --json it logs JSON lines."""
        config = call.load()
        if call.as_json:
            config = msgspec.structs.replace(config, log=msgspec.structs.replace(config.log, format="json"))
        from valija.startup import serve as run

        sys.exit(run(config, call.config_path))
