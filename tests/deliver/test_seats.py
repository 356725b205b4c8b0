"""A limit of connections across all domains of one operator, and who may have them."""

import asyncio

import msgspec

from tests.deliver.setting import Sender, job_for, sending, states
from tests.paced_sink import PacedSink
from tests.scripted_sink import ScriptedSink
from valija.deliver.errand import Attempt, Errand
from valija.deliver.memory import share_of
from valija.deliver.seats import Seat, Seats
from valija.mail.job import Job, QueueId, Route
from valija.mail.outcome import State

MANY_DOMAINS = {f"d{n}.example": [f"MX 10 mx{n}.host.example"] for n in range(40)}
MANY_DOMAINS |= {f"mx{n}.host.example": ["A 127.0.0.1"] for n in range(40)}


def job_to(domain: str, number: int = 0, login: str = "") -> Job:
    job = job_for(f"bob@{domain}", route=Route("remote", domain))
    origin = msgspec.structs.replace(job.origin, login=login)
    return msgspec.structs.replace(job, queue_id=QueueId(f"{domain}-{login}-{number}"), origin=origin)


def errand_of(login: str, number: int = 0) -> Errand:
    return Errand(Attempt(job_to("d0.example", number, login), asyncio.get_running_loop()), (0,))


def test_the_limit_is_shared_by_the_workers() -> None:
    assert [share_of(20, workers) for workers in (1, 2, 3, 20, 64)] == [20, 10, 6, 1, 1]


def test_seats_are_given_by_turns_of_the_users() -> None:
    async def main() -> None:
        seats = Seats(lambda: 1)
        first = Seat("first")
        await seats.take(first, errand_of("news"))
        given: list[str] = []

        async def take(name: str, login: str, number: int) -> None:
            seat = Seat(name)
            await seats.take(seat, errand_of(login, number))
            given.append(name)
            seat.leave()

        waits = [asyncio.create_task(take(f"news {n}", "news", n)) for n in range(5)]
        await asyncio.sleep(0)
        waits.append(asyncio.create_task(take("reset", "reset", 0)))
        await asyncio.sleep(0)
        assert seats.taken == 1
        first.leave()
        await asyncio.gather(*waits)
        assert given.index("reset") == 1
        assert seats.taken == 0

    asyncio.run(main())


def test_who_stops_waiting_takes_no_seat() -> None:
    async def main() -> None:
        seats = Seats(lambda: 1)
        first, second, third = Seat("a"), Seat("b"), Seat("c")
        await seats.take(first, None)
        waiting = asyncio.create_task(seats.take(second, errand_of("x")))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        first.leave()
        assert seats.taken == 0
        await seats.take(third, None)
        assert seats.taken == 1

    asyncio.run(main())


async def deliver_to_all(sender: Sender, domains: list[str], each: int = 1) -> list[State]:
    jobs = [job_to(domain, number) for number in range(each) for domain in domains]
    outcomes = await asyncio.gather(*(sender.deliver(job) for job in jobs))
    return [outcome.state for [outcome] in outcomes]


def test_many_domains_of_one_operator_share_its_connections() -> None:
    async def main() -> None:
        async with (
            PacedSink(10_000) as sink,
            sending(port=sink.port, zone=MANY_DOMAINS, destination_concurrency_limit=3) as sender,
        ):
            assert set(await deliver_to_all(sender, list(MANY_DOMAINS)[:40], each=3)) == {State.DELIVERED}
            assert sink.most_connections <= 3
            assert len(sink.taken) == 120

    asyncio.run(main())


def test_an_operator_that_refuses_further_connections_is_served_with_those_it_takes() -> None:
    async def main() -> None:
        async with PacedSink(10_000, connections=2) as sink, sending(port=sink.port, zone=MANY_DOMAINS) as sender:
            assert set(await deliver_to_all(sender, list(MANY_DOMAINS)[:40], each=2)) == {State.DELIVERED}
            assert sink.refused_connections < 12
            operator = sender.memory.operators.named("host.example")
            assert operator.pace.rate is None  # fewer connections were wanted, not a slower pace

    asyncio.run(main())


def test_a_long_line_to_one_domain_keeps_no_other_of_its_operator_waiting() -> None:
    async def main() -> None:
        async with (
            PacedSink(10_000) as sink,
            sending(port=sink.port, zone=MANY_DOMAINS, destination_concurrency_limit=2) as sender,
        ):
            mailing = [asyncio.create_task(sender.deliver(job_to("d0.example", n, "news"))) for n in range(400)]
            while len(sink.taken) < 20:
                await sink.until_taken(20, 10.0)
            assert states(await sender.deliver(job_to("d1.example", 0, "reset"))) == [State.DELIVERED]
            assert sum(task.done() for task in mailing) < 200
            await asyncio.gather(*mailing)

    asyncio.run(main())


def test_an_idle_connection_makes_room_at_once() -> None:
    async def main() -> None:
        async with (
            ScriptedSink() as sink,
            sending(
                port=sink.port, zone=MANY_DOMAINS, destination_concurrency_limit=1, connection_cache_time=30.0
            ) as sender,
        ):
            for domain in ("d0.example", "d1.example", "d0.example"):
                assert states(await sender.deliver(job_to(domain), deadline=2.0)) == [State.DELIVERED]
            assert len(sink.sessions) == 3

    asyncio.run(main())
