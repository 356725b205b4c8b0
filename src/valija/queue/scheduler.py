"""The scheduler: brings what is due to delivery, with a bounded window, and records what came of it.

    scheduler = Scheduler(store, agent.deliver, router.route, policy=RetryPolicy(), make_report=make_report,
                          clock=time.time, random=random.random, log=log)
    running = asyncio.create_task(scheduler.run())
    await scheduler.submit(queue_id, message)      # durable: now the 250 may leave
    await scheduler.stop(timeout=20.0)

A fresh message goes straight on from memory to delivery while there is room (queue/window); what finds none, and what
was deferred, is claimed from the file when its time has come. The recipients of a message that share a route are one
job, tried by one task, and settled once, whatever happens in between:

- an exception of the delivery agent defers all recipients of its job (4.3.0), and is logged;
- a fault in writing a report records what is certain, and defers the rest;
- a settlement that the store can't record (a full disk) is tried again until it can, or the server stops.

A message that was there in two crashes is attempted while no other such message is, so that the third crash, which
puts it on hold, does not take innocents along.

Known weakness: at the end of `stop`'s time-out an attempt is cut off, and its recipients are tried again.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress
from typing import Final

import msgspec

from valija.logs import Log
from valija.mail.envelope import Envelope
from valija.mail.job import Job, QueueId, Route
from valija.mail.outcome import Outcome, State
from valija.policy.retry import RetryPolicy
from valija.queue.settle import OUR_FAULT, MakeReport, Verdict, settle, settle_in_doubt
from valija.queue.store import CRASH_LIMIT, Claim, Due, NewMessage, QueueStore, Receipt, Settlement
from valija.queue.window import Attempt, Window

Deliver = Callable[[Job], Awaitable[Sequence[Outcome]]]

_CHUNK: Final = 100  # messages claimed at a time
_LONGEST_SLEEP: Final = 60.0  # seconds; then the clock is looked at again
_SHORTEST_SLEEP: Final = 0.5  # seconds, where what is due can't be taken now
_LOOK_AGAIN: Final = 5.0  # seconds, after a fault
_FAR_FUTURE: Final = float("inf")
_CLOCK_STEP: Final = 1.0  # seconds the clock may go back without anybody minding
_SETTLE_AGAIN: Final = 5.0  # seconds


class SchedulerOptions(msgspec.Struct, frozen=True):
    """Bounds: attempts and octets of content in memory, and jobs in flight per next hop."""

    window_messages: int = 4000
    window_octets: int = 64 * 1024 * 1024
    destination_jobs: int = 20


class Scheduler:
    """One worker's scheduler. `random` returns numbers in [0, 1); `clock` seconds since the epoch.

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
    ) -> None:
        self._store = store
        self._deliver = deliver
        self._route = route
        self.policy = policy
        self._make_report = make_report
        self._clock = clock
        self._random = random
        self._log = log
        self._destination_jobs = options.destination_jobs
        self._window = Window(options.window_messages, options.window_octets)
        self._tasks: dict[Attempt, asyncio.Task[None]] = {}
        self._suspects: deque[Attempt] = deque()
        self._suspect: Attempt | None = None
        self._stopping = asyncio.Event()
        self._looking: asyncio.Task[None] | None = None
        self._nudge = asyncio.Event()  # set when `_rest` has something to reconsider
        self._is_woken = False
        self._left_some = False
        self._look_at = 0.0
        self._last_time = _FAR_FUTURE  # at the start the clock is not trusted: the file may come from the future
        store.on_change(self._wake)

    def new_id(self) -> QueueId:
        """Return an id for a message to submit."""
        return self._store.new_id()

    async def submit(self, queue_id: QueueId, message: NewMessage) -> None:
        """Queue a message; return when it is durable. Raises QueueFull where there is no room."""
        admitted, refused = self._admit(Claim.fresh(queue_id, message), is_fresh=True)
        try:
            await self._store.put(queue_id, message, claim=bool(admitted))
        except BaseException:
            for attempt in admitted:
                self._window.leave(attempt)
            raise
        if self._stopping.is_set():
            await self._give_back(admitted)  # what was refused is leased too, but only until the process ends
            return
        for attempt in admitted:
            self._dispatch(attempt)
        if refused:
            if admitted:
                await self._store.release(refused)
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
        delivering = {attempt: task for attempt, task in self._tasks.items() if attempt.is_delivering}
        if delivering:
            await asyncio.wait(delivering.values(), timeout=timeout)
        cut_off = [attempt for attempt in delivering if attempt.is_delivering]
        for attempt in cut_off:
            delivering[attempt].cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)
        await self._store.release([attempt.claim for attempt in cut_off])

    # --- letting in

    def _admit(self, claim: Claim, *, is_fresh: bool) -> tuple[list[Attempt], list[Claim]]:
        """Group a claim's recipients by route; return the attempts that found room, and the claims that did not."""
        groups = self._by_route(claim)
        octets = len(claim.message.content.head) // len(groups)
        admitted: list[Attempt] = []
        refused: list[Claim] = []
        for route, part in groups:
            attempt = Attempt(part, self._window.lane(route), octets, is_fresh=is_fresh)
            if not self._stopping.is_set() and self._window.admits(attempt):
                self._window.enter(attempt)
                admitted.append(attempt)
            else:
                attempt.lane.refill_at = attempt.lane.held // 2
                refused.append(part)
        return admitted, refused

    def _by_route(self, claim: Claim) -> list[tuple[Route, Claim]]:
        """Return the part of a claim that each route has, in the order of their first recipients."""
        envelope = claim.message.envelope
        recipients = envelope.recipients
        if len(claim.due) == 1:
            return [(self._route(envelope, recipients[claim.due[0].number].address), claim)]
        groups: dict[Route, list[Due]] = {}
        for due in claim.due:
            groups.setdefault(self._route(envelope, recipients[due.number].address), []).append(due)
        if len(groups) == 1:
            return [(route, claim) for route in groups]
        return [(route, _part(claim, due)) for route, due in groups.items()]

    def _dispatch(self, attempt: Attempt) -> None:
        """Start an attempt that is in the window, or let it wait for its turn."""
        if attempt.claim.crashes >= CRASH_LIMIT - 1:
            self._suspects.append(attempt)
            self._start_suspect()
        elif attempt.lane.running < self._destination_jobs:
            self._start(attempt)
        else:
            attempt.lane.waiting.append(attempt)

    def _start_suspect(self) -> None:
        if self._suspects and self._suspect is None and not self._stopping.is_set():
            self._suspect = self._suspects.popleft()
            self._start(self._suspect)

    def _start(self, attempt: Attempt) -> None:
        attempt.lane.running += 1
        attempt.is_delivering = True
        self._tasks[attempt] = asyncio.create_task(self._attempt(attempt))

    # --- one attempt

    async def _attempt(self, attempt: Attempt) -> None:
        """Try a job and record what came of it."""
        try:
            started = self._clock()
            outcomes = await self._outcomes(_job(attempt))
            attempt.is_delivering = False
            self._start_next(attempt)
            await self._settle(attempt, outcomes, started)
        finally:
            del self._tasks[attempt]
            self._leave(attempt)

    async def _outcomes(self, job: Job) -> Sequence[Outcome]:
        """Return what the delivery agent says, or, where it fails itself, that everything is deferred."""
        token = self._store.begin(job.queue_id)
        try:
            return await self._deliver(job)
        except Exception:
            self._log.exception("attempt fault", queue_id=job.queue_id)
            return [Outcome(number, State.DEFERRED, OUR_FAULT) for number in job.numbers]
        finally:
            self._store.end(token)

    def _start_next(self, ended: Attempt) -> None:
        """Give the place that an attempt leaves to the next of its lane."""
        lane = ended.lane
        lane.running -= 1
        if self._suspect is ended:
            self._suspect = None
            self._start_suspect()
        if lane.waiting and lane.running < self._destination_jobs and not self._stopping.is_set():
            self._start(lane.waiting.popleft())

    def _leave(self, attempt: Attempt) -> None:
        """Let go of an attempt, and fill the window again where that gives room to what was left in the file."""
        self._window.leave(attempt)
        lane = attempt.lane
        if lane.held <= lane.refill_at or (self._left_some and self._window.has_half_file_room):
            lane.refill_at = -1
            self._left_some = False
            self._wake()

    async def _settle(self, attempt: Attempt, outcomes: Sequence[Outcome], started: float) -> None:
        verdict = self._judge(attempt, outcomes, started)
        receipt = await self._record(verdict.settlement)
        if receipt is None:
            return
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

    def _judge(self, attempt: Attempt, outcomes: Sequence[Outcome], started: float) -> Verdict:
        claim, now, random = attempt.claim, self._clock(), self._random()
        try:
            return settle(
                claim,
                outcomes,
                final=attempt.lane.route.transport == "maildir",
                started=started,
                now=now,
                policy=self.policy,
                random=random,
                make_report=self._make_report,
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
        full = await self._fill()
        self._look_at = self._clock() + _LONGEST_SLEEP
        if self._window.file_room:
            due = await self._store.next_due(full)
            if due is not None:
                self._expect(max(due, self._clock() + _SHORTEST_SLEEP))

    async def _fill(self) -> AbstractSet[str]:
        """Take in what is due and finds room; return the next hops whose lanes are full."""
        while room := self._window.file_room:
            full = self._full_hops()
            claims = await self._store.claim(self._clock(), min(room, _CHUNK), full)
            taken = await self._take(claims)
            if len(claims) < min(room, _CHUNK) or not taken:
                return self._full_hops()
        self._left_some = True
        return frozenset()

    async def _take(self, claims: Sequence[Claim]) -> int:
        """Let claims in, and give back what finds no room; return how many attempts there are now to make."""
        taken = 0
        given_back: list[Claim] = []
        for claim in claims:
            admitted, refused = await self._admit_from_file(claim)
            given_back += refused
            taken += len(admitted)
            for attempt in admitted:
                self._dispatch(attempt)
        if given_back:
            await self._store.release(given_back)
        return taken

    async def _admit_from_file(self, claim: Claim) -> tuple[list[Attempt], list[Claim]]:
        """Let a claim in; one that can't be routed, which is a fault of ours, is deferred."""
        try:
            return self._admit(claim, is_fresh=False)
        except Exception:
            self._log.exception("routing fault", queue_id=claim.queue_id)
            doubt = settle_in_doubt(claim, (), now=self._clock(), policy=self.policy, random=self._random())
            await self._record(doubt.settlement)
            return [], []

    def _full_hops(self) -> AbstractSet[str]:
        """Return the next hops that are not to be claimed for now, and have them looked after when there is room."""
        lanes = self._window.full_lanes()
        for lane in lanes:
            lane.refill_at = lane.held // 2
        return frozenset(lane.route.lane for lane in lanes)

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
        waiting = list(self._suspects)
        self._suspects.clear()
        for lane in self._window.lanes:
            waiting += lane.waiting
            lane.waiting.clear()
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


def _part(claim: Claim, due: Sequence[Due]) -> Claim:
    return Claim(claim.queue_id, claim.message, tuple(due), only=False, crashes=claim.crashes)


def _job(attempt: Attempt) -> Job:
    claim, message = attempt.claim, attempt.claim.message
    numbers = tuple([due.number for due in claim.due])
    return Job(claim.queue_id, attempt.lane.route, message.envelope, message.origin, message.content, numbers)
