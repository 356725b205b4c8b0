"""valija dovecot-config: what Dovecot's configuration needs so that valija may ask it about logins."""

import re
import shutil
import subprocess
from typing import TYPE_CHECKING, Final

import click

from valija.cli.frame import Call, command

if TYPE_CHECKING:
    from valija.config import Config

_FILE: Final = "/etc/dovecot/conf.d/99-valija.conf"
_NEWER: Final = (2, 4)  # names inet listeners, and calls their address `listen`


def add_to(main: click.Group) -> None:
    """Add the command."""

    @command(main, "dovecot-config")
    def dovecot_config(call: Call) -> None:
        """Print the lines Dovecot needs, with the socket's right owner and mode, and where they go."""
        config = call.load()
        version = _installed_version()
        lines = _lines(config, version)
        call.answer({"file": _FILE, "lines": lines, "dovecot": ".".join(map(str, version or ())) or None}, lines)
        if version is None:
            call.note("Dovecot is not installed here (apt-get install dovecot-core); these lines are for 2.4")
        call.note(f"write them to {_FILE}, then: doveadm reload, and valija check")
        if config.sasl.type != "dovecot":
            call.note('valija asks Dovecot only with [sasl] type = "dovecot" in its configuration')


def _lines(config: "Config", version: tuple[int, int] | None) -> list[str]:
    path = config.sasl.path
    listener = _inet(path, version) if path.startswith("inet:") else _unix(path, config.user)
    return ["auth_mechanisms = plain login", "", "service auth {", *(f"  {line}" for line in listener), "}"]


def _unix(path: str, user: str) -> list[str]:
    return [f"unix_listener {path} {{", "  mode = 0600", f"  user = {user}", "}"]


def _inet(path: str, version: tuple[int, int] | None) -> list[str]:
    host, _, port = path.removeprefix("inet:").rpartition(":")
    if version is not None and version < _NEWER:
        return ["inet_listener {", f"  address = {host.strip('[]')}", f"  port = {port}", "}"]
    return ["inet_listener valija {", f"  listen = {host.strip('[]')}", f"  port = {port}", "}"]


def _installed_version() -> tuple[int, int] | None:
    """Return the version of the Dovecot that is installed, None where there is none."""
    program = shutil.which("dovecot") or shutil.which("dovecot", path="/usr/sbin:/sbin")
    if program is None:
        return None
    done = subprocess.run([program, "--version"], capture_output=True, text=True, check=False, timeout=10)  # noqa: S603
    found = re.match(r"(\d+)\.(\d+)", done.stdout)
    return (int(found[1]), int(found[2])) if found else None
