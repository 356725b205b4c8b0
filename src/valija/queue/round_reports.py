"""Reports of what rounds of attempts left in the queue: once each, whoever asks for it and how often.

    reports = RoundReports(store, carry_out, make_report, clock=time.time, log=log)
    await reports.make(queue_id)          # the last attempt of the round has been recorded
    await reports.make_left(is_busy)      # at the start: what a crash left

The news of a message are read, told in one report of each kind, and forgotten in the transaction that queues the
reports. A crash before it leaves the news, one after it the reports. Very many news are told by several reports, one
after the other, so that what is in memory is bounded.

Known weakness: a report that can't be written is tried again only when somebody asks.
"""

import asyncio
from collections.abc import Awaitable, Callable

from valija.logs import Log
from valija.mail.job import QueueId
from valija.queue.settle import NEWS_AT_ONCE, MakeReport, Verdict, tell
from valija.queue.store import QueueStore


class RoundReports:
    """`carry_out` records a verdict and says whether it could; `make_report` may be called in a thread."""

    def __init__(
        self,
        store: QueueStore,
        carry_out: Callable[[Verdict], Awaitable[bool]],
        make_report: MakeReport,
        *,
        clock: Callable[[], float],
        log: Log,
    ) -> None:
        self._store = store
        self._carry_out = carry_out
        self._make_report = make_report
        self._clock = clock
        self._log = log
        self._asked_again: dict[QueueId, bool] = {}  # the messages whose reports are being made

    async def make(self, queue_id: QueueId) -> bool:
        """Report the news of a message. False where that failed, with a line in the log: they are still there.

        Whoever is at it already takes in what came meanwhile.
        """
        if queue_id in self._asked_again:
            self._asked_again[queue_id] = True
            return True
        try:
            is_more = True
            while is_more:
                self._asked_again[queue_id] = False
                is_more = await self._make_some(queue_id) or self._asked_again[queue_id]
            return True
        except Exception:
            self._log.exception("report fault", queue_id=queue_id)
            return False
        finally:
            del self._asked_again[queue_id]

    async def make_left(self, is_busy: Callable[[QueueId], bool]) -> bool:
        """Report the news of all messages but those at which attempts are under way. False where some of it failed."""
        try:
            unreported = await self._store.unreported()
        except Exception:
            self._log.exception("queue could not be read")
            return False
        return all([await self.make(queue_id) for queue_id in unreported if not is_busy(queue_id)])

    async def _make_some(self, queue_id: QueueId) -> bool:
        """Report so many news of a message as fit into a report; return whether there were any."""
        found = await self._store.news(queue_id, NEWS_AT_ONCE)
        if found is None:
            return False
        verdict = await asyncio.to_thread(tell, queue_id, *found, now=self._clock(), make_report=self._make_report)
        return await self._carry_out(verdict)
