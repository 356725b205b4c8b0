"""A machine of a network with a name, users, configuration and processes of its own, as if it were installed just now.

    with Network({"mail": ["192.0.2.10/24"]}) as network, PrivateMachine(network, "mail", "mail.example.org") as mail:
        mail.run("useradd", "--create-home", "ana")       # nobody outside knows ana
        mail.file("/etc/resolv.conf").write_text("nameserver 192.0.2.53\\n")
        mail.shell("echo ana:secret | chpasswd")

Its /etc and /var/lib are as they are here, and what it changes there is seen by it alone; /run, /home, /var/log and
/var/mail are empty; `disks` are folders of a real disk, empty too, and root's alone. All else it has in common with
everybody, /tmp too. Commands begin in /home. At the end every process that was started on it is ended, and all that
it wrote in these places is gone.

It is made of Linux' namespaces, and has no systemd.
"""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from tests import network

_TOOLS = ("unshare", "nsenter", "setpriv", "mount")
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_DEADLINE = 10.0  # seconds

# Run by the machine's first process, which then waits, and takes in the dead: $1 is its folder, $2 its name, the others
# are disks.
_SETUP = """
set -e
folder=$1 name=$2; shift 2
mkdir "$folder/own"
mount -t tmpfs tmpfs "$folder/own" # memory may lie over anything, and not every disk can
own() {
  mkdir -p "$folder/own/new$1" "$folder/own/work$1"
  mount -t overlay overlay -o "lowerdir=$1,upperdir=$folder/own/new$1,workdir=$folder/own/work$1" "$1"
}
own /etc
own /var/lib
for empty in /run /home /var/log /var/mail; do mount -t tmpfs -o mode=755 tmpfs "$empty"; done
for disk in "$@"; do
  mkdir -p "$folder/disk$disk" "$disk"
  chmod 700 "$folder/disk$disk"
  mount --bind "$folder/disk$disk" "$disk"
done
# /etc/resolv.conf and the like may be a link to what is hidden now.
for file in resolv.conf hosts; do rm -f "/etc/$file"; done
printf '127.0.0.1 localhost\\n' >/etc/hosts
hostname "$name"
printf '%s\\n' "$name" >/etc/hostname
echo ready
sleep infinity & wait $!
"""


def _missing() -> str:
    if network.MISSING:
        return network.MISSING
    if not all(map(shutil.which, _TOOLS)):
        return "machines of one's own are made with util-linux"
    tried = subprocess.run(
        ["unshare", "--mount", "--pid", "--fork", "true"], capture_output=True, text=True, check=False
    )
    return f"machines of one's own can't be made here: {tried.stderr.strip()}" if tried.returncode else ""


MISSING = _missing()


class PrivateMachine:
    """The machine between `__enter__` and `__exit__`."""

    def __init__(
        self, network: network.Network, name: str, hostname: str, *, disks: Sequence[str] = (), path: str = PATH
    ) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix=f"machine-{name}-", dir="/tmp"))
        self.folder.chmod(0o755)
        self._environment = {"PATH": path, "HOME": "/home", "LANG": "C.UTF-8"}
        unshare = ["unshare", "--mount", "--uts", "--pid", "--fork", "--kill-child", "--mount-proc"]
        setup = ["bash", "-c", _SETUP, name, str(self.folder), hostname, *disks]
        self._command = network.command(name, *unshare, *setup)

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            self._command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        assert self._process.stdout
        told = self._process.stdout.readline()
        if told != "ready\n":
            self.__exit__(None, None, None)
            raise AssertionError(f"no private machine here: {told}")
        (self._first,) = self._children()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for child in self._children():
            os.kill(child, signal.SIGKILL)  # the first process of all; the others end with it
        self._process.wait(_DEADLINE)
        self._remove_files()

    def _children(self) -> list[int]:
        """Return the first process of the machine, as long as there is one."""
        try:
            listed = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text()
        except FileNotFoundError:
            return []
        return list(map(int, listed.split()))

    def _remove_files(self) -> None:
        """The kernel lets go of the disks a moment after the last process."""
        end = time.monotonic() + _DEADLINE
        while self.folder.exists() and time.monotonic() < end:
            shutil.rmtree(self.folder, ignore_errors=True)

    def file(self, path: str) -> Path:
        """Return where a file of the machine is seen from outside."""
        return Path(f"/proc/{self._first}/root") / path.removeprefix("/")

    def command(self, *words: str | Path) -> list[str]:
        """Return a command line that runs another one on the machine, with an environment of the machine's."""
        there = ["nsenter", "--target", str(self._first), "--mount", "--uts", "--pid", "--net"]
        environment = [f"{name}={value}" for name, value in self._environment.items()]
        return [*there, "env", "-i", "-C", "/home", *environment, *map(str, words)]

    def run(self, *words: str | Path, text: str = "", deadline: float = 60.0) -> subprocess.CompletedProcess[str]:
        """Run a command; its output and its errors are gathered together, in order."""
        return subprocess.run(
            self.command(*words),
            input=text,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="backslashreplace",
            timeout=deadline,
            check=False,
        )

    def shell(self, line: str, deadline: float = 60.0) -> subprocess.CompletedProcess[str]:
        """Run a line of bash."""
        return self.run("bash", "-c", line, deadline=deadline)
