"""The results as Markdown: what is reached of the aims, then a table for each work with minimum, median and maximum."""

from collections.abc import Iterable, Sequence
from itertools import groupby

from bench.aims import judge
from bench.results import FIGURES, Results
from bench.summary import Row, Spread, summarise
from bench.works import WORKS


def as_markdown(results: Sequence[Results]) -> str:
    """Return all tables, with the machine that each was measured on."""
    rows = summarise(run for each in results for run in each.runs)
    parts = ["### Aims", _aims(rows)]
    for each in results:
        parts += ["### Measured", f"{each.machine}. CPU time by {each.accounting}."]
        for work, group in groupby(summarise(each.runs), key=lambda row: row.work):
            parts += [f"#### `{work}`: {WORKS[work].title}", *_work(work, list(group))]
    return "\n\n".join(parts) + "\n"


def _aims(rows: Sequence[Row]) -> str:
    lines = [
        (f"`{verdict.aim.work}`", verdict.aim.case, verdict.aim.words(), verdict.words(), verdict.verdict())
        for verdict in judge(rows)
    ]
    return _table(("work", "case", "aim", "measured", ""), lines)


def _work(work: str, rows: Sequence[Row]) -> list[str]:
    """Return the table of one work, and the notes below it."""
    figures = [name for name in WORKS[work].figures if any(name in row.figures for row in rows)]
    heads = ("case", "server", *map(_head, figures), "rounds")
    cells = [
        (row.case, row.server, *(_cell(name, row.figures.get(name)) for name in figures), str(row.rounds))
        for row in rows
    ]
    notes = [f"- {row.server}, {row.case}: {note}" for row in rows for note in row.notes]
    return [_table(heads, cells), *(["\n".join(notes)] if notes else [])]


def _head(name: str) -> str:
    figure = FIGURES[name]
    return f"{figure.title}, {figure.unit}" if figure.unit else figure.title


def _cell(name: str, spread: Spread | None) -> str:
    """Return a cell: min / **median** / max, or one number where they look the same."""
    if spread is None:
        return ""
    show = FIGURES[name].show
    least, middle, most = show(spread.least), show(spread.median), show(spread.most)
    return f"**{middle}**" if least == most else f"{least} / **{middle}** / {most}"


def _table(heads: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    rule = ["---"] * len(heads)
    return "\n".join(
        "| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in (heads, rule, *lines)
    )
