"""Records what came of attempts: the settlement, again and again until the store has it, and what follows from it.

    settler = Settler(store, policy=RetryPolicy(), make_report=make_report, ...)
    await settler.settle(attempt, outcomes, started)

What is decided is decided by `queue/settle`. Where that fails, which is a fault of ours, what is certain is recorded
and the rest deferred.
"""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

import msgspec

from valija.logs import Log
from valija.mail.outcome import Outcome, State
from valija.policy.retry import RetryPolicy
from valija.queue.deferral_log import tell_deferred
from valija.queue.settle import MakeReport, Verdict, settle, settle_in_doubt
from valija.queue.store import Claim, NewMessage, QueueStore, Receipt, Settlement
from valija.queue.window import Attempt

_AGAIN: Final = 5.0  # seconds
_MANY: Final = 500  # outcomes: judging so many would hold up the loop


class Settler:
    """One worker's. `policy` may be replaced at any time.

    `expect` hears when something that was recorded is due, and `wake` that something is due now. `make_report` may be
    called in a thread. `address_report` has a report go where mail for its recipient goes.
    """

    def __init__(
        self,
        store: QueueStore,
        *,
        policy: RetryPolicy,
        make_report: MakeReport,
        address_report: Callable[[NewMessage], NewMessage],
        expect: Callable[[float], None],
        wake: Callable[[], None],
        clock: Callable[[], float],
        random: Callable[[], float],
        log: Log,
    ) -> None:
        self._store = store
        self.policy = policy
        self._make_report = make_report
        self._address_report = address_report
        self._expect = expect
        self._wake = wake
        self._clock = clock
        self._random = random
        self._log = log
        self._giving_up = asyncio.Event()

    def give_up(self) -> None:
        """Do not try again from now on to record what can't be recorded."""
        self._giving_up.set()

    async def settle(self, attempt: Attempt, outcomes: Sequence[Outcome], started: float) -> None:
        """Record the end of an attempt, begun at `started`; its round hears of news that are left to be told."""
        if len(outcomes) > _MANY:
            verdict = await asyncio.to_thread(self._judge, attempt, outcomes, started)
        else:
            verdict = self._judge(attempt, outcomes, started)
        receipt = await self._record(verdict.settlement)
        if receipt is None:
            return
        if State.DEFERRED in [outcome.state for outcome in outcomes]:
            tell_deferred(self._log, attempt.claim, outcomes, verdict.settlement)
        self._follow(verdict, receipt)
        if verdict.settlement.news and not attempt.round.told_since:
            attempt.round.told_since = self._clock()

    async def defer(self, claim: Claim) -> None:
        """Record that nothing could be done for a claim, by a fault of ours."""
        await self._record(self._in_doubt(claim, ()).settlement)

    async def carry_out(self, verdict: Verdict) -> bool:
        """Record what was decided, and do what follows; False where it could not be recorded."""
        receipt = await self._record(verdict.settlement)
        if receipt is None:
            return False
        self._follow(verdict, receipt)
        return True

    def _follow(self, verdict: Verdict, receipt: Receipt) -> None:
        """Do what follows from what was recorded."""
        queue_id = verdict.settlement.queue_id
        if receipt.reports:
            for report_id, kind in zip(receipt.reports, verdict.kinds, strict=False):
                self._log.info("report queued", queue_id=report_id, kind=kind, about=queue_id)
            self._wake()
        if receipt.removed:
            self._log.info("removed", queue_id=queue_id)
        for settled in verdict.settlement.recipients:
            if settled.state is State.DEFERRED:
                self._expect(settled.next_attempt)

    async def _record(self, settlement: Settlement) -> Receipt | None:
        """Have a settlement recorded; None where the server stopped before it could be."""
        if settlement.reports:
            settlement = msgspec.structs.replace(settlement, reports=tuple(map(self._addressed, settlement.reports)))
        while True:
            try:
                return await self._store.settle(settlement)
            except Exception as error:
                self._log.error("settlement not recorded", queue_id=settlement.queue_id, reason=str(error))
            if self._giving_up.is_set():
                return None
            with suppress(TimeoutError):
                await asyncio.wait_for(self._giving_up.wait(), _AGAIN)

    def _addressed(self, report: NewMessage) -> NewMessage:
        """Return a report to whoever has its recipient's mail; where that can't be told, to the recipient."""
        try:
            return self._address_report(report)
        except Exception:
            self._log.exception("report addressed as it is")
            return report

    def _judge(self, attempt: Attempt, outcomes: Sequence[Outcome], started: float) -> Verdict:
        claim = attempt.claim
        try:
            return settle(
                claim,
                outcomes,
                final=attempt.lane.route.is_final,
                started=started,
                now=self._clock(),
                policy=self.policy,
                random=self._random(),
                make_report=self._make_report,
                keeps_news=attempt.round.keeps_news,
            )
        except Exception:
            self._log.exception("settlement fault", queue_id=claim.queue_id)
            return self._in_doubt(claim, outcomes)

    def _in_doubt(self, claim: Claim, outcomes: Sequence[Outcome]) -> Verdict:
        return settle_in_doubt(claim, outcomes, now=self._clock(), policy=self.policy, random=self._random())
