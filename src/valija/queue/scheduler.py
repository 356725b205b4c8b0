"""The scheduler: brings what is due to delivery, with a bounded window, and records what came of it.

    scheduler = Scheduler(store, agent.deliver, router.route, policy=RetryPolicy(), make_report=make_report,
                          clock=time.time, random=random.random, log=log)
    running = asyncio.create_task(scheduler.run())
    await scheduler.submit(queue_id, message)      # durable: now the 250 may leave
    await scheduler.stop(timeout=20.0)

A fresh message goes straight on from memory to delivery while there is room (queue/window) and a place (queue/places);
what finds no room, and what was deferred, is claimed from the file when its time has come. The recipients of a message
that share a route are one job, tried by one task, and settled once, whatever happens in between:

- an exception of the delivery agent defers all recipients of its job (4.3.0), and is logged;
- a fault in writing a report records what is certain, and defers the rest;
- a settlement that the store can't record (a full disk) is tried again until it can, or the server stops.

Jobs of one message that run at the same time are a round: what there is to report of them is kept in the file until the
last has ended, and what a crash left there is reported at the next start.

The loop is shared with all else that goes on: a message of thousands of recipients is grouped and judged in a thread,
and its jobs begin a few at a time.

A message that was there in two crashes is attempted while no other such message is, so that the third crash, which
puts it on hold, does not take innocents along.

Known weakness: at the end of `stop`'s time-out an attempt is cut off, and its recipients are tried again.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress
from functools import partial
from itertools import chain
from typing import Final

import msgspec

from valija.logs import Log
from valija.mail.envelope import Envelope
from valija.mail.job import Job, QueueId, Route
from valija.mail.outcome import Outcome, State
from valija.policy.retry import RetryPolicy
from valija.queue.deferral_log import tell_deferred
from valija.queue.jobs import by_route, job_of, part_of
from valija.queue.options import SchedulerOptions
from valija.queue.places import Places
from valija.queue.round_reports import RoundReports
from valija.queue.settle import OUR_FAULT, TOO_LATE, MakeReport, Verdict, is_forbidden, settle, settle_in_doubt
from valija.queue.store import CRASH_LIMIT, Claim, Due, NewMessage, QueueStore, Receipt, Settlement
from valija.queue.window import Attempt, Window

Deliver = Callable[[Job], Awaitable[Sequence[Outcome]]]
_Full = tuple[AbstractSet[str], AbstractSet[QueueId]]

_CHUNK: Final = 100  # messages claimed at a time
_LONGEST_SLEEP: Final = 60.0  # seconds; then the clock is looked at again
_SHORTEST_SLEEP: Final = 0.5  # seconds, where what is due can't be taken now
_LOOK_AGAIN: Final = 5.0  # seconds, after a fault
_FAR_FUTURE: Final = float("inf")
_CLOCK_STEP: Final = 1.0  # seconds the clock may go back without anybody minding
_SETTLE_AGAIN: Final = 5.0  # seconds
_MANY: Final = 500  # recipients: grouping or judging so many would hold up the loop
_AT_ONCE: Final = 16  # jobs begun in one turn of the loop
_REPORT_AGAIN: Final = 300.0  # seconds, after a report could not be written


class Scheduler:
    """One worker's scheduler. `random` returns numbers in [0, 1); `clock` seconds since the epoch.

    `route` and `make_report` may be called in a thread. `address_report` has a report go where mail for its recipient
    goes.

    `policy` may be replaced at any time: attempts that end from then on are settled by the new one.
    """

    def __init__(
        self,
        store: QueueStore,
        deliver: Deliver,
        route: Callable[[Envelope, str], Route],
        *,
        policy: RetryPolicy,
        make_report: MakeReport,
        clock: Callable[[], float],
        random: Callable[[], float],
        log: Log,
        options: SchedulerOptions = SchedulerOptions(),  # noqa: B008 - a frozen value
        address_report: Callable[[NewMessage], NewMessage] = lambda report: report,
    ) -> None:
        self._store = store
        self._deliver = deliver
        self._route = route
        self.policy = policy
        self._make_report = make_report
        self._address_report = address_report
        self._clock = clock
        self._random = random
        self._log = log
        self._places = Places(options.running_jobs, options.destination_jobs)
        self._window = Window(options.window_messages, options.window_octets)
        self._tasks: dict[Attempt, asyncio.Task[None]] = {}
        self._suspects: deque[Attempt] = deque()
        self._suspect: Attempt | None = None
        self._is_beginning = False
        self._reports = RoundReports(store, self._carry_out, make_report, clock=clock, log=log)
        self._reporting: asyncio.Task[None] | None = None
        self._report_left_at = 0.0  # when to look for what a crash left unreported
        self._stopping = asyncio.Event()
        self._looking: asyncio.Task[None] | None = None
        self._nudge = asyncio.Event()  # set when `_rest` has something to reconsider
        self._is_woken = False
        self._left_some = False
        self._look_at = 0.0
        self._last_time = _FAR_FUTURE  # at the start the clock is not trusted: the file may come from the future
        store.on_change(self._wake_from_outside)

    def limit_destinations(self, jobs: int) -> None:
        """Have so many jobs to one next hop run at once from now on."""
        self._places.per_lane = jobs

    def new_id(self) -> QueueId:
        """Return an id for a message to submit."""
        return self._store.new_id()

    async def submit(self, queue_id: QueueId, message: NewMessage) -> None:
        """Queue a message; return when it is durable. Raises QueueFull where there is no room."""
        if message.on_hold:
            await self._store.put(queue_id, message, claim=False)
            return
        release = message.envelope.hold_until
        if release and release > self._clock():
            await self._store.put(queue_id, message, claim=False)
            self._expect(release)
            return
        admitted, refused = await self._admit(Claim.fresh(queue_id, message), is_fresh=True)
        try:
            await self._store.put(queue_id, message, claim=bool(admitted))
        except BaseException:
            for attempt in admitted:
                self._window.leave(attempt)
            raise
        if self._stopping.is_set():
            await self._give_back(admitted)  # what was refused is leased too, but only until the process ends
            return
        self._dispatch(admitted)
        if refused is not None:
            if admitted:
                await self._store.release([refused])
            self._wake()

    async def run(self) -> None:
        """Bring what falls due to delivery, until `stop`."""
        self._looking = asyncio.current_task()
        while not self._stopping.is_set():
            try:
                await self._look()
            except Exception:
                self._log.exception("queue could not be read")
                self._look_at = self._clock() + _LOOK_AGAIN
            await self._rest()

    async def stop(self, timeout: float) -> None:  # noqa: ASYNC109 - it bounds the attempts, not this call
        """Start no more attempts, let those that run end, and record their effects; `timeout` in seconds."""
        self._stopping.set()
        self._nudge.set()
        if self._looking is not None:
            await asyncio.wait([self._looking], timeout=timeout)
        await self._give_back(self._take_waiting())
        if self._reporting is not None:
            await asyncio.wait([self._reporting], timeout=timeout)
            self._reporting.cancel()
        delivering = {attempt: task for attempt, task in self._tasks.items() if attempt.is_delivering}
        if delivering:
            await asyncio.wait(delivering.values(), timeout=timeout)
        cut_off = [attempt for attempt in delivering if attempt.is_delivering]
        for attempt in cut_off:
            delivering[attempt].cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)
        await self._store.release([attempt.claim for attempt in cut_off])

    # --- letting in

    async def _admit(self, claim: Claim, *, is_fresh: bool) -> tuple[list[Attempt], Claim | None]:
        """Group a claim's recipients by route; return the attempts that found room, and the part that did not."""
        if len(claim.due) > _MANY:
            groups = await asyncio.to_thread(by_route, claim, self._route)
        else:
            groups = by_route(claim, self._route)
        octets = len(claim.message.content.head) // len(groups)
        admitted: list[Attempt] = []
        refused: list[Due] = []
        for at, (route, part) in enumerate(groups):
            attempt = self._window.attempt(part, route, octets, is_fresh=is_fresh)
            if not self._stopping.is_set() and self._window.admits(attempt):
                self._window.enter(attempt)
                admitted.append(attempt)
                continue
            refused += part.due
            attempt.lane.refill_at = attempt.lane.held // 2
            if not self._window.has_room_for(attempt):  # nor for the others
                attempt.round.refill_at = attempt.round.held // 2
                refused += chain.from_iterable(part.due for _, part in groups[at + 1 :])
                break
        return admitted, part_of(claim, refused) if refused else None

    def _dispatch(self, attempts: Sequence[Attempt]) -> None:
        """Start attempts that are in the window, or let them wait for their turn."""
        if attempts and attempts[0].claim.crashes >= CRASH_LIMIT - 1:
            self._suspects += attempts
            self._start_suspect()
        elif len(attempts) == 1 and self._places.take(attempts[0]):
            self._start(attempts[0])
        else:
            for attempt in attempts:
                self._places.wait(attempt)
            self._start_waiting()

    def _start_waiting(self) -> None:
        """Start those whose turn it is: some of them now, others in the next turns of the loop."""
        if self._is_beginning or self._stopping.is_set():
            return
        for _ in range(_AT_ONCE):
            attempt = self._places.next()
            if attempt is None:
                return
            self._start(attempt)
        self._is_beginning = True
        asyncio.get_running_loop().call_soon(self._go_on_starting)

    def _go_on_starting(self) -> None:
        self._is_beginning = False
        self._start_waiting()

    def _start_suspect(self) -> None:
        if self._suspects and self._suspect is None and not self._stopping.is_set():
            self._suspect = self._suspects.popleft()
            self._places.force(self._suspect)
            self._start(self._suspect)

    def _start(self, attempt: Attempt) -> None:
        """Start an attempt that has a place."""
        attempt.is_delivering = True
        self._tasks[attempt] = asyncio.create_task(self._attempt(attempt))

    # --- one attempt

    async def _attempt(self, attempt: Attempt) -> None:
        """Try a job and record what came of it; the last of a round has its news reported."""
        try:
            try:
                await self._try(attempt)
            finally:
                self._leave(attempt)
            if attempt.round.told_since and attempt.round.is_to_be_told(self._clock()):
                attempt.round.told_since = 0.0
                if not await self._reports.make(attempt.claim.queue_id):
                    self._report_later()
        finally:
            del self._tasks[attempt]

    async def _try(self, attempt: Attempt) -> None:
        started = self._clock()
        outcomes = await self._outcomes(job_of(attempt), started)
        attempt.is_delivering = False
        self._give_place_on(attempt)
        await self._settle(attempt, outcomes, started)

    async def _outcomes(self, job: Job, now: float) -> Sequence[Outcome]:
        """Return what the delivery agent says, or, where it fails itself, that everything is deferred."""
        if job.envelope.deliver_by is not None and is_forbidden(job.envelope, now):
            return [Outcome(number, State.DEFERRED, TOO_LATE) for number in job.numbers]
        token = self._store.begin(job.queue_id)
        try:
            return await self._deliver(job)
        except Exception:
            self._log.exception("attempt fault", queue_id=job.queue_id)
            return [Outcome(number, State.DEFERRED, OUR_FAULT) for number in job.numbers]
        finally:
            self._store.end(token)

    def _give_place_on(self, ended: Attempt) -> None:
        """Give the place that an attempt leaves to the next."""
        self._places.leave(ended)
        if self._suspect is ended:
            self._suspect = None
            self._start_suspect()
        if self._places.is_waited_for:
            self._start_waiting()

    def _leave(self, attempt: Attempt) -> None:
        """Let go of an attempt, and fill the window again where that gives room to what was left in the file."""
        self._window.leave(attempt)
        lane, round_ = attempt.lane, attempt.round
        half_is_gone = lane.held <= lane.refill_at or round_.held <= round_.refill_at
        if half_is_gone or (self._left_some and self._window.has_half_file_room):
            lane.refill_at = round_.refill_at = -1
            self._left_some = False
            self._wake()

    async def _settle(self, attempt: Attempt, outcomes: Sequence[Outcome], started: float) -> None:
        if len(outcomes) > _MANY:
            verdict = await asyncio.to_thread(self._judge, attempt, outcomes, started)
        else:
            verdict = self._judge(attempt, outcomes, started)
        log_deferred = None
        if any(outcome.state is State.DEFERRED for outcome in outcomes):
            log_deferred = partial(tell_deferred, self._log, attempt.claim, outcomes, verdict.settlement)
        if await self._carry_out(verdict, log_deferred) and verdict.settlement.news and not attempt.round.told_since:
            attempt.round.told_since = self._clock()

    async def _carry_out(self, verdict: Verdict, log_deferred: Callable[[], None] | None = None) -> bool:
        """Record what was decided, and do what follows; False where it could not be recorded."""
        settlement = verdict.settlement
        if settlement.reports:
            settlement = msgspec.structs.replace(settlement, reports=tuple(map(self._addressed, settlement.reports)))
        receipt = await self._record(settlement)
        if receipt is None:
            return False
        if log_deferred is not None:
            log_deferred()
        queue_id = verdict.settlement.queue_id
        for report_id, kind in zip(receipt.reports, verdict.kinds, strict=False):
            self._log.info("report queued", queue_id=report_id, kind=kind, about=queue_id)
        if receipt.removed:
            self._log.info("removed", queue_id=queue_id)
        if receipt.reports:
            self._wake()
        for settled in verdict.settlement.recipients:
            if settled.state is State.DEFERRED:
                self._expect(settled.next_attempt)
        return True

    def _addressed(self, report: NewMessage) -> NewMessage:
        """Return a report to whoever has its recipient's mail; where that can't be told, to the recipient."""
        try:
            return self._address_report(report)
        except Exception:
            self._log.exception("report addressed as it is")
            return report

    def _judge(self, attempt: Attempt, outcomes: Sequence[Outcome], started: float) -> Verdict:
        claim, now, random = attempt.claim, self._clock(), self._random()
        try:
            return settle(
                claim,
                outcomes,
                final=attempt.lane.route.is_final,
                started=started,
                now=now,
                policy=self.policy,
                random=random,
                make_report=self._make_report,
                keeps_news=attempt.round.keeps_news,
            )
        except Exception:
            self._log.exception("settlement fault", queue_id=claim.queue_id)
            return settle_in_doubt(claim, outcomes, now=now, policy=self.policy, random=random)

    async def _record(self, settlement: Settlement) -> Receipt | None:
        """Have a settlement recorded; None where the server stopped before it could be."""
        while True:
            try:
                return await self._store.settle(settlement)
            except Exception as error:
                self._log.error("settlement not recorded", queue_id=settlement.queue_id, reason=str(error))
            if self._stopping.is_set():
                return None
            await _wait(self._stopping, _SETTLE_AGAIN)

    # --- looking into the file

    def _wake_from_outside(self) -> None:
        """Have the file looked into, where somebody else changed it."""
        self._report_left_at = 0.0
        self._wake()

    def _wake(self) -> None:
        """Have the file looked into: there may be something due."""
        self._is_woken = True
        self._nudge.set()

    def _expect(self, due: float) -> None:
        """Have the file looked into at `due`, if not before."""
        if due < self._look_at:
            self._look_at = due
            self._nudge.set()

    async def _look(self) -> None:
        """Fill the window from the file, and find out when to look again."""
        self._is_woken = False
        await self._mind_the_clock()
        self._begin_to_report()
        full = await self._fill()
        self._look_at = self._clock() + _LONGEST_SLEEP
        if self._window.file_room:
            due = await self._store.next_due(*full)
            if due is not None:
                self._expect(max(due, self._clock() + _SHORTEST_SLEEP))

    def _begin_to_report(self) -> None:
        """Have reported what a crash, or the worker whose file was adopted, left unreported."""
        is_at_it = self._reporting is not None and not self._reporting.done()
        if self._report_left_at <= self._clock() and not is_at_it:
            self._report_left_at = _FAR_FUTURE
            self._reporting = asyncio.create_task(self._report_left())

    async def _report_left(self) -> None:
        if not await self._reports.make_left(self._window.has_round):
            self._report_later()

    def _report_later(self) -> None:
        """Look in a while for reports that could not be written."""
        self._report_left_at = self._clock() + _REPORT_AGAIN
        self._expect(self._report_left_at)

    async def _fill(self) -> _Full:
        """Take in what is due and finds room; return what takes no more: the next hops and the messages."""
        while room := self._window.file_room:
            claims = await self._store.claim(self._clock(), min(room, _CHUNK), *self._full())
            taken = await self._take(claims)
            is_all = len(claims) < min(room, _CHUNK) and not any(claim.is_cut for claim in claims)
            if is_all or not taken:
                return self._full()
        self._left_some = True
        return frozenset(), frozenset()

    async def _take(self, claims: Sequence[Claim]) -> int:
        """Let claims in, and give back what finds no room; return how many attempts there are now to make."""
        taken = 0
        given_back: list[Claim] = []
        for claim in claims:
            admitted, refused = await self._admit_from_file(claim)
            if refused is not None:
                given_back.append(refused)
            taken += len(admitted)
            self._dispatch(admitted)
        if given_back:
            await self._store.release(given_back)
        return taken

    async def _admit_from_file(self, claim: Claim) -> tuple[list[Attempt], Claim | None]:
        """Let a claim in; one that can't be routed, which is a fault of ours, is deferred."""
        try:
            return await self._admit(claim, is_fresh=False)
        except Exception:
            self._log.exception("routing fault", queue_id=claim.queue_id)
            doubt = settle_in_doubt(claim, (), now=self._clock(), policy=self.policy, random=self._random())
            await self._record(doubt.settlement)
            return [], None

    def _full(self) -> _Full:
        """Return what is not to be claimed for now, and have it looked after when there is room."""
        lanes, rounds = self._window.full_lanes(), self._window.full_rounds()
        for lane in lanes:
            lane.refill_at = lane.held // 2
        for round_ in rounds:
            round_.refill_at = round_.held // 2
        return frozenset(lane.route.lane for lane in lanes), frozenset(round_.queue_id for round_ in rounds)

    async def _rest(self) -> None:
        """Wait until something may be due."""
        while not self._is_woken and not self._stopping.is_set():
            self._nudge.clear()
            seconds = self._look_at - self._clock()
            if not 0 < seconds <= _LONGEST_SLEEP:  # more than that: the clock was set back
                return
            await _wait(self._nudge, seconds)

    async def _mind_the_clock(self) -> None:
        """Where the clock was set back, have what seems due in a far future due in the normal interval."""
        now = self._clock()
        if now < self._last_time - _CLOCK_STEP:
            moved = await self._store.bring_forward(now + self.policy.longest_wait, now + self.policy.minimal_backoff)
            if moved:
                self._log.warning("next attempts were too far ahead: was the clock set back?", recipients=moved)
        self._last_time = now

    # --- stopping

    def _take_waiting(self) -> list[Attempt]:
        """Take all attempts that have not begun out of their queues."""
        waiting = [*self._suspects, *self._places.take_all()]
        self._suspects.clear()
        return waiting

    async def _give_back(self, attempts: Collection[Attempt]) -> None:
        """End the leases of attempts that were not made."""
        for attempt in attempts:
            self._window.leave(attempt)
        await self._store.release([attempt.claim for attempt in attempts])


async def _wait(event: asyncio.Event, seconds: float) -> None:
    """Wait for an event, but not longer than some seconds."""
    with suppress(TimeoutError):
        await asyncio.wait_for(event.wait(), seconds)
