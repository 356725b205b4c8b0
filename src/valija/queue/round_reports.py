"""Reports of what rounds of attempts left in the queue: once each, whoever asks for it and how often.

    reports = RoundReports(store, carry_out, make_report, expect=expect, clock=time.time, log=log)
    await reports.make(queue_id)          # the last attempt of the round has been recorded
    reports.look(is_busy)                 # now and then, and at the start: what a crash left
    await reports.stop(timeout=20.0)

The news of a message are read, told in one report of each kind, and forgotten in the transaction that queues the
reports. A crash before it leaves the news, one after it the reports. Very many news are told by several reports, one
after the other, so that what is in memory is bounded.

A report that can't be written is tried again by a `look` some minutes later.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from valija.logs import Log
from valija.mail.job import QueueId
from valija.queue.settle import NEWS_AT_ONCE, MakeReport, Verdict, tell
from valija.queue.store import QueueStore

_AGAIN: Final = 300.0  # seconds, after a report could not be written
_NEVER: Final = float("inf")


class RoundReports:
    """`carry_out` records a verdict and says whether it could; `make_report` may be called in a thread.

    `expect` hears when to `look` next.
    """

    def __init__(
        self,
        store: QueueStore,
        carry_out: Callable[[Verdict], Awaitable[bool]],
        make_report: MakeReport,
        *,
        expect: Callable[[float], None],
        clock: Callable[[], float],
        log: Log,
    ) -> None:
        self._expect = expect
        self._store = store
        self._carry_out = carry_out
        self._make_report = make_report
        self._clock = clock
        self._log = log
        self._asked_again: dict[QueueId, bool] = {}  # the messages whose reports are being made
        self._look_at = 0.0  # when to look for what was left unreported
        self._looking: asyncio.Task[None] | None = None

    async def make(self, queue_id: QueueId) -> None:
        """Report the news of a message. Where that fails there is a line in the log, and they are still there.

        Whoever is at it already takes in what came meanwhile.
        """
        if queue_id in self._asked_again:
            self._asked_again[queue_id] = True
            return
        try:
            is_more = True
            while is_more:
                self._asked_again[queue_id] = False
                is_more = await self._make_some(queue_id) or self._asked_again[queue_id]
        except Exception:
            self._log.exception("report fault", queue_id=queue_id)
            self._look_later()
        finally:
            del self._asked_again[queue_id]

    def look(self, is_busy: Callable[[QueueId], bool]) -> None:
        """Have reported what a crash, or the worker whose file was adopted, left unreported, if it is time to look.

        Not of messages at which attempts are under way.
        """
        is_at_it = self._looking is not None and not self._looking.done()
        if self._look_at <= self._clock() and not is_at_it:
            self._look_at = _NEVER
            self._looking = asyncio.create_task(self._make_left(is_busy))

    def look_anew(self) -> None:
        """Have the next `look` find what somebody else left."""
        self._look_at = 0.0

    async def stop(self, timeout: float) -> None:  # noqa: ASYNC109 - it bounds the reports, not this call
        """Let what is being reported end; `timeout` in seconds."""
        if self._looking is not None:
            await asyncio.wait([self._looking], timeout=timeout)
            self._looking.cancel()

    async def _make_left(self, is_busy: Callable[[QueueId], bool]) -> None:
        try:
            unreported = await self._store.unreported()
        except Exception:
            self._log.exception("queue could not be read")
            self._look_later()
            return
        for queue_id in unreported:
            if not is_busy(queue_id):
                await self.make(queue_id)

    def _look_later(self) -> None:
        self._look_at = self._clock() + _AGAIN
        self._expect(self._look_at)

    async def _make_some(self, queue_id: QueueId) -> bool:
        """Report so many news of a message as fit into a report; return whether there were any."""
        found = await self._store.news(queue_id, NEWS_AT_ONCE)
        if found is None:
            return False
        verdict = await asyncio.to_thread(tell, queue_id, *found, now=self._clock(), make_report=self._make_report)
        return await self._carry_out(verdict)
