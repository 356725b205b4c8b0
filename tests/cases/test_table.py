"""docs/cases.md names tests that are there, and every case that a test is named after."""

import re
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parent.parent.parent
PAGE: Final = ROOT / "docs" / "cases.md"
_ROW: Final = re.compile(r"^\| (C\d{3}) \| ([^|]+) \| (.+) \|$", re.MULTILINE)
_NAMED: Final = re.compile(r"\[([^\]]+)\]\(\.\./([^)\s]+)\)(?: `(\w+)`)?")
_IDS: Final = re.compile(r"(?:^|_)c(\d{3})(?=_)")

ROWS: Final = {row[1]: row[3] for row in _ROW.finditer(PAGE.read_text(encoding="utf-8"))}


def ids_of(name: str) -> set[str]:
    """Return the cases that a test or a dialogue is named after."""
    return {f"C{number}" for number in _IDS.findall(name)}


@pytest.mark.parametrize("case", ROWS)
def test_the_tests_of_a_case_are_there(case: str) -> None:
    named = _NAMED.findall(ROWS[case])
    assert named
    for shown, path, test in named:
        assert path == f"tests/{shown}"
        text = (ROOT / path).read_text(encoding="utf-8")
        assert case in ids_of(test or Path(path).name), f"{test or path} is no test of {case}"
        assert not test or f"def {test}(" in text, f"no {test} in {path}"


def test_every_case_that_a_test_is_named_after_is_there() -> None:
    found: dict[str, str] = {}
    for path in (ROOT / "tests").rglob("*.py"):
        for name in re.findall(r"^\s*(?:async )?def (test_\w+)", path.read_text(encoding="utf-8"), re.MULTILINE):
            found |= dict.fromkeys(ids_of(name), f"{path}::{name}")
    for path in (ROOT / "tests" / "dialogs").glob("*.smtp"):
        found |= dict.fromkeys(ids_of(path.name), str(path))
    assert found.keys() == ROWS.keys(), {case: found.get(case) for case in found.keys() ^ ROWS.keys()}


def test_the_numbers_rise() -> None:
    assert list(ROWS) == sorted(ROWS)
    assert len(ROWS) > 60
