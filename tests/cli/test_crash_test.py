"""valija crash-test, as a user runs it."""

import json
import subprocess
from pathlib import Path

import pytest

from tests.live import VALIJA
from tests.tally import Tally


def crash_test(*arguments: str | Path, cwd: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [VALIJA, "crash-test", *arguments], capture_output=True, text=True, timeout=110, check=False, cwd=cwd
    )


def test_a_few_kills(tmp_path: Path, tally: Tally) -> None:
    done = crash_test("--kills", "3", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["kills"] >= 3
    assert told["kills"] == told["at_random"] + sum(told["at_steps"].values())
    assert told["accepted"] == told["delivered"] + told["queued"] > 0
    assert told["lost"] == told["unexplained"] == []
    assert not list(tmp_path.iterdir())
    tally("crash", kills=told["kills"], accepted=told["accepted"], delivered=told["delivered"], lost=0)


def test_in_words_and_in_a_folder_of_ones_own(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    done = crash_test("--kills", "100", "--seconds", "1", "--folder", "/var/tmp", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "lost: 0" in done.stdout
    assert done.stdout.endswith("nothing that was accepted is lost\n")
    assert not list(Path("/var/tmp").glob("valija-crash-test-*"))


@pytest.mark.parametrize("wrong", [("--kills", "0"), ("--seconds", "soon"), ("--folder", "/nowhere")])
def test_wrong_usage(wrong: tuple[str, str], tmp_path: Path) -> None:
    assert crash_test(*wrong, cwd=tmp_path).returncode == 2
