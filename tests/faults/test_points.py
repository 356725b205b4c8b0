"""Fault points: nothing at all where nothing is armed, and only what the environment of the server itself says."""

import subprocess
import sys

import pytest

from tests.crash.accounting import environment, failing
from tests.live import VALIJA, LiveServer
from valija.faults.disk import queue_disk
from valija.faults.plan import POINTS, parse
from valija.faults.points import Armed


def test_unarmed_every_point_is_the_same_function_that_does_nothing() -> None:
    unarmed = Armed(())
    assert len({unarmed.point(name) for name in POINTS}) == 1
    assert unarmed.point("queue.committed")() is None
    assert not unarmed.has_any(*POINTS)
    assert queue_disk() is None


def test_an_armed_point_counts_its_own_passes(capfd: pytest.CaptureFixture[str]) -> None:
    armed = Armed(parse("content.write:full@2,content.sync:io"))
    write, sync, other = (armed.point(name) for name in ("content.write", "content.sync", "queue.write"))
    other()
    write()
    with pytest.raises(OSError, match="No space left"):
        write()
    write()
    with pytest.raises(OSError, match="Input/output error"):
        sync()
    assert "valija: fault content.write: full in pass 2 at " in capfd.readouterr().err


def test_passes_are_counted_over_processes_that_are_forked() -> None:
    program = (
        "import os; from valija.faults.points import fault_point; point = fault_point('queue.write')\n"
        "for _ in range(5):\n"
        "    pid = os.fork()\n"
        "    if not pid: point(); os._exit(0)\n"
        "    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))\n"
    )
    with environment({"VALIJA_FAULT": "queue.write:kill@3"}):
        done = subprocess.run([sys.executable, "-u", "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["0", "0", "-9", "0", "0"]


def test_a_server_says_that_it_fails_on_purpose() -> None:
    with failing("queue.write:kill@1000"), LiveServer({}) as server:
        server.wait_for_log(r'warn +fails on purpose.*fault="queue.write: kill".*remedy="unset VALIJA_FAULT"')


def test_a_server_with_an_unknown_fault_does_not_start() -> None:
    with environment({"VALIJA_FAULT": "queue.everything:kill"}):
        done = subprocess.run([VALIJA, "serve"], capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 1
    assert "valija: VALIJA_FAULT: 'queue.everything:kill': there is no fault point" in done.stderr
