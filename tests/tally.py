"""What the tests counted, told in one table: how often they killed, what they threw at the server, and what came of it.

    def test_kills(tally: Tally) -> None:
        tally("crash", kills=50, accepted=7024, lost=0)

    ./test --proof            # runs the tests that count, and writes docs/proof.md

A count is told once for each test, when it is sure; names are plain English with underscores. Those of `NEVER` must be
0 wherever they are told: a test that counts one of them asserts it, the table shows it.
"""

from collections import defaultdict
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
    by_area: dict[str, list[tuple[str, dict[str, int]]]] = defaultdict(list)
    for area, test, told in counts:
        by_area[area].append((test, told))
    never = {name: sum(told.get(name, 0) for tests in by_area.values() for _, told in tests) for name in NEVER}
    lines = [
        "# The proof",
        "",
        "What the tests threw at the server, and what came of it. Written by `./test --proof` (`./test --proof --soak`",
        "counts for longer); [durability.md](durability.md) and [SECURITY.md](../SECURITY.md) say what each proves.",
        "",
        f"**{', '.join(f'{name}: {count}' for name, count in never.items())}** ({measured})",
    ]
    for area, title in AREAS.items():
        if area in by_area:
            lines += ["", f"## {title}", "", *_table(sorted(by_area[area]))]
    return "\n".join(lines) + "\n"


def _table(tests: list[tuple[str, dict[str, int]]]) -> list[str]:
    return [
        "| test | counted |",
        "| --- | --- |",
        *(f"| `{test}` | {', '.join(_told(*each) for each in counts.items())} |" for test, counts in tests),
    ]


def _told(name: str, count: int) -> str:
    return f"{name.replace('_', ' ')} {count:,}"
