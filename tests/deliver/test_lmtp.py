"""Handing over by LMTP: every recipient has its outcome, whatever the server does, and connections are shared."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import pytest

from tests.deliver.lmtp_server import HANG_UP, SILENT, ScriptedLmtp
from tests.deliver.setting import HOSTNAME, MemoryLog, Run, both_loops, job_for
from valija.deliver.lmtp import LmtpAgent
from valija.deliver.lmtp_question import ask
from valija.deliver.options import SmtpOptions
from valija.logs import Log
from valija.mail.content import Content
from valija.mail.job import Job, Route
from valija.mail.outcome import Outcome, State
from valija.mail.reply import Reply

ALICE, BOB, CAROL = "alice@local.example", "bob@local.example", "carol@local.example"
HERE = Route("lmtp", "local.example")


class Keeper:
    """An agent that keeps what it is given."""

    def __init__(self) -> None:
        self.jobs: list[Job] = []

    async def deliver(self, job: Job) -> list[Outcome]:
        self.jobs.append(job)
        return [Outcome(number, State.DELIVERED, Reply(250, "2.0.0", "kept")) for number in job.numbers]

    async def close(self) -> None:
        """Nothing is open."""


@asynccontextmanager
async def agent(place: Path, log: MemoryLog | None = None, **arguments: Any) -> AsyncIterator[LmtpAgent]:
    options = SmtpOptions(connect_timeout=5.0, data_done_timeout=arguments.pop("data_done_timeout", 20.0))
    made = LmtpAgent(
        str(place), HOSTNAME, read=_read, log=cast("Log", log or MemoryLog()), options=options, **arguments
    )
    try:
        yield made
    finally:
        async with asyncio.timeout(10):
            await made.close()


def _read(content: Content) -> Iterator[bytes]:
    yield content.head
    if content.body_file:
        yield b"from the file\r\n" * 10_000


async def told(made: LmtpAgent, job: Job) -> list[tuple[State, str]]:
    async with asyncio.timeout(20):
        outcomes = await made.deliver(job)
    assert sorted(outcome.number for outcome in outcomes) == sorted(job.numbers)
    return [(each.state, str(each.reply)) for each in sorted(outcomes, key=lambda outcome: outcome.number)]


@both_loops
def test_each_recipient_has_its_own_answer(run: Run[None], tmp_path: Path) -> None:
    async def main() -> None:
        log = MemoryLog()
        says = {BOB: "552 5.2.2 full", CAROL: "RCPT 550 5.1.1 nobody", "dave@local.example": "452 4.2.2 full now"}
        async with ScriptedLmtp(tmp_path / "lmtp", says) as server, agent(server.path, log) as made:
            job = job_for(ALICE, BOB, CAROL, "dave@local.example", route=HERE)
            assert await told(made, job) == [
                (State.DELIVERED, f"250 2.0.0 <{ALICE}> saved"),
                (State.FAILED, "552 5.2.2 full"),
                (State.FAILED, "550 5.1.1 nobody"),
                (State.DEFERRED, "452 4.2.2 full now"),
            ]
            [(recipients, octets)] = server.messages
            assert recipients == [ALICE, BOB, "dave@local.example"]
            assert octets.endswith(b"line\r\n..dot\r\n.\r\n")
            assert {line["outcome"] for line in log.of("attempt")} == {"delivered", "failed", "deferred"}

    run(main())


@both_loops
def test_one_connection_carries_many_messages(run: Run[None], tmp_path: Path) -> None:
    async def main() -> None:
        async with ScriptedLmtp(tmp_path / "lmtp") as server, agent(server.path) as made:
            for _ in range(5):
                await told(made, job_for(ALICE, route=HERE))
            assert server.connections == 1
            await asyncio.gather(*(told(made, job_for(ALICE, route=HERE)) for _ in range(200)))
            assert server.connections <= 10
            assert len(server.messages) == 205

    run(main())


def test_a_large_one_is_streamed(tmp_path: Path) -> None:
    async def main() -> None:
        head = b"Subject: large\r\n\r\n"
        content = Content(head, len(head) + 150_000, "file")
        async with ScriptedLmtp(tmp_path / "lmtp") as server, agent(server.path) as made:
            server._server.close()
            await server._server.wait_closed()
            server._server = await asyncio.start_unix_server(server._serve, server.path, limit=1 << 20)
            [(state, _)] = await told(made, job_for(ALICE, route=HERE, content=content))
            assert state is State.DELIVERED
            assert len(server.messages[0][1]) > 150_000

    asyncio.run(main())


@both_loops
def test_a_server_that_is_away_defers_all_that_waits(run: Run[None], tmp_path: Path) -> None:
    async def main() -> None:
        async with agent(tmp_path / "none") as made:
            found = await asyncio.gather(*(told(made, job_for(ALICE, BOB, route=HERE)) for _ in range(30)))
            assert {state for each in found for state, _ in each} == {State.DEFERRED}
            assert all("4.4.1" in reply and "can't be reached: No such file" in reply for [(_, reply), _] in found)

    run(main())


@pytest.mark.parametrize("banner", ["421 4.3.2 not now", "554 5.3.2 never", "nonsense"])
def test_a_server_that_wants_nobody_defers(tmp_path: Path, banner: str) -> None:
    async def main() -> None:
        async with ScriptedLmtp(tmp_path / "lmtp", banner=banner) as server, agent(server.path) as made:
            [(state, _)] = await told(made, job_for(ALICE, route=HERE))
            assert state is State.DEFERRED, "a mail that could go later is not given up for what the server says to us"

    asyncio.run(main())


def test_it_hangs_up_amid_the_answers(tmp_path: Path) -> None:
    async def main() -> None:
        async with ScriptedLmtp(tmp_path / "lmtp", {BOB: HANG_UP}) as server, agent(server.path) as made:
            alice, bob, carol = await told(made, job_for(ALICE, BOB, CAROL, route=HERE))
            assert alice == (State.DELIVERED, f"250 2.0.0 <{ALICE}> saved")
            assert bob[0] is carol[0] is State.DEFERRED
            assert "may be sent more than once" in bob[1]

    asyncio.run(main())


def test_it_hangs_up_before_the_content(tmp_path: Path) -> None:
    async def main() -> None:
        async with ScriptedLmtp(tmp_path / "lmtp", {BOB: f"RCPT {HANG_UP}"}) as server, agent(server.path) as made:
            [(state, reply)] = await told(made, job_for(BOB, route=HERE))
            assert state is State.DEFERRED
            assert "more than once" not in reply
            assert server.connections == 1, "not at once again"
            assert await told(made, job_for(ALICE, route=HERE)) == [(State.DELIVERED, f"250 2.0.0 <{ALICE}> saved")]

    asyncio.run(main())


def test_a_connection_that_was_closed_while_it_rested_costs_nothing(tmp_path: Path) -> None:
    async def main() -> None:
        async with ScriptedLmtp(tmp_path / "lmtp") as server, agent(server.path) as made:
            await told(made, job_for(ALICE, route=HERE))
            server.hang_up()
            [(state, _)] = await told(made, job_for(ALICE, route=HERE))
            assert state is State.DELIVERED
            assert server.connections == 2

    asyncio.run(main())


def test_a_silent_server_is_given_up(tmp_path: Path) -> None:
    async def main() -> None:
        async with (
            ScriptedLmtp(tmp_path / "lmtp", {BOB: SILENT}) as server,
            agent(server.path, data_done_timeout=0.5) as made,
        ):
            alice, bob = await told(made, job_for(ALICE, BOB, route=HERE))
            assert alice[0] is State.DELIVERED
            assert bob[0] is State.DEFERRED
            assert "took too long" in bob[1]

    asyncio.run(main())


def test_what_was_delivered_before_is_a_loop(tmp_path: Path) -> None:
    async def main() -> None:
        async with ScriptedLmtp(tmp_path / "lmtp") as server, agent(server.path) as made:
            content = f"Received: x\r\nDelivered-To: {ALICE.upper()}\r\nSubject: x\r\n\r\nbody\r\n".encode()
            alice, bob = await told(made, job_for(ALICE, BOB, route=HERE, content=content))
            assert alice[0] is State.FAILED
            assert "5.4.6" in alice[1]
            assert bob[0] is State.DELIVERED
            assert [recipients for recipients, _ in server.messages] == [[BOB]]

    asyncio.run(main())


def test_a_postmaster_whom_the_server_does_not_know_is_kept(tmp_path: Path) -> None:
    async def main() -> None:
        keeper = Keeper()
        says = {"Postmaster@local.example": "RCPT 550 5.1.1 nobody", BOB: "RCPT 550 5.1.1 nobody"}
        async with (
            ScriptedLmtp(tmp_path / "lmtp", says) as server,
            agent(server.path, keep_postmaster=keeper) as made,
        ):
            job = job_for(BOB, "Postmaster@local.example", ALICE, route=HERE)
            assert [state for state, _ in await told(made, job)] == [State.FAILED, State.DELIVERED, State.DELIVERED]
            assert [kept.numbers for kept in keeper.jobs] == [(1,)]

    asyncio.run(main())


def test_closing_ends_what_waits(tmp_path: Path) -> None:
    async def main() -> None:
        async with ScriptedLmtp(tmp_path / "lmtp") as server, agent(server.path) as made:
            await told(made, job_for(ALICE, route=HERE))
            await made.close()
            assert not made._sessions

    asyncio.run(main())


# Asked without a message


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        (ALICE, "250 2.1.5 ok"),
        (BOB, "550 5.1.1 nobody"),
        (CAROL, "451 4.4.2"),
        ("é@local.example", "550 5.6.7"),
        ("a\r\nDATA@local.example", "550 5.1.3"),
    ],
)
def test_what_a_server_says_to_a_recipient(tmp_path: Path, address: str, expected: str) -> None:
    async def main() -> None:
        says = {BOB: "RCPT 550 5.1.1 nobody", CAROL: f"RCPT {HANG_UP}"}
        async with ScriptedLmtp(tmp_path / "lmtp", says) as server:
            assert str(await ask(str(server.path), HOSTNAME, address, 5.0)).startswith(expected)
            assert not server.messages

    asyncio.run(main())


@pytest.mark.parametrize("banner", ["421 4.3.2 not now", "554 5.3.2 never", "nonsense", "220-on and on"])
def test_a_server_that_says_nothing_of_the_recipient(tmp_path: Path, banner: str) -> None:
    async def main() -> None:
        async with ScriptedLmtp(tmp_path / "lmtp", banner=banner) as server:
            assert (await ask(str(server.path), HOSTNAME, ALICE, 0.5)).is_transient
        assert (await ask(str(tmp_path / "none"), HOSTNAME, ALICE, 0.5)).is_transient
        assert (await ask("inet:127.0.0.1:1", HOSTNAME, ALICE, 0.5)).is_transient

    asyncio.run(main())
