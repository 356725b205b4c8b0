"""The throttle over two workers: what strangers may guess in an hour, and that the owner always gets in."""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.auth.doorway import Doorway
from valija.auth import throttle as throttle_module
from valija.auth.throttle import Attempt
from valija.policy.login_pace import LONGEST_DELAY, PaceLimits, network_of

HOUR = 3600.0
LIMIT = PaceLimits().login
HOME, AWAY = "192.0.2.7", "203.0.113.9"


def on(folder: Path, work: Callable[[Doorway], Awaitable[None]]) -> None:
    async def run() -> None:
        doorway = Doorway(folder)
        try:
            await asyncio.wait_for(work(doorway), 60)
        finally:
            doorway.close()

    asyncio.run(run())


def botnet(number: int) -> str:
    """Return an address of a network of its own."""
    return f"198.{18 + number // 256}.{number % 256}.5"


class Volley(NamedTuple):
    """Guesses at one login from one network, one after the other."""

    pause: float
    login: str
    client: str
    worker: int
    guesses: int
    same: bool


VOLLEYS = st.lists(
    st.builds(
        Volley,
        pause=st.sampled_from([0.0, 1.0, 300.0, 899.0, 900.0, 1801.0, 3599.0, 3601.0]),
        login=st.sampled_from(["alice", "bob", "carol", "nobody"]),
        client=st.one_of(st.integers(0, 6).map(botnet), st.integers(0, 3).map(lambda n: f"2001:db8:1:{n}::5")),
        worker=st.integers(0, 1),
        guesses=st.integers(1, 15),
        same=st.booleans(),
    ),
    max_size=40,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(volleys=VOLLEYS)
def test_whatever_strangers_do_guesses_are_bounded_and_the_owner_gets_in(
    tmp_path_factory: pytest.TempPathFactory, volleys: list[Volley]
) -> None:
    """In any hour: LIMIT new guesses at a login, three times as many from a network, and no refusal for the owner."""
    looked_at: dict[str, list[float]] = defaultdict(list)

    async def work(doorway: Doorway) -> None:
        assert await doorway.gets_in("alice", HOME)
        tried: set[tuple[str, bytes]] = set()
        for number, volley in enumerate(volleys):
            doorway.now += volley.pause
            for each in range(volley.guesses):
                password = b"the old one" if volley.same else f"{number} {each}".encode()
                seen = await doorway.guesses(volley.login, volley.client, password, volley.worker)
                if seen and (volley.login, password) not in tried:
                    looked_at[f"at {volley.login}"].append(doorway.now)
                    looked_at[f"from {network_of(volley.client, 'customer')}"].append(doorway.now)
                    tried.add((volley.login, password))
            doorway.slept.clear()
            assert await doorway.gets_in("alice", "192.0.2.99", number % 2), "from the same network"
            assert not doorway.slept, "at once: nobody guessed from there"

    on(tmp_path_factory.mktemp("known"), work)
    for key, times in looked_at.items():
        limit = LIMIT if key.startswith("at") else 3 * LIMIT
        for begin in times:
            assert sum(begin <= time < begin + HOUR for time in times) <= limit, key


def test_a_spray_at_one_user_from_many_networks(tmp_path: Path) -> None:
    async def work(doorway: Doorway) -> None:
        assert await doorway.gets_in("alice", HOME)
        seen = [await doorway.guesses("alice", botnet(n), b"%d" % n, n % 2) for n in range(300)]
        assert seen == [True] * LIMIT + [False] * (300 - LIMIT)
        assert await doorway.gets_in("alice", HOME)
        assert not await doorway.gets_in("alice", AWAY), "a stranger's password is not even looked at"
        assert await doorway.gets_in("bob", AWAY), "others are not concerned"
        doorway.now += 1.25 * HOUR
        assert await doorway.gets_in("alice", AWAY)
        assert doorway.throttles[0].refused + doorway.throttles[1].refused == 300 - LIMIT + 1

    on(tmp_path, work)


def test_a_spray_at_many_users_from_one_network(tmp_path: Path) -> None:
    async def work(doorway: Doorway) -> None:
        assert await doorway.gets_in("alice", AWAY)
        seen = [await doorway.guesses(f"user{n}", "203.0.113.77", b"123456", n % 2) for n in range(100)]
        assert seen.count(True) == 3 * LIMIT
        assert not await doorway.gets_in("bob", AWAY)
        assert await doorway.gets_in("alice", AWAY), "she has been there before"
        assert await doorway.gets_in("bob", HOME)

    on(tmp_path, work)


def test_ipv6_networks_are_a_customers_own_to_multiply(tmp_path: Path) -> None:
    async def work(doorway: Doorway) -> None:
        seen = [await doorway.guesses(f"user{n}", f"2001:db8:1:{n:x}::1", b"x") for n in range(100)]
        assert seen.count(True) == 3 * LIMIT

    on(tmp_path, work)


def test_many_guesses_at_once_are_no_more_than_one_after_the_other(tmp_path: Path) -> None:
    async def work(doorway: Doorway) -> None:
        throttle = doorway.throttles[0]
        attempts = await asyncio.gather(*(throttle.admit("alice", botnet(n), b"%d" % n) for n in range(100)))
        admitted = [attempt for attempt in attempts if attempt is not None]
        assert len(admitted) == LIMIT
        for attempt in admitted:
            attempt.undecided()
        assert await doorway.gets_in("alice", AWAY), "nobody could tell, so nothing counts"

    on(tmp_path, work)


def test_the_same_wrong_password_counts_once(tmp_path: Path) -> None:
    """A program with an old password, on a network where it never was."""

    async def work(doorway: Doorway) -> None:
        for minute in range(60):
            doorway.now += 60
            assert await doorway.guesses("alice", AWAY, b"old", minute % 2)
        assert doorway.slept == [LONGEST_DELAY] * 59, "it is asked each time, but slowly"
        assert await doorway.gets_in("alice", AWAY), "and the new password is good at once"

    on(tmp_path, work)


def test_strangers_are_slowed_before_they_are_refused(tmp_path: Path) -> None:
    async def work(doorway: Doorway) -> None:
        for number in range(LIMIT + 1):
            await doorway.guesses("alice", botnet(number), b"%d" % number)
        assert doorway.slept == [1.0, 2.0, 3.0, 3.0, 3.0, 3.0]

    on(tmp_path, work)


def test_guessing_from_the_owners_own_network_is_slow_and_never_refused(tmp_path: Path) -> None:
    async def work(doorway: Doorway) -> None:
        assert await doorway.gets_in("alice", HOME)
        for number in range(100):
            assert await doorway.guesses("alice", HOME, b"%d" % number)
        assert doorway.slept[-1] == LONGEST_DELAY
        assert len(doorway.slept) == 100 - LIMIT - 1
        assert await doorway.gets_in("alice", HOME)
        assert await doorway.gets_in("alice", AWAY), "that took nothing from strangers"

    on(tmp_path, work)


@pytest.mark.parametrize("client", ["127.0.0.1", "::1", "172.17.0.1"])
def test_who_stands_for_many_is_never_refused_and_never_known(tmp_path: Path, client: str) -> None:
    async def work(doorway: Doorway) -> None:
        for throttle in doorway.throttles:
            throttle.is_shared = {"127.0.0.1", "::1", "172.17.0.1"}.__contains__
        for number in range(100):
            assert await doorway.guesses("alice", client, b"%d" % number, number % 2)
        assert await doorway.gets_in("alice", client)
        doorway.throttles[0].is_shared = lambda _: False
        assert not doorway.throttles[0].known.is_noted("alice", network_of(client))

    on(tmp_path, work)


def test_unnamed_logins_share_no_allowance(tmp_path: Path) -> None:
    async def work(doorway: Doorway) -> None:
        assert all([await doorway.guesses("", botnet(n), b"%d" % n) for n in range(50)])
        for _ in range(3 * LIMIT):
            await doorway.throttles[0].admit("", AWAY, None)
        assert not await doorway.gets_in("", AWAY), "but a network has one"

    on(tmp_path, work)


def test_clients_without_an_address_are_never_known(tmp_path: Path) -> None:
    async def work(doorway: Doorway) -> None:
        assert await doorway.gets_in("alice", "")
        for number in range(LIMIT):
            assert await doorway.guesses("alice", botnet(number), b"%d" % number)
        assert not await doorway.gets_in("alice", "")

    on(tmp_path, work)


def test_no_limit(tmp_path: Path) -> None:
    async def work(doorway: Doorway) -> None:
        doorway.throttles[0].limits = PaceLimits(0)
        assert all([await doorway.guesses("alice", AWAY, b"%d" % n) for n in range(100)])
        assert not doorway.slept

    on(tmp_path, work)


def test_a_refusal_is_logged_once_in_a_while(tmp_path: Path) -> None:
    async def work(doorway: Doorway) -> None:
        for number in range(100):
            await doorway.guesses("alice", AWAY, b"%d" % number, number % 2)
        assert doorway.log.count("login throttled") == 1
        assert "client=203.0.113.9 login=alice network=203.0.113.0/24" in doorway.log
        await doorway.guesses("alice", HOME, b"another network")
        assert doorway.log.count("login throttled") == 2
        doorway.now += 2000
        await doorway.guesses("alice", AWAY, b"later")
        assert doorway.log.count("login throttled") == 3
        assert b"later".decode() not in doorway.log, "passwords are no part of it"

    on(tmp_path, work)


def test_beds_are_bounded_and_the_owner_needs_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(throttle_module, "MOST_ASLEEP", 2)
    woken = asyncio.Event()

    async def sleep(_: float) -> None:
        await woken.wait()

    async def work(doorway: Doorway) -> None:
        throttle = doorway.throttles[0]
        for number in range(5):
            assert await doorway.guesses("alice", botnet(number), b"%d" % number)
        throttle._strangers._sleep = throttle._familiars._sleep = sleep
        tasks = [asyncio.create_task(doorway.guesses("alice", AWAY, b"a%d" % n)) for n in range(3)]
        done, asleep = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        assert [task.result() for task in done] == [False], "no bed, no guess"
        assert len(asleep) == 2
        assert await doorway.gets_in("bob", AWAY)
        gone = asleep.pop()
        gone.cancel()
        await asyncio.wait([gone])
        woken.set()
        assert [await task for task in asleep] == [True]
        assert throttle._strangers._beds == 2

    on(tmp_path, work)


def test_a_client_that_leaves_while_it_waits_has_guessed_nothing(tmp_path: Path) -> None:
    async def work(doorway: Doorway) -> None:
        throttle = doorway.throttles[0]
        for number in range(LIMIT - 1):
            assert await doorway.guesses("alice", botnet(number), b"%d" % number)

        async def sleep(_: float) -> None:
            await asyncio.Event().wait()

        throttle._strangers._sleep, usual = sleep, throttle._strangers._sleep
        for number in range(20):
            waiting = asyncio.create_task(throttle.admit("alice", AWAY, b"x%d" % number))
            await asyncio.wait([waiting], timeout=0.01)
            assert not waiting.done(), "each has the last place"
            waiting.cancel()
            await asyncio.wait([waiting])
        throttle._strangers._sleep = usual
        attempt: Attempt | None = await throttle.admit("alice", AWAY, b"y")
        assert attempt is not None

    on(tmp_path, work)
