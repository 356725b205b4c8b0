"""The judgements of one port as lines for people: what is wrong with its evidence and remedy, the rest in short.

port_lines("smtp", 25, judgements)

Neighbours with the same verdict and the same remedy share one entry, so that an open relay does not fill three screens.
"""

from collections.abc import Iterator, Sequence
from itertools import groupby
from textwrap import wrap
from typing import Final

from valija.probe.judgement import Judgement, Verdict

_MARKS: Final[dict[Verdict, str]] = {
    "good": "good",
    "bad": "BAD",
    "warning": "WARNING",
    "unknown": "unknown",
    "not tested": "not tested",
}
_RELAYING: Final = "no relaying: "
_WIDTH: Final = 13


def port_lines(role: str, port: int, judgements: Sequence[Judgement]) -> Iterator[str]:
    """Yield a heading, and the judgements in their order."""
    yield f"{role} {port}"
    for _, each in groupby(judgements, key=_kind):
        yield from _entry(list(each))


def summary(judgements: Sequence[Judgement]) -> str:
    """Return how many of each verdict there are, on one line."""
    counts = {verdict: sum(each.verdict == verdict for each in judgements) for verdict in _MARKS}
    return ", ".join(f"{count} {verdict}" for verdict, count in counts.items() if count)


def _kind(judgement: Judgement) -> tuple[str, ...]:
    """Return what neighbours of one entry have in common; what is good stands alone, but for the forms of relaying."""
    verdict = judgement.verdict
    if verdict == "good":
        return (verdict, "relay") if "-relay-" in judgement.id else (verdict, judgement.id)
    if verdict == "not tested":
        return (verdict, *judgement.evidence)
    return (verdict, judgement.remedy or judgement.id)


def _entry(alike: list[Judgement]) -> Iterator[str]:
    first, *others = alike
    mark = f"  {_MARKS[first.verdict]:<{_WIDTH - 2}}"
    indent = " " * _WIDTH
    if first.verdict == "good":
        yield f"{mark}{first.what}" if not others else f"{mark}{_RELAYING}{len(alike)} ways of it are refused"
        return
    if first.verdict == "not tested":
        what = first.what if not others else f"{len(alike)} tests"
        yield f"{mark}{what}: {'; '.join(first.evidence)}"
        return
    yield f"{mark}{first.what}"
    yield from (f"{indent}{line}" for line in first.evidence)
    if others:
        named = "; ".join(each.what.removeprefix(_RELAYING) for each in others)
        yield from wrap(f"so too: {named}", 110, initial_indent=indent, subsequent_indent=indent)
    if first.remedy:
        yield f"{indent}-> {first.remedy}"
