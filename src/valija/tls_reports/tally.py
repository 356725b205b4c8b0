"""Counting how sessions opened: in memory, a dictionary entry per kind, and written to the ledger now and then.

    tally = Tally(ledger, time.time, log)
    tally.note(TlsResult("example.net", "sts", ...))      # for each session
    await tally.run()                                     # until cancelled
    await tally.flush()                                   # at the end

A crash loses what was counted within the last FLUSH_INTERVAL, an orderly stop nothing.
"""

import asyncio
from collections.abc import Callable
from typing import Final

from valija.logs import Log
from valija.policy.tls_report import TlsResult
from valija.policy.tls_report_body import DAY, told
from valija.tls_reports.ledger import Ledger

FLUSH_INTERVAL: Final = 5.0  # seconds
_MOST: Final = 20_000  # kinds of result in memory


class Tally:
    """The counts of one worker. `clock` gives epoch seconds."""

    def __init__(self, ledger: Ledger, clock: Callable[[], float], log: Log) -> None:
        self._ledger = ledger
        self._clock = clock
        self._log = log
        self._days: dict[int, dict[TlsResult, int]] = {}
        self._kinds = 0
        self._dropped = 0

    def note(self, result: TlsResult) -> None:
        """Count a session. Cheap, and never raises."""
        counts = self._days.setdefault(int(self._clock() // DAY), {})
        result = told(result)
        known = counts.get(result)
        if known is None:
            if self._kinds >= _MOST:
                self._dropped += 1
                return
            self._kinds += 1
        counts[result] = (known or 0) + 1

    async def run(self) -> None:
        """Write the counts down, every FLUSH_INTERVAL, until cancelled."""
        while True:
            await asyncio.sleep(FLUSH_INTERVAL)
            await self.flush()

    async def flush(self) -> None:
        """Write the counts down now. What can't be written is lost, and the log says so."""
        days, self._days, self._kinds = self._days, {}, 0
        for day, counts in days.items():
            if not await self._ledger.add(day, counts):
                self._dropped += sum(counts.values())
        if self._dropped:
            self._log.warning("TLS results not counted", sessions=self._dropped)
            self._dropped = 0
