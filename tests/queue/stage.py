"""A scheduler at work, with a delivery agent that says what the test wants."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from tests.queue.samples import LogLines, SetClock, delivered, report, to_domain
from valija.mail.job import Job, QueueId
from valija.mail.outcome import Outcome
from valija.policy.retry import RetryPolicy
from valija.queue.identity import IdSource
from valija.queue.memory import MemoryStore
from valija.queue.options import SchedulerOptions
from valija.queue.scheduler import Scheduler
from valija.queue.store import NewMessage, QueueStore

DEADLINE = 20


class Agent:
    """A delivery agent that says what the test wants, when it wants, and remembers what it was asked."""

    def __init__(self, answer: Callable[[Job], Sequence[Outcome]] | None = None) -> None:
        self.answer = answer or (lambda job: [delivered(number) for number in job.numbers])
        self.jobs: list[Job] = []
        self.running: Counter[str] = Counter()
        self.most: Counter[str] = Counter()
        self.gates: dict[str, asyncio.Event] = {}
        self.asked = asyncio.Event()

    async def deliver(self, job: Job) -> Sequence[Outcome]:
        hop = job.route.next_hop
        self.jobs.append(job)
        self.running[hop] += 1
        self.most[hop] = max(self.most[hop], self.running[hop])
        self.asked.set()
        try:
            if hop in self.gates:
                await self.gates[hop].wait()
            return self.answer(job)
        finally:
            self.running[hop] -= 1

    def close(self, hop: str) -> asyncio.Event:
        """Let jobs to a next hop wait until the returned event is set."""
        self.gates[hop] = asyncio.Event()
        return self.gates[hop]

    async def until(self, jobs: int) -> None:
        """Wait until it was asked so many times."""
        while len(self.jobs) < jobs:
            self.asked.clear()
            await self.asked.wait()


class Stage:
    """A scheduler at work on a store."""

    def __init__(self, agent: Agent, store: QueueStore, clock: Callable[[], float], **settings: Any) -> None:
        self.agent = agent
        self.store = store
        self.logged = LogLines()
        self.scheduler = Scheduler(
            store,
            agent.deliver,
            settings.pop("route", to_domain),
            policy=settings.pop("policy", RetryPolicy()),
            make_report=settings.pop("make_report", report),
            address_report=settings.pop("address_report", lambda report: report),
            clock=clock,
            random=lambda: 0.5,
            log=self.logged.log,
            options=SchedulerOptions(**settings),
        )

    async def submit(self, new: NewMessage) -> QueueId:
        queue_id = self.scheduler.new_id()
        await self.scheduler.submit(queue_id, new)
        return queue_id

    async def until_empty(self) -> None:
        """Wait until no message is left; the deadline of the scene bounds it."""
        while await self.store.list(1):
            await asyncio.sleep(0.001)

    async def until_pending_or_gone(self, attempts: int) -> None:
        """Wait until each pending recipient of a message that a sender put has so many ended attempts."""
        while True:
            listed = [one for one in await self.store.list(1000) if one.reverse_path]
            if all(recipient.attempts >= attempts for one in listed for recipient in one.recipients):
                return
            await asyncio.sleep(0.001)

    async def until_pending(self, attempts: int) -> None:
        """Wait until each pending recipient has so many ended attempts."""
        while True:
            listed = await self.store.list(1000)
            recipients = [recipient for one in listed for recipient in one.recipients]
            if recipients and all(recipient.attempts >= attempts for recipient in recipients):
                return
            await asyncio.sleep(0.001)


@asynccontextmanager
async def at_work(stage: Stage) -> AsyncIterator[Stage]:
    running = asyncio.create_task(stage.scheduler.run())
    try:
        yield stage
    finally:
        await stage.scheduler.stop(DEADLINE)
        await running


Scene = Callable[[Stage], Awaitable[None]]


def play(scene: Scene, agent: Agent | None = None, clock: Callable[[], float] | None = None, **settings: Any) -> Stage:
    clock = clock or SetClock()

    async def whole() -> Stage:
        store = settings.pop("store", None) or MemoryStore(IdSource(0, clock), clock)
        stage = Stage(agent or Agent(), store, clock, **settings)
        async with asyncio.timeout(DEADLINE), at_work(stage):
            await scene(stage)
        return stage

    return asyncio.run(whole())
