"""The guard before a back end: what it asks, what it answers by itself, and what it counts."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from tests.auth.doorway import Asked, Doorway, facts
from valija.auth.backend import Challenge, Malformed, Step, Success, Throttled, Unavailable, Wrong
from valija.auth.good_logins import REMEMBERED_FOR
from valija.auth.guard import GuardedBackend
from valija.auth.protection import account_name, system_name
from valija.policy.login_pace import PaceLimits

LIMIT = PaceLimits().login
HOME, AWAY = "192.0.2.7", "203.0.113.9"


class Gate:
    """A guarded back end in each of two workers."""

    def __init__(self, doorway: Doorway) -> None:
        self.doorway = doorway
        self.inner = Asked()
        self.guards = [
            GuardedBackend(self.inner, throttle, name=system_name, good=doorway.good) for throttle in doorway.throttles
        ]

    async def plain(self, login: str, password: bytes, client: str = HOME, worker: int = 0) -> Step:
        exchange = self.guards[worker].start("PLAIN", facts(client))
        assert exchange
        return await exchange.respond(b"\0%b\0%b" % (login.encode(), password))

    async def talk(self, mechanism: str, *responses: bytes | None, client: str = HOME) -> list[Step]:
        exchange = self.guards[0].start(mechanism, facts(client))
        assert exchange
        return [await exchange.respond(response) for response in responses]


def on(folder: Path, work: Callable[[Gate], Awaitable[None]]) -> None:
    async def run() -> None:
        doorway = Doorway(folder)
        try:
            await asyncio.wait_for(work(Gate(doorway)), 30)
        finally:
            doorway.close()

    asyncio.run(run())


def test_what_the_back_end_says_is_said(tmp_path: Path) -> None:
    async def work(gate: Gate) -> None:
        assert await gate.plain("Alice", b"right") == Success("alice")
        assert await gate.plain("alice", b"wrong") == Wrong("alice")
        assert await gate.plain("alice", b"away") == Unavailable("away")
        assert gate.guards[0].mechanisms() == gate.inner.mechanisms()
        assert gate.guards[0].start("CRAM-MD5", facts(HOME)) is None
        gate.guards[0].close()
        assert gate.inner.closed

    on(tmp_path, work)


def test_a_right_login_is_not_asked_about_again(tmp_path: Path) -> None:
    async def work(gate: Gate) -> None:
        for _ in range(5):
            assert await gate.plain("Alice", b"right") == Success("alice")
        assert len(gate.inner.asked) == 1
        gate.doorway.now += REMEMBERED_FOR + 1
        assert await gate.plain("Alice", b"right") == Success("alice")
        assert len(gate.inner.asked) == 2

    on(tmp_path, work)


def test_what_one_worker_learnt_the_other_knows(tmp_path: Path) -> None:
    async def work(gate: Gate) -> None:
        for worker in (0, 1, 0, 1):
            assert await gate.plain("alice", b"right", worker=worker) == Success("alice")
        assert len(gate.inner.asked) == 2, "the other learns only how the name is spelt"

    on(tmp_path, work)


def test_a_password_changed_in_the_system(tmp_path: Path) -> None:
    """The new one is good at once, the old one for five minutes at most, or until anything wrong is tried."""

    async def work(gate: Gate) -> None:
        assert await gate.plain("alice", b"right") == Success("alice")
        gate.inner.right = b"new"
        assert await gate.plain("alice", b"new") == Success("alice")
        assert await gate.plain("alice", b"right") == Success("alice")
        assert await gate.plain("alice@example.org", b"oops", worker=1) == Wrong("alice@example.org")
        assert await gate.plain("alice", b"right") == Wrong("alice")
        assert await gate.plain("alice", b"new") == Success("alice")
        gate.inner.right = b"newer"
        gate.doorway.now += REMEMBERED_FOR + 1
        assert await gate.plain("alice", b"new") == Wrong("alice")

    on(tmp_path, work)


def test_who_acts_as_somebody_else_is_always_asked_about(tmp_path: Path) -> None:
    async def work(gate: Gate) -> None:
        for _ in range(3):
            await gate.talk("PLAIN", b"boss\0alice\0right")
        assert len(gate.inner.asked) == 3

    on(tmp_path, work)


def test_a_refusal_tells_nothing_and_asks_nobody(tmp_path: Path) -> None:
    async def work(gate: Gate) -> None:
        assert await gate.plain("alice", b"right") == Success("alice")
        for number in range(LIMIT):
            assert await gate.plain("alice", b"%d" % number, AWAY) == Wrong("alice")
        gate.inner.asked.clear()
        assert await gate.plain("alice", b"guess", AWAY) == Throttled("alice")
        assert await gate.plain("alice", b"right", AWAY) == Throttled("alice"), "nor is the memory asked"
        assert not gate.inner.asked
        assert await gate.plain("alice", b"right", HOME) == Success("alice")

    on(tmp_path, work)


def test_spellings_of_one_login_share_its_allowance(tmp_path: Path) -> None:
    async def work(gate: Gate) -> None:
        spellings = ["alice", "ALICE", "alice@example.org", "Alice@x.example", "alice@y.example", "ａlice"]
        seen = [await gate.plain(spellings[n % 6], b"%d" % n, f"198.18.{n}.1") for n in range(30)]
        assert sum(isinstance(step, Wrong) for step in seen) == LIMIT

    on(tmp_path, work)


def test_away_and_malformed_do_not_count(tmp_path: Path) -> None:
    async def work(gate: Gate) -> None:
        for _ in range(3 * LIMIT):
            assert isinstance(await gate.plain("alice", b"away", AWAY), Unavailable)
            assert await gate.talk("PLAIN", b"alice", client=AWAY) == [Malformed()]
        assert await gate.plain("alice", b"right", AWAY) == Success("alice")

    on(tmp_path, work)


def test_login_step_by_step(tmp_path: Path) -> None:
    async def work(gate: Gate) -> None:
        prompts = [Challenge(b"Username:"), Challenge(b"Password:")]
        assert await gate.talk("LOGIN", None, b"alice", b"right") == [*prompts, Success("alice")]
        assert gate.inner.asked == [None, b"alice", b"right"]
        assert await gate.talk("LOGIN", b"alice", b"wrong") == [prompts[1], Wrong("alice")]
        assert await gate.talk("PLAIN", None, b"\0alice\0wrong") == [Challenge(b""), Wrong("alice")]

    on(tmp_path, work)


def test_scram_is_counted_by_the_name_of_its_first_response(tmp_path: Path) -> None:
    async def work(gate: Gate) -> None:
        first = b"n,,n=alice,r=x"
        for _ in range(LIMIT):
            assert (await gate.talk("SCRAM-SHA-256", first, b"wrong", client=AWAY))[-1] == Wrong("alice")
        gate.inner.asked.clear()
        assert await gate.talk("SCRAM-SHA-256", None, first, client=AWAY) == [Challenge(b""), Throttled("alice")]
        assert gate.inner.asked == [None], "the name has not reached it"
        assert gate.inner.cancelled == 1
        assert (await gate.talk("SCRAM-SHA-256", b"n,,n=bob,r=x", b"right", client=AWAY))[-1] == Success("bob")

    on(tmp_path, work)


def test_scram_given_up_counts_nothing(tmp_path: Path) -> None:
    async def work(gate: Gate) -> None:
        for _ in range(3 * LIMIT):
            exchange = gate.guards[0].start("SCRAM-SHA-256", facts(AWAY))
            assert exchange
            assert await exchange.respond(b"n,,n=alice,r=x") == Challenge(b"Password:")
            exchange.cancel()
        assert await gate.plain("alice", b"right", AWAY) == Success("alice")

    on(tmp_path, work)


def test_a_fault_of_the_back_end_counts_nothing(tmp_path: Path) -> None:
    async def work(gate: Gate) -> None:
        def broken(login: str, password: bytes) -> Step:
            raise RuntimeError("a fault of ours")

        gate.inner.judge, usual = broken, gate.inner.judge  # type: ignore[method-assign]  # made to fail on cue
        for number in range(3 * LIMIT):
            with pytest.raises(RuntimeError):
                await gate.plain("alice", b"%d" % number, AWAY)
        gate.inner.judge = usual  # type: ignore[method-assign]
        assert await gate.plain("alice", b"right", AWAY) == Success("alice")

    on(tmp_path, work)


@pytest.mark.parametrize(
    ("claimed", "account", "system"),
    [
        ("Alice@Example.ORG", "alice@example.org", "alice"),
        ("alice", "alice", "alice"),
        ("ALICE@", "alice@", "alice"),
        ("@example.org", "@example.org", "@example.org"),
        ("", "", ""),
    ],
)
def test_names(claimed: str, account: str, system: str) -> None:
    assert account_name(claimed) == account
    assert system_name(claimed) == system
