"""The locks are whole, and a set-up that has nothing to do does nothing."""

import re
import subprocess
import tomllib
from pathlib import Path

import pytest

from tests.cost import processor_time

PROJECT = Path(__file__).parent.parent


def _locked(name: str) -> dict[str, str]:
    """Return the versions in a lock; fail for a package without hashes."""
    text = (PROJECT / name).read_text()
    entries = re.findall(r"(?m)^([a-z0-9-]+)==([^\s\\]+)((?:.*\\\n)*.*)$", text)
    assert all("--hash=sha256:" in rest for _, _, rest in entries)
    return {package: version for package, version, _ in entries}


def _names(requirements: list[str]) -> set[str]:
    return {re.split(r"[^A-Za-z0-9._-]", requirement)[0].lower() for requirement in requirements}


@pytest.mark.parametrize("lock", ["requirements.lock", "requirements-dev.lock"])
def test_a_lock_names_no_place(lock: str) -> None:
    text = (PROJECT / lock).read_text()
    assert not re.search(r"://|--(?:index|extra|find|trusted)|(?m:^#)|file:|/", text)


def test_the_locks_hold_what_the_project_asks_for() -> None:
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())
    run, dev = _locked("requirements.lock"), _locked("requirements-dev.lock")
    runtime = _names(project["project"]["dependencies"]) | _names(project["build-system"]["requires"])
    assert runtime <= run.keys(), "run scripts/lock"
    assert _names(project["project"]["optional-dependencies"]["dev"]) <= dev.keys(), "run scripts/lock"
    assert run.items() <= dev.items(), "the tests have to run with what valija runs with"


def test_a_second_set_up_costs_nothing() -> None:
    """The first may have work to do: the tests may have been started without ./test."""
    command = [str(PROJECT / "scripts" / "setup"), "--dev"]
    subprocess.run(command, check=True, capture_output=True)
    second = subprocess.run(command, check=True, capture_output=True, text=True)
    assert second.stderr == second.stdout == ""
    assert processor_time(lambda: subprocess.run(command, check=True)) < 0.3
