"""Bad configurations, and what the user is told about each: golden/config/NAME.toml and NAME.txt.

After a change of words, look at what changed: `VALIJA_WRITE_GOLDEN=1 pytest tests/config/test_golden.py` and a diff.
"""

import os
from pathlib import Path

import pytest

from tests.config.facts import FACTS
from valija.config import ConfigError, parse

FOLDER = Path(__file__).parent.parent / "golden" / "config"
BAD = sorted(path.stem for path in FOLDER.glob("*.toml"))


@pytest.mark.parametrize("name", BAD)
def test_what_the_user_is_told(name: str) -> None:
    with pytest.raises(ConfigError) as refused:
        parse((FOLDER / f"{name}.toml").read_text(), "valija.toml", Path("/etc/valija"), FACTS)
    told = f"{refused.value}\n"
    expected = FOLDER / f"{name}.txt"
    if os.environ.get("VALIJA_WRITE_GOLDEN"):
        expected.write_text(told)
    assert told == expected.read_text()


@pytest.mark.parametrize("name", BAD)
def test_each_fault_is_one_line_with_place_reason_and_remedy(name: str) -> None:
    for line in (FOLDER / f"{name}.txt").read_text().splitlines():
        place, reason = line.split(": ", 1)
        assert place == "valija.toml"
        assert ";" in reason
        assert line.isprintable()
