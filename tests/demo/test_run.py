"""./run as a newcomer sees it: it starts, says what to type, and what it says works as it stands."""

import queue
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.ports import free_port

PATIENCE = 30.0  # seconds


class Running:
    """The demonstration, its output line by line."""

    def __init__(self, folder: Path, *ports: int) -> None:
        command = [sys.executable, "-m", "valija.demo", str(folder), *map(str, ports)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self._lines: queue.Queue[str] = queue.Queue()
        self.output = ""
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            self._lines.put(line)

    def wait_for(self, pattern: str) -> str:
        """Return the next line that matches."""
        end = time.monotonic() + PATIENCE
        while True:
            try:
                line = self._lines.get(timeout=max(0.0, end - time.monotonic()))
            except queue.Empty:
                pytest.fail(f"no line like {pattern!r} in\n{self.output}")
            self.output += line
            if re.search(pattern, line):
                return line.rstrip("\n")


@contextmanager
def _running(folder: Path) -> Iterator[Running]:
    running = Running(folder, free_port(), free_port(), free_port())
    try:
        yield running
    finally:
        if running.process.poll() is None:
            running.process.send_signal(signal.SIGTERM)
        try:
            assert running.process.wait(PATIENCE) == 0, running.output
        finally:
            running.process.kill()


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that the user whom the server drops to can reach, as a checkout is."""
    place = Path(tempfile.mkdtemp(prefix="valija-demo-", dir="/tmp"))
    place.chmod(0o755)
    yield place / "run"
    shutil.rmtree(place)


@pytest.mark.parametrize("shell", ["sh", "bash"])
@pytest.mark.parametrize("client", ["curl", "python3"])
def test_the_printed_line_sends_a_message(folder: Path, shell: str, client: str) -> None:
    with _running(folder) as running:
        line = running.wait_for(f"^{client} ")
        sent = subprocess.run([shell, "-c", line], capture_output=True, text=True, timeout=PATIENCE, check=False)
        assert sent.returncode == 0, sent.stderr
        told = running.wait_for("^[^ ]+ delivered to ")
        queue_id = told.split()[0]
        assert re.fullmatch(
            r"\S+ delivered to you@example\.net "
            r"\(in over TLSv1\.3, logged in: demo@example\.org; out over TLSv1\.3\)",
            told,
        )
        running.wait_for(r"\| Hello from")
        assert f"queue_id={queue_id}" in running.output


def test_a_second_start_is_fresh(folder: Path) -> None:
    passwords = []
    for _ in range(2):
        with _running(folder) as running:
            passwords.append(running.wait_for("password").split()[3])
    assert passwords[0] != passwords[1]


def test_a_taken_port_is_named(folder: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        running = Running(folder, free_port(), port, free_port())
        assert running.process.wait(PATIENCE) == 1
        assert "ss -ltnp" in running.wait_for(rf"port {port} \(submission\) on 127\.0\.0\.1 cannot be used")


def test_a_folder_of_somebody_else_is_left_alone(folder: Path) -> None:
    folder.mkdir()
    (folder / "thesis.txt").write_text("years of work")
    running = Running(folder, free_port(), free_port(), free_port())
    assert running.process.wait(PATIENCE) == 1
    running.wait_for("was not made by ./run")
    assert (folder / "thesis.txt").exists()
