"""What a server takes: CPU time of all its processes, exited children included, and memory.

    with open_usage() as usage:
        process = subprocess.Popen(usage.command(["valija", "serve"]))
        before = usage.cpu()
        ...
        (usage.cpu() - before).seconds ; usage.memory().pss

A control group counts it, version 1 (cpuacct) or 2 (cpu.stat), whichever the machine has. Without one the times in
/proc are summed over the first process and its descendants.

Known weakness: of a descendant that left its parent (a daemon), /proc alone knows nothing.
"""

import contextlib
import os
import re
import secrets
import signal
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

import msgspec

from bench.machine import TICKS

_PSS = re.compile(r"(?m)^Pss:\s+(\d+) kB")
_RSS = re.compile(r"(?m)^Rss:\s+(\d+) kB")
_KIB = 1024


class Cpu(msgspec.Struct, frozen=True):
    """CPU time in seconds, and how much of it was spent in the kernel."""

    seconds: float
    system: float

    def __sub__(self, before: "Cpu") -> "Cpu":
        return Cpu(self.seconds - before.seconds, self.system - before.system)


class Memory(msgspec.Struct, frozen=True):
    """Memory in octets: proportional set size (shared pages parted among those who share), and resident set size."""

    pss: int
    rss: int


class Usage(Protocol):
    """The account of one server."""

    kind: str

    def command(self, command: Sequence[str]) -> list[str]:
        """Return the command that runs `command` on this account."""

    def started(self, pid: int) -> None:
        """Tell that the command was started as process `pid`."""

    def pids(self) -> list[int]:
        """Return the processes that live."""

    def cpu(self) -> Cpu:
        """Return the CPU time taken so far."""


class _Group:
    """A control group. Its processes join it before they become the server."""

    def __init__(self, kind: str, folder: Path) -> None:
        self.kind = kind
        self.folder = folder

    def command(self, command: Sequence[str]) -> list[str]:
        join = 'echo $$ >"$0" && exec "$@"'
        return ["sh", "-c", join, str(self.folder / "cgroup.procs"), *map(str, command)]

    def started(self, pid: int) -> None:
        """It joined by itself."""

    def pids(self) -> list[int]:
        return [int(pid) for pid in (self.folder / "cgroup.procs").read_text().split()]


class _GroupV1(_Group):
    def cpu(self) -> Cpu:
        user, system = (int((self.folder / f"cpuacct.usage_{part}").read_text()) for part in ("user", "sys"))
        return Cpu((user + system) / 1e9, system / 1e9)


class _GroupV2(_Group):
    def cpu(self) -> Cpu:
        stat = dict(line.split() for line in (self.folder / "cpu.stat").read_text().splitlines())
        return Cpu(int(stat["usage_usec"]) / 1e6, int(stat["system_usec"]) / 1e6)


class _Tree:
    """A process and its descendants, by /proc."""

    kind = "/proc"

    def __init__(self) -> None:
        self._root = 0

    def command(self, command: Sequence[str]) -> list[str]:
        return list(map(str, command))

    def started(self, pid: int) -> None:
        self._root = pid

    def pids(self) -> list[int]:
        found = [self._root] if Path(f"/proc/{self._root}").exists() else []
        for pid in found:
            with contextlib.suppress(OSError):
                found += [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
        return found

    def cpu(self) -> Cpu:
        user = system = 0
        for pid in self.pids():
            with contextlib.suppress(OSError):
                times = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:15]
                user += int(times[0]) + int(times[2])
                system += int(times[1]) + int(times[3])
        return Cpu((user + system) / TICKS, system / TICKS)


def nobody() -> Usage:
    """Return an account without processes."""
    return _Tree()


def memory_of(usage: Usage) -> Memory:
    """Return the memory that the processes of an account take now."""
    pss = rss = 0
    for pid in usage.pids():
        with contextlib.suppress(OSError):
            text = Path(f"/proc/{pid}/smaps_rollup").read_text()
            pss += sum(map(int, _PSS.findall(text)))
            rss += sum(map(int, _RSS.findall(text)))
    return Memory(pss * _KIB, rss * _KIB)


def wait_until_quiet(usage: Usage, limit: float) -> None:
    """Wait until the server has nothing more to do (less than 1 % of a core), `limit` seconds at most."""
    end, before = time.monotonic() + limit, usage.cpu()
    while time.monotonic() < end:
        time.sleep(0.2)
        now = usage.cpu()
        if (now - before).seconds < 0.002:
            return
        before = now


def end_processes(usage: Usage, patience: float) -> list[int]:
    """Wait until the account's processes are gone, then kill what is left of them; return whom that befell."""
    end = time.monotonic() + patience
    while (left := usage.pids()) and time.monotonic() < end:
        time.sleep(0.05)
    for pid in left:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    end = time.monotonic() + 5
    while usage.pids() and time.monotonic() < end:
        time.sleep(0.05)
    return left


@contextlib.contextmanager
def open_usage() -> Iterator[Usage]:
    """Open an account, by the best means that there is."""
    for kind, make, parent in _hierarchies():
        folder = parent / f"valija-bench-{secrets.token_hex(4)}"
        try:
            folder.mkdir()
        except OSError:
            continue
        try:
            yield make(kind, folder)
        finally:
            with contextlib.suppress(OSError):
                folder.rmdir()
        return
    yield _Tree()


def _hierarchies() -> "list[tuple[str, type[_GroupV1 | _GroupV2], Path]]":
    """Return the hierarchies of control groups that count CPU time, best first."""
    mounts = [line.split()[1:4] for line in Path("/proc/mounts").read_text().splitlines()]
    first = [Path(place) for place, kind, options in mounts if kind == "cgroup" and "cpuacct" in options.split(",")]
    second = [Path(place) for place, kind, _ in mounts if kind == "cgroup2"]
    return [*(("cgroup v1", _GroupV1, place) for place in first), *(("cgroup v2", _GroupV2, place) for place in second)]
