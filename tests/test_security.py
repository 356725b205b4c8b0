"""SECURITY.md names tests that are there, and something that shows each of its rows."""

import re
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parent.parent
TEXT: Final = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
_NAMED: Final = re.compile(r"\[([\w/]+\.py)\]\(tests/([\w/]+\.py)\) `(\w+)`")
_ROW: Final = re.compile(r"^\| ([^|]+) \| ([^|]+) \| ([^|]+) \|$", re.MULTILINE)
ROWS: Final = [row for row in _ROW.findall(TEXT) if row[0] not in ("tries to", "---")]
NAMED: Final = _NAMED.findall(TEXT)


@pytest.mark.parametrize(("shown", "path", "test"), NAMED, ids=[name for *_, name in NAMED])
def test_a_test_that_is_named_is_there(shown: str, path: str, test: str) -> None:
    assert path == shown
    assert re.search(rf"^def {test}\(", (ROOT / "tests" / path).read_text(encoding="utf-8"), re.MULTILINE)


def test_each_row_is_shown_by_tests_alone() -> None:
    assert len(ROWS) > 30
    for threat, _, shown in ROWS:
        assert _NAMED.findall(shown), threat
        assert not _NAMED.sub("", shown).replace("<br>", "").strip(), threat
