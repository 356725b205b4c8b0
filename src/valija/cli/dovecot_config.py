"""valija dovecot-config: what Dovecot's configuration needs so that valija may ask it about logins.

A socket inside Dovecot's own folder is named as Dovecot names it, without the folder: its built-in `auth-client` would
else be there twice, and Dovecot would not start. Mechanisms that are configured already stay.
"""

import contextlib
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

import click
import msgspec

from valija.cli.frame import Call, command

if TYPE_CHECKING:
    from valija.config import Config

_FILE: Final = "/etc/dovecot/conf.d/99-valija.conf"
_NEWER: Final = (2, 4)  # names inet listeners, and calls their address `listen`
_WANTED: Final = ("plain", "login")
_DEADLINE: Final = 10.0  # seconds for a program of Dovecot's


class Dovecot(msgspec.Struct, frozen=True):
    """The Dovecot of this machine: its version, the folder of its sockets, the mechanisms it has now."""

    version: tuple[int, int] | None = None
    base_dir: str = "/run/dovecot"
    mechanisms: tuple[str, ...] = ()


def add_to(main: click.Group) -> None:
    """Add the command."""

    @command(main, "dovecot-config")
    def dovecot_config(call: Call) -> None:
        """Print the lines Dovecot needs, with the socket's right owner and mode, and where they go."""
        config = call.load()
        dovecot = installed_dovecot()
        lines = list(lines_for(config, dovecot))
        version = ".".join(map(str, dovecot.version)) if dovecot.version else None
        call.answer({"file": _FILE, "lines": lines, "dovecot": version}, lines)
        if version is None:
            call.note("Dovecot is not installed here (apt-get install dovecot-core); these lines are for 2.4")
        call.note(f"write them to {_FILE}, then: doveadm reload, and valija check")
        if config.sasl.type != "dovecot":
            call.note('valija asks Dovecot only with [sasl] type = "dovecot" in its configuration')


def lines_for(config: "Config", dovecot: Dovecot) -> Iterator[str]:
    """Yield the lines of Dovecot's configuration."""
    if missing := [each for each in _WANTED if each not in dovecot.mechanisms]:
        yield f"auth_mechanisms = {' '.join((*dovecot.mechanisms, *missing))}"
        yield ""
    path = config.sasl.path
    yield "service auth {"
    yield from (f"  {line}" for line in (_inet if path.startswith("inet:") else _unix)(config, dovecot))
    yield "}"


def _unix(config: "Config", dovecot: Dovecot) -> Iterator[str]:
    yield f"unix_listener {_name_in(dovecot.base_dir, config.sasl.path)} {{"
    yield "  mode = 0600"
    yield f"  user = {config.user}"
    yield "}"


def _inet(config: "Config", dovecot: Dovecot) -> Iterator[str]:
    host, _, port = config.sasl.path.removeprefix("inet:").rpartition(":")
    is_older = dovecot.version is not None and dovecot.version < _NEWER
    yield "inet_listener {" if is_older else "inet_listener valija {"
    yield f"  {'address' if is_older else 'listen'} = {host.strip('[]')}"
    yield f"  port = {port}"
    yield "}"


def _name_in(base_dir: str, path: str) -> str:
    """Return a socket's path as Dovecot wants it written: relative, where it lies in its folder."""
    folder, name = os.path.split(path)
    return name if os.path.realpath(folder) == os.path.realpath(base_dir) else path


def installed_dovecot() -> Dovecot:
    """Return what can be found out about the Dovecot of this machine."""
    version = re.match(r"(\d+)\.(\d+)", _said_by("dovecot", "--version"))
    if version is None:
        return Dovecot()
    mechanisms = _said_by("doveconf", "-h", "auth_mechanisms")
    return Dovecot(
        (int(version[1]), int(version[2])),
        _said_by("doveconf", "-h", "base_dir") or Dovecot().base_dir,
        tuple(mechanisms.split()) if re.fullmatch(r"[a-z0-9 -]*", mechanisms) else (),
    )


def _said_by(name: str, *arguments: str) -> str:
    """Return what a program prints; nothing where it is missing or fails."""
    program = shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin")
    if program:
        with contextlib.suppress(OSError, subprocess.SubprocessError):
            return subprocess.run(  # noqa: S603 - found on the path, like any command
                [program, *arguments], capture_output=True, text=True, check=True, timeout=_DEADLINE
            ).stdout.strip()
    return ""
