"""Stand-ins for systemctl and journalctl, for machines that have no systemd: enough to run what a guide tells to run.

    install(machine)                  # /run/stand-ins/systemctl and journalctl; the machine's path has to begin there

valija's unit is read, and the server is started as it says: the command, the user, the right to bind low ports, and
`Type=notify` (systemctl returns when the server has said READY=1). Its log is /var/log/valija. Dovecot has no
unit here and is started by its own name. What else a unit says, such as its sandbox, is not done.
"""

import contextlib
import os
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from tests.private_machine import PATH, PrivateMachine

STAND_INS = "/run/stand-ins"
MACHINE_PATH = f"{STAND_INS}:{PATH}"
VERSION = "systemd 252 (a stand-in)"
LOG = Path("/var/log/valija")
_UNIT = Path("/etc/systemd/system/valija.service")
_PID = Path("/run/valija.pid")
_NOTIFY = "/run/notify"
_DEADLINE = 30.0  # seconds


def install(machine: PrivateMachine) -> None:
    """Put the stand-ins where the machine's path begins, and `valija` beside them; systemd seems to run."""
    machine.file("/run/systemd/system").mkdir(parents=True)
    folder = machine.file(STAND_INS)
    folder.mkdir()
    checkout = Path(__file__).parent.parent
    for name in ("systemctl", "journalctl"):
        call = f"cd {checkout} && exec {sys.executable} -m tests.service_manager {name}"
        (folder / name).write_text(f'#!/bin/sh\n{call} "$@"\n')
        (folder / name).chmod(0o755)
    (folder / "valija").symlink_to(Path(sys.executable).with_name("valija"))


def main(name: str, *arguments: str) -> None:
    """Do what a command line says. Raises KeyError for what the stand-ins don't know."""
    words = [word for word in arguments if not word.startswith("-") or word == "--version"]
    if name == "journalctl":
        print(LOG.read_text(), end="")
        return
    verb, units = words[0], [unit.removesuffix(".service") for unit in words[1:]]
    if verb == "--version":
        print(VERSION)
    elif verb != "daemon-reload":
        for unit in units:
            _VERBS[verb, unit]()


def _start_valija() -> None:
    unit = _UNIT.read_text()
    settings = dict(line.split("=", 1) for line in unit.splitlines() if "=" in line and not line.startswith("#"))
    assert settings["Type"] == "notify"
    environment = {"PATH": PATH, "LANG": "C.UTF-8", "NOTIFY_SOCKET": _NOTIFY}
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notified, LOG.open("a") as log:
        Path(_NOTIFY).unlink(missing_ok=True)
        notified.bind(_NOTIFY)
        Path(_NOTIFY).chmod(0o666)
        command = [*_become(settings), *shlex.split(settings["ExecStart"])]
        server = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment, cwd="/", start_new_session=True
        )
        _PID.write_text(str(server.pid))
        notified.settimeout(_DEADLINE)
        while b"READY=1" not in notified.recv(4096).splitlines():
            assert server.poll() is None, LOG.read_text()


def _become(settings: dict[str, str]) -> list[str]:
    """Return the command that has the user and the rights of a unit."""
    if "User" not in settings:
        return []
    user, group = settings["User"], settings.get("Group", settings["User"])
    rights = [f"+{each.lower().removeprefix('cap_')}" for each in settings.get("AmbientCapabilities", "").split()]
    gained = [f"--inh-caps={','.join(rights)}", f"--ambient-caps={','.join(rights)}"] if rights else []
    return ["setpriv", f"--reuid={user}", f"--regid={group}", "--init-groups", *gained, "--"]


def _stop_valija() -> None:
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        pid = int(_PID.read_text())
        os.kill(pid, signal.SIGTERM)
        _wait_for_the_end_of(pid)


def _stop_dovecot() -> None:
    """End all of its processes, as systemd does: its auth process would outlive the master for the clients it has."""
    master = int(Path("/run/dovecot/master.pid").read_text())
    os.killpg(master, signal.SIGTERM)
    _wait_for_the_end_of(master)


def _restart_valija() -> None:
    _stop_valija()
    _start_valija()


def _wait_for_the_end_of(pid: int) -> None:
    end = time.monotonic() + _DEADLINE
    while Path(f"/proc/{pid}").exists():
        assert time.monotonic() < end, f"process {pid} does not end"
        time.sleep(0.02)


def _run(*words: str) -> None:
    """Run a command whose processes may stay, and would keep a pipe open."""
    with LOG.with_name("dovecot").open("a") as log:
        subprocess.run(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, check=True)


_VERBS: dict[tuple[str, str], Callable[[], None]] = {
    ("enable", "valija"): _start_valija,
    ("start", "valija"): _start_valija,
    ("stop", "valija"): _stop_valija,
    ("restart", "valija"): _restart_valija,
    ("enable", "dovecot"): lambda: _run("dovecot"),
    ("start", "dovecot"): lambda: _run("dovecot"),
    ("stop", "dovecot"): _stop_dovecot,
    ("reload", "dovecot"): lambda: _run("doveadm", "reload"),
}


if __name__ == "__main__":
    main(*sys.argv[1:])
