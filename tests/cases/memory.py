"""How much memory a process takes, as the kernel counts it.

with grown(pid) as growth:
    ...
growth.kib          # by how much its resident memory rose at its highest
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


@dataclass
class Growth:
    """Known when the measured time is over."""

    kib: int = 0


@contextmanager
def grown(pid: int) -> Iterator[Growth]:
    """Measure by how much a process rises, at its highest, above what it has now."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")  # proc(5): the peak is now
    before, growth = resident(pid), Growth()
    yield growth
    growth.kib = _status(pid, "VmHWM") - before


def resident(pid: int) -> int:
    """Return a process's resident memory in KiB."""
    return _status(pid, "VmRSS")


def _status(pid: int, key: str) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{key}:"))
