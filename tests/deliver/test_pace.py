"""A receiver that wants less is served at about the pace it takes; nothing is deferred, and nobody is hammered."""

import asyncio
import time

import msgspec
import pytest

from tests.deliver.setting import Sender, job_for, sending, states
from tests.paced_sink import PacedSink
from tests.scripted_sink import CLOSE, Script, ScriptedSink
from valija.deliver import waiting
from valija.deliver.memory import Memory
from valija.deliver.pace import Operator
from valija.mail.job import Job, QueueId, Route
from valija.mail.outcome import Outcome, State
from valija.policy import pace

TWO_DOMAINS = {
    "one.example": ["MX 10 mx.one.host.example"],
    "two.example": ["MX 10 mx.two.host.example"],
    "mx.one.host.example": ["A 127.0.0.1"],
    "mx.two.host.example": ["A 127.0.0.1"],
}


def operator_of(sender: Sender, name: str = "remote.example") -> Operator:
    return sender.memory.operators.named(name)


def to(domain: str, number: int = 0, login: str = "") -> Job:
    """A message of its own to a domain."""
    job = job_for(f"bob@{domain}", route=Route("remote", domain))
    origin = msgspec.structs.replace(job.origin, login=login)
    return msgspec.structs.replace(job, queue_id=QueueId(f"{domain}-{login}-{number}"), origin=origin)


def fresh(job: Job) -> Job:
    """The same, just arrived."""
    return msgspec.structs.replace(job, origin=msgspec.structs.replace(job.origin, received_at=time.time()))


async def deliver_all(
    sender: Sender, count: int, *, job: Job | None = None, domain: str = "remote.example"
) -> list[State]:
    """Deliver as the queue does: many at once, each new one when another has ended."""
    left = list(range(count))
    outcomes: list[Outcome] = []

    async def feed() -> None:
        while left:
            number = left.pop()
            outcomes.extend(await sender.deliver(job or to(domain, number), deadline=60.0))

    await asyncio.gather(*(feed() for _ in range(min(20, count))))
    return [outcome.state for outcome in outcomes]


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rounds that take milliseconds, and two minutes that are half a second."""
    monkeypatch.setattr(pace, "START", 50.0)
    monkeypatch.setattr(pace, "FLOOR", 5.0)
    monkeypatch.setattr(pace, "PAUSE", 0.02)
    monkeypatch.setattr(pace, "MOVING", 0.5)


# The aim: a destination that answers 421 to everything above so many messages a second


@pytest.mark.parametrize(("at", "count"), [("MAIL", 90), ("RCPT", 50), (".", 50)])
def test_what_is_above_the_pace_of_a_receiver_waits_and_is_not_deferred(at: str, count: int) -> None:
    async def main() -> None:
        async with PacedSink(20, at=at) as sink, sending(port=sink.port) as sender:
            assert set(await deliver_all(sender, count)) == {State.DELIVERED}
            assert len(sink.taken) == count
            assert len(sink.refused) < 25
            assert sink.taken[-1] - sink.taken[0] < count / 10  # 20 a second are taken, and half of that is too timid
            rate = operator_of(sender).pace.rate
            assert rate is not None
            assert 8 < rate < 40

    asyncio.run(main())


def test_a_limit_is_told_with_the_words_that_led_to_it() -> None:
    async def main() -> None:
        async with PacedSink(5) as sink, sending(port=sink.port) as sender:
            await deliver_all(sender, 8)
            [row] = sender.agent.census("")
            assert (row.next_hop, row.operator, row.delivered) == ("remote.example", "remote.example", 8)
            assert row.rate is not None
            assert row.throttled is not None
            assert row.throttled.reply == "421 4.7.0 Too many messages, slow down"
            assert abs(row.throttled.at - time.time()) < 30

    asyncio.run(main())


@pytest.mark.usefixtures("impatient")
def test_who_takes_nothing_at_all_is_probed_and_what_comes_is_deferred() -> None:
    async def main() -> None:
        async with PacedSink() as sink, sending(port=sink.port) as sender:
            sink.closed_to_all = True
            outcomes = await deliver_all(sender, 40)
            assert set(outcomes) == {State.DEFERRED}
            assert operator_of(sender).is_stuck()
            assert len(sink.refused) < 20
            refused = len(sink.refused)
            outcomes = await deliver_all(sender, 40)  # at once, but for a probe that is due
            assert set(outcomes) == {State.DEFERRED}
            assert len(sink.refused) <= refused + 3

            sink.closed_to_all = False
            async with asyncio.timeout(10):
                while states(await sender.deliver(to("remote.example"))) != [State.DELIVERED]:
                    await asyncio.sleep(0)
            assert not operator_of(sender).is_stuck()

    asyncio.run(main())


def test_nothing_waits_for_ever_at_a_slow_pace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "THROTTLED_PATIENCE", 0.5)

    async def main() -> None:
        async with PacedSink(2) as sink, sending(port=sink.port) as sender:
            outcomes = await asyncio.gather(*(sender.deliver(to("remote.example", n)) for n in range(20)))
            assert {one.state for [one] in outcomes} == {State.DELIVERED, State.DEFERRED}
            late = [one for [one] in outcomes if one.state is State.DEFERRED]
            assert all((one.reply.code, one.reply.enhanced) == (421, "4.7.0") for one in late)

    asyncio.run(main())


# What is a wish for less, and what is not


def test_greylisting_slows_nothing_down() -> None:
    script: Script = {"RCPT": [*["451 4.7.1 Greylisting in action"] * 30, "250 2.1.5 ok"]}

    async def main() -> None:
        async with ScriptedSink(script) as sink, sending(port=sink.port) as sender:
            assert set(await deliver_all(sender, 30, job=fresh(to("remote.example")))) == {State.DEFERRED}
            assert operator_of(sender).pace.rate is None
            assert states(await sender.deliver(job_for(), deadline=2.0)) == [State.DELIVERED]

    asyncio.run(main())


@pytest.mark.parametrize("stage", ["MAIL", "RCPT", "DATA", "."])
def test_4_7_0_anywhere_is_deferred_by_the_schedule_and_slows_down_what_comes(stage: str) -> None:
    async def main() -> None:
        async with ScriptedSink({stage: ["451 4.7.0 Slow down", "250 ok"]}) as sink, sending(port=sink.port) as sender:
            assert states(await sender.deliver(fresh(job_for()))) == [State.DEFERRED]
            assert operator_of(sender).pace.rate is not None

    asyncio.run(main())


def test_a_message_that_was_taken_for_somebody_is_no_wish_for_less() -> None:
    async def main() -> None:
        script: Script = {"RCPT": ["250 ok", "450 4.7.0 not this one now"]}
        async with ScriptedSink(script) as sink, sending(port=sink.port) as sender:
            outcomes = await sender.deliver(job_for("a@remote.example", "b@remote.example"))
            assert states(outcomes) == [State.DELIVERED, State.DEFERRED]
            assert operator_of(sender).pace.rate is None

    asyncio.run(main())


def test_a_session_that_is_ended_after_each_message_is_no_wish_for_less() -> None:
    async def main() -> None:
        script: Script = {".": [["250 2.0.0 taken", "421 4.7.0 one is enough", CLOSE]]}
        async with ScriptedSink(script) as sink, sending(port=sink.port) as sender:
            assert set(await deliver_all(sender, 30)) == {State.DELIVERED}
            assert operator_of(sender).pace.rate is None

    asyncio.run(main())


def test_421_to_the_dot_is_tried_again_in_the_same_attempt_as_long_as_mail_is_taken() -> None:
    async def main() -> None:
        script: Script = {".": ["250 2.0.0 taken", ["421 4.7.0 slow down", CLOSE], "250 2.0.0 taken"]}
        async with ScriptedSink(script) as sink, sending(port=sink.port) as sender:
            assert states(await sender.deliver(job_for())) == [State.DELIVERED]
            assert states(await sender.deliver(job_for())) == [State.DELIVERED]
            assert len(sink.messages) == 3
            assert not sender.log.of("possible duplicate")

    asyncio.run(main())


# Two domains of one operator


def test_a_limit_holds_for_all_domains_of_an_operator() -> None:
    async def main() -> None:
        async with PacedSink(10) as sink, sending(port=sink.port, zone=TWO_DOMAINS) as sender:
            await deliver_all(sender, 15, domain="one.example")
            limit = operator_of(sender, "host.example").pace.rate
            assert limit is not None
            refused = len(sink.refused)
            assert set(await deliver_all(sender, 10, domain="two.example")) == {State.DELIVERED}
            assert len(sink.refused) <= refused + 4  # it has not had to learn that anew
            assert {row.operator for row in sender.agent.census("host.example")} == {"host.example"}
            assert [row.next_hop for row in sender.agent.census("two.example")] == ["two.example"]

    asyncio.run(main())


def test_turns_at_a_slow_pace_go_round_the_users_over_all_domains() -> None:
    async def main() -> None:
        async with PacedSink(10) as sink, sending(port=sink.port, zone=TWO_DOMAINS) as sender:
            await deliver_all(sender, 12, domain="one.example")  # the limit is known
            mailing = [asyncio.create_task(sender.deliver(to("one.example", n, "news"))) for n in range(15)]
            await asyncio.sleep(0)
            await sender.deliver(to("two.example", 0, "reset"))
            assert sum(task.done() for task in mailing) < 8
            await asyncio.gather(*mailing)

    asyncio.run(main())


def test_what_was_learnt_outlives_a_new_configuration() -> None:
    async def main() -> None:
        memory = Memory(20)
        async with PacedSink(5) as sink:
            async with sending(port=sink.port, memory=memory) as sender:
                await deliver_all(sender, 8)
            async with sending(port=sink.port, memory=memory) as sender:
                assert operator_of(sender).pace.rate is not None
                [row] = sender.agent.census("")
                assert row.delivered == 8

    asyncio.run(main())
