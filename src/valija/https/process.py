"""Keeps the process that serves HTTPS going, and tells it what to serve: run by the supervisor.

    service = HttpsProcess(sockets, wanted, log)       # `wanted` returns the Errand that holds now
    await service.run()                                # until cancelled

A process of its own, because it talks to anybody: whatever befalls it, no mail is lost by it. It knows what it serves
and the certificates' keys, and nothing else. One that dies is replaced, later each time if it keeps dying; clients
that come meanwhile wait in the sockets' backlog.
"""

import asyncio
import contextlib
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from valija.https.errand import Errand, encode
from valija.logs import Log

LOOK_INTERVAL: Final = 2.0  # seconds between two looks for what has changed
_STEADY: Final = 60.0  # seconds of life after which earlier deaths are forgotten
_LONGEST_PAUSE: Final = 60.0
_GRACE: Final = 5.0  # seconds for the process to end


class HttpsProcess:
    """The process, by whichever id. `sockets` are bound."""

    def __init__(
        self,
        sockets: Sequence[socket.socket],
        wanted: Callable[[], Errand],
        log: Log,
        *,
        look_interval: float = LOOK_INTERVAL,
    ) -> None:
        self._sockets = sockets
        self._wanted = wanted
        self._log = log
        self._look_interval = look_interval
        self.pid = 0

    async def run(self) -> None:
        """Have HTTPS served until cancelled."""
        loop = asyncio.get_running_loop()
        deaths = 0
        while True:
            began = loop.time()
            how = await self._live()
            deaths = 1 if loop.time() - began > _STEADY else deaths + 1
            pause = min(_LONGEST_PAUSE, 0.1 * 4**deaths)
            self._log.error("HTTPS process died", how=how, pause=f"{pause:g} s")
            await asyncio.sleep(pause)

    async def _live(self) -> str:
        """Start a process and see it through its life; return how it ended. Cancelled, it ends the process."""
        numbers = tuple(each.fileno() for each in self._sockets)
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-P",  # the folder we were started in is nothing to import from
                "-m",
                "valija.https.child",
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                pass_fds=numbers,
                start_new_session=True,
            )
        except OSError as error:
            return f"it cannot be started: {error.strerror}"
        self.pid = process.pid
        feeding = asyncio.create_task(self._feed(process, numbers))
        try:
            code = await process.wait()
        finally:
            self.pid = 0
            feeding.cancel()
            await asyncio.gather(feeding, return_exceptions=True)
            await _end(process)
        return signal.Signals(-code).name if code < 0 else f"exit status {code}"

    async def _feed(self, process: asyncio.subprocess.Process, numbers: tuple[int, ...]) -> None:
        """Tell the process what to serve, and again whenever that changes."""
        assert process.stdin
        assert process.stdout
        told: Errand | None = None
        while True:
            wanted = msgspec.structs.replace(self._wanted(), sockets=numbers)
            if wanted != told:
                process.stdin.write(encode(wanted))
                await process.stdin.drain()
            if told is None and await process.stdout.readline():
                self._log.info("HTTPS is served", pid=process.pid, domains=wanted.site.domains)
            told = wanted
            await asyncio.sleep(self._look_interval)


async def _end(process: asyncio.subprocess.Process) -> None:
    """See the process gone."""
    if process.returncode is not None:
        return
    assert process.stdin
    process.stdin.close()
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(process.wait(), _GRACE)
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
