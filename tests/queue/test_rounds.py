"""One report of a kind for each message and round, whatever the jobs of it do."""

import asyncio
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.queue.samples import NOW, LogLines, SetClock, deferred, delivered, failed, message, report
from tests.queue.stage import DEADLINE, Agent, Stage, at_work, play
from valija.content.reported import Reported, ReportKind
from valija.mail.content import Content
from valija.mail.envelope import Notify
from valija.mail.job import Job, QueueId
from valija.mail.outcome import Outcome
from valija.queue.identity import IdSource
from valija.queue.memory import MemoryStore
from valija.queue.sqlite import SqliteStore
from valija.queue.store import NewMessage, QueueFull, Receipt, Settlement

ENDS: dict[str, Callable[[int], Outcome]] = {"delivered": delivered, "deferred": deferred, "failed": failed}
ADDRESSES = [f"u@d{number}.example" for number in range(6)]


def bounces(job: Job) -> Sequence[Outcome]:
    """Fail everything but reports."""
    return [(failed if job.envelope.reverse_path else delivered)(number) for number in job.numbers]


def reports_of(stage: Stage) -> list[str]:
    return [job.content.head.decode() for job in stage.agent.jobs if not job.envelope.reverse_path]


@asynccontextmanager
async def on_file(
    folder: Path, agent: Agent, clock: Callable[[], float] | None = None, **options: Any
) -> AsyncIterator[Stage]:
    clock = clock or SetClock()
    store = SqliteStore.open(folder, 0, clock=clock, log=LogLines().log)
    try:
        stage = Stage(agent, store, clock, **options)
        async with asyncio.timeout(DEADLINE), at_work(stage):
            yield stage
    finally:
        await store.close()


def test_failures_in_different_jobs_are_one_report() -> None:
    async def scene(stage: Stage) -> None:
        queue_id = await stage.submit(message(*ADDRESSES))
        await stage.until_empty()
        (bounce,) = reports_of(stage)
        assert all(f"{address}: 550" in bounce for address in ADDRESSES)
        (entry,) = stage.logged.of("report queued")
        assert (entry["kind"], entry["about"]) == ("failure", queue_id)
        assert len(stage.logged.of("removed")) == 2

    play(scene, Agent(bounces))


def test_the_report_comes_when_the_last_job_has_ended() -> None:
    async def scene(stage: Stage) -> None:
        gate = stage.agent.close("d3.example")
        await stage.submit(message(*ADDRESSES))
        await stage.until_pending(0)
        while len((await stage.store.list(1))[0].recipients) > 1:
            await asyncio.sleep(0.001)
        assert len(await stage.store.unreported()) == 1
        assert not stage.logged.of("report queued")
        gate.set()
        await stage.until_empty()
        (bounce,) = reports_of(stage)
        assert all(address in bounce for address in ADDRESSES)

    play(scene, Agent(bounces))


def test_each_kind_has_its_report() -> None:
    def answer(job: Job) -> Sequence[Outcome]:
        if job.route.next_hop in ("d1.example", "d4.example"):
            return [delivered(number) for number in job.numbers]
        return bounces(job)

    async def scene(stage: Stage) -> None:
        await stage.submit(message(*ADDRESSES, notify=Notify.SUCCESS | Notify.FAILURE))
        await stage.until_empty()
        kinds = Counter(entry["kind"] for entry in stage.logged.of("report queued"))
        assert kinds == {"failure": 1, "relayed": 1}

    play(scene, Agent(answer))


def test_a_lone_job_is_reported_in_its_own_settlement() -> None:
    settlements: list[Settlement] = []

    class Watching(MemoryStore):
        async def settle(self, settlement: Settlement) -> Receipt:
            settlements.append(settlement)
            return await super().settle(settlement)

    clock = SetClock()

    async def scene(stage: Stage) -> None:
        await stage.submit(message("a@x.example", "b@x.example"))
        await stage.until_empty()
        assert len(settlements) == 2
        assert len(settlements[0].reports) == 1
        assert settlements[0].news == ()

    play(scene, Agent(bounces), clock, store=Watching(IdSource(0, clock), clock))


def test_retries_are_another_round() -> None:
    tries: Counter[str] = Counter()

    def answer(job: Job) -> Sequence[Outcome]:
        tries[job.route.next_hop] += 1
        if job.route.next_hop in ("d1.example", "d2.example") and tries[job.route.next_hop] == 1:
            return [deferred(number) for number in job.numbers]
        return bounces(job)

    clock = SetClock()

    async def scene(stage: Stage) -> None:
        await stage.submit(message(*ADDRESSES[:4]))
        while not stage.logged.of("report queued"):
            await asyncio.sleep(0.001)
        clock.now += 300
        stage.scheduler._wake()
        await stage.until_empty()
        first, second = reports_of(stage)
        assert [address in first for address in ADDRESSES[:4]] == [True, False, False, True]
        assert [address in second for address in ADDRESSES[:4]] == [False, True, True, False]

    play(scene, Agent(answer), clock)


def test_one_slow_job_does_not_hold_the_news_of_others_back_for_ever() -> None:
    clock = SetClock()

    async def scene(stage: Stage) -> None:
        gate, other = stage.agent.close("d3.example"), stage.agent.close("d4.example")
        await stage.submit(message(*ADDRESSES))
        while not await stage.store.unreported():
            await asyncio.sleep(0.001)
        clock.now += 901
        other.set()
        while not stage.logged.of("report queued"):
            await asyncio.sleep(0.001)
        gate.set()
        await stage.until_empty()
        told = "".join(reports_of(stage))
        assert all(told.count(f"{address}: ") == 1 for address in ADDRESSES)
        assert len(reports_of(stage)) == 2

    play(scene, Agent(bounces), clock)


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.lists(st.tuples(st.integers(0, 4), st.sampled_from(list(ENDS))), min_size=1, max_size=9),
    st.integers(0, 2**32),
    st.booleans(),
)
def test_everybody_is_told_of_once_whatever_order_jobs_end_in(
    recipients: list[tuple[int, str]], seed: int, one_at_a_time: bool
) -> None:
    """Ends in any order, on the real store; what is deferred is delivered later."""
    random = Random(seed)
    tries: Counter[int] = Counter()

    def answer(job: Job) -> Sequence[Outcome]:
        if not job.envelope.reverse_path:
            return [delivered()]
        outcomes = []
        for number in job.numbers:
            tries[number] += 1
            end = recipients[number][1] if tries[number] == 1 else "delivered"
            outcomes.append(ENDS[end](number))
        return outcomes

    async def whole(folder: Path) -> None:
        clock = SetClock()
        async with on_file(folder, Agent(answer), clock, destination_jobs=1 if one_at_a_time else 20) as stage:
            hops = sorted({f"d{hop}.example" for hop, _ in recipients})
            gates = [stage.agent.close(hop) for hop in hops]
            addresses = [f"u{number}@d{hop}.example" for number, (hop, _) in enumerate(recipients)]
            await stage.submit(message(*addresses))
            await stage.agent.until(len(hops))
            random.shuffle(gates)
            for gate in gates:
                gate.set()
                for _ in range(random.randrange(4)):
                    await asyncio.sleep(0)
            while any(tries[number] < 1 for number in range(len(recipients))):
                await asyncio.sleep(0.001)
            await stage.until_pending_or_gone(1)
            clock.now += 300
            stage.scheduler._wake()
            await stage.until_empty()
        told = "".join(reports_of(stage))
        failing = [number for number, (_, end) in enumerate(recipients) if end == "failed"]
        assert len(reports_of(stage)) == bool(failing)
        assert all(told.count(f"{addresses[number]}: ") == (number in failing) for number in range(len(addresses)))

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(whole(Path(folder)))


def test_what_a_crash_left_is_reported_at_the_start_and_not_again(tmp_path: Path) -> None:
    """The process ends when some of a round's jobs have been settled, and one has not."""

    async def before() -> None:
        async with on_file(tmp_path, Agent(bounces)) as stage:
            stage.agent.close("d3.example")
            await stage.submit(message(*ADDRESSES, arrived=NOW))
            while len((await stage.store.list(1))[0].recipients) > 1:
                await asyncio.sleep(0.001)
            await stage.scheduler.stop(0.01)
        assert not stage.logged.of("report queued")

    async def after() -> list[str]:
        async with on_file(tmp_path, Agent(bounces)) as stage:
            await stage.until_empty()
        return reports_of(stage)

    asyncio.run(before())
    told = asyncio.run(after())
    assert all("".join(told).count(f"{address}: ") == 1 for address in ADDRESSES)
    assert len(told) == 2, "what was left, and what was tried again"
    assert asyncio.run(after()) == []


def test_what_is_adopted_is_reported(tmp_path: Path) -> None:
    """News that come in while the scheduler runs, from a file that another worker left."""

    async def whole() -> None:
        other = SqliteStore.open(tmp_path, 1, clock=SetClock(), log=LogLines().log)
        left = Stage(Agent(bounces), other, SetClock())
        running = asyncio.create_task(left.scheduler.run())
        left.agent.close("d3.example")
        await left.submit(message(*ADDRESSES))
        while len((await other.list(1))[0].recipients) > 1:
            await asyncio.sleep(0.001)
        await left.scheduler.stop(0.01)
        await running
        raw = other._rows.raw(10)
        await other.close()
        async with on_file(tmp_path, Agent(bounces)) as stage:
            await stage.submit(message("a@x.example"))
            await stage.until_empty()
            assert isinstance(stage.store, SqliteStore)
            await stage.store.take_over(raw)
            await stage.until_empty()
        told = "".join(reports_of(stage))
        assert all(told.count(f"{address}: ") == 1 for address in ADDRESSES)

    asyncio.run(whole())


def test_a_report_that_cannot_be_written_is_written_later() -> None:
    is_broken = True

    def make(kind: ReportKind, queue_id: QueueId, new: NewMessage, reported: Sequence[Reported]) -> Content:
        if is_broken:
            raise ValueError("no report today")
        return report(kind, queue_id, new, reported)

    clock = SetClock()

    async def scene(stage: Stage) -> None:
        nonlocal is_broken
        await stage.submit(message(*ADDRESSES))
        while not stage.logged.of("report fault"):
            await asyncio.sleep(0.001)
        assert len(await stage.store.unreported()) == 1
        is_broken = False
        clock.now += 301
        stage.scheduler._wake()
        await stage.until_empty()
        (bounce,) = reports_of(stage)
        assert all(address in bounce for address in ADDRESSES)

    play(scene, Agent(bounces), clock, make_report=make)


def test_c108_reports_of_a_round_wait_for_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("valija.queue.settler._AGAIN", 0.01)

    class NoRoomForReports(MemoryStore):
        full = 3

        async def settle(self, settlement: Settlement) -> Receipt:
            if settlement.reports and self.full:
                self.full -= 1
                raise QueueFull("no space")
            return await super().settle(settlement)

    clock = SetClock()

    async def scene(stage: Stage) -> None:
        await stage.submit(message(*ADDRESSES))
        await stage.until_empty()
        assert len(reports_of(stage)) == 1
        assert len(stage.logged.of("settlement not recorded")) == 3

    play(scene, Agent(bounces), clock, store=NoRoomForReports(IdSource(0, clock), clock))


def test_very_many_news_are_told_in_reports_of_a_bounded_size(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("valija.queue.round_reports.NEWS_AT_ONCE", 100)
    addresses = [f"u{number}@d{number % 40}.example" for number in range(360)]

    async def whole() -> None:
        async with on_file(tmp_path, Agent(bounces), time.time) as stage:
            await stage.submit(message(*addresses, arrived=time.time()))
            await stage.until_empty()
        told = reports_of(stage)
        assert len(told) == 4
        assert all("".join(told).count(f"{address}: ") == 1 for address in addresses)

    asyncio.run(whole())


def test_news_of_a_message_deleted_meanwhile_are_dropped() -> None:
    async def scene(stage: Stage) -> None:
        gate = stage.agent.close("d3.example")
        queue_id = await stage.submit(message(*ADDRESSES))
        while not await stage.store.unreported():
            await asyncio.sleep(0.001)
        assert await stage.store.delete(queue_id)
        gate.set()
        await stage.submit(message("a@x.example", reverse_path=""))
        await stage.until_empty()
        assert not stage.logged.of("report queued")

    play(scene, Agent(bounces))
