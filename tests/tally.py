"""What the tests counted, told in one table: how often they killed, what they threw at the server, and what came of it.

    def test_kills(tally: Tally) -> None:
        tally("crash", kills=50, accepted=7024, lost=0)

    ./test --proof            # runs the tests that count, and writes docs/proof.md

A count is told once for each test, when it is sure; names are plain English with underscores. Those of `NEVER` must be
0 wherever they are told: a test that counts one of them asserts it, the table shows it.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Final, Protocol

AREAS: Final = {
    "crash": "Processes killed",
    "faults": "Disk, clock, memory and neighbours failing",
    "fuzzing": "Generated input",
    "smuggling": "Smuggling and injection",
    "relay": "Relaying by strangers",
    "abuse": "Floods, drips and guesses",
    "files": "Privileges and files",
}
NEVER: Final = ("lost", "relayed", "smuggled", "crashed")
PAGE: Final = Path(__file__).parent.parent / "docs" / "proof.md"

Count = tuple[str, str, dict[str, int]]  # area, test, counts


class Tally(Protocol):
    """Tells what a test counted."""

    def __call__(self, area: str, **counts: int) -> None: ...


def page(counts: Iterable[Count], *, measured: str) -> str:
    """Return the page that tells `counts`; `measured` says when and on what."""
    by_area: dict[str, dict[str, Counter[str]]] = {area: defaultdict(Counter) for area in AREAS}
    for area, test, told in counts:
        by_area[area][test.partition("[")[0]].update(told)
    in_all = {area: sum_of(tests.values()) for area, tests in by_area.items() if tests}
    never = sum_of(in_all.values())
    lines = [
        "# The proof",
        "",
        "What the tests threw at the server, and what came of it. Written by `./test --proof` (`./test --proof --soak`",
        "counts for longer); [durability.md](durability.md) and [SECURITY.md](../SECURITY.md) say what each proves.",
        "",
        f"**{', '.join(f'{name}: {never[name]}' for name in NEVER)}** ({measured})",
    ]
    for area, summed in in_all.items():
        rows = [("in all", summed), *((f"`{test}`", told) for test, told in sorted(by_area[area].items()))]
        lines += ["", f"## {AREAS[area]}", "", "| test | counted |", "| --- | --- |"]
        lines += [f"| {test} | {', '.join(_told(*each) for each in told.items())} |" for test, told in rows]
    return "\n".join(lines) + "\n"


def sum_of(counters: Iterable[Counter[str]]) -> Counter[str]:
    """Return the sum of counts, those of nothing too."""
    total: Counter[str] = Counter()
    for each in counters:
        total.update(each)
    return total


def _told(name: str, count: int) -> str:
    return f"{name.replace('_', ' ')} {count:,}"
