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
from collections.abc import Awaitable, Callable, Collection, Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress
from itertools import chain
from typing import Final

from valija.faults.points import fault_point
from valija.logs import Log
from valija.mail.envelope import Envelope
from valija.mail.job import Job, QueueId, Route
from valija.mail.outcome import Outcome, State
from valija.policy.retry import RetryPolicy
from valija.queue.jobs import by_route, job_of, part_of
from valija.queue.options import SchedulerOptions
from valija.queue.places import Places
from valija.queue.round_reports import RoundReports
from valija.queue.settle import OUR_FAULT, TOO_LATE, MakeReport, is_forbidden
from valija.queue.settler import Settler
from valija.queue.store import Claim, Due, NewMessage, QueueStore
from valija.queue.window import Attempt, Window

_begun = fault_point("attempt.begun")
_ended = fault_point("attempt.ended")

Deliver = Callable[[Job], Awaitable[Sequence[Outcome]]]
_Full = tuple[AbstractSet[str], AbstractSet[QueueId]]

_CHUNK: Final = 100  # messages claimed at a time
_LONGEST_SLEEP: Final = 60.0  # seconds; then the clock is looked at again
_SHORTEST_SLEEP: Final = 0.5  # seconds, where what is due can't be taken now
_LOOK_AGAIN: Final = 5.0  # seconds, after a fault
_FAR_FUTURE: Final = float("inf")
_CLOCK_STEP: Final = 1.0  # seconds the clock may go back without anybody minding
_MANY: Final = 500  # recipients: grouping so many would hold up the loop
_AT_ONCE: Final = 16  # jobs begun in one turn of the loop


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
        self._clock = clock
        self._log = log
        self._settler = Settler(
            store,
            policy=policy,
            make_report=make_report,
            address_report=address_report,
            expect=self._expect,
            wake=self._wake,
            clock=clock,
            random=random,
            log=log,
        )
        self._places = Places(options.running_jobs, options.destination_jobs)
        self._window = Window(options.window_messages, options.window_octets)
        self._tasks: dict[Attempt, asyncio.Task[None]] = {}
        self._is_beginning = False
        self._reports = RoundReports(
            store, self._settler.carry_out, make_report, expect=self._expect, clock=clock, log=log
        )
        self._stopping = asyncio.Event()
        self._looking: asyncio.Task[None] | None = None
        self._nudge = asyncio.Event()  # set when `_rest` has something to reconsider
        self._is_woken = False
        self._look_at = 0.0
        self._last_time = _FAR_FUTURE  # at the start the clock is not trusted: the file may come from the future
        store.on_change(self._wake_from_outside)

    @property
    def policy(self) -> RetryPolicy:
        """When deferred mail is tried again."""
        return self._settler.policy

    @policy.setter
    def policy(self, policy: RetryPolicy) -> None:
        self._settler.policy = policy

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
        self._settler.give_up()
        self._nudge.set()
        if self._looking is not None:
            await asyncio.wait([self._looking], timeout=timeout)
        await self._give_back(self._places.take_all())
        await self._reports.stop(timeout)
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
            if not self._window.refuse(attempt):
                refused += chain.from_iterable(part.due for _, part in groups[at + 1 :])
                break
        return admitted, part_of(claim, refused) if refused else None

    def _dispatch(self, attempts: Sequence[Attempt]) -> None:
        """Start attempts that are in the window, or let them wait for their turn."""
        if len(attempts) == 1:
            self._start_or_wait(attempts[0])
        else:
            for attempt in attempts:
                self._places.wait(attempt)
            self._start_waiting()

    def _start_or_wait(self, attempt: Attempt) -> None:
        if self._places.take(attempt):
            self._start(attempt)
        else:
            self._places.wait(attempt)

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

    def _start(self, attempt: Attempt) -> None:
        """Start an attempt that has a place."""
        attempt.is_delivering = True
        self._tasks[attempt] = asyncio.get_running_loop().create_task(self._attempt(attempt))

    # --- one attempt

    async def _attempt(self, attempt: Attempt) -> None:
        """Try a job and record what came of it; the last of a round has its news reported."""
        try:
            try:
                outcomes = await self._outcomes(attempt, started := self._clock())
                _ended()
                attempt.is_delivering = False
                if self._places.leave(attempt):
                    self._start_waiting()
                await self._settler.settle(attempt, outcomes, started)
            finally:
                if self._window.leave(attempt):
                    self._wake()
            if attempt.round.told_since and attempt.round.is_to_be_told(self._clock()):
                attempt.round.told_since = 0.0
                await self._reports.make(attempt.claim.queue_id)
        finally:
            del self._tasks[attempt]

    async def _outcomes(self, attempt: Attempt, now: float) -> Sequence[Outcome]:
        """Return what the delivery agent says, or, where it fails itself, that everything is deferred."""
        job = job_of(attempt)
        if job.envelope.deliver_by is not None and is_forbidden(job.envelope, now):
            return [Outcome(number, State.DEFERRED, TOO_LATE) for number in job.numbers]
        token = self._store.begin(job.queue_id)
        _begun()
        try:
            return await self._deliver(job)
        except Exception:
            self._log.exception("attempt fault", queue_id=job.queue_id)
            return [Outcome(number, State.DEFERRED, OUR_FAULT) for number in job.numbers]
        finally:
            self._store.end(token)

    # --- looking into the file

    def _wake_from_outside(self) -> None:
        """Have the file looked into, where somebody else changed it."""
        self._reports.look_anew()
        self._wake()

    def _wake(self) -> None:
        """Have the file looked into: there may be something due."""
        self._is_woken = True
        self._nudge.set()

    def _expect(self, due: float) -> None:
        """Have the file looked into at `due`, if not before."""
        self._last_time = max(self._last_time, self._clock())  # a jump there and back may fall between two looks
        if due < self._look_at:
            self._look_at = due
            self._nudge.set()

    async def _look(self) -> None:
        """Fill the window from the file, and find out when to look again."""
        self._is_woken = False
        await self._mind_the_clock()
        self._reports.look(self._window.has_round)
        full = await self._fill()
        self._look_at = self._clock() + _LONGEST_SLEEP
        if self._window.file_room:
            due = await self._store.next_due(*full)
            if due is not None:
                self._expect(max(due, self._clock() + _SHORTEST_SLEEP))

    async def _fill(self) -> _Full:
        """Take in what is due and finds room; return what takes no more: the next hops and the messages."""
        while room := self._window.file_room:
            claims = await self._store.claim(self._clock(), min(room, _CHUNK), *self._window.full())
            taken = await self._take(claims)
            is_all = len(claims) < min(room, _CHUNK) and not any(claim.is_cut for claim in claims)
            if is_all or not taken:
                return self._window.full()
        self._window.left_some = True
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
            await self._settler.defer(claim)
            return [], None

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

    async def _give_back(self, attempts: Collection[Attempt]) -> None:
        """End the leases of attempts that were not made."""
        for attempt in attempts:
            self._window.leave(attempt)
        await self._store.release([attempt.claim for attempt in attempts])


async def _wait(event: asyncio.Event, seconds: float) -> None:
    """Wait for an event, but not longer than some seconds."""
    with suppress(TimeoutError):
        await asyncio.wait_for(event.wait(), seconds)
