"""The scheduler: what it asks the delivery agent for, and what it does with the answers."""

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.queue.samples import NOW, LogLines, SetClock, deferred, delivered, failed, message, to_domain
from tests.queue.stage import DEADLINE, Agent, Stage, at_work, play
from valija.content.reported import Reported, ReportKind
from valija.mail.content import Content
from valija.mail.envelope import Envelope, Notify, Recipient
from valija.mail.job import Job, QueueId, Route
from valija.mail.outcome import Outcome, State
from valija.policy.retry import RetryPolicy
from valija.queue.identity import IdSource
from valija.queue.memory import MemoryStore
from valija.queue.sqlite import SqliteStore
from valija.queue.store import Claim, NewMessage, QueueFull, Receipt, Settled, Settlement

# --- the way of a message


def test_fresh_mail_is_delivered_and_removed() -> None:
    async def scene(stage: Stage) -> None:
        queue_id = await stage.submit(new := message())
        await stage.until_empty()
        (job,) = stage.agent.jobs
        assert (job.queue_id, job.envelope, job.origin, job.content) == (
            queue_id,
            new.envelope,
            new.origin,
            new.content,
        )
        assert job.route == Route("remote", "example.net")
        assert [entry["queue_id"] for entry in stage.logged.of("removed")] == [queue_id]

    play(scene)


def test_a_message_on_hold_waits_for_its_release() -> None:
    async def scene(stage: Stage) -> None:
        held = await stage.submit(msgspec.structs.replace(message("a@x.example"), on_hold=True))
        await stage.submit(message("b@y.example"))
        await stage.agent.until(1)
        (listed,) = [one for one in await stage.store.list(10) if one.queue_id == held]
        assert listed.hold
        assert [job.queue_id for job in stage.agent.jobs] != [held]
        await stage.store.release_hold(held)
        stage.scheduler._wake()
        await stage.agent.until(2)
        assert stage.agent.jobs[1].queue_id == held

    play(scene)


def test_recipients_that_share_a_route_are_one_job() -> None:
    async def scene(stage: Stage) -> None:
        await stage.submit(message("a@x.example", "b@y.example", "c@x.example", "d@z.example", "e@y.example"))
        await stage.until_empty()
        jobs = {job.route.next_hop: job.numbers for job in stage.agent.jobs}
        assert jobs == {"x.example": (0, 2), "y.example": (1, 4), "z.example": (3,)}

    play(scene)


def test_all_through_one_relayhost_is_one_job() -> None:
    relayhost = Route("remote", "relay.example", 587, lookup_mx=False)

    async def scene(stage: Stage) -> None:
        await stage.submit(message("a@x.example", "b@y.example"))
        await stage.until_empty()
        assert [(job.route, job.numbers) for job in stage.agent.jobs] == [(relayhost, (0, 1))]

    play(scene, route=lambda _, __: relayhost)


def test_c091_a_deferred_recipient_is_tried_again_with_the_same_envelope() -> None:
    answers = iter([deferred(), deferred(), delivered()])

    async def scene(stage: Stage) -> None:
        queue_id = await stage.submit(message())
        await stage.until_empty()
        assert [(job.queue_id, job.numbers) for job in stage.agent.jobs] == [(queue_id, (0,))] * 3
        assert len({id(job.envelope) for job in stage.agent.jobs}) == 1
        assert not stage.logged.of("report queued")

    policy = RetryPolicy(minimal_backoff=0.01, maximal_backoff=0.02)
    play(scene, Agent(lambda _: [next(answers)]), time.time, policy=policy)


def test_a_failure_is_reported_and_the_report_delivered() -> None:
    def answer(job: Job) -> Sequence[Outcome]:
        return [failed()] if job.envelope.reverse_path else [delivered()]

    async def scene(stage: Stage) -> None:
        queue_id = await stage.submit(message())
        await stage.until_empty()
        bounce = stage.agent.jobs[1]
        assert bounce.envelope.reverse_path == ""
        assert bounce.envelope.recipients[0].address == "alice@example.org"
        (entry,) = stage.logged.of("report queued")
        assert (entry["queue_id"], entry["kind"], entry["about"]) == (bounce.queue_id, "failure", queue_id)
        assert [entry["queue_id"] for entry in stage.logged.of("removed")] == [queue_id, bounce.queue_id]

    play(scene, Agent(answer))


@pytest.mark.parametrize("is_broken", [False, True])
def test_a_report_goes_to_whoever_has_its_recipients_mail(is_broken: bool) -> None:
    def address(report: NewMessage) -> NewMessage:
        if is_broken:
            raise OSError("nobody can tell")
        to = (Recipient("real@example.org", given="alice@example.org"),)
        return msgspec.structs.replace(report, envelope=msgspec.structs.replace(report.envelope, recipients=to))

    async def scene(stage: Stage) -> None:
        await stage.submit(message())
        await stage.until_empty()
        [recipient] = stage.agent.jobs[1].envelope.recipients
        assert recipient.address == ("alice@example.org" if is_broken else "real@example.org")

    answer = Agent(lambda job: [failed() if job.envelope.reverse_path else delivered()])
    play(scene, answer, address_report=address)


def test_delivery_into_a_mailbox_is_success_and_to_a_host_is_relayed() -> None:
    def route(_: Envelope, address: str) -> Route:
        return Route("maildir" if address.endswith("@home.example") else "remote", address.rpartition("@")[2])

    async def scene(stage: Stage) -> None:
        await stage.submit(message("a@home.example", "b@far.example", notify=Notify.SUCCESS))
        await stage.until_empty()
        assert {entry["kind"] for entry in stage.logged.of("report queued")} == {"success", "relayed"}

    play(scene, route=route)


# --- faults


def test_an_exception_of_the_agent_defers_and_never_bounces() -> None:
    def answer(_: Job) -> Sequence[Outcome]:
        raise RuntimeError("a fault of ours")

    async def scene(stage: Stage) -> None:
        await stage.submit(message("a@x.example", "b@x.example"))
        await stage.until_pending(1)
        (listed,) = await stage.store.list(10)
        assert [recipient.last_reply[:9] for recipient in listed.recipients] == ["451 4.3.0"] * 2
        assert [recipient.next_attempt for recipient in listed.recipients] == [NOW + 300] * 2
        assert len(stage.logged.of("attempt fault")) == 1
        assert not stage.logged.of("report queued")

    play(scene, Agent(answer))


@pytest.mark.parametrize(
    "outcomes", [[], [failed(0)], [delivered(0), failed(7)], [failed(0), failed(0), failed(1)]], ids=str
)
def test_an_agent_that_does_not_account_for_every_recipient_never_bounces(outcomes: list[Outcome]) -> None:
    async def scene(stage: Stage) -> None:
        await stage.submit(message("a@x.example", "b@x.example"))
        await stage.until_pending(1)
        (listed,) = await stage.store.list(10)
        expected = ["b@x.example"] if delivered(0) in outcomes else ["a@x.example", "b@x.example"]
        assert [recipient.address for recipient in listed.recipients] == expected
        assert not stage.logged.of("report queued")
        assert stage.logged.of("settlement fault")

    play(scene, Agent(lambda _: outcomes))


def test_a_report_that_cannot_be_written_defers_the_recipient() -> None:
    def broken(_k: ReportKind, _i: QueueId, _m: NewMessage, _r: Sequence[Reported]) -> Content:
        raise ValueError("no report today")

    async def scene(stage: Stage) -> None:
        await stage.submit(message("a@x.example", "b@x.example"))
        await stage.until_pending(1)
        (listed,) = await stage.store.list(10)
        assert [recipient.address for recipient in listed.recipients] == ["b@x.example"]

    play(scene, Agent(lambda _: [delivered(0), failed(1)]), make_report=broken)


def test_an_address_that_cannot_be_routed_is_deferred() -> None:
    is_broken = False

    def route(envelope: Envelope, address: str) -> Route:
        if is_broken:
            raise RuntimeError("a fault of ours")
        return to_domain(envelope, address)

    async def scene(stage: Stage) -> None:
        nonlocal is_broken
        queue_id = stage.scheduler.new_id()
        await stage.store.put(queue_id, message(), claim=False)
        is_broken = True
        stage.scheduler._wake()
        await stage.until_pending(1)
        assert stage.logged.of("routing fault")
        assert not stage.agent.jobs

    play(scene, route=route)


class FullNowAndThen(MemoryStore):
    """A store whose disk is full the first few times."""

    full = 0

    async def settle(self, settlement: Settlement) -> Receipt:
        if self.full:
            self.full -= 1
            raise QueueFull("no space")
        return await super().settle(settlement)

    async def put(self, queue_id: QueueId, message: NewMessage, *, claim: bool) -> None:
        if self.full:
            self.full -= 1
            raise QueueFull("no space")
        await super().put(queue_id, message, claim=claim)


def test_c108_a_settlement_is_tried_again_until_there_is_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("valija.queue.settler._AGAIN", 0.01)
    clock = SetClock()
    store = FullNowAndThen(IdSource(0, clock), clock)

    async def scene(stage: Stage) -> None:
        gate = stage.agent.close("example.net")
        await stage.submit(message())
        await stage.agent.until(1)
        store.full = 3
        gate.set()
        await stage.until_empty()
        assert len(stage.agent.jobs) == 1
        assert len(stage.logged.of("settlement not recorded")) == 3

    play(scene, clock=clock, store=store)


def test_c108_a_refused_message_leaves_no_trace() -> None:
    clock = SetClock()
    store = FullNowAndThen(IdSource(0, clock), clock)

    async def scene(stage: Stage) -> None:
        store.full = 2
        for _ in range(2):
            with pytest.raises(QueueFull):
                await stage.submit(message())
        await stage.submit(message())
        await stage.until_empty()
        assert len(stage.agent.jobs) == 1

    play(scene, clock=clock, store=store, window_messages=2)


# --- the window


def test_jobs_in_flight_per_next_hop_are_bounded() -> None:
    async def scene(stage: Stage) -> None:
        gate = stage.agent.close("x.example")
        await asyncio.gather(*(stage.submit(message(f"u{n}@x.example")) for n in range(50)))
        await stage.agent.until(3)
        assert stage.agent.running["x.example"] == 3
        gate.set()
        await stage.until_empty()
        assert stage.agent.most["x.example"] == 3
        assert len({job.queue_id for job in stage.agent.jobs}) == len(stage.agent.jobs) == 50

    play(scene, destination_jobs=3)


def test_a_slow_destination_with_many_messages_does_not_hold_up_others() -> None:
    async def scene(stage: Stage) -> None:
        gate = stage.agent.close("slow.example")
        for number in range(500):
            queue_id = stage.scheduler.new_id()
            await stage.store.put(queue_id, message(f"u{number}@slow.example", arrived=NOW - 500), claim=False)
        old = stage.scheduler.new_id()
        await stage.store.put(old, message("u@fast.example", arrived=NOW - 1), claim=False)
        stage.scheduler._wake()
        await stage.submit(message("a@quick.example"))
        await stage.submit(message("a@slow.example", "b@fresh.example"))
        while {job.route.next_hop for job in stage.agent.jobs} != {
            "slow.example",
            "fast.example",
            "quick.example",
            "fresh.example",
        }:
            await asyncio.sleep(0.001)
        assert len(await stage.store.list(1000)) >= 500
        gate.set()
        await stage.until_empty()
        made = Counter((job.queue_id, job.numbers) for job in stage.agent.jobs)
        assert len(made) == 504
        assert set(made.values()) == {1}

    play(scene, window_messages=90, destination_jobs=5)


def test_more_than_the_window_holds_is_delivered_all_the_same() -> None:
    async def scene(stage: Stage) -> None:
        domains = [f"d{n}.example" for n in range(40)]
        every = [message(f"u{n}@{domains[n % 40]}", f"v{n}@{domains[n % 7]}") for n in range(400)]
        await asyncio.gather(*map(stage.submit, every))
        await stage.until_empty()
        made = Counter((job.queue_id, number) for job in stage.agent.jobs for number in job.numbers)
        assert len(made) == 800
        assert set(made.values()) == {1}

    play(scene, window_messages=16, destination_jobs=2)


def test_contents_in_memory_are_bounded() -> None:
    async def scene(stage: Stage) -> None:
        gates = [stage.agent.close(f"d{n}.example") for n in range(20)]
        for n in range(20):
            await stage.submit(message(f"u@d{n}.example", content=Content.of(b"x" * 1000)))
        await stage.agent.until(5)
        in_memory = sum(len(job.content.head) for job in stage.agent.jobs)
        assert (
            in_memory <= 4000 + 2 * 1000
        )  # fresh mail may fill it, the file half of it; each goes over by one at most
        for gate in gates:
            gate.set()
        await stage.until_empty()

    play(scene, window_octets=4000)


def test_a_hint_that_leads_elsewhere_causes_no_busy_loop() -> None:
    relayhost = Route("remote", "relay.example")
    looks = 0

    class Counting(MemoryStore):
        async def claim(self, now: float, limit: int, *skip: Any) -> Sequence[Claim]:
            nonlocal looks
            looks += 1
            return await super().claim(now, limit, *skip)

    clock = SetClock()
    store = Counting(IdSource(0, clock), clock)  # sees domains, where all goes through the relayhost

    async def scene(stage: Stage) -> None:
        gate = stage.agent.close("relay.example")
        for n in range(100):
            await stage.store.put(stage.scheduler.new_id(), message(f"u@d{n}.example"), claim=False)
        stage.scheduler._wake()
        await stage.agent.until(2)
        for _ in range(100):
            await asyncio.sleep(0)
        assert looks < 10
        gate.set()
        await stage.until_empty()
        assert len(stage.agent.jobs) == 100

    play(scene, clock=clock, store=store, route=lambda _, __: relayhost, window_messages=20, destination_jobs=2)


# --- the clock


def test_c110_a_clock_set_back_does_not_freeze_the_queue() -> None:
    clock = SetClock()

    async def scene(stage: Stage) -> None:
        stage.agent.answer = lambda _: [deferred()]
        await stage.submit(message())
        await stage.until_pending(1)
        clock.now -= 10 * 86400
        stage.scheduler._wake()
        while (await stage.store.list(1))[0].recipients[0].next_attempt > clock.now + 300:
            await asyncio.sleep(0.001)
        assert stage.logged.of("next attempts were too far ahead: was the clock set back?")
        stage.agent.answer = lambda _: [delivered()]
        clock.now += 300
        stage.scheduler._wake()
        await stage.until_empty()

    play(scene, clock=clock)


def test_c110_a_clock_that_was_ahead_between_two_looks_does_not_freeze_the_queue() -> None:
    clock = SetClock()

    async def scene(stage: Stage) -> None:
        stage.agent.answer = lambda _: [deferred()]
        await stage.submit(message())
        await stage.until_pending(1)
        clock.now += 10 * 86400  # unseen: the scheduler rests
        await stage.submit(message(arrived=clock.now))
        await stage.until_pending(1)
        clock.now -= 10 * 86400
        stage.scheduler._wake()
        while max(each.recipients[0].next_attempt for each in await stage.store.list(2)) > clock.now + 300:
            await asyncio.sleep(0.001)

    play(scene, clock=clock)


def test_c110_a_file_from_the_future_is_tried_in_the_normal_interval() -> None:
    clock = SetClock()
    store = MemoryStore(IdSource(0, clock), clock)

    async def scene(stage: Stage) -> None:
        while (await stage.store.list(1))[0].recipients[0].next_attempt != NOW + 300:
            await asyncio.sleep(0.001)

    asyncio.run(store.put(store.new_id(), message(arrived=NOW + 864000), claim=False))
    play(scene, clock=clock, store=store)


def test_c110_after_a_jump_ahead_there_is_one_more_attempt_before_the_bounce() -> None:
    clock = SetClock()

    def answer(job: Job) -> Sequence[Outcome]:
        return [deferred()] if job.envelope.reverse_path else [delivered()]

    async def scene(stage: Stage) -> None:
        await stage.submit(message())
        await stage.until_pending(1)
        clock.now += 10 * 86400
        stage.scheduler._wake()
        await stage.until_empty()
        assert [job.envelope.reverse_path for job in stage.agent.jobs] == ["alice@example.org"] * 2 + [""]
        assert b"expired" in stage.agent.jobs[-1].content.head

    play(scene, Agent(answer), clock)


# --- crashes


def test_messages_that_were_there_in_two_crashes_are_attempted_one_at_a_time() -> None:
    class Crashed(MemoryStore):
        async def claim(self, now: float, limit: int, *skip: Any) -> Sequence[Claim]:
            return [
                Claim(claim.queue_id, claim.message, claim.due, claim.only, crashes=2)
                for claim in await super().claim(now, limit, *skip)
            ]

    clock = SetClock()
    store = Crashed(IdSource(0, clock), clock)

    async def fill() -> None:
        for n in range(5):
            await store.put(store.new_id(), message(f"u@d{n}.example"), claim=False)

    most = 0

    def answer(job: Job) -> Sequence[Outcome]:
        nonlocal most
        most = max(most, sum(running for hop, running in agent.running.items() if hop.startswith("d")))
        return [delivered(number) for number in job.numbers]

    async def scene(stage: Stage) -> None:
        await stage.submit(message("u@fresh.example"))
        await stage.until_empty()
        assert len(stage.agent.jobs) == 6

    asyncio.run(fill())
    agent = Agent(answer)
    play(scene, agent, clock, store=store)
    assert most == 1


def test_an_attempt_is_marked_while_it_runs_and_no_longer() -> None:
    class Marking(MemoryStore):
        marks: Counter[QueueId]

        def begin(self, queue_id: QueueId) -> int:
            self.marks[queue_id] += 1
            return self.marks[queue_id]

        def end(self, token: int) -> None:
            assert token == 1
            self.marks.clear()

    clock = SetClock()
    store = Marking(IdSource(0, clock), clock)
    store.marks = Counter()
    marked: list[bool] = []

    def answer(job: Job) -> Sequence[Outcome]:
        marked.append(store.marks == {job.queue_id: 1})
        if len(marked) == 1:
            raise RuntimeError("a fault of ours")
        return [delivered()]

    async def scene(stage: Stage) -> None:
        await stage.submit(message())
        await stage.until_pending(1)
        await stage.submit(message())
        await stage.agent.until(2)

    play(scene, Agent(answer), clock, store=store)
    assert marked == [True, True]
    assert not store.marks


# --- stopping


def test_stop_lets_running_attempts_end_and_gives_the_rest_back() -> None:
    async def whole() -> None:
        clock = SetClock()
        store = MemoryStore(IdSource(0, clock), clock)
        stage = Stage(Agent(), store, clock, destination_jobs=2)
        running = asyncio.create_task(stage.scheduler.run())
        gate = stage.agent.close("x.example")
        for n in range(10):
            await stage.submit(message(f"u{n}@x.example"))
        await stage.agent.until(2)
        stopping = asyncio.create_task(stage.scheduler.stop(DEADLINE))
        await asyncio.sleep(0)
        late = await stage.submit(message("late@y.example"))
        gate.set()
        await stopping
        await running
        assert len(stage.agent.jobs) == 2
        claims = await store.claim(NOW, 100)
        assert len(claims) == 9
        assert late in {claim.queue_id for claim in claims}

    asyncio.run(asyncio.wait_for(whole(), DEADLINE))


def test_stop_cuts_off_what_does_not_end_in_time_and_gives_it_back() -> None:
    async def whole() -> None:
        clock = SetClock()
        store = MemoryStore(IdSource(0, clock), clock)
        stage = Stage(Agent(), store, clock)
        stage.agent.close("x.example")
        queue_id = await stage.submit(message("u@x.example"))
        await stage.agent.until(1)
        await stage.scheduler.stop(0.01)
        assert [claim.queue_id for claim in await store.claim(NOW, 10)] == [queue_id]
        assert not stage.logged.of("attempt fault")

    asyncio.run(asyncio.wait_for(whole(), DEADLINE))


# --- with the real store


def test_through_the_embedded_store_everything_leaves_once(tmp_path: Path) -> None:
    tries: Counter[tuple[QueueId, int]] = Counter()

    def answer(job: Job) -> Sequence[Outcome]:
        outcomes = []
        for number in job.numbers:
            tries[job.queue_id, number] += 1
            if not job.envelope.reverse_path:
                outcomes.append(delivered(number))
            elif tries[job.queue_id, number] == 1 and number % 3 == 1:
                outcomes.append(deferred(number))
            else:
                outcomes.append(failed(number) if number % 3 == 2 else delivered(number))
        return outcomes

    async def whole() -> None:
        store = SqliteStore.open(tmp_path, 0, clock=time.time, log=LogLines().log)
        policy = RetryPolicy(minimal_backoff=0.05, maximal_backoff=0.1)
        stage = Stage(Agent(answer), store, time.time, policy=policy, window_messages=60, destination_jobs=4)
        async with asyncio.timeout(60), at_work(stage):
            every = [
                message(f"a{n}@x.example", f"b{n}@y.example", f"c{n}@z{n % 9}.example", arrived=time.time())
                for n in range(200)
            ]
            await asyncio.gather(*map(stage.submit, every))
            await stage.until_empty()
        assert len(stage.logged.of("report queued")) == 200
        assert len(stage.logged.of("removed")) == 400
        assert Counter(tries.values()) == {1: 200 * 2 + 200, 2: 200}
        await store.close()

    asyncio.run(whole())


def test_a_retry_by_hand_wakes_the_scheduler(tmp_path: Path) -> None:
    async def whole() -> None:
        clock = SetClock()
        store = SqliteStore.open(tmp_path, 0, clock=clock, log=LogLines().log)
        stage = Stage(Agent(lambda _: [deferred()]), store, clock)
        async with asyncio.timeout(DEADLINE), at_work(stage):
            queue_id = await stage.submit(message())
            await stage.until_pending(1)
            stage.agent.answer = lambda _: [delivered()]
            assert await store.retry(queue_id)
            await stage.until_empty()
        await store.close()

    asyncio.run(whole())


def test_a_message_deleted_during_its_attempt_is_gone_without_a_report(tmp_path: Path) -> None:
    async def whole() -> None:
        clock = SetClock()
        store = SqliteStore.open(tmp_path, 0, clock=clock, log=LogLines().log)
        stage = Stage(Agent(lambda _: [failed()]), store, clock)
        async with asyncio.timeout(DEADLINE), at_work(stage):
            gate = stage.agent.close("example.net")
            queue_id = await stage.submit(message())
            await stage.agent.until(1)
            assert await store.delete(queue_id)
            gate.set()
        assert not stage.logged.of("report queued")
        assert not stage.logged.of("removed")
        assert not await store.list(10)
        await store.close()

    asyncio.run(whole())


def test_settled_states_are_what_the_contract_says() -> None:
    """Each job is settled exactly once, with each of its recipients exactly once."""
    settlements: list[Settlement] = []

    class Watching(MemoryStore):
        async def settle(self, settlement: Settlement) -> Receipt:
            settlements.append(settlement)
            return await super().settle(settlement)

    clock = SetClock()

    async def scene(stage: Stage) -> None:
        await asyncio.gather(*(stage.submit(message("a@x.example", "b@y.example", "c@x.example")) for _ in range(20)))
        await stage.until_empty()

    play(scene, clock=clock, store=Watching(IdSource(0, clock), clock), destination_jobs=2)
    made = Counter((settlement.queue_id, settled) for settlement in settlements for settled in settlement.recipients)
    assert set(made.values()) == {1}
    assert len(made) == 60
    assert all(settled == Settled(settled.number, State.DELIVERED) for _, settled in made)
