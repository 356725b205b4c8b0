"""A configuration of a test's own, and commands run on it: in this process, or as a program."""

import os
import pwd
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
from click.testing import CliRunner, Result

from valija.cli.main import cli

# In this process nothing may be dropped: what root runs stays root's.
MYSELF = pwd.getpwuid(os.getuid()).pw_name


class Here:
    """A folder with a configuration."""

    def __init__(self, folder: Path, user: str = MYSELF, more: str = "") -> None:
        self.folder = folder
        self.data_dir = folder / "data"
        self.configuration = folder / "valija.toml"
        self.configuration.write_text(
            'hostname = "mail.example.org"\ndomains = ["example.org"]\n'
            f'data_dir = "{self.data_dir}"\nuser = "{user}"\n{more}'
        )

    def run(self, *arguments: str, text: str = "") -> Result:
        """Run a command in this process."""
        return CliRunner().invoke(cli, [*arguments, "-c", str(self.configuration)], input=text)

    def json(self, *arguments: str, text: str = "") -> Any:
        """Run a command that must succeed; return its answer."""
        result = self.run(*arguments, "--json", text=text)
        assert result.exit_code == 0, result.output
        return msgspec.json.decode(result.stdout)

    def add_user(self, address: str) -> None:
        """Add an account."""
        self.json("user", "add", address, "--password-stdin", text="secret\n")

    def refused(self, *arguments: str, text: str = "") -> str:
        """Run a command that must say no; return what it says."""
        result = self.run(*arguments, text=text)
        assert result.exit_code == 1, result.output
        assert result.stdout == ""
        assert all(line.startswith("valija: ") for line in result.stderr.splitlines())
        return result.stderr

    def program(self, *arguments: str, text: str = "") -> subprocess.CompletedProcess[str]:
        """Run a command as a program of its own."""
        return subprocess.run(
            [
                sys.executable,
                "-c",
                "from valija.cli.main import main; main()",
                *arguments,
                "-c",
                str(self.configuration),
            ],
            input=text,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
            cwd=self.folder,
        )
