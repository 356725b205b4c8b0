"""A mailing to thousands delays nobody behind it: whose turn it is, and what runs meanwhile."""

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import msgspec

from tests.queue.samples import NOW, LogLines, delivered, message
from tests.queue.stage import DEADLINE, Agent, Stage, at_work, play
from valija.mail.content import Content
from valija.mail.job import Job
from valija.mail.outcome import Outcome
from valija.queue.sqlite import SqliteStore
from valija.queue.store import NewMessage

RECIPIENTS = 5000
DOMAINS = 200


def mailing(recipients: int = RECIPIENTS, domains: int = DOMAINS, arrived: float = NOW) -> NewMessage:
    return message(*(f"u{number}@d{number % domains}.example" for number in range(recipients)), arrived=arrived)


def by(user: str, new: NewMessage) -> NewMessage:
    return msgspec.structs.replace(new, origin=msgspec.structs.replace(new.origin, login=user))


def place_of(stage: Stage, address: str) -> int:
    """Return how many jobs began before that of a recipient."""
    for place, job in enumerate(stage.agent.jobs):
        if any(recipient.address == address for recipient in job.recipients):
            return place
    raise AssertionError(f"nobody tried {address}")


def test_urgent_mail_and_a_reset_to_the_same_domain_do_not_wait_behind_a_mailing() -> None:
    """Nobody answers at first: all that begins has found a place of its own."""

    async def scene(stage: Stage) -> None:
        gates = [stage.agent.close(f"d{number}.example") for number in range(DOMAINS)]
        await stage.submit(mailing())
        await stage.agent.until(30)
        await stage.submit(message("urgent@fresh.example"))
        await stage.submit(message("reset@d7.example"))
        await stage.submit(message("reset@d199.example"))
        while len(stage.agent.jobs) < 33 or stage.agent.running.total() < 32:
            await asyncio.sleep(0.001)
        assert place_of(stage, "urgent@fresh.example") == 30
        assert place_of(stage, "reset@d7.example") == 31
        assert place_of(stage, "reset@d199.example") == 32
        for gate in gates:
            gate.set()
        await stage.until_empty()
        made = Counter(number for job in stage.agent.jobs if len(job.envelope.recipients) > 1 for number in job.numbers)
        assert len(made) == RECIPIENTS
        assert set(made.values()) == {1}
        assert len(stage.agent.jobs) == DOMAINS + 3, "a job for each domain, however the window cut the message"

    play(scene, window_messages=600, running_jobs=90)


def test_a_mailing_of_many_messages_delays_no_other_user() -> None:
    async def scene(stage: Stage) -> None:
        gate = stage.agent.close("gmail.example")
        for number in range(300):
            await stage.submit(by("shop", message(f"u{number}@gmail.example")))
        await stage.submit(by("app", message("reset@gmail.example")))
        await stage.submit(by("app", message("urgent@fresh.example")))
        await stage.agent.until(21)
        assert place_of(stage, "urgent@fresh.example") == 20
        gate.set()
        await stage.until_empty()
        assert place_of(stage, "reset@gmail.example") <= 22
        assert len(stage.agent.jobs) == 302

    play(scene)


def test_higher_priority_goes_first_where_mail_waits() -> None:
    async def scene(stage: Stage) -> None:
        gate = stage.agent.close("x.example")
        for number in range(10):
            await stage.submit(message(f"bulk{number}@x.example", priority=-4))
        for number in range(3):
            await stage.submit(message(f"urgent{number}@x.example", priority=6))
        await stage.agent.until(1)
        gate.set()
        await stage.until_empty()
        assert [place_of(stage, f"urgent{number}@x.example") for number in range(3)] == [1, 2, 3]

    play(scene, destination_jobs=1)


def test_what_is_in_memory_stays_bounded_and_all_of_it_leaves(tmp_path: Path) -> None:
    """From the real file, through a window that is far too small, in several claims of the same message."""
    most: list[int] = []
    stages: list[Stage] = []

    def answer(job: Job) -> Sequence[Outcome]:
        most.append(sum(lane.held for lane in stages[0].scheduler._window.lanes))
        return [delivered(number) for number in job.numbers]

    async def whole() -> None:
        store = SqliteStore.open(tmp_path, 0, clock=time.time, log=LogLines().log)
        stage = Stage(Agent(answer), store, time.time, window_messages=60, running_jobs=30, destination_jobs=4)
        stages.append(stage)
        async with asyncio.timeout(DEADLINE * 2), at_work(stage):
            await stage.submit(mailing(1500, 300, arrived=time.time()))
            await stage.submit(message("a@fresh.example", arrived=time.time()))
            await stage.until_empty()
        made = Counter(number for job in stage.agent.jobs if len(job.envelope.recipients) > 1 for number in job.numbers)
        assert made == Counter(range(1500))
        assert len(stage.agent.jobs) == 301
        assert place_of(stage, "a@fresh.example") < 60
        assert max(most) <= 60
        await store.close()

    asyncio.run(whole())


def test_the_loop_goes_on_while_a_mailing_is_taken_in() -> None:
    """Jobs begin some at a time, with turns of the loop between them."""
    turns: list[int] = []
    turn = 0

    def answer(job: Job) -> Sequence[Outcome]:
        turns.append(turn)
        return [delivered(number) for number in job.numbers]

    async def count_turns() -> None:
        nonlocal turn
        while True:
            turn += 1
            await asyncio.sleep(0)

    async def scene(stage: Stage) -> None:
        counting = asyncio.create_task(count_turns())
        await stage.submit(mailing())
        await stage.until_empty()
        counting.cancel()
        assert max(Counter(turns).values()) <= 40
        assert len(turns) == DOMAINS

    play(scene, Agent(answer))


def test_several_mailings_share() -> None:
    async def scene(stage: Stage) -> None:
        gates = [stage.agent.close(f"d{number}.example") for number in range(DOMAINS)]
        ids = [await stage.submit(by(f"u{number}", mailing(400, DOMAINS))) for number in range(3)]
        await stage.agent.until(50)
        running = Counter(job.queue_id for job in stage.agent.jobs)
        assert all(10 <= running[queue_id] <= 30 for queue_id in ids)
        await stage.submit(message("a@fresh.example"))
        while not stage.agent.running["fresh.example"] and "fresh.example" not in stage.agent.most:
            await asyncio.sleep(0.001)
        assert stage.agent.running.total() <= 90 - 90 // 4, "there is room for more"
        for gate in gates:
            gate.set()
        await stage.until_empty()
        assert len(stage.agent.jobs) == 3 * DOMAINS + 1

    play(scene, running_jobs=90)


def test_a_large_content_of_a_mailing_counts_once() -> None:
    """The jobs of one message share its octets."""

    async def scene(stage: Stage) -> None:
        new = mailing(300, 100)
        gates = [stage.agent.close(f"d{number}.example") for number in range(100)]
        await stage.submit(msgspec.structs.replace(new, content=Content.of(b"x" * 100_000)))
        await stage.submit(message("a@fresh.example", arrived=NOW))
        await stage.agent.until(31)
        for gate in gates:
            gate.set()
        await stage.until_empty()

    play(scene, running_jobs=90, window_octets=150_000)
