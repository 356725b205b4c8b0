"""Minimum, median and maximum of the rounds, for each work, case, server and figure."""

from collections.abc import Iterable, Mapping
from statistics import median

import msgspec

from bench.results import Run


class Spread(msgspec.Struct, frozen=True):
    """Three values of one figure over the rounds."""

    least: float
    median: float
    most: float

    @classmethod
    def of(cls, values: Iterable[float]) -> "Spread":
        """Return the spread of at least one value."""
        ordered = sorted(values)
        return cls(ordered[0], median(ordered), ordered[-1])


class Row(msgspec.Struct, frozen=True):
    """A case on a server: the spread of its figures, how many rounds there were, and what was noted in them."""

    work: str
    case: str
    server: str
    figures: Mapping[str, Spread]
    rounds: int
    notes: tuple[str, ...]

    def median(self, figure: str) -> float | None:
        """Return a figure's median, None where it was not measured."""
        spread = self.figures.get(figure)
        return spread.median if spread else None


def summarise(runs: Iterable[Run]) -> list[Row]:
    """Return a row for each case and server, in the order in which they were first measured."""
    groups: dict[tuple[str, str, str], list[Run]] = {}
    for run in runs:
        groups.setdefault((run.work, run.case, run.server), []).append(run)
    return [_row(group) for group in groups.values()]


def _row(group: list[Run]) -> Row:
    first = group[0]
    names = dict.fromkeys(name for run in group for name in run.figures)
    figures = {name: Spread.of(run.figures[name] for run in group if name in run.figures) for name in names}
    notes = tuple(dict.fromkeys(run.note for run in group if run.note))
    return Row(first.work, first.case, first.server, figures, len(group), notes)
