"""The power is cut at any instant: each message that was acknowledged is in what a drive with a cache may have kept."""

import asyncio
import random
from pathlib import Path

import pytest

from tests.crash.power import PowerDisk
from tests.queue.samples import NOW, LogLines, SetClock, message
from tests.tally import Tally
from valija.mail.content import Content
from valija.mail.job import QueueId
from valija.mail.outcome import State
from valija.queue.sqlite import SqliteStore
from valija.queue.store import Settled, Settlement

MESSAGES = 60


def opened(folder: Path) -> SqliteStore:
    return SqliteStore.open(folder, 0, clock=SetClock(), log=LogLines().log)


class Bench:
    """A queue on a disk that is cut now and then, and what had been promised by then."""

    def __init__(self, store: SqliteStore, disk: PowerDisk, folder: Path, chance: random.Random) -> None:
        self._store = store
        self._disk = disk
        self._folder = folder
        self._chance = chance
        self.promised: set[QueueId] = set()
        self.gone: set[QueueId] = set()
        self.cuts: list[tuple[Path, set[QueueId], set[QueueId]]] = []

    async def put_and_settle(self) -> None:
        """Queue a message, and now and then have one leave; a cut may come before and after each promise."""
        queue_id = self._store.new_id()
        await self._store.put(
            queue_id, message(content=Content.of(b"x" * self._chance.choice([100, 9000]))), claim=True
        )
        self.promised.add(queue_id)
        self.cut_by_chance()
        if self._chance.random() < 0.5:
            self.promised.discard(queue_id)  # from here on it may be there or not
            await self._store.settle(Settlement(queue_id, (Settled(0, State.DELIVERED),)))
            self.gone.add(queue_id)
            self.cut_by_chance()

    def cut_by_chance(self) -> None:
        if self._chance.random() < 0.3:
            folder = self._folder / f"cut-{len(self.cuts)}"
            folder.mkdir()
            promised, gone = set(self.promised), set(self.gone)
            self._disk.cut(folder, self._chance)
            self.cuts.append((folder, promised, gone))


async def _found(folder: Path) -> set[QueueId]:
    store = opened(folder)
    assert not store.recovery.set_aside
    found = {claim.queue_id for claim in await store.claim(NOW, 1000)}
    await store.close()
    return found


@pytest.mark.parametrize("seed", [1, 2, *(pytest.param(seed, marks=pytest.mark.soak) for seed in range(3, 40))])
def test_what_was_acknowledged_survives(
    seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tally: Tally
) -> None:
    disk, chance = PowerDisk(f"power-{seed}"), random.Random(seed)
    (tmp_path / "queue").mkdir()

    async def work() -> Bench:
        store = opened(tmp_path / "queue")
        bench = Bench(store, disk, tmp_path, chance)
        for _ in range(MESSAGES // 6):
            await asyncio.gather(*(bench.put_and_settle() for _ in range(6)))
        await store.close()
        return bench

    with monkeypatch.context() as patch:
        patch.setattr("valija.queue.schema.queue_disk", lambda: f"power-{seed}")
        patch.setattr("valija.queue.schema._CHECKPOINT_PAGES", 30)  # so that the file itself is written meanwhile
        bench = asyncio.run(asyncio.wait_for(work(), 60))
    for folder, promised, gone in bench.cuts:
        found = asyncio.run(_found(folder))
        assert promised <= found
        assert not gone & found
    assert len(bench.cuts) > 10
    assert disk.syncs > 10
    tally("crash", power_cuts=len(bench.cuts), accepted=MESSAGES, lost=0)


def test_a_disk_that_lies_about_its_syncs_is_noticed_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The test above can fail: where syncs do nothing, acknowledged messages are gone, or the file is."""

    class Lying(PowerDisk):
        def synced(self, file: str) -> None:
            return

    disk, chance = Lying("lying"), random.Random(7)
    (tmp_path / "queue").mkdir()

    async def work() -> set[QueueId]:
        store = opened(tmp_path / "queue")
        bench = Bench(store, disk, tmp_path, random.Random(1))
        for _ in range(10):
            await bench.put_and_settle()
        disk.cut(tmp_path / "cut", chance)
        await store.close()
        return bench.promised

    (tmp_path / "cut").mkdir()
    with monkeypatch.context() as patch:
        patch.setattr("valija.queue.schema.queue_disk", lambda: "lying")
        promised = asyncio.run(asyncio.wait_for(work(), 60))
    with pytest.raises(AssertionError):
        assert promised <= asyncio.run(_found(tmp_path / "cut"))
