"""What was measured: runs with figures, kept as JSON, and the words and units of each figure.

    runs = [Run("relay-new", "100 sessions", "valija", 1, {"rate": 2500.0})]
    results = [Results(machine, "cgroup v1", runs)]
    save(path, results) ; load(path)

All figures are plain numbers in base units: seconds, octets, messages a second, shares of one.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Final, Literal

import msgspec

from bench.machine import Machine


class Figure(msgspec.Struct, frozen=True):
    """How a figure is shown: its name in a table, unit, decimals, the factor from base units, and which way is good."""

    title: str
    unit: str
    decimals: int = 0
    factor: float = 1.0
    better: Literal["more", "less", ""] = ""

    def show(self, value: float) -> str:
        """Return a value in the figure's unit, without it."""
        return f"{value * self.factor:,.{self.decimals}f}"


_MIB: Final = 1 / (1 << 20)

FIGURES: Final[Mapping[str, Figure]] = {
    "rate": Figure("relayed", "messages/s", better="more"),
    "accepted": Figure("accepted", "messages/s", better="more"),
    "octets": Figure("relayed", "MB/s", 1, 1e-6, better="more"),
    "cpu": Figure("CPU a message", "µs", 0, 1e6, better="less"),
    "cpu_system": Figure("of it in the kernel", "µs", 0, 1e6, better="less"),
    "pss": Figure("memory", "MiB", 1, _MIB, better="less"),
    "peak": Figure("peak memory", "MiB", 1, _MIB, better="less"),
    "growth": Figure("memory more", "MiB", 1, _MIB, better="less"),
    "session": Figure("memory a session", "KiB", 1, 1 / 1024, better="less"),
    "accept_p50": Figure("accepted, p50", "ms", 2, 1e3, better="less"),
    "accept_p99": Figure("accepted, p99", "ms", 2, 1e3, better="less"),
    "dot_p50": Figure("final dot to 250, p50", "ms", 2, 1e3, better="less"),
    "dot_p99": Figure("final dot to 250, p99", "ms", 2, 1e3, better="less"),
    "arrive_p50": Figure("at the sink, p50", "ms", 2, 1e3, better="less"),
    "arrive_p99": Figure("at the sink, p99", "ms", 2, 1e3, better="less"),
    "opened": Figure("sessions opened", ""),
    "refused": Figure("refused or lost", "", better="less"),
    "seconds": Figure("time", "s", 3, better="less"),
    "generator": Figure("generator", "% of a core", 0, 100),
    "sink": Figure("sink", "% of a core", 0, 100),
    "machine": Figure("machine busy", "%", 0, 100),
}


class Measured(msgspec.Struct, frozen=True):
    """What a work measured of one case. `note` names a fault or a limit, "" where all went well."""

    case: str
    figures: dict[str, float]
    note: str = ""


class Run(msgspec.Struct, frozen=True):
    """One measurement of a case on a server. Rounds are counted from 1."""

    work: str
    case: str
    server: str
    round: int
    figures: dict[str, float]
    note: str = ""


class Results(msgspec.Struct, frozen=True):
    """All runs of one call, where they took place, and how CPU time was counted."""

    machine: Machine
    accounting: str
    runs: list[Run]


def save(path: Path, results: list[Results]) -> None:
    """Write results, readable."""
    path.write_bytes(msgspec.json.format(msgspec.json.encode(results), indent=1) + b"\n")


def load(path: Path) -> list[Results]:
    """Read results; none where there is no file."""
    return msgspec.json.decode(path.read_bytes(), type=list[Results]) if path.exists() else []


def merged(old: list[Results], new: Results) -> list[Results]:
    """Return `new` and, of the results before it, the works that it did not measure anew."""
    anew = {run.work for run in new.runs}
    kept = [
        msgspec.structs.replace(each, runs=left)
        for each in old
        if (left := [run for run in each.runs if run.work not in anew])
    ]
    return [*kept, new]
