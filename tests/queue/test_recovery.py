"""What a start finds, counts, tells and sets aside."""

import asyncio
import os
from pathlib import Path

import apsw
import pytest

from tests.queue.samples import LogLines, SetClock, message, news
from valija.mail.content import Content
from valija.mail.outcome import State
from valija.queue.paths import QueuePaths
from valija.queue.recovery import Recovery
from valija.queue.sqlite import SqliteStore
from valija.queue.store import NewMessage, Settled, Settlement


def opened(folder: Path, log: LogLines | None = None) -> SqliteStore:
    return SqliteStore.open(folder, 0, clock=SetClock(), log=(log or LogLines()).log)


def recovered(folder: Path, log: LogLines | None = None) -> Recovery:
    async def look() -> Recovery:
        store = opened(folder, log)
        await store.close()
        return store.recovery

    return asyncio.run(look())


def fill(folder: Path, *messages: NewMessage) -> None:
    async def put() -> None:
        store = opened(folder)
        for new in messages:
            await store.put(store.new_id(), new, claim=False)
        await store.close()

    asyncio.run(put())


def put_large(folder: Path) -> None:
    async def put() -> None:
        store = opened(folder)
        for _ in range(2):
            file = store.spool.create()
            file.write(b"body " * 1000)
            await store.put(store.new_id(), message(content=file.finish(b"Subject: large\r\n\r\n")), claim=False)
        await store.close()

    asyncio.run(put())


def test_messages_and_recipients_are_counted_those_on_hold_too(tmp_path: Path) -> None:
    fill(tmp_path, message("a@example.net", "b@example.net"), message(), message())

    async def hold() -> None:
        store = opened(tmp_path)
        await store.hold((await store.list(1))[0].queue_id)
        await store.close()

    asyncio.run(hold())
    recovery = recovered(tmp_path)
    assert (recovery.messages, recovery.pending) == (3, 2)


def test_a_message_with_nothing_but_news_is_counted(tmp_path: Path) -> None:
    async def fail() -> None:
        store = opened(tmp_path)
        queue_id = store.new_id()
        await store.put(queue_id, message("r0@example.net"), claim=True)
        await store.settle(Settlement(queue_id, (Settled(0, State.FAILED, "550"),), news=news(0)))
        await store.close()

    asyncio.run(fail())
    recovery = recovered(tmp_path)
    assert (recovery.messages, recovery.pending) == (1, 0)


def test_messages_whose_file_is_gone_are_named(tmp_path: Path) -> None:
    put_large(tmp_path)
    spool = QueuePaths(tmp_path, 0).spool
    gone, kept = sorted(spool.iterdir())
    gone.unlink()
    (spool / ("f" * 32)).write_bytes(b"nobody's")
    log = LogLines()
    recovery = recovered(tmp_path, log)
    assert (recovery.messages, recovery.orphans, len(recovery.incomplete)) == (2, 1, 1)
    assert [entry["queue_id"] for entry in log.of("message incomplete")] == list(recovery.incomplete)
    (told,) = log.of("queue opened")
    assert (told["messages"], told["orphans"], told["incomplete"]) == (2, 1, 1)
    assert kept.exists()


def test_a_file_in_which_damage_was_met_is_looked_at_closely(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("valija.queue.schema._CHECKED_SIZE", 0)  # as a file above the limit is
    paths = QueuePaths(tmp_path, 0)
    fill(tmp_path, *(message(content=Content.of(b"x" * 100_000)) for _ in range(10)))
    with paths.database.open("r+b") as file:
        file.seek(paths.database.stat().st_size // 8192 * 4096)
        file.write(b"\xff" * 4096)  # amid a content, which a start does not read
    assert not recovered(tmp_path).set_aside
    paths.suspect.touch()
    recovery = recovered(tmp_path)
    assert "it is damaged" in recovery.set_aside
    assert recovery.messages == 0
    assert not paths.suspect.exists()


def test_a_sound_file_that_was_suspected_stays(tmp_path: Path) -> None:
    paths = QueuePaths(tmp_path, 0)
    fill(tmp_path, message())
    paths.suspect.touch()
    recovery = recovered(tmp_path)
    assert (recovery.messages, recovery.set_aside) == (1, "")
    assert not paths.suspect.exists()


def test_the_store_says_when_damage_is_met(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("valija.queue.schema._CHECKED_SIZE", 0)
    monkeypatch.setattr("valija.queue.schema._CACHE_KIB", 40)
    paths = QueuePaths(tmp_path, 0)
    fill(tmp_path, *(message(content=Content.of(b"x" * 100_000)) for _ in range(10)))

    async def meet_it() -> str:
        store = opened(tmp_path)
        size = paths.database.stat().st_size // 4096 * 4096
        with paths.database.open("r+b") as file:
            file.seek(size // 2)
            file.write(os.urandom(size // 2))
        with pytest.raises(apsw.CorruptError):
            await store.claim(SetClock()(), 100)
        reason = await asyncio.wait_for(store.damaged(), 10)
        await store.close()
        return reason

    assert "malformed" in asyncio.run(meet_it())
    assert paths.suspect.exists()
