"""The marks of running attempts outlive the process, and only as long as they stand."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from valija.queue.flight import SLOTS, Flight

_DIES = """
import os, signal, sys
from pathlib import Path
from valija.queue.flight import Flight
flight = Flight(Path(sys.argv[1]))
flight.begin(11)
ended = flight.begin(12)
flight.begin(13)
flight.end(ended)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_marks_survive_a_kill(tmp_path: Path) -> None:
    path = tmp_path / "worker-0.flight"
    process = subprocess.run([sys.executable, "-c", _DIES, str(path)], check=False)
    assert process.returncode == -signal.SIGKILL
    flight = Flight(path)
    assert flight.unfinished == {11, 13}
    flight.clear()
    flight.close()
    assert Flight(path).unfinished == set()


def test_more_attempts_than_slots_are_made_all_the_same(tmp_path: Path) -> None:
    path = tmp_path / "worker-0.flight"
    flight = Flight(path)
    slots = [flight.begin(number) for number in range(1, SLOTS + 3)]
    assert slots[-2:] == [-1, -1]
    for slot in slots:
        flight.end(slot)
    assert flight.begin(7) >= 0
    flight.close()
    assert Flight(path).unfinished == {7}


def test_a_damaged_file_is_begun_anew(tmp_path: Path) -> None:
    path = tmp_path / "worker-0.flight"
    path.write_bytes(os.urandom(1001))
    flight = Flight(path)
    assert flight.unfinished == set()
    assert path.stat().st_blocks * 512 >= path.stat().st_size  # no holes: a mark needs no new block
