"""Every work does its work: a tiny run on valija alone, whose figures mean nothing but are there."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.load.child import LoadFault
from bench.load.source import tool
from bench.results import FIGURES
from bench.rounds import measure
from bench.servers import VALIJA
from bench.setting import TINY, Setting
from bench.works import WORKS

# The cases that each work is to yield, and a figure that must be above nothing in each.
EXPECTED = {
    "relay-new": {"1 session": "rate", "20 sessions": "rate", "100 sessions": "cpu"},
    "relay-keep": {"1 session": "rate", "20 sessions": "accepted", "100 sessions": "generator"},
    "submission": {"20 sessions": "rate"},
    "large": {"0.25 MiB": "peak"},
    "memory": {
        "idle server, 2 workers": "pss",
        "idle server": "pss",
        "idle sessions, clear": "opened",
        "idle sessions, TLS": "opened",
    },
    "latency": {"smtpd": "accept_p50", "submission": "arrive_p99"},
    "many-sessions": {"all": "accepted"},
    "deep-queue": {
        "empty queue": "rate",
        "deep queue": "rate",
        "first page of queue list": "seconds",
        "stop to first delivery": "seconds",
        "crash to first delivery": "seconds",
    },
    "slow-destination": {"before": "arrive_p50", "for the slow one": "accepted", "with the slow one": "arrive_p50"},
}


def _has_generator() -> bool:
    try:
        tool("smtp-source")
    except LoadFault:
        return False
    return True


@pytest.fixture
def setting() -> Iterator[Setting]:
    home = Path(tempfile.mkdtemp(prefix="valija-bench-", dir="/tmp"))
    home.chmod(0o755)
    yield Setting(home, TINY)
    left = os.listdir(home)
    shutil.rmtree(home)
    assert not left, "a work left something behind"


@pytest.mark.skipif(not _has_generator(), reason="smtp-source is not there: install postfix")
@pytest.mark.parametrize("name", EXPECTED)
def test_a_tiny_run(setting: Setting, name: str) -> None:
    runs = list(measure(setting, [WORKS[name]], [VALIJA], rounds=1))
    assert [run.case for run in runs] == list(EXPECTED[name])
    for run in runs:
        assert run.figures[EXPECTED[name][run.case]] > 0
        assert run.figures.keys() <= FIGURES.keys()
        assert "arrived in time" not in run.note
    if name == "many-sessions":
        assert runs[0].figures["opened"] == TINY.crowd
        assert runs[0].figures["refused"] == 0


def test_a_server_that_fails_is_noted(setting: Setting) -> None:
    (setting.home / "broken").mkdir()
    broken = Setting(setting.home, TINY, source=setting.home / "broken")
    (setting.home / "broken" / "valija.py").write_text("raise SystemExit('this is no server')")
    runs = list(measure(broken, [WORKS["latency"]], [VALIJA], rounds=1))
    shutil.rmtree(setting.home / "broken")
    assert [run.case for run in runs] == ["failed"]
    assert "this is no server" in runs[0].note
