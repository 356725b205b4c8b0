"""Users' conduct over several workers: honest use goes on, limits hold for all, a stolen account is frozen at once."""

import asyncio
from pathlib import Path

from tests.conduct.world import ALICE, DAY, HOME, POSTMASTER, World, people, world
from valija.auth.standings import Freeze
from valija.conduct.options import ConductOptions
from valija.mail.content import Content
from valija.mail.envelope import Envelope, Recipient
from valija.mail.job import Job, QueueId, Route
from valija.mail.origin import Origin
from valija.mail.outcome import Outcome, State
from valija.mail.reply import Reply
from valija.policy.limits import AccountLimits

ELSEWHERE = "198.51.100.9"


def limited(**limits: int) -> ConductOptions:
    return ConductOptions(AccountLimits(**limits))


# Honest use


def test_a_mailing_to_five_thousand_people_from_home(tmp_path: Path) -> None:
    async def story() -> None:
        async with world(tmp_path) as w:
            for _ in range(2):  # the second time they are known
                for person in people(5000):
                    assert await w.send(ALICE, HOME, person) is None
                    w.clock.now += 0.01
            assert not w.told

    asyncio.run(story())


def test_a_traveller_in_one_new_network(tmp_path: Path) -> None:
    async def story() -> None:
        async with world(tmp_path) as w:
            for person in people(300):
                await w.send(ALICE, HOME, person)
            w.clock.now += 7 * DAY
            for person in people(300):  # a mailing to people who know her, by a hotel's network, in one minute
                assert await w.send(ALICE, ELSEWHERE, person) is None
                w.clock.now += 0.2
            for person in people(40, "new"):  # and by hand to people she meets
                w.clock.now += 300
                assert await w.send(ALICE, ELSEWHERE, person) is None

    asyncio.run(story())


def test_a_new_employee_s_first_day(tmp_path: Path) -> None:
    async def story() -> None:
        async with world(tmp_path) as w:
            for number, person in enumerate(people(100)):
                w.clock.now += 240
                assert await w.send(ALICE, (HOME, ELSEWHERE)[number % 2], person) is None
            assert await w.send(ALICE, ELSEWHERE, *people(60, "everybody")) is None, "one message to all"

    asyncio.run(story())


def test_an_account_is_at_home_where_it_is_first_and_where_it_was_a_day_ago(tmp_path: Path) -> None:
    async def story() -> None:
        async with world(tmp_path) as w:
            await w.send(ALICE, HOME, "bob@remote.example")
            w.clock.now += DAY
            await w.send(ALICE, ELSEWHERE, "bob@remote.example")
            w.clock.now += DAY
            for person in people(100):
                assert await w.send(ALICE, ELSEWHERE, person) is None

    asyncio.run(story())


# Stolen


async def attack(w: World, networks: int = 50, messages: int = 1000) -> int:
    """Return how many messages of an attack are taken."""
    taken = 0
    for number in range(messages):
        client = f"203.0.{number % networks}.1"
        taken += await w.send(ALICE, client, f"victim{number}@remote.example") is None
        w.clock.now += 0.05
    return taken


def test_an_attack_is_stopped_in_all_workers_and_told_once(tmp_path: Path) -> None:
    async def story() -> None:
        async with world(tmp_path) as w:
            for person in people(5):
                await w.send(ALICE, HOME, person)
            w.clock.now += 3 * DAY
            began = w.clock.now
            assert 10 <= await attack(w) <= 30
            await asyncio.sleep(0)
            ((login, freeze),) = w.told
            assert login == ALICE
            assert began <= freeze.began < began + 1
            for overseer in w.overseers:
                refusal, at_login = overseer.refusal(ALICE), overseer.login_refusal(ALICE)
                assert refusal is not None
                assert at_login is not None
                assert (refusal.code, refusal.enhanced) == (550, "5.7.13")
                assert (at_login.code, at_login.enhanced) == (525, "5.7.13")
                assert "it looks stolen: mail from " in refusal.text
                assert POSTMASTER in refusal.text
                assert overseer.refusal("bob@example.org") is None
            assert w.log.count("account frozen") == 1

    asyncio.run(story())


def test_an_attack_at_once_in_many_sessions_is_stopped_as_early(tmp_path: Path) -> None:
    async def story() -> None:
        async with world(tmp_path) as w:
            await w.send(ALICE, HOME, "bob@remote.example")
            sending = [
                w.send(ALICE, f"203.0.{number % 50}.1", f"victim{number}@remote.example") for number in range(500)
            ]
            answers = await asyncio.gather(*sending)
            assert answers.count(None) <= 30

    asyncio.run(story())


def test_network_by_network_it_is_stopped_as_early(tmp_path: Path) -> None:
    async def story() -> None:
        async with world(tmp_path) as w:
            await w.send(ALICE, HOME, "bob@remote.example")
            taken = 0
            for number in range(1000):
                taken += await w.send(ALICE, f"203.0.{number // 20}.1", f"victim{number}@remote.example") is None
            assert taken <= 30

    asyncio.run(story())


def test_mail_that_bounces_from_a_home(tmp_path: Path) -> None:
    async def story() -> None:
        async with world(tmp_path) as w:
            for number, person in enumerate(people(200)):
                assert await w.send(ALICE, HOME, person) is None
                state = State.FAILED if number % 2 else State.DELIVERED
                w.overseers[number % 2].ended(job(ALICE), [Outcome(0, state, Reply(550, "5.1.1", "No such user"))])
            for overseer in w.overseers:
                await overseer.flush()
            for overseer in w.overseers:
                await overseer.judge_bounces()
            await asyncio.sleep(0)
            ((_, freeze),) = w.told
            assert freeze.reason == (
                "it looks stolen: 100 of 200 recipients were refused for good, "
                "and it wrote to 200 people for the first time today"
            )

    asyncio.run(story())


def test_attempts_are_stopped_for_a_while(tmp_path: Path) -> None:
    async def story() -> None:
        async with world(tmp_path) as w:
            assert not w.overseers[0].stops(job(ALICE))
            w.standings.freeze(ALICE, Freeze(w.clock.now, w.clock.now, "by hand"))
            w.overseers[0].read_standings()
            assert w.overseers[0].stops(job(ALICE))
            assert not w.overseers[0].stops(job("bob@example.org"))
            w.clock.now += 601
            assert not w.overseers[0].stops(job(ALICE)), "a human may have released it"

    asyncio.run(story())


def test_after_a_pardon_it_is_judged_anew(tmp_path: Path) -> None:
    async def story() -> None:
        async with world(tmp_path) as w:
            await w.send(ALICE, HOME, "bob@remote.example")
            await attack(w, networks=10)
            w.standings.unfreeze(ALICE)
            w.overseers[0]._ledger.pardon(ALICE, is_at_home=True)
            for overseer in w.overseers:
                overseer.read_standings()
            assert await attack(w, networks=5, messages=200) == 200, "those are homes now"
            w.standings.unfreeze(ALICE)
            assert await attack(w, networks=50, messages=200) < 60

    asyncio.run(story())


def test_who_is_switched_off_is_not_judged(tmp_path: Path) -> None:
    async def story() -> None:
        async with world(tmp_path, ConductOptions(circuit_breaker=False)) as w:
            assert await attack(w, messages=100) == 100
        (tmp_path / "own").mkdir()
        async with world(tmp_path / "own") as w:
            w.standings.set_limit(ALICE, "circuit_breaker", 0)
            for overseer in w.overseers:
                overseer.read_standings()
            assert await attack(w, messages=100) == 100

    asyncio.run(story())


# Limits


def test_a_limit_holds_for_all_workers_to_the_message(tmp_path: Path) -> None:
    async def story() -> None:
        async with world(tmp_path, limited(messages_per_day=100), workers=4) as w:
            answers = [await w.send(ALICE, HOME, "bob@remote.example") for _ in range(150)]
            assert answers.count(None) == 100
            reply = answers[-1]
            assert reply is not None
            assert (reply.code, reply.enhanced) == (450, "4.7.1")
            assert "limit of 100 messages a day is reached" in reply.text
            assert w.log.count("account limit reached") == 1, "once an hour"
            w.clock.now += 3600
            assert await w.send(ALICE, HOME, "bob@remote.example") is not None
            assert w.log.count("account limit reached") == 2
            assert await w.send("bob@example.org", HOME, "x@remote.example") is None

    asyncio.run(story())


def test_a_day_slides(tmp_path: Path) -> None:
    async def story() -> None:
        async with world(tmp_path, limited(recipients_per_day=10)) as w:
            for person in people(10):
                assert await w.send(ALICE, HOME, person) is None
            w.clock.now += 20 * 3600
            assert await w.send(ALICE, HOME, "late@remote.example") is not None
            w.clock.now += 5 * 3600
            await w.send(ALICE, HOME, "late@remote.example")
            await asyncio.sleep(0.05)  # each worker asks the file anew
            assert await w.send(ALICE, HOME, "late@remote.example") is None

    asyncio.run(story())


def test_recipients_never_written_to_before(tmp_path: Path) -> None:
    async def story() -> None:
        async with world(tmp_path, limited(first_time_recipients_per_day=5)) as w:
            for person in people(5):
                assert await w.send(ALICE, HOME, person) is None
            for person in people(5):
                assert await w.send(ALICE, HOME, person.upper()) is None, "they are known by now"
            reply = await w.send(ALICE, HOME, "stranger@remote.example")
            assert reply is not None
            assert "5 recipients never written to before a day" in reply.text

    asyncio.run(story())


def test_limits_of_one_s_own(tmp_path: Path) -> None:
    async def story() -> None:
        async with world(tmp_path, limited(messages_per_day=3)) as w:
            w.standings.set_limit("news@example.org", "messages_per_day", 0)
            for overseer in w.overseers:
                overseer.read_standings()
            assert [await w.send("news@example.org", HOME, person) for person in people(20)] == [None] * 20
            answers = [await w.send(ALICE, HOME, person) for person in people(20)]
            assert answers.count(None) == 3

    asyncio.run(story())


def test_what_was_counted_outlives_the_server(tmp_path: Path) -> None:
    async def story() -> None:
        async with world(tmp_path, limited(messages_per_day=10, first_time_recipients_per_day=8)) as w:
            for person in people(8):
                assert await w.send(ALICE, HOME, person) is None
            await w.stop()
            w.start()
            answers = [await w.send(ALICE, HOME, person) for person in people(8)]
            assert answers.count(None) == 2, "they are known, and it is the same day"

    asyncio.run(story())


def test_without_the_file_mail_goes_on(tmp_path: Path) -> None:
    async def story() -> None:
        (tmp_path / "use.sqlite3").mkdir()
        async with world(tmp_path, limited(messages_per_day=50)) as w:
            answers = [await w.send(ALICE, f"203.0.{number}.1", "bob@remote.example") for number in range(40)]
            assert answers.count(None) == 40
            assert "file can't be used" in w.log

    asyncio.run(story())


def job(login: str) -> Job:
    origin = Origin("submission", 0.0, login=login)
    envelope = Envelope(login, (Recipient("x@remote.example"),))
    return Job(QueueId("q"), Route("remote", "remote.example"), envelope, origin, Content.of(b""), (0,))


def test_where_the_accounts_can_t_be_read_what_was_known_holds_and_it_is_said_once(tmp_path: Path) -> None:
    async def story() -> None:
        async with world(tmp_path) as w:
            w.standings.freeze(ALICE, Freeze(w.clock.now, w.clock.now, "by hand"))
            overseer = w.overseers[0]
            overseer.read_standings()
            overseer._standings.close()
            (tmp_path / "accounts.sqlite3").unlink()
            overseer.read_standings()
            overseer.read_standings()
            assert overseer.refusal(ALICE) is not None
            assert w.log.count("standings of accounts can't be read") == 1

    asyncio.run(story())
