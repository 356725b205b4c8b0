"""HTTPS in the running server: the process of valija/https/process, with the configuration and certificates in force.

    service = HttpsService(standing, sockets, log)
    await service.run(supervisor)              # from when mail is taken until the server stops

What a reload or a renewal changes is served within seconds; where it listens is fixed at the start.
"""

import asyncio
import contextlib
import socket
from collections.abc import Sequence

from valija.https.errand import Certificate, Errand
from valija.https.process import HttpsProcess
from valija.logs import Log
from valija.renewing import InForce
from valija.supervisor import Supervisor


class HttpsService:
    """`sockets` are bound; without any nothing is served."""

    def __init__(self, in_force: InForce, sockets: Sequence[socket.socket], log: Log) -> None:
        self._in_force = in_force
        self._sockets = sockets
        self._log = log

    async def run(self, supervisor: Supervisor) -> None:
        """Have HTTPS served while the server runs."""
        if not self._sockets:
            return
        await supervisor.ready.wait()
        serving = asyncio.create_task(HttpsProcess(self._sockets, self._errand, self._log).run())
        try:
            await supervisor.stopping.wait()
        finally:
            serving.cancel()
            await _seen_out(serving)
            for each in self._sockets:
                each.close()

    def _errand(self) -> Errand:
        """Return what is to be served now."""
        config, certificates = self._in_force.config(), self._in_force.certificates()
        pairs = zip(certificates.pairs, certificates.wanted, strict=True)
        served = tuple(Certificate(pair, wanted) for pair, wanted in pairs)
        return Errand(config.site, served, level=config.log.level, format=config.log.format)


async def _seen_out(task: "asyncio.Task[None]") -> None:
    """Wait for a task's end, even if cancelled meanwhile: it sees to a process, within seconds."""
    while not task.done():
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait([task])
