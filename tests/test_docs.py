"""The documents stay true: files they name exist, and what the code does is in them."""

import re
from pathlib import Path

import pytest

PROJECT = Path(__file__).parent.parent
SOURCE = PROJECT / "src" / "valija"
PAGES = [*PROJECT.glob("*.md"), *(PROJECT / "docs").rglob("*.md")]

_CODE = re.compile(r"`([\w./-]+\.(?:py|md|lock)|(?:[\w-]+/)+)`")
_LINK = re.compile(r"\]\(([^)#]+)\)")


def test_each_cited_rfc_has_its_status() -> None:
    table = (PROJECT / "docs" / "rfc-status.md").read_text()
    listed = {number for row in re.findall(r"(?m)^\| ([\d, ]+) \|", table) for number in row.split(", ")}
    cited = {
        number: path.relative_to(SOURCE)
        for path in SOURCE.rglob("*.py")
        for number in re.findall(r"RFCs? (\d{3,4})\b", path.read_text())
    }
    missing = {number: str(path) for number, path in cited.items() if number not in listed}
    assert not missing, "add them to docs/rfc-status.md"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(PROJECT)))
def test_each_file_that_is_named_exists(page: Path) -> None:
    text = page.read_text()
    places = (PROJECT, SOURCE, page.parent, SOURCE.parent, PROJECT / "docs")
    named = {*_CODE.findall(text), *(link for link in _LINK.findall(text) if "://" not in link)}
    missing = [name for name in named if not any((place / name).exists() for place in places)]
    assert not missing
