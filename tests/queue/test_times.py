"""The times a sender sets: not before one (RFC 4865), and not after another (RFC 2852)."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.queue.samples import NOW, LogLines, SetClock, deferred, delivered, message
from tests.queue.stage import DEADLINE, Agent, Stage, at_work, play
from valija.mail.envelope import DeliverBy
from valija.mail.job import Job
from valija.mail.outcome import Outcome
from valija.queue.sqlite import SqliteStore

RELEASE = NOW + 7 * 86400
BY = NOW + 1000


def defers(job: Job) -> Sequence[Outcome]:
    """Defer everything but reports."""
    return [(deferred if job.envelope.reverse_path else delivered)(number) for number in job.numbers]


def at(stage: Stage, clock: SetClock, now: float) -> None:
    clock.now = now
    stage.scheduler._wake()


async def quiet() -> None:
    """Let the loop do all that it has to do now."""
    for _ in range(200):
        await asyncio.sleep(0)


# --- not before


def test_a_message_to_be_sent_later_waits_in_the_file_alone() -> None:
    clock = SetClock()

    async def scene(stage: Stage) -> None:
        await stage.submit(message(hold_until=RELEASE))
        await stage.submit(message("a@x.example"))
        await stage.agent.until(1)
        await quiet()
        assert [job.route.next_hop for job in stage.agent.jobs] == ["x.example"]
        assert stage.scheduler._window.lanes == []
        at(stage, clock, RELEASE - 1)
        await quiet()
        assert len(stage.agent.jobs) == 1
        at(stage, clock, RELEASE)
        await stage.until_empty()
        assert len(stage.agent.jobs) == 2

    play(scene, clock=clock)


def test_the_scheduler_looks_again_when_the_time_has_come() -> None:
    clock = SetClock()

    async def scene(stage: Stage) -> None:
        await stage.submit(message(hold_until=NOW + 30))
        await quiet()
        assert stage.scheduler._look_at <= NOW + 30

    play(scene, clock=clock)


def test_a_release_in_the_past_is_none() -> None:
    async def scene(stage: Stage) -> None:
        await stage.submit(message(hold_until=NOW))
        await stage.until_empty()

    play(scene)


def test_a_restart_does_not_release(tmp_path: Path) -> None:
    """At the start the clock is not trusted: what is due too far ahead is brought forward, but for this."""
    clock = SetClock()

    async def start(release: bool) -> int:
        store = SqliteStore.open(tmp_path, 0, clock=clock, log=LogLines().log)
        stage = Stage(Agent(), store, clock)
        async with asyncio.timeout(DEADLINE), at_work(stage):
            if release:
                at(stage, clock, RELEASE)
                await stage.until_empty()
            elif not await store.list(1):
                await stage.submit(message(hold_until=RELEASE))
            else:
                await stage.submit(message("a@x.example"))
                while len(await store.list(10)) > 1:
                    await asyncio.sleep(0.001)
        await store.close()
        return len([job for job in stage.agent.jobs if job.route.next_hop == "example.net"])

    assert asyncio.run(start(release=False)) == 0
    clock.now += 600
    assert asyncio.run(start(release=False)) == 0
    assert asyncio.run(start(release=True)) == 1


def test_a_retry_by_hand_sends_it_now(tmp_path: Path) -> None:
    async def whole() -> None:
        clock = SetClock()
        store = SqliteStore.open(tmp_path, 0, clock=clock, log=LogLines().log)
        stage = Stage(Agent(), store, clock)
        async with asyncio.timeout(DEADLINE), at_work(stage):
            queue_id = await stage.submit(message(hold_until=RELEASE))
            await store.retry(queue_id)
            await stage.until_empty()
        await store.close()

    asyncio.run(whole())


# --- not after


def test_what_is_to_be_returned_is_not_attempted_past_its_deadline() -> None:
    clock = SetClock()

    async def scene(stage: Stage) -> None:
        await stage.submit(message(deliver_by=DeliverBy(BY, returns=True)))
        times = []
        for attempts in range(1, 5):
            await stage.until_pending(attempts)
            (listed,) = await stage.store.list(1)
            times.append(listed.recipients[0].next_attempt - NOW)
            if times[-1] == BY - NOW:
                break
            at(stage, clock, listed.recipients[0].next_attempt)
        assert times == [300, 900, 1000]
        at(stage, clock, BY)
        await stage.until_empty()
        assert len([job for job in stage.agent.jobs if job.envelope.reverse_path]) == 3, "at 0, 300 and 900 seconds"
        (entry,) = stage.logged.of("report queued")
        assert entry["kind"] == "failure"

    play(scene, Agent(defers), clock)


@pytest.mark.parametrize("returns", [True, False])
def test_a_message_that_waited_past_its_deadline(returns: bool) -> None:
    """For a place, behind a slow one: it goes back unattempted, or is told of and tried on."""
    clock = SetClock()

    async def scene(stage: Stage) -> None:
        gate = stage.agent.close("example.net")
        await stage.submit(message())
        await stage.submit(message(deliver_by=DeliverBy(BY, returns=returns)))
        await stage.agent.until(1)
        clock.now = BY + 1
        stage.agent.answer = lambda job: defers(job) if job.envelope.deliver_by else [delivered()]
        gate.set()
        while not stage.logged.of("report queued"):
            await asyncio.sleep(0.001)
        (entry,) = stage.logged.of("report queued")
        tried = [job for job in stage.agent.jobs if job.envelope.deliver_by]
        assert (entry["kind"], len(tried)) == (("failure", 0) if returns else ("delay", 1))
        stage.agent.answer = lambda job: [delivered(number) for number in job.numbers]
        at(stage, clock, BY + 601)
        await stage.until_empty()
        assert len(stage.logged.of("report queued")) == 1

    play(scene, Agent(), clock, destination_jobs=1)


def test_what_is_tried_on_is_told_of_once() -> None:
    clock = SetClock()

    async def scene(stage: Stage) -> None:
        await stage.submit(message(deliver_by=DeliverBy(BY, returns=False)))
        for attempts in range(1, 7):
            await stage.until_pending_or_gone(attempts)
            (listed,) = [one for one in await stage.store.list(10) if one.reverse_path]
            at(stage, clock, listed.recipients[0].next_attempt)
        assert [entry["kind"] for entry in stage.logged.of("report queued")] == ["delay"]
        stage.agent.answer = lambda job: [delivered(number) for number in job.numbers]
        at(stage, clock, clock.now + 86400)
        await stage.until_empty()

    play(scene, Agent(defers), clock)
