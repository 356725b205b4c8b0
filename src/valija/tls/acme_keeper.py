"""Keeps every certificate that comes from an authority fresh, one after the other, as long as the server runs.

    keeper = Keeper(log, take_up, clock=time.time, chance=random.random)
    keeper.use(options, "mail.example.org", data_dir, sockets)      # and again after a reload
    await keeper.run()
    await keeper.renew(force=False)                                 # `valija certificate renew`

They go one at a time: all of them prove their names on the same port.
"""

import asyncio
import contextlib
import socket
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import msgspec

from valija.logs import Log
from valija.tls.acme_process import perform
from valija.tls.acme_renewal import Perform, Renewal, Surroundings, TakeUp
from valija.tls.options import TlsOptions

_LONGEST_SLEEP: Final = 3600.0  # seconds; the calendar may be set meanwhile
_AFTER_A_FAULT: Final = 600.0  # of our own


class Renewed(msgspec.Struct, frozen=True):
    """What came of one certificate: a new one serves, or none was due, or why not."""

    names: tuple[str, ...]
    outcome: str  # "renewed", "not due", "failed"
    reason: str = ""


class Keeper:
    """All renewals of a configuration. `take_up` and `perform` as in valija/tls/acme_renewal."""

    def __init__(
        self,
        log: Log,
        take_up: TakeUp,
        *,
        clock: Callable[[], float],
        chance: Callable[[], float],
        perform: Perform = perform,
    ) -> None:
        self._log = log
        self._take_up = take_up
        self._clock = clock
        self._chance = chance
        self._perform = perform
        self._renewals: list[Renewal] = []
        self._used: tuple[object, ...] = ()
        self._changed = asyncio.Event()
        self._one_at_a_time = asyncio.Lock()

    def use(self, options: TlsOptions, hostname: str, data_dir: Path, sockets: Sequence[socket.socket]) -> None:
        """Keep what a configuration wants from now on. An order that runs ends as it began."""
        if self._used == (options, hostname, data_dir, sockets):
            return
        self._used = (options, hostname, data_dir, sockets)
        around = Surroundings(self._perform, self._take_up, sockets, self._clock, self._chance, self._log)
        self._renewals = [
            Renewal(wanted, options, data_dir, around)
            for wanted in options.wanted(hostname)
            if wanted.certificate == "acme"
        ]
        self._changed.set()

    async def run(self) -> None:
        """Do what falls due, until cancelled."""
        while True:
            self._changed.clear()
            wait = _LONGEST_SLEEP
            for renewal in self._renewals:
                wait = min(wait, await self._act(renewal))
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), max(wait, 0.1))

    async def _act(self, renewal: Renewal) -> float:
        """Do what is due for one certificate; return the seconds until there is more to do."""
        try:
            async with self._one_at_a_time:
                await renewal.act()
            return renewal.next_act - self._clock()
        except Exception:
            self._log.exception("renewal failed by a fault of the server's own", names=renewal.wanted.names)
            return _AFTER_A_FAULT

    async def renew(self, *, force: bool) -> list[Renewed]:
        """Order now what is due, missing or has failed before; with `force` everything."""
        told = []
        for renewal in list(self._renewals):
            async with self._one_at_a_time:
                told.append(await self._renew(renewal, force=force))
        self._changed.set()
        return told

    async def _renew(self, renewal: Renewal, *, force: bool) -> Renewed:
        if not (force or renewal.is_due or renewal.has_failed):
            return Renewed(renewal.wanted.names, "not due")
        problem = await renewal.order()
        return Renewed(renewal.wanted.names, "failed" if problem else "renewed", problem)
