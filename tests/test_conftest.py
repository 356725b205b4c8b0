"""The suite's own rules: in CI a skip is a failure, and the long tests come only when asked for."""

import os
import subprocess
import sys
from pathlib import Path

import execnet
import pytest

from tests.conftest import LONGEST, counts_of

PROJECT = Path(__file__).parent.parent

SKIPS = "import pytest\n\ndef test_it():\n    pytest.skip('no such thing here')\n"
SKIPS_WHOLLY = "import pytest\n\npytest.skip('no such thing here', allow_module_level=True)\n"
EXPECTED_FAILURE = "import pytest\n\n@pytest.mark.xfail\ndef test_it():\n    assert False\n"
LONG = "import pytest\n\n@pytest.mark.soak\ndef test_it():\n    assert False\n"


def _pytest(folder: Path, source: str, *arguments: str, ci: str = "") -> str:
    case = folder / "test_case.py"
    case.write_text(source)
    project = ["--rootdir", str(PROJECT), "-c", str(PROJECT / "pyproject.toml"), "-p", "tests.conftest"]
    project += ["--basetemp", str(folder / "temporary")]  # else it closes the folder of all runs to other users
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *project, *arguments, str(case)],
        capture_output=True,
        text=True,
        cwd=PROJECT,
        env=os.environ | {"CI": ci},
        check=False,
    )
    return done.stdout


@pytest.mark.parametrize("source", [SKIPS, SKIPS_WHOLLY])
def test_a_skip_is_one_elsewhere(tmp_path: Path, source: str) -> None:
    assert "1 skipped" in _pytest(tmp_path, source)


@pytest.mark.parametrize(("source", "processes"), [(SKIPS, "1"), (SKIPS, "0"), (SKIPS_WHOLLY, "1")])
def test_a_skip_fails_in_ci(tmp_path: Path, source: str, processes: str) -> None:
    output = _pytest(tmp_path, source, "-n", processes, ci="true")
    assert "skipped where CI=true forbids it: " in output
    assert "no such thing here" in output
    assert "skipped in" not in output.splitlines()[-1]


def test_an_expected_failure_is_none_in_ci(tmp_path: Path) -> None:
    assert "1 xfailed" in _pytest(tmp_path, EXPECTED_FAILURE, ci="true")


def test_long_tests_come_with_soak_only(tmp_path: Path) -> None:
    assert "1 deselected" in _pytest(tmp_path, LONG)
    assert "1 failed" in _pytest(tmp_path, LONG, "--soak")


def test_what_was_counted_comes_home_from_another_process(pytestconfig: pytest.Config) -> None:
    counted = ("tally", ("crash", {"kills": 50, "lost": 0}))
    there = pytest.TestReport("t.py::t", ("t.py", 0, "t"), {}, "passed", None, "call", user_properties=[counted])
    sent = execnet.dumps(pytestconfig.hook.pytest_report_to_serializable(config=pytestconfig, report=there))
    here = pytestconfig.hook.pytest_report_from_serializable(config=pytestconfig, data=execnet.loads(sent))
    assert list(counts_of(here)) == [("crash", "t.py::t", {"kills": 50, "lost": 0})]


def test_what_takes_longest_has_a_folder() -> None:
    assert all((PROJECT / "tests" / name).is_dir() for name in LONGEST)
