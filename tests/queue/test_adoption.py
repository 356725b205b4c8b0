"""Adoption goes on past what can't be adopted, and removes nothing that somebody may miss."""

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import apsw
import pytest

from tests.queue import as_nobody
from tests.queue.samples import NOW, LogLines
from tests.queue.test_sqlite import ids_in, play, put, put_three_large
from valija.mail.job import QueueId
from valija.queue.adoption import adopt
from valija.queue.sqlite import SqliteStore


async def put_three(store: SqliteStore) -> None:
    for _ in range(3):
        await put(store)


def adopted(folder: Path) -> tuple[int, list[dict[str, Any]]]:
    """Adopt all but worker 0's queue; return how many messages worker 0 has then, and the log."""
    log = LogLines()
    found: list[QueueId] = []

    async def scene(store: SqliteStore) -> None:
        await adopt(store, folder, 1, NOW, log.log)
        found.extend(await ids_in(store))

    play(folder, scene)
    return len(found), [dict(entry) for entry in log.entries]


def close_to_them(folder: Path) -> None:
    (folder / "worker-1.sqlite3").chmod(0)


def give_to_root(folder: Path) -> None:
    for path in folder.glob("worker-1.*"):
        os.chown(path, 0, 0)


as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can leave files of root's behind")


@pytest.mark.parametrize("bar", [close_to_them, pytest.param(give_to_root, marks=as_root)])
def test_a_queue_that_may_not_be_used_is_named_and_the_next_is_adopted(
    tmp_path: Path, bar: Callable[[Path], None]
) -> None:
    folder = tmp_path / "queue"
    for worker in (1, 2):
        play(folder, put_three, worker=worker)
    as_nobody.give(folder)
    bar(folder)
    seen = as_nobody.done(lambda: adopted(folder))
    assert isinstance(seen, tuple)
    count, log = seen
    assert count == 3
    (refused,) = [entry for entry in log if entry["event"] == "queue not adopted"]
    assert refused["log_level"] == "error"
    assert refused["path"] == str(folder / "worker-1.sqlite3")
    assert "can't be used" in refused["reason"]
    assert f"chown -R {as_nobody.user()} {folder}" in refused["reason"]
    assert (folder / "worker-1.sqlite3").exists()


def test_a_database_fault_is_that_of_one_queue(tmp_path: Path) -> None:
    for worker in (1, 2):
        play(tmp_path, put_three, worker=worker)
    with apsw.Connection(str(tmp_path / "worker-1.sqlite3")) as connection:
        connection.execute("ALTER TABLE message ADD COLUMN surplus").fetchall()
    count, log = adopted(tmp_path)
    assert count == 3
    (refused,) = [entry for entry in log if entry["event"] == "queue not adopted"]
    assert refused["path"].endswith("worker-1.sqlite3")
    assert "bindings" in refused["reason"]
    assert "start again" in refused["remedy"]
    assert (tmp_path / "worker-1.sqlite3").exists()


def test_a_damaged_queue_is_set_aside_with_its_bodies_and_the_next_is_adopted(tmp_path: Path) -> None:
    play(tmp_path, put_three_large, worker=1)
    play(tmp_path, put_three, worker=2)
    (tmp_path / "worker-1.sqlite3").write_bytes(b"Dear diary,\n" * 1000)
    count, log = adopted(tmp_path)
    assert count == 3
    (told,) = [entry for entry in log if entry["event"] == "queue file set aside"]
    stamp = f"damaged-{NOW:.0f}"
    assert f"worker-1.sqlite3.{stamp} and worker-1.spool.{stamp}" in told["reason"]
    assert len(list((tmp_path / f"worker-1.spool.{stamp}").iterdir())) == 3
    count, log = adopted(tmp_path)
    assert count == 3
    assert len(list((tmp_path / f"worker-1.spool.{stamp}").iterdir())) == 3


def test_what_else_lies_among_the_bodies_stays_and_its_queue_file_too(tmp_path: Path) -> None:
    play(tmp_path, put_three, worker=1)
    (tmp_path / "worker-1.spool" / "notes").write_text("mine")
    count, log = adopted(tmp_path)
    assert count == 3
    assert (tmp_path / "worker-1.spool" / "notes").read_text() == "mine"
    assert (tmp_path / "worker-1.sqlite3").exists()
    assert [entry["path"] for entry in log if entry["event"] == "queue file left where it is"]
    assert adopted(tmp_path)[0] == 3


def test_a_message_whose_body_is_gone_keeps_no_other_back(tmp_path: Path) -> None:
    play(tmp_path, put_three_large, worker=1)
    lost = sorted((tmp_path / "worker-1.spool").iterdir())[0]
    lost.unlink()
    count, log = adopted(tmp_path)
    assert count == 3
    (told,) = [entry for entry in log if entry["event"] == "body of a message is gone"]
    assert told["path"] == str(lost)
    assert told["queue_id"]
    assert len(list((tmp_path / "worker-0.spool").iterdir())) == 2
    assert not (tmp_path / "worker-1.sqlite3").exists()


def test_a_living_workers_queue_keeps_no_other_back(tmp_path: Path) -> None:
    play(tmp_path, put_three, worker=2)

    async def beside(_: SqliteStore) -> None:
        count, log = await asyncio.to_thread(adopted, tmp_path)
        assert count == 3
        assert [entry["event"] for entry in log if entry["log_level"] == "warning"] == ["queue not adopted"]

    play(tmp_path, beside, worker=1)
