"""What machine was measured on, in words that stand beside the numbers."""

import os
import platform
import re
import subprocess
import time
from pathlib import Path

import msgspec

from bench import PROJECT

TICKS = os.sysconf("SC_CLK_TCK")


class Machine(msgspec.Struct, frozen=True):
    """The facts of one measurement. `load` is the load average when it began, of other programs that is."""

    date: str
    revision: str
    cores: int
    cpu: str
    kernel: str
    file_system: str
    python: str
    load: float

    @classmethod
    def here(cls, home: Path) -> "Machine":
        """Return the facts of this machine, of the file system of `home`, and of this checkout."""
        return cls(
            date=time.strftime("%Y-%m-%d"),
            revision=revision(),
            cores=len(os.sched_getaffinity(0)),
            cpu=_cpu(),
            kernel=f"{platform.system()} {platform.release()}",
            file_system=_file_system(home),
            python=platform.python_version(),
            load=round(os.getloadavg()[0], 2),
        )

    def __str__(self) -> str:
        return (
            f"{self.date}, revision {self.revision}, {self.cores} x {self.cpu}, {self.kernel}, {self.file_system}, "
            f"Python {self.python}, load before: {self.load:.2f}"
        )


def revision() -> str:
    """Return the checkout's revision, with a plus sign where files were changed since; "unknown" outside of git."""
    named = _git("rev-parse", "--short=10", "HEAD")
    changed = _git("status", "--porcelain", "--", "src")
    return f"{named}+" if named and changed else named or "unknown"


def busy_seconds() -> float:
    """Return the seconds that the machine's cores were busy since it started."""
    fields = [int(field) for field in Path("/proc/stat").read_text().partition("\n")[0].split()[1:9]]
    return (sum(fields) - fields[3] - fields[4]) / TICKS


def process_seconds(pid: int) -> float:
    """Return the seconds of CPU that a living process took."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", "-C", PROJECT, *arguments], capture_output=True, text=True, check=False)
    return done.stdout.strip()


def _cpu() -> str:
    found = re.search(r"(?m)^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text())
    return found[1].strip() if found else platform.machine()


def _file_system(folder: Path) -> str:
    """Return the kind of file system a folder lies on: that of the longest mount point above it."""
    mounts = [line.split()[1:3] for line in Path("/proc/mounts").read_text().splitlines()]
    above = [(len(place), kind) for place, kind in mounts if folder.resolve().is_relative_to(place)]
    return max(above)[1] if above else "unknown"
