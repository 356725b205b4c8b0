"""The server that is killed: its folder, its configuration, and its lives, one after the other.

    victim = Victim(folder, relay_port=sink.port, user="nobody", workers=2)
    await victim.start()                              # ready; raises CannotStart
    await victim.start(faults="attempt.ended:kill@1%")
    point = await victim.died_of()                    # "attempt.ended"
    await victim.kill()

Everything lies in the folder, which is the caller's to remove; the ports are free ones of 127.0.0.1.
"""

import asyncio
import contextlib
import json
import os
import re
import signal
import socket
import time
from collections import deque
from pathlib import Path
from typing import Final

from valija.demo.setting import HOST, VALIJA
from valija.faults.points import VARIABLE

_START: Final = 30.0  # seconds
_GONE: Final = 5.0  # seconds for killed processes to be gone
_LINE_LIMIT: Final = 64 * 1024
_KEPT_LINES: Final = 20
_READY: Final = re.compile(r"^\S+ info  ready\b")
_STRUCK: Final = re.compile(r"^valija: fault (\S+): kill in pass \d+ at (\S+)")


class CannotStart(Exception):
    """The server does not start; the message says what it said."""


class Victim:
    """A server to kill. `user` is whom it becomes where it is started as root."""

    def __init__(self, folder: Path, *, relay_port: int, user: str, workers: int) -> None:
        self._folder = folder
        self.queue = folder / "data" / "queue"
        self.port = _free_port()
        self.deaths: list[float] = []  # in epoch seconds
        self.longest_start = 0.0
        self._process: asyncio.subprocess.Process | None = None
        self._reading: asyncio.Task[None] | None = None
        self._lines: deque[str] = deque(maxlen=_KEPT_LINES)
        self._is_ready = asyncio.Event()
        self._struck: asyncio.Queue[str] = asyncio.Queue()
        (folder / "valija.toml").write_text(self._toml(relay_port, user, workers))

    def _toml(self, relay_port: int, user: str, workers: int) -> str:
        return "\n".join(
            [
                'hostname = "localhost"',
                'mynetworks = ["127.0.0.1/32"]',
                f"data_dir = {json.dumps(str(self._folder / 'data'))}",
                f"user = {json.dumps(user)}",
                f"workers = {workers}",
                "[smtpd]",
                f'listen = ["{HOST}:{self.port}"]',
                "[submission]",
                "listen = []",
                "[submissions]",
                "listen = []",
                "[smtp]",
                f'relayhost = "[{HOST}]:{relay_port}"',
                "",
            ]
        )

    async def start(self, faults: str = "") -> None:
        """Begin a life; return when it serves, or was killed by a fault before. Raises CannotStart."""
        self._is_ready.clear()
        began = time.monotonic()
        self._process = await asyncio.create_subprocess_exec(
            *(VALIJA, "serve", "-c", self._folder / "valija.toml"),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            limit=_LINE_LIMIT,
            env=os.environ | {VARIABLE: faults},
            start_new_session=True,  # a group of its own, to be killed whole
        )
        self._reading = asyncio.create_task(self._read(self._process))
        await self._wait_until_ready()
        self.longest_start = max(self.longest_start, time.monotonic() - began)

    async def _wait_until_ready(self) -> None:
        assert self._reading
        ready = asyncio.create_task(self._is_ready.wait())
        await asyncio.wait([ready, self._reading], timeout=_START, return_when=asyncio.FIRST_COMPLETED)
        ready.cancel()
        if not self._is_ready.is_set() and self._struck.empty():
            await self.kill()
            raise CannotStart("the server does not start:\n" + "".join(self._lines))

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        assert process.stderr
        async for raw in process.stderr:
            line = raw.decode("utf-8", "replace")
            self._lines.append(line)
            if _READY.match(line):
                self._is_ready.set()
            elif struck := _STRUCK.match(line):
                self.deaths.append(float(struck[2]))
                self._struck.put_nowait(struck[1])

    async def died_of(self, patience: float) -> str:
        """Wait until a fault point kills a process, and return which; "" after `patience` seconds."""
        try:
            return await asyncio.wait_for(self._struck.get(), patience)
        except TimeoutError:
            return ""

    def more_struck(self) -> list[str]:
        """Return the other points that struck meanwhile."""
        return [self._struck.get_nowait() for _ in range(self._struck.qsize())]

    async def kill(self) -> None:
        """SIGKILL to every process of the server, at once."""
        if self._process is None:
            return
        self.deaths.append(time.time())
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        await self._process.wait()
        if self._reading:  # ends when the last of the processes has let go of the log
            await asyncio.wait([self._reading], timeout=_GONE)
        self._process = None

    async def stop(self) -> None:
        """SIGTERM, and wait for the end."""
        if self._process is not None and self._process.returncode is None:
            self._process.terminate()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._process.wait(), _START)
        await self.kill()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])
