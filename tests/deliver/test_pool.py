"""When another connection is worth opening, whose turn it is, and what is done about next hops that can't be used."""

import asyncio

import msgspec
import pytest

from tests.deliver.setting import free_port, job_for, sending, states
from tests.scripted_sink import CLOSE, Script, ScriptedSink
from valija.deliver.pool import BACKLOG_PER_CONNECTION, wants_connection
from valija.mail.job import Job, QueueId
from valija.mail.outcome import State


@pytest.mark.parametrize(
    ("waiting", "connections", "stalled", "wanted"),
    [
        (0, 0, False, False),
        (0, 0, True, False),
        (1, 0, False, True),
        (1, 1, False, False),
        (1, 1, True, True),
        (BACKLOG_PER_CONNECTION, 1, False, False),
        (BACKLOG_PER_CONNECTION + 1, 1, False, True),
        (4 * BACKLOG_PER_CONNECTION, 4, False, False),
        (10_000, 20, True, False),
    ],
)
def test_wants_connection(waiting: int, connections: int, stalled: bool, wanted: bool) -> None:
    assert wants_connection(waiting, connections, 20, stalled=stalled) is wanted


# Turns


def job_of(login: str, number: int, count: int = 1, priority: int = 0) -> Job:
    job = job_for(*(f"u{n}@remote.example" for n in range(count)), priority=priority)
    origin = msgspec.structs.replace(job.origin, login=login)
    return msgspec.structs.replace(job, queue_id=QueueId(f"{login}-{number}"), origin=origin)


def test_a_password_reset_overtakes_a_mailing_of_10_000_to_the_same_host() -> None:
    async def main() -> None:
        async with ScriptedSink() as sink, sending(port=sink.port, destination_concurrency_limit=1) as sender:
            mailing = asyncio.create_task(sender.deliver(job_of("news", 0, 10_000)))
            await sink.until(lambda: len(sink.messages) >= 2)
            assert states(await sender.deliver(job_of("reset", 0))) == [State.DELIVERED]
            assert len(sink.messages) < 12
            outcomes = await mailing
            assert {outcome.state for outcome in outcomes} == {State.DELIVERED}
            assert len(outcomes) == 10_000
            assert len(sink.messages) == 10_000 // 50 + 1

    asyncio.run(main())


def test_a_higher_priority_goes_first() -> None:
    async def main() -> None:
        async with ScriptedSink() as sink, sending(port=sink.port, destination_concurrency_limit=1) as sender:
            slow = [asyncio.create_task(sender.deliver(job_of("news", n))) for n in range(60)]
            await sink.until(lambda: len(sink.messages) >= 2)
            assert states(await sender.deliver(job_of("news", 99, priority=4))) == [State.DELIVERED]
            assert sum(task.done() for task in slow) < 30
            await asyncio.gather(*slow)

    asyncio.run(main())


# What the next hop takes at once


@pytest.mark.parametrize("reply", ["452 4.5.3 too many recipients", "452 too many"])
def test_a_recipient_limit_that_was_learnt_is_remembered(reply: str) -> None:
    async def main() -> None:
        script: Script = {"RCPT": [*["250 ok"] * 7, *[reply] * 3, "250 ok"]}
        async with (
            ScriptedSink(script) as sink,
            sending(port=sink.port, connection_cache_time=0.1) as sender,
        ):
            outcomes = await sender.deliver(job_of("a", 0, 10))
            assert {outcome.state for outcome in outcomes} == {State.DELIVERED}
            assert [len(message.recipients) for message in sink.messages] == [7, 3]
            await sink.until(lambda: sink.sessions[0].closed)
            await sender.deliver(job_of("a", 1, 20))
            assert [len(message.recipients) for message in sink.messages][2:] == [7, 7, 6]
            [row] = sender.agent.census("remote.example")
            assert row.recipient_limit == 7

    asyncio.run(main())


def test_a_connection_carries_so_many_messages_and_no_more() -> None:
    async def main() -> None:
        async with (
            ScriptedSink() as sink,
            sending(port=sink.port, connection_reuse_count_limit=5, destination_concurrency_limit=1) as sender,
        ):
            await asyncio.gather(*(sender.deliver(job_of("a", n)) for n in range(20)))
            assert [session.verbs().count("MAIL") for session in sink.sessions] == [5, 5, 5, 5]
            assert all(session.verbs()[-1] == "QUIT" for session in sink.sessions)

    asyncio.run(main())


def test_it_may_carry_as_many_as_there_are() -> None:
    async def main() -> None:
        async with (
            ScriptedSink() as sink,
            sending(port=sink.port, connection_reuse_count_limit=0, destination_concurrency_limit=1) as sender,
        ):
            await asyncio.gather(*(sender.deliver(job_of("a", n)) for n in range(150)))
            assert len(sink.sessions) == 1

    asyncio.run(main())


# Next hops that can't be used


def test_a_dead_next_hop_is_probed_and_not_hammered() -> None:
    port = free_port()

    async def main() -> None:
        async with sending(port=port) as sender:
            for _ in range(2):
                assert states(await sender.deliver(job_for())) == [State.DEFERRED]
            asked = len(sender.resolver.asked)
            outcomes = [await sender.deliver(job_for(), deadline=1.0) for _ in range(50)]
            assert {one.state for [one] in outcomes} == {State.DEFERRED}
            assert {one.reply.enhanced for [one] in outcomes} == {"4.4.1"}  # with the reason there was
            assert len(sender.resolver.asked) == asked  # not even looked up
            [row] = sender.agent.census("")
            assert row.suspended is not None
            assert row.suspended.next_try > row.suspended.at
            assert "No connection to" in row.suspended.reply
            assert row.suspects[0].address == f"127.0.0.1:{port}"

            async with ScriptedSink(port=port):
                sender.memory.look_again()
                assert states(await sender.deliver(job_for())) == [State.DELIVERED]
                [row] = sender.agent.census("")
                assert row.suspended is None

    asyncio.run(main())


def test_what_comes_while_a_probe_is_out_waits_for_what_it_finds() -> None:
    port = free_port()

    async def main() -> None:
        async with sending(port=port) as sender:
            for _ in range(2):
                await sender.deliver(job_for())
            async with ScriptedSink(port=port) as sink:
                sender.memory.look_again()
                outcomes = await asyncio.gather(*(sender.deliver(job_for()) for _ in range(30)))
                assert {one.state for [one] in outcomes} == {State.DELIVERED}
                assert len(sink.sessions) <= 5

    asyncio.run(main())


def test_a_next_hop_that_breaks_off_again_and_again_is_left_in_peace() -> None:
    async def main() -> None:
        async with (
            ScriptedSink({"MAIL": [CLOSE]}) as sink,
            sending(port=sink.port, destination_concurrency_limit=1) as sender,
        ):
            outcomes = await asyncio.gather(*(sender.deliver(job_of("a", n)) for n in range(100)))
            assert {one.state for [one] in outcomes} == {State.DEFERRED}
            assert len(sink.sessions) < 10

    asyncio.run(main())


def test_a_domain_that_takes_no_mail_bounces_each_message_and_suspends_nothing() -> None:
    async def main() -> None:
        async with sending(port=25, zone={"remote.example": ["MX 0 ."]}) as sender:
            for _ in range(3):
                assert states(await sender.deliver(job_for())) == [State.FAILED]
            [row] = sender.agent.census("")
            assert row.suspended is None
            assert row.failed == 3

    asyncio.run(main())
