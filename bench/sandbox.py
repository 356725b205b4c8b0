"""A place of its own for the measurement: own network with nothing but loopback, own processes, own mounts.

    enter(["-m", "bench", "run"])     # as root: does not return, the same command goes on inside
    prepare(home)                     # inside: loopback up, names answered on port 53, /etc/resolv.conf that says so

No packet leaves, port 25 and 53 are free whatever the machine runs, and all processes end with the first one, however
it ends. Without root there is no such place: then only valija is measured, on high ports of the machine's loopback.
"""

import fcntl
import os
import shutil
import socket
import struct
import subprocess
import sys
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


def enter(arguments: Sequence[str]) -> None:
    """Run this Python anew with `arguments` inside, and end as it ends."""
    spaces = ["--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"]
    command = ["unshare", *spaces, "sh", "-c", _INIT, "sh", sys.executable, *arguments]
    os.chdir(PROJECT)
    os.execvpe("unshare", command, {**os.environ, _MARK: "1"})  # noqa: S606 there is no shell to fear: the list is ours


def prepare(home: Path) -> None:
    """Make the place habitable. To be called once, inside."""
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
