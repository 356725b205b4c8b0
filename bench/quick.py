"""A minute's comparison: this working tree against a git revision, in turns.

    compare(setting, "HEAD", rounds=5)

Rate and CPU time a message are given as ratios, new to old: the median of the rounds, and their spread. A ratio whose
spread has 1.00 in it says nothing.
"""

import contextlib
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

from bench import PROJECT
from bench.load.source import Sink, Source
from bench.ports import free_ports
from bench.servers.valija import Valija
from bench.setting import Setting
from bench.summary import Spread
from bench.works.observed import Relayed, relay, warm_up

_SESSIONS: Final = 100
_FIGURES: Final = ("rate", "cpu")
_WORKS: Final = {"relay-new 100": False, "relay-keep 100": True}

Pair = dict[tuple[str, str], float]
"""Figures of one server, by work and figure."""


class Ratio(msgspec.Struct, frozen=True):
    """How the new tree's figure compares with the old one's, over the rounds."""

    work: str
    figure: str
    spread: Spread

    def __str__(self) -> str:
        verdict = "" if self.spread.least > 1 or self.spread.most < 1 else "   (no difference shown)"
        return (
            f"{self.work:15} {self.figure:5} new/old  {self.spread.median:.2f}  "
            f"({self.spread.least:.2f} to {self.spread.most:.2f}){verdict}"
        )


def compare(setting: Setting, revision: str, rounds: int) -> list[Ratio]:
    """Measure both in turns, and return the ratios. Raises ValueError for a revision that is not there."""
    pairs: list[tuple[Pair, Pair]] = []
    with worktree(revision, setting.home) as old:
        before = msgspec.structs.replace(setting, source=old / "src")
        for number in range(rounds):
            # Who comes first changes from round to round.
            first, second = (before, setting) if number % 2 else (setting, before)
            figures = [_measure(first), _measure(second)]
            pairs.append((figures[0], figures[1]) if first is setting else (figures[1], figures[0]))
            setting.say(_words(number + 1, *pairs[-1]))
    return ratios(pairs)


def ratios(pairs: list[tuple[Pair, Pair]]) -> list[Ratio]:
    """Return the ratio new to old of each figure that all rounds have."""
    keys = [key for key in pairs[0][0] if all(key in new and old.get(key) for new, old in pairs)]
    return [Ratio(*key, Spread.of(new[key] / old[key] for new, old in pairs)) for key in keys]


def _measure(setting: Setting) -> Pair:
    figures: Pair = {}
    with Sink("127.0.0.1", free_ports(1)) as sink, Valija(setting, sink.port) as server:
        warm_up(server.smtpd, sink, messages=500)
        for work, keep in _WORKS.items():
            messages = setting.scale.messages
            done = relay(server, sink, Source(server.smtpd, _SESSIONS, messages, setting.scale.octets, keep=keep), 30.0)
            if done.note:
                setting.say(f"    {work}: {done.note}")
            figures |= _kept(work, done)
    return figures


def _kept(work: str, done: Relayed) -> Pair:
    return {(work, figure): done.figures[figure] for figure in _FIGURES if figure in done.figures}


def _words(number: int, new: Pair, old: Pair) -> str:
    parts = [
        f"{work} {new[work, 'rate']:.0f} | {old[work, 'rate']:.0f} messages/s"
        for work in _WORKS
        if (work, "rate") in new and (work, "rate") in old
    ]
    return f"round {number}, new | old: " + ", ".join(parts)


@contextlib.contextmanager
def worktree(revision: str, home: Path) -> Iterator[Path]:
    """Lay out a revision in a folder that all may read; it is removed afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="revision-", dir=home))
    try:
        added = subprocess.run(
            ["git", "-C", PROJECT, "worktree", "add", "--quiet", "--detach", folder, revision],
            capture_output=True,
            text=True,
            check=False,
        )
        if added.returncode:
            raise ValueError(f"there is no revision {revision!r}: {added.stderr.strip()}")
        folder.chmod(0o755)
        yield folder
    finally:
        subprocess.run(
            ["git", "-C", PROJECT, "worktree", "remove", "--force", folder], capture_output=True, check=False
        )
        with contextlib.suppress(OSError):
            folder.rmdir()
