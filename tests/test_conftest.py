"""The suite's own rules: in CI a skip is a failure, and the long tests come only when asked for."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).parent.parent

SKIPS = "import pytest\n\ndef test_it():\n    pytest.skip('no such thing here')\n"
SKIPS_WHOLLY = "import pytest\n\npytest.skip('no such thing here', allow_module_level=True)\n"
EXPECTED_FAILURE = "import pytest\n\n@pytest.mark.xfail\ndef test_it():\n    assert False\n"
LONG = "import pytest\n\n@pytest.mark.soak\ndef test_it():\n    assert False\n"


def _pytest(folder: Path, source: str, *arguments: str, ci: str = "") -> str:
    case = folder / "test_case.py"
    case.write_text(source)
    project = ["--rootdir", str(PROJECT), "-c", str(PROJECT / "pyproject.toml"), "-p", "tests.conftest"]
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
def test_a_skip_fails_in_ci(tmp_path: Path, source: str) -> None:
    assert "1 skipped" in _pytest(tmp_path, source)
    output = _pytest(tmp_path, source, ci="true")
    assert "skipped where CI=true forbids it: " in output
    assert "no such thing here" in output
    assert "skipped in" not in output.splitlines()[-1]


def test_an_expected_failure_is_none_in_ci(tmp_path: Path) -> None:
    assert "1 xfailed" in _pytest(tmp_path, EXPECTED_FAILURE, ci="true")


def test_long_tests_come_with_soak_only(tmp_path: Path) -> None:
    assert "1 deselected" in _pytest(tmp_path, LONG)
    assert "1 failed" in _pytest(tmp_path, LONG, "--soak")
