"""The embedded store beyond its contract: what it finds at the start, on a full disk, and after a kill."""

import asyncio
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from pathlib import Path

import apsw
import pytest

from tests.queue.samples import NOW, LogLines, SetClock, message, news
from valija.mail.content import Content
from valija.mail.job import QueueId
from valija.mail.outcome import State
from valija.queue.adoption import adopt
from valija.queue.paths import QueueInUse
from valija.queue.sqlite import SqliteStore
from valija.queue.store import Claim, NewMessage, QueueFull, Settled, Settlement

Scene = Callable[[SqliteStore], Awaitable[None]]


def play(
    folder: Path, scene: Scene, *, worker: int = 0, clock: SetClock | None = None, log: LogLines | None = None
) -> None:
    async def whole() -> None:
        store = SqliteStore.open(folder, worker, clock=clock or SetClock(), log=(log or LogLines()).log)
        try:
            await asyncio.wait_for(scene(store), 60)
        finally:
            await store.close()

    asyncio.run(whole())


async def put(store: SqliteStore, new: NewMessage | None = None, *, claim: bool = False) -> QueueId:
    queue_id = store.new_id()
    await store.put(queue_id, new or message(), claim=claim)
    return queue_id


async def ids_in(store: SqliteStore) -> list[QueueId]:
    return [listed.queue_id for listed in await store.list(1000)]


def large(store: SqliteStore, body: bytes = b"body " * 100_000) -> NewMessage:
    file = store.spool.create()
    file.write(body)
    return message(content=file.finish(b"Subject: large\r\n\r\n"))


def bodies(store: SqliteStore) -> list[str]:
    return sorted(path.name for path in store.spool.folder.iterdir())


async def until(condition: Callable[[], object]) -> None:
    """Let the store's threads get on until a condition holds; the test's deadline bounds it."""
    while not condition():
        await asyncio.sleep(0.001)


# --- start and end


def test_what_was_put_is_there_after_a_restart_and_leases_are_not(tmp_path: Path) -> None:
    async def fill(store: SqliteStore) -> None:
        await put(store, claim=True)
        await put(store)

    async def find(store: SqliteStore) -> None:
        assert store.recovery.pending == 2
        assert store.recovery.unfinished == 0
        assert len(await store.claim(NOW, 10)) == 2

    play(tmp_path, fill)
    play(tmp_path, find)


def test_files_are_for_the_owner_alone(tmp_path: Path) -> None:
    async def look(store: SqliteStore) -> None:
        await put(store)
        for path in (tmp_path / "queue").iterdir():
            mode = stat.S_IMODE(path.stat().st_mode)
            assert mode == (0o700 if path.is_dir() else 0o600), path

    old = os.umask(0)
    try:
        play(tmp_path / "queue", look)
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "queue").stat().st_mode) == 0o700


def test_two_processes_cannot_serve_one_file(tmp_path: Path) -> None:
    async def again(_: SqliteStore) -> None:
        with pytest.raises(QueueInUse, match="worker-0"):
            SqliteStore.open(tmp_path, 0, clock=SetClock(), log=LogLines().log)
        await SqliteStore.open(tmp_path, 1, clock=SetClock(), log=LogLines().log).close()

    play(tmp_path, again)


def test_durability_is_on(tmp_path: Path) -> None:
    async def look(store: SqliteStore) -> None:
        connection = store._connection
        assert connection.pragma("journal_mode") == "wal"
        assert connection.pragma("synchronous") == 2
        assert connection.pragma("mmap_size") == 0

    play(tmp_path, look)


def _not_a_database(path: Path) -> None:
    path.write_bytes(b"Dear diary,\n" * 1000)


def _foreign(path: Path) -> None:
    apsw.Connection(str(path)).execute("CREATE TABLE cookies (name TEXT)").fetchall()


def _newer(path: Path) -> None:
    apsw.Connection(str(path)).execute("PRAGMA user_version = 99").fetchall()


def _without_a_table(path: Path) -> None:
    apsw.Connection(str(path)).execute("DROP TABLE recipient").fetchall()


def _cut_short(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2 // 4096 * 4096)


def _scribbled(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[4096:] = os.urandom(len(data) - 4096)
    path.write_bytes(data)


@pytest.mark.parametrize("damage", [_not_a_database, _foreign, _newer, _without_a_table, _cut_short, _scribbled])
def test_a_damaged_or_foreign_file_is_set_aside_and_does_not_stop_the_start(
    tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    path = tmp_path / "worker-0.sqlite3"

    async def fill(store: SqliteStore) -> None:
        for _ in range(20):
            await put(store, message(content=Content.of(b"x" * 5000)))

    async def work(store: SqliteStore) -> None:
        assert store.recovery.set_aside
        await put(store)
        assert len(await ids_in(store)) == 1

    if damage is not _foreign:
        play(tmp_path, fill)
    damage(path)
    damaged = path.read_bytes()
    log = LogLines()
    play(tmp_path, work, log=log)
    (entry,) = log.of("queue file set aside")
    assert str(path) in entry["path"]
    assert entry["reason"]
    (kept,) = tmp_path.glob("worker-0.sqlite3.damaged-*")
    assert kept.name in entry["reason"]
    assert kept.read_bytes() == damaged


def test_an_empty_file_is_a_new_queue(tmp_path: Path) -> None:
    (tmp_path / "worker-0.sqlite3").touch()

    async def work(store: SqliteStore) -> None:
        assert not store.recovery.set_aside
        await put(store)

    play(tmp_path, work)


def test_c110_ids_go_on_above_those_in_the_file(tmp_path: Path) -> None:
    made: list[QueueId] = []

    async def fill(store: SqliteStore) -> None:
        made.append(await put(store))

    play(tmp_path, fill, clock=SetClock(NOW + 864000))
    play(tmp_path, fill, clock=SetClock(NOW))
    assert made == sorted(set(made))


# --- messages of very many recipients


def test_of_a_large_message_some_next_hops_are_claimed_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("valija.queue.claims.LARGEST", 50)
    addresses = [f"u{number}@d{number % 13}.example" for number in range(200)]

    async def work(store: SqliteStore) -> None:
        await put(store, message(*addresses))
        seen: list[int] = []
        while claims := await store.claim(NOW, 10, {"d5.example"}):
            (claim,) = claims
            assert not claim.only
            places = [due.number for due in claim.due]
            hops = {place % 13 for place in places}
            assert sorted(places) == [place for place in range(200) if place % 13 in hops], "whole next hops"
            assert 50 <= len(places) < 50 + 16 or not claim.is_cut
            seen += places
        assert sorted(seen) == [place for place in range(200) if place % 13 != 5]
        await store.release([claim])
        left = {due.number for due in claim.due} | set(range(5, 200, 13))
        again: list[int] = []
        while claims := await store.claim(NOW, 10):
            again += [due.number for claim in claims for due in claim.due]
        assert sorted(again) == sorted(left)

    play(tmp_path, work)


def test_a_large_message_to_one_next_hop_is_claimed_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("valija.queue.claims.LARGEST", 50)

    async def work(store: SqliteStore) -> None:
        queue_id = await put(store, message(*(f"u{number}@x.example" for number in range(200))))
        (claim,) = await store.claim(NOW, 10)
        assert claim.only
        assert not claim.is_cut
        settled = tuple(Settled(due.number, State.DELIVERED) for due in claim.due)
        assert (await store.settle(Settlement(queue_id, settled, ends_message=True))).removed

    play(tmp_path, work)


def test_a_message_of_thousands_is_kept_while_the_loop_goes_on(tmp_path: Path) -> None:
    async def work(store: SqliteStore) -> None:
        turns = 0

        async def others() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        going_on = asyncio.create_task(others())
        new = message(*(f"u{number}@d{number % 100}.example" for number in range(20_000)))
        queue_id = await put(store, new, claim=True)
        going_on.cancel()
        assert turns > 20
        await store.release([Claim.fresh(queue_id, new)])
        found = 0
        while claims := await store.claim(NOW, 1):
            found += sum(len(claim.due) for claim in claims)
        assert found == 20_000

    play(tmp_path, work)


# --- news


def test_news_survive_a_restart(tmp_path: Path) -> None:
    made: list[QueueId] = []

    async def leave(store: SqliteStore) -> None:
        made.append(await put(store, message("a@x.example", "b@y.example"), claim=True))
        await store.settle(Settlement(made[0], (Settled(0, State.FAILED, "550"),), news=news(0)))

    async def tell(store: SqliteStore) -> None:
        assert await store.unreported() == made
        found = await store.news(made[0], 10)
        assert found is not None
        assert tuple(found[1]) == news(0)
        (claim,) = await store.claim(NOW, 10)
        assert [due.number for due in claim.due] == [1]

    play(tmp_path, leave)
    play(tmp_path, tell)


def test_a_settlement_with_news_is_one_transaction(tmp_path: Path) -> None:
    async def work(store: SqliteStore) -> None:
        queue_id = await put(store, message(), claim=True)
        store._connection.execute("DROP TABLE news").fetchall()
        with pytest.raises(apsw.Error):
            await store.settle(Settlement(queue_id, (Settled(0, State.FAILED, "550"),), news=news(0)))
        (listed,) = await store.list(10)
        assert [recipient.address for recipient in listed.recipients] == ["bob@example.net"]

    play(tmp_path, work)


# --- crashes

_ATTEMPTS_AND_DIES = """
import asyncio, os, signal, sys
from pathlib import Path
from tests.queue.samples import NOW, LogLines, SetClock
from valija.queue.sqlite import SqliteStore

async def main():
    store = SqliteStore.open(Path(sys.argv[1]), 0, clock=SetClock(), log=LogLines().log)
    for claim in await store.claim(NOW, 10):
        if claim.queue_id in sys.argv[2:]:
            store.begin(claim.queue_id)
    os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main())
"""


def _crash_in_attempts_at(folder: Path, *queue_ids: QueueId) -> None:
    process = subprocess.run([sys.executable, "-c", _ATTEMPTS_AND_DIES, str(folder), *queue_ids], check=False)
    assert process.returncode == -signal.SIGKILL


def test_after_three_crashes_in_attempts_a_message_goes_on_hold_and_others_do_not(tmp_path: Path) -> None:
    made: list[QueueId] = []

    async def fill(store: SqliteStore) -> None:
        made.extend([await put(store), await put(store)])

    async def judge(store: SqliteStore) -> None:
        poison, innocent = made
        assert store.recovery.unfinished == 1
        assert store.recovery.held == (poison,)
        assert [claim.queue_id for claim in await store.claim(NOW, 10)] == [innocent]

    async def forgive(store: SqliteStore) -> None:
        assert store.recovery.unfinished == 0
        assert await store.release_hold(made[0])
        assert [claim.crashes for claim in await store.claim(NOW, 10)] == [0, 0]

    play(tmp_path, fill)
    for _ in range(3):
        _crash_in_attempts_at(tmp_path, made[0])
    log = LogLines()
    play(tmp_path, judge, log=log)
    assert [entry["queue_id"] for entry in log.of("message put on hold")] == [made[0]]
    play(tmp_path, forgive)


def test_an_ended_attempt_clears_the_count(tmp_path: Path) -> None:
    made: list[QueueId] = []

    async def fill(store: SqliteStore) -> None:
        made.append(await put(store))

    async def defer(store: SqliteStore) -> None:
        (claim,) = await store.claim(NOW, 10)
        assert claim.crashes == 2
        await store.settle(Settlement(made[0], (Settled(0, State.DEFERRED, "451", NOW),)))
        (claim,) = await store.claim(NOW, 10)
        assert claim.crashes == 0

    play(tmp_path, fill)
    _crash_in_attempts_at(tmp_path, made[0])
    _crash_in_attempts_at(tmp_path, made[0])
    play(tmp_path, defer)


_PUTS_UNTIL_KILLED = """
import asyncio, os, sys
from pathlib import Path
from tests.queue.samples import LogLines, SetClock, message
from valija.mail.content import Content
from valija.queue.sqlite import SqliteStore

async def session(store):
    while True:
        queue_id = store.new_id()
        new = message(content=Content.of(f"Subject: {queue_id}\\r\\n".encode() * 100))
        if queue_id[-1] in "bcdf":
            file = store.spool.create()
            file.write(b"large")
            new = message(content=file.finish(f"Subject: {queue_id}\\r\\n".encode() * 100))
        await store.put(queue_id, new, claim=True)
        os.write(1, f"{queue_id}\\n".encode())

async def main():
    store = SqliteStore.open(Path(sys.argv[1]), int(sys.argv[2]), clock=SetClock(), log=LogLines().log)
    await asyncio.gather(*(session(store) for _ in range(20)))

asyncio.run(main())
"""


def _kill_after(lines: int, folder: Path) -> list[QueueId]:
    """Run a process that queues messages, kill it after so many were acknowledged; return all that were."""
    writer = subprocess.Popen([sys.executable, "-c", _PUTS_UNTIL_KILLED, str(folder), "0"], stdout=subprocess.PIPE)
    assert writer.stdout is not None
    said = [writer.stdout.readline() for _ in range(lines)]
    writer.kill()
    said += writer.stdout.readlines()
    writer.wait()
    writer.stdout.close()
    return [QueueId(line.decode().strip()) for line in said if line.endswith(b"\n")]


def test_nothing_acknowledged_is_lost_by_a_kill(tmp_path: Path) -> None:
    acknowledged: set[QueueId] = set()

    async def check(store: SqliteStore) -> None:
        there = set()
        claims = await store.claim(NOW, 100_000)
        for claim in claims:
            there.add(claim.queue_id)
            content = b"".join(store.spool.read(claim.message.content))
            assert content.removesuffix(b"large") == f"Subject: {claim.queue_id}\r\n".encode() * 100
            assert claim.queue_id[-1] not in "bcdf" or content.endswith(b"large")
        assert acknowledged <= there
        assert len(claims) == store.recovery.pending

    for round_number in range(24):
        acknowledged.update(_kill_after(round_number * 3 + 1, tmp_path))
    assert len(acknowledged) > 24 * 20
    play(tmp_path, check)


# --- large bodies


def test_a_large_body_goes_with_its_message(tmp_path: Path) -> None:
    async def live(store: SqliteStore) -> None:
        first, second, third = [await put(store, large(store)) for _ in range(3)]
        await put(store, message(content=Content.of(b"small")))
        assert len(bodies(store)) == 3
        await store.settle(Settlement(first, (Settled(0, State.DEFERRED, "451", NOW),)))
        assert len(bodies(store)) == 3
        await store.settle(Settlement(first, (Settled(0, State.DELIVERED),)))
        await store.delete(second)
        await until(lambda: len(bodies(store)) == 1)
        shown = await store.show(third)
        assert shown is not None
        assert b"".join(store.spool.read(shown[1].content)) == b"Subject: large\r\n\r\n" + b"body " * 100_000

    play(tmp_path, live)


def test_bodies_that_were_never_queued_are_swept_at_the_start(tmp_path: Path) -> None:
    async def fill(store: SqliteStore) -> None:
        await put(store, large(store))
        large(store)

    async def find(store: SqliteStore) -> None:
        assert store.recovery.orphans == 1
        (claim,) = await store.claim(NOW, 10)
        assert bodies(store) == [claim.message.content.body_file]

    play(tmp_path, fill)
    play(tmp_path, find)


async def put_three_large(store: SqliteStore) -> None:
    for _ in range(3):
        await put(store, large(store, b"x" * 450_000))


def _scratched(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[4096:4160] = b"\xff" * 64
    path.write_bytes(data)


def _taken_away(path: Path) -> None:
    path.unlink()


def _emptied(path: Path) -> None:
    os.truncate(path, 0)


def _a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize("damage", [_scratched, _not_a_database, _taken_away, _emptied, _a_folder])
def test_bodies_are_kept_with_the_file_that_names_them(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    async def find(store: SqliteStore) -> None:
        assert store.recovery.orphans == 0
        assert bodies(store) == []
        assert await ids_in(store) == []

    play(tmp_path, put_three_large)
    before = {path.name: path.read_bytes() for path in (tmp_path / "worker-0.spool").iterdir()}
    damage(tmp_path / "worker-0.sqlite3")
    log = LogLines()
    for _ in range(3):
        play(tmp_path, find, log=log)
    kept = tmp_path / f"worker-0.spool.damaged-{NOW:.0f}"
    assert {path.name: path.read_bytes() for path in kept.iterdir()} == before
    assert len(before) == 3
    (entry,) = log.of("queue file set aside")
    assert kept.name in entry["reason"]
    if damage not in (_taken_away, _emptied):
        assert f"worker-0.sqlite3.damaged-{NOW:.0f} and {kept.name}" in entry["reason"]


def test_nothing_set_aside_is_replaced_by_what_is_set_aside_later(tmp_path: Path) -> None:
    contents = set()
    for _ in range(3):
        play(tmp_path, put_three_large)
        _scratched(tmp_path / "worker-0.sqlite3")
        contents |= {path.name for path in (tmp_path / "worker-0.spool").iterdir()}
    play(tmp_path, put_three_large)  # all at the same second
    kept = sorted(tmp_path.glob("worker-0.spool.damaged-*"))
    assert len(kept) == len(list(tmp_path.glob("worker-0.sqlite3.damaged-*"))) == 3
    assert {body.name for folder in kept for body in folder.iterdir()} == contents
    assert len(contents) == 9


def test_damage_that_shows_while_the_queue_is_put_in_order_sets_it_aside_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work(store: SqliteStore) -> None:
        assert "it is damaged" in store.recovery.set_aside
        await put(store)

    play(tmp_path, put_three_large)
    monkeypatch.setattr("valija.queue.schema._CHECKED_SIZE", 0)  # as a file above the limit is
    path = tmp_path / "worker-0.sqlite3"
    connection = apsw.Connection(str(path))
    root = int(connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'body'").get)
    connection.close()
    with path.open("r+b") as file:
        file.seek((root - 1) * 4096)
        file.write(b"\xff" * 4096)
    play(tmp_path, work)
    (kept,) = tmp_path.glob("worker-0.spool.damaged-*")
    assert len(list(kept.iterdir())) == 3


# --- a caller that goes away


def test_what_a_cancelled_put_stored_is_due_like_any_other(tmp_path: Path) -> None:
    async def cancel(store: SqliteStore) -> None:
        woken = asyncio.Event()
        store.on_change(woken.set)
        putting = asyncio.ensure_future(put(store, claim=True))
        await asyncio.sleep(0)  # it has asked the writer by now
        putting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await putting
        await woken.wait()
        assert len(await store.claim(NOW, 10)) == 1

    play(tmp_path, cancel)


def test_what_a_cancelled_claim_leased_is_given_back(tmp_path: Path) -> None:
    async def cancel(store: SqliteStore) -> None:
        await put(store)
        claiming = asyncio.ensure_future(store.claim(NOW, 10))
        await asyncio.sleep(0)
        claiming.cancel()
        with pytest.raises(asyncio.CancelledError):
            await claiming
        while not await store.claim(NOW, 10):
            await asyncio.sleep(0)

    play(tmp_path, cancel)


def test_a_statement_that_fails_fails_its_caller_alone(tmp_path: Path) -> None:
    async def collide(store: SqliteStore) -> None:
        taken = await put(store)
        other_ids = [store.new_id() for _ in range(3)]
        puts = [store.put(queue_id, message(), claim=False) for queue_id in (other_ids[0], taken, *other_ids[1:])]
        results = await asyncio.gather(*puts, return_exceptions=True)
        assert [type(result) for result in results] == [type(None), apsw.ConstraintError, type(None), type(None)]
        assert await ids_in(store) == [taken, *other_ids]

    play(tmp_path, collide)


# --- a full disk


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "small"
    folder.mkdir()
    mounting = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", folder], capture_output=True, check=False
    )
    if mounting.returncode:
        pytest.skip(f"no tmpfs can be mounted here: {mounting.stderr.decode().strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


async def fill_up(store: SqliteStore, octets: int) -> list[QueueId]:
    """Queue messages until there is no room; return those that were queued."""
    kept: list[QueueId] = []
    with suppress(QueueFull):
        while True:
            kept.append(await put(store, message(content=Content.of(b"x" * octets)), claim=True))
    return kept


def test_c108_a_full_disk_refuses_keeps_what_is_there_and_recovers(small_disk: Path) -> None:
    ballast = small_disk / "ballast"

    async def fill(store: SqliteStore) -> None:
        kept = await fill_up(store, 30_000)
        assert len(kept) > 10
        with pytest.raises(QueueFull):
            await put(store, message(content=Content.of(b"x" * 30_000)))
        assert await ids_in(store) == kept
        ballast.unlink()
        again = [await put(store, message(content=Content.of(b"x" * 30_000))) for _ in range(5)]
        await store.settle(Settlement(kept[0], (Settled(0, State.DELIVERED),)))
        assert await ids_in(store) == kept[1:] + again

    async def find(store: SqliteStore) -> None:
        assert not store.recovery.set_aside
        assert store.recovery.pending > 10

    ballast.write_bytes(b"x" * 1024 * 1024)
    play(small_disk, fill)
    play(small_disk, find)


def test_c108_settlements_go_on_while_the_disk_is_full(small_disk: Path) -> None:
    async def fill(store: SqliteStore) -> None:
        kept = [await put(store, message(content=Content.of(b"x" * 1000)), claim=True) for _ in range(100)]
        store._connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
        with suppress(OSError), (small_disk / "ballast").open("wb", buffering=0) as ballast:
            while ballast.write(b"x" * 4096):
                pass
        receipts = [await store.settle(Settlement(queue_id, (Settled(0, State.DELIVERED),))) for queue_id in kept]
        assert all(receipt.removed for receipt in receipts)
        assert await put(store, message(content=Content.of(b"x" * 1000)))

    play(small_disk, fill)


def test_c108_a_settlement_without_room_changes_nothing(small_disk: Path) -> None:
    async def fill(store: SqliteStore) -> None:
        kept = await fill_up(store, 100)
        bounce = message("alice@example.org", reverse_path="", content=Content.of(b"x" * 200_000))
        with pytest.raises(QueueFull):
            await store.settle(Settlement(kept[0], (Settled(0, State.FAILED, "550"),), (bounce,)))
        assert await ids_in(store) == kept
        assert not await store.claim(NOW, 1000)

    play(small_disk, fill)


def test_c108_a_batch_on_a_full_disk_is_refused_or_kept_one_by_one(small_disk: Path) -> None:
    async def fill(store: SqliteStore) -> None:
        new = message(content=Content.of(b"x" * 60_000))
        results = await asyncio.gather(*(put(store, new) for _ in range(100)), return_exceptions=True)
        kept = [result for result in results if isinstance(result, str)]
        refused = [result for result in results if isinstance(result, QueueFull)]
        assert len(kept) + len(refused) == 100
        assert kept
        assert refused
        assert await ids_in(store) == sorted(kept)

    play(small_disk, fill)


def test_c108_a_large_body_that_cannot_be_queued_is_removed(small_disk: Path) -> None:
    async def fill(store: SqliteStore) -> None:
        new = large(store, b"x" * 100_000)
        await fill_up(store, 30_000)
        await fill_up(store, 10)
        with pytest.raises(QueueFull):
            await put(store, new)
        await until(lambda: not bodies(store))

    play(small_disk, fill)


# --- adoption


def test_messages_of_workers_no_longer_configured_are_adopted(tmp_path: Path) -> None:
    made: list[QueueId] = []

    async def fill(store: SqliteStore) -> None:
        made.extend([await put(store) for _ in range(120)])
        made.append(await put(store, large(store)))
        await store.hold(made[0])
        await store.settle(Settlement(made[1], (Settled(0, State.DEFERRED, "451 later", NOW + 300),)))
        await store.settle(Settlement(made[2], (Settled(0, State.FAILED, "550"),), news=news(0)))

    async def take_over(store: SqliteStore) -> None:
        own = await put(store)
        assert await adopt(store, tmp_path, 1, NOW, log.log) == 121
        assert await ids_in(store) == sorted([own, *made])
        listed = {listed.queue_id: listed for listed in await store.list(1000)}
        assert listed[made[0]].hold
        assert listed[made[1]].recipients[0].attempts == 1
        shown = await store.show(made[-1])
        assert shown is not None
        assert b"".join(store.spool.read(shown[1].content)).endswith(b"body ")
        assert await store.unreported() == [made[2]]
        assert len(await store.claim(NOW, 1000)) == 119
        assert await adopt(store, tmp_path, 1, NOW, log.log) == 0

    log = LogLines()
    play(tmp_path, fill, worker=3)
    play(tmp_path, take_over)
    assert not list(tmp_path.glob("worker-3.[sf]*"))
    assert [entry["messages"] for entry in log.of("queue adopted")] == [121]


def test_a_queue_whose_worker_lives_is_not_adopted(tmp_path: Path) -> None:
    async def try_it(store: SqliteStore) -> None:
        other = SqliteStore.open(tmp_path, 1, clock=SetClock(), log=LogLines().log)
        await put(other)
        log = LogLines()
        assert await adopt(store, tmp_path, 1, NOW, log.log) == 0
        assert log.of("queue not adopted")
        assert len(await ids_in(other)) == 1
        await other.close()

    play(tmp_path, try_it)


def test_a_message_that_a_crash_left_in_both_files_is_adopted_once(tmp_path: Path) -> None:
    async def fill(store: SqliteStore) -> None:
        await put(store, large(store))

    async def copy_only(store: SqliteStore) -> None:
        old = SqliteStore.open(tmp_path, 1, clock=SetClock(), log=LogLines().log)
        raw = old._rows.raw(10)
        old.spool.link(raw.messages[0][4], store.spool)
        await store.take_over(raw)
        await old.close()

    async def take_over(store: SqliteStore) -> None:
        assert await adopt(store, tmp_path, 1, NOW, LogLines().log) == 1
        assert len(await ids_in(store)) == 1
        (claim,) = await store.claim(NOW, 10)
        assert list(store.spool.read(claim.message.content))
        assert claim == Claim.fresh(claim.queue_id, claim.message)

    play(tmp_path, fill, worker=1)
    play(tmp_path, copy_only)
    play(tmp_path, take_over)
