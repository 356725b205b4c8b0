"""Rounds: each work on each server in turn, then all again, so that what changes on the machine meets all of them."""

import subprocess
from collections.abc import Iterator, Sequence

from bench.load.child import LoadFault
from bench.results import FIGURES, Measured, Run
from bench.servers import VALIJA, ServerFault
from bench.setting import Setting
from bench.works.work import Work

_FAULTS = (ServerFault, LoadFault, OSError, subprocess.SubprocessError)


def measure(setting: Setting, works: Sequence[Work], servers: Sequence[str], rounds: int) -> Iterator[Run]:
    """Yield runs as they are measured. A server that fails a work is noted with it, and the others go on."""
    for work in works:
        able = [server for server in servers if server == VALIJA or server in work.peers]
        for number in range(1, rounds + 1):
            # Each round begins with another server: who comes first meets a colder machine.
            for place in range(len(able)):
                server = able[(place + number - 1) % len(able)]
                setting.say(f"{work.name}, round {number} of {rounds}, {server}")
                for measured in _one(setting, work, server):
                    setting.say(f"    {words(measured)}")
                    yield Run(work.name, measured.case, server, number, measured.figures, measured.note)


def _one(setting: Setting, work: Work, server: str) -> Iterator[Measured]:
    try:
        yield from work.measure(setting, server)
    except _FAULTS as fault:
        yield Measured("failed", {}, str(fault) or type(fault).__name__)


def words(measured: Measured) -> str:
    """Return what was measured, on one line."""
    figures = (
        f"{FIGURES[name].title} {FIGURES[name].show(value)} {FIGURES[name].unit}".strip()
        for name, value in measured.figures.items()
    )
    return "; ".join([measured.case, *figures, *([f"NOTE: {measured.note}"] if measured.note else [])])
