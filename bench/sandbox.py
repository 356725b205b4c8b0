"""A place of its own for the measurement: own network with nothing but loopback, own processes, own mounts.

    sys.exit(enter(["-m", "bench", "run"]))   # as root: the same command goes on inside
    prepare(home)                             # inside: loopback up, and an /etc/resolv.conf that names 127.0.0.1

No packet leaves, and ports 25 and 53 are free whatever the machine runs. The command inside holds one end of a pipe:
when the other end is closed, because the command outside was ended or has died, it stops what it started and ends too;
and with its first process all others do.

Without root there is no such place: then only valija is measured, on high ports of the machine's loopback.
"""

import contextlib
import fcntl
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from bench import PROJECT

_MARK = "VALIJA_BENCH_INSIDE"
_SET_FLAGS = 0x8914  # SIOCSIFFLAGS
_UP_AND_RUNNING = 0x1 | 0x40

# A shell is the first process: it waits for orphans, which Python would not.
_INIT = 'PATH=$PATH:/usr/sbin:/sbin "$@"; exit $?'


def is_possible() -> bool:
    """Whether this user may make such a place."""
    return os.geteuid() == 0 and shutil.which("unshare") is not None


def is_inside() -> bool:
    """Whether this process runs in such a place."""
    return _MARK in os.environ


def enter(arguments: Sequence[str]) -> int:
    """Run this Python anew with `arguments` inside; return its exit status."""
    watched, held = os.pipe()
    with contextlib.ExitStack() as stack:
        stack.callback(os.close, watched)
        let_go = stack.enter_context(os.fdopen(held, "wb"))
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: let_go.close())
        spaces = ["--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"]
        command = ["unshare", *spaces, "sh", "-c", _INIT, "sh", sys.executable, *arguments]
        environment = {**os.environ, _MARK: str(watched)}
        return subprocess.run(command, cwd=PROJECT, env=environment, pass_fds=[watched], check=False).returncode


def _end_with_the_outside() -> None:
    """End this process as SIGTERM does, when the command outside lets go of the pipe."""
    watched = int(os.environ[_MARK])

    def watch() -> None:
        os.read(watched, 1)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True).start()


def prepare(home: Path) -> None:
    """Make the place habitable. To be called once, inside."""
    _end_with_the_outside()
    _raise_loopback()
    resolv_conf = home / "resolv.conf"
    resolv_conf.write_text("nameserver 127.0.0.1\n")
    mount("--bind", str(resolv_conf), os.path.realpath("/etc/resolv.conf"))


def mount(*arguments: str) -> None:
    """Mount something that only this place sees."""
    subprocess.run(["mount", *arguments], check=True)


def _raise_loopback() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as handle:
        fcntl.ioctl(handle, _SET_FLAGS, struct.pack("16sH14x", b"lo", _UP_AND_RUNNING))
