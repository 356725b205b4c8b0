"""Postfix's smtp-source, which sends, and smtp-sink, which swallows and counts.

with Sink("127.0.0.1", 2600) as sink:
    source = Source(port=2525, sessions=20, messages=3000, octets=4096)
    run(source.command(), limit=60)
    sink.wait_for(3000, limit=60)
"""

import os
import re
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec

from bench.load.child import LoadFault
from bench.machine import process_seconds
from bench.servers.fault import wait_for_port

_BACKLOG = "1000"
_PATIENCE = 10.0  # seconds
_COUNT = re.compile(rb"mesg=(\d+)")
_PATH = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"


def tool(name: str) -> str:
    """Return where one of Postfix's tools is. Raises LoadFault with the remedy."""
    found = shutil.which(name, path=_PATH)
    if not found:
        raise LoadFault(f"{name} is not there: install Postfix (bench/setup does)")
    return found


class Source(msgspec.Struct, frozen=True):
    """How smtp-source sends. With `keep` each session is one connection, else each message is."""

    port: int
    sessions: int
    messages: int
    octets: int
    keep: bool = False
    recipient: str = "b@dst.test"

    def command(self) -> list[str]:
        """Return the command."""
        counts = ["-s", str(self.sessions), "-m", str(self.messages), "-l", str(self.octets)]
        ways = ["-f", "a@src.test", "-t", self.recipient, f"127.0.0.1:{self.port}"]
        return [tool("smtp-source"), *(["-d"] if self.keep else []), *counts, *ways]


class Sink:
    """smtp-sink while it runs. Its counter is a file in memory."""

    def __init__(self, address: str, port: int) -> None:
        self._address = address
        self.port = port

    def __enter__(self) -> Self:
        self._counter = tempfile.NamedTemporaryFile(prefix="valija-bench-sink-", dir="/dev/shm")
        user = ["-u", "nobody"] if os.geteuid() == 0 else []
        command = [tool("smtp-sink"), *user, "-c", f"{self._address}:{self.port}", _BACKLOG]
        self._process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=self._counter, stderr=subprocess.STDOUT
        )
        wait_for_port(self.port, _PATIENCE, Path(self._counter.name), self._process)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.terminate()
        self._process.wait()
        self._counter.close()

    def count(self) -> int:
        """Return how many messages it has swallowed."""
        with open(self._counter.name, "rb") as counter:
            counter.seek(max(0, os.fstat(counter.fileno()).st_size - 200))
            counts = _COUNT.findall(counter.read())
        return int(counts[-1]) if counts else 0

    def seconds(self) -> float:
        """Return the CPU time it took."""
        return process_seconds(self._process.pid)

    def wait_for(self, count: int, until: float) -> bool:
        """Wait until it has swallowed so many messages, or the monotonic clock shows `until`."""
        while self.count() < count:
            if time.monotonic() > until:
                return False
            time.sleep(0.004)
        return True
