"""What accounts have sent and from where, in the file: bounded, and shared by processes."""

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import apsw

from tests.conduct.world import ALICE, DAY, NOW
from valija.conduct.ledger import NETWORKS_KEPT, Arrival, Ledger, Tally, total
from valija.logs import LogBuffer, build_log
from valija.policy.limits import AccountLimits, Spent

BOB = "bob@example.org"


def on_a_ledger(folder: Path, story: Callable[[Ledger], Coroutine[Any, Any, None]]) -> None:
    ledger = Ledger(folder / "use.sqlite3", build_log("error", "text", LogBuffer(2)))
    try:
        asyncio.run(story(ledger))
    finally:
        ledger.close()


def count(folder: Path, table: str) -> int:
    connection = apsw.Connection(str(folder / "use.sqlite3"))
    return int(connection.execute(f"SELECT count(*) FROM {table}").get)


def test_tallies_add_up_by_hours(tmp_path: Path) -> None:
    async def story(ledger: Ledger) -> None:
        await ledger.add({ALICE: Tally(1, 2, 1), BOB: Tally(5, 5)}, NOW)
        answers = await ledger.add({ALICE: Tally(1, 3)}, NOW + 3600)
        assert answers is not None
        assert [spent for _, spent in answers[ALICE]] == [Spent(1, 2, 1), Spent(1, 3, 0)]
        later = await ledger.add({ALICE: Tally()}, NOW + 25 * 3600)
        assert later is not None
        assert total(later[ALICE]) == Spent(1, 3, 0)
        back = await ledger.add({ALICE: Tally()}, NOW - 10 * DAY)  # a clock set back: the future doesn't count
        assert back is not None
        assert total(back[ALICE]) == Spent()

    on_a_ledger(tmp_path, story)


def test_a_reservation_is_made_where_there_is_room_only(tmp_path: Path) -> None:
    async def story(ledger: Ledger) -> None:
        limits = AccountLimits(messages_per_day=2)
        told = [await ledger.reserve(ALICE, Tally(), Spent(1, 1), limits, NOW) for _ in range(3)]
        assert [answer[0] for answer in told if answer] == [None, None, "messages_per_day"]
        assert told[2] is not None
        assert total(told[2][1]) == Spent(2, 2)

    on_a_ledger(tmp_path, story)


def test_of_the_networks_the_last_used_are_kept_and_the_home_if_it_is_used(tmp_path: Path) -> None:
    async def story(ledger: Ledger) -> None:
        for number in range(3 * NETWORKS_KEPT):
            now = NOW + number * 7200.0
            await ledger.foreign(ALICE, Arrival(now, "10.0.0.0/24", 0), now)
            await ledger.foreign(ALICE, Arrival(now, f"10.1.{number}.0/24", 0), now)
        assert await ledger.foreign(ALICE, Arrival(now, "10.0.0.0/24", 0), now) is None

    on_a_ledger(tmp_path, story)
    assert count(tmp_path, "network") == NETWORKS_KEPT


def test_what_counts_no_more_is_deleted(tmp_path: Path) -> None:
    async def story(ledger: Ledger) -> None:
        await ledger.add({ALICE: Tally(1, 1, 1)}, NOW)
        for network in ("10.0.0.0/24", "10.0.1.0/24"):
            await ledger.foreign(ALICE, Arrival(NOW, network, 1), NOW)
        await ledger.forget_old(NOW + 2 * DAY)

    on_a_ledger(tmp_path, story)
    assert [count(tmp_path, table) for table in ("hour", "day", "foreign_mail", "network")] == [0, 1, 0, 2]
    on_a_ledger(tmp_path, lambda ledger: ledger.forget_old(NOW + 500 * DAY))
    assert [count(tmp_path, table) for table in ("day", "network")] == [0, 0]


def test_the_misuse_begins_with_the_first_foreign_message(tmp_path: Path) -> None:
    async def story(ledger: Ledger) -> None:
        await ledger.foreign(ALICE, Arrival(NOW, "10.0.0.0/24", 1), NOW)
        for number in range(1, 4):
            now = NOW + 60 * number
            found = await ledger.foreign(ALICE, Arrival(now, f"10.1.{number}.0/24", 2), now + 0.5)
        assert found is not None
        assert found.began == NOW + 60
        assert (found.facts.networks, found.facts.messages, found.facts.strangers) == (3, 3, 6)
        assert found.facts.is_new
        assert ledger.foreign_networks(ALICE, NOW + 100) == {"10.1.2.0/24", "10.1.3.0/24"}

    on_a_ledger(tmp_path, story)


def test_a_pardon(tmp_path: Path) -> None:
    async def story(ledger: Ledger) -> None:
        for login in (ALICE, BOB):
            for network in ("10.0.0.0/24", "10.1.0.0/24"):
                await ledger.foreign(login, Arrival(NOW, network, 1), NOW)
            await ledger.add({login: Tally(ended=5, refused=5)}, NOW)
        ledger.pardon(ALICE, is_at_home=True)
        ledger.pardon(BOB, is_at_home=False)
        assert await ledger.foreign(ALICE, Arrival(NOW, "10.1.0.0/24", 1), NOW) is None
        found = await ledger.foreign(BOB, Arrival(NOW, "10.1.0.0/24", 1), NOW)
        assert found is not None
        assert found.facts.messages == 1
        facts = await ledger.bouncing(ALICE, NOW)
        assert facts is not None
        assert (facts.refused, facts.ended) == (0, 0)

    on_a_ledger(tmp_path, story)
