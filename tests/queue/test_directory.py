"""The queue files as the command line sees them: beside a living server, and without one."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path

import apsw
import pytest

from tests.queue.samples import NOW, LogLines, SetClock, message
from valija.mail.job import QueueId
from valija.mail.outcome import State
from valija.queue.directory import QueueDirectory
from valija.queue.sqlite import SqliteStore
from valija.queue.store import Settled, Settlement

Stores = list[SqliteStore]


def with_stores(folder: Path, scene: Callable[[Stores], Awaitable[None]], workers: int = 2) -> None:
    async def whole() -> None:
        stores = [SqliteStore.open(folder, n, clock=SetClock(), log=LogLines().log) for n in range(workers)]
        try:
            await asyncio.wait_for(scene(stores), 20)
        finally:
            for store in stores:
                await store.close()

    asyncio.run(whole())


async def put(store: SqliteStore, *, claim: bool = False) -> QueueId:
    queue_id = store.new_id()
    await store.put(queue_id, message(), claim=claim)
    return queue_id


def fill(folder: Path, count: int = 3) -> list[QueueId]:
    """Queue messages with two workers and stop them; return the ids in their order."""
    made: list[QueueId] = []

    async def scene(stores: Stores) -> None:
        for _ in range(count):
            made.extend([await put(store) for store in stores])

    with_stores(folder, scene)
    return sorted(made)


def test_where_there_is_no_queue_yet_there_is_no_message(tmp_path: Path) -> None:
    with QueueDirectory(tmp_path / "queue") as queue:
        assert list(queue.list(10)) == []
        assert not queue.delete(QueueId("bmmm9v73d3tbp"))
    assert not list(tmp_path.iterdir())


def test_all_files_are_one_list_in_the_order_of_ids(tmp_path: Path) -> None:
    made = fill(tmp_path)
    with QueueDirectory(tmp_path) as queue:
        assert [listed.queue_id for listed in queue.list(100)] == made
        assert [listed.queue_id for listed in queue.list(4)] == made[:4]
        assert [listed.queue_id for listed in queue.list(4, made[3])] == made[4:]


def test_verbs_change_what_a_stopped_server_finds_when_it_starts(tmp_path: Path) -> None:
    held, released, deleted, *rest = fill(tmp_path)
    with QueueDirectory(tmp_path, SetClock()) as queue:
        assert queue.hold(held)
        assert queue.hold(released)
        assert queue.release(released)
        assert queue.delete(deleted)
        assert not queue.delete(deleted)
        assert not queue.hold(deleted)
        assert queue.show(deleted) is None

    async def find(stores: Stores) -> None:
        claims = [claim for store in stores for claim in await store.claim(NOW, 100)]
        assert {claim.queue_id for claim in claims} == {released, *rest}
        assert [listed.hold for store in stores for listed in await store.list(1) if listed.queue_id == held] == [True]

    with_stores(tmp_path, find)


def test_a_content_is_read_whatever_its_size(tmp_path: Path) -> None:
    made: list[QueueId] = []

    async def scene(stores: Stores) -> None:
        file = stores[1].spool.create()
        file.write(b"body " * 100_000)
        made.append(stores[1].new_id())
        await stores[1].put(made[0], message(content=file.finish(b"head ")), claim=False)
        made.append(await put(stores[0]))

    with_stores(tmp_path, scene)
    with QueueDirectory(tmp_path) as queue:
        assert b"".join(queue.read(made[0])) == b"head " + b"body " * 100_000
        shown = queue.show(made[1])
        assert shown is not None
        assert b"".join(queue.read(made[1])) == shown[1].content.head
        assert list(queue.read(QueueId("bmmm9v73d3tbp"))) == []
        assert queue.delete(made[0])
    assert not list((tmp_path / "worker-1.spool").iterdir())


@pytest.mark.parametrize("text", ["", "x", "' OR 1=1", "ZZZZZZZZZZZZZ", "../worker"])
def test_what_is_no_id_is_not_there(tmp_path: Path, text: str) -> None:
    fill(tmp_path, 1)
    with QueueDirectory(tmp_path) as queue:
        assert not queue.hold(QueueId(text))
        assert not queue.delete(QueueId(text))
        assert queue.show(QueueId(text)) is None
        assert len(queue.list(10)) == 2


def test_a_living_worker_notices_a_change(tmp_path: Path) -> None:
    async def scene(stores: Stores) -> None:
        (store,) = stores
        queue_id = await put(store, claim=True)
        await store.settle(Settlement(queue_id, (Settled(0, State.DEFERRED, "451", NOW + 300),)))
        woken = asyncio.Event()
        store.on_change(woken.set)
        store.poke()
        with QueueDirectory(tmp_path, SetClock(NOW + 5)) as queue:
            assert await asyncio.to_thread(queue.retry, queue_id)
        await woken.wait()  # within a second, without a poke
        assert await store.next_due() == NOW + 5

    with_stores(tmp_path, scene, workers=1)


def test_a_poke_makes_it_notice_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("valija.queue.sqlite._POLL_INTERVAL", 3600)

    async def scene(stores: Stores) -> None:
        (store,) = stores
        queue_id = await put(store)
        woken = asyncio.Event()
        store.on_change(woken.set)
        with QueueDirectory(tmp_path) as queue:
            assert await asyncio.to_thread(queue.hold, queue_id)
        store.poke()
        await woken.wait()
        woken.clear()
        await put(store)
        store.poke()
        await store.list(1)  # after the poke's look
        assert not woken.is_set()  # what the store itself wrote is no news

    with_stores(tmp_path, scene, workers=1)


def test_server_and_command_line_write_at_the_same_time(tmp_path: Path) -> None:
    async def scene(stores: Stores) -> None:
        (store,) = stores
        made = [await put(store) for _ in range(60)]

        def hold_all() -> int:
            with QueueDirectory(tmp_path) as queue:
                return sum(queue.hold(queue_id) for queue_id in made)

        holding = asyncio.create_task(asyncio.to_thread(hold_all))
        more = [await put(store) for _ in range(60)]
        assert await holding == 60
        claims = await store.claim(NOW, 1000)
        assert [claim.queue_id for claim in claims] == more

    with_stores(tmp_path, scene, workers=1)


def test_an_attempt_that_runs_ends_safely_whatever_is_done_to_its_message(tmp_path: Path) -> None:
    async def scene(stores: Stores) -> None:
        (store,) = stores
        deleted, held = await put(store, claim=True), await put(store, claim=True)
        with QueueDirectory(tmp_path) as queue:
            assert await asyncio.to_thread(queue.delete, deleted)
            assert await asyncio.to_thread(queue.hold, held)
        receipt = await store.settle(Settlement(deleted, (Settled(0, State.FAILED, "550"),), (message(),)))
        assert not receipt.removed
        assert receipt.reports == ()
        receipt = await store.settle(Settlement(held, (Settled(0, State.DELIVERED),)))
        assert receipt.removed
        assert not await store.list(10)

    with_stores(tmp_path, scene, workers=1)


def test_files_that_cannot_be_read_are_named_and_the_rest_is_shown(tmp_path: Path) -> None:
    made = fill(tmp_path, 1)
    (tmp_path / "worker-2.sqlite3").write_bytes(b"Dear diary,\n" * 1000)
    foreign = apsw.Connection(str(tmp_path / "worker-3.sqlite3"))
    foreign.execute("CREATE TABLE cookies (name TEXT)").fetchall()
    foreign.close()
    (tmp_path / "worker-0.sqlite3.damaged-1800000000").touch()
    before = (tmp_path / "worker-3.sqlite3").read_bytes()
    with QueueDirectory(tmp_path) as queue:
        assert [listed.queue_id for listed in queue.list(10)] == made
        assert ["worker-2" in queue.problems[0], "worker-3" in queue.problems[1]] == [True, True]
        assert len(queue.problems) == 2
    assert (tmp_path / "worker-3.sqlite3").read_bytes() == before


@pytest.mark.skipif(os.getuid() != 0, reason="only root can leave files of root's behind")
def test_a_run_as_root_leaves_no_file_that_the_servers_user_cannot_use(tmp_path: Path) -> None:
    fill(tmp_path)
    nobody = 65534
    for path in (tmp_path, *tmp_path.iterdir()):
        os.chown(path, nobody, nobody)
    with QueueDirectory(tmp_path) as queue:
        for listed in queue.list(100):
            queue.retry(listed.queue_id)
        owners = {path.name: path.stat().st_uid for path in tmp_path.iterdir()}
    assert any(name.endswith("-wal") for name in owners)
    assert set(owners.values()) == {nobody}
