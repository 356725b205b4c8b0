"""A queue file of an earlier version goes on where it lies."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

import apsw
import msgspec
import pytest

from tests.queue.samples import NOW, LogLines, SetClock, message, news
from valija.mail.outcome import State
from valija.queue import schema
from valija.queue.adoption import adopt
from valija.queue.directory import QueueDirectory
from valija.queue.identity import from_number
from valija.queue.schema import APPLICATION_ID, VERSION
from valija.queue.sqlite import SqliteStore
from valija.queue.store import Settled, Settlement

FIRST: Final = f"""
CREATE TABLE message (
    id INTEGER PRIMARY KEY,
    hold INTEGER NOT NULL,
    crashes INTEGER NOT NULL,
    size INTEGER NOT NULL,
    body_file TEXT NOT NULL,
    facts BLOB NOT NULL,
    head BLOB NOT NULL
);
CREATE INDEX body ON message (body_file) WHERE body_file <> '';
CREATE TABLE recipient (
    message INTEGER NOT NULL,
    number INTEGER NOT NULL,
    next_hop TEXT NOT NULL,
    next_attempt REAL NOT NULL,
    held INTEGER NOT NULL,
    attempts INTEGER NOT NULL,
    warned INTEGER NOT NULL,
    last_reply TEXT NOT NULL,
    PRIMARY KEY (message, number)
) WITHOUT ROWID;
CREATE INDEX due ON recipient (next_attempt, next_hop) WHERE held = 0;
PRAGMA application_id = {APPLICATION_ID};
PRAGMA user_version = 1;
"""
"""The tables as the first version made them."""

ENVELOPE: Final = {
    "reverse_path": "alice@example.org",
    "recipients": [
        {"address": "bob@example.net", "notify": 0, "orcpt": "", "given": ""},
        {"address": "carol@example.com", "notify": 4, "orcpt": "", "given": ""},
    ],
    "body": "7BIT",
    "smtputf8": False,
    "ret": "",
    "envid": "",
}
ORIGIN: Final = {
    "role": "submission",
    "received_at": NOW - 60,
    "client_address": "192.0.2.7",
    "helo": "client.example",
    "protocol": "ESMTPSA",
    "login": "alice@example.org",
    "rule": "login alice@example.org",
    "tls": {"version": "TLSv1.3", "cipher": "TLS_AES_256_GCM_SHA384"},
}
ID: Final = 3765841286987022336
HEAD: Final = b"Subject: old\r\n\r\nHello.\r\n"


def first_version(folder: Path, worker: int = 0) -> Path:
    """Leave a file of the first version, with a message that has two recipients, one of them deferred and warned."""
    folder.mkdir(exist_ok=True)
    path = folder / f"worker-{worker}.sqlite3"
    os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    connection = apsw.Connection(str(path))
    connection.execute("PRAGMA journal_mode = WAL").fetchall()
    connection.execute(FIRST).fetchall()
    facts = msgspec.msgpack.encode({"envelope": ENVELOPE, "origin": ORIGIN})
    connection.execute("INSERT INTO message VALUES (?, 0, 0, ?, '', ?, ?)", (ID, len(HEAD), facts, HEAD)).fetchall()
    connection.executemany(
        "INSERT INTO recipient VALUES (?, ?, ?, ?, 0, ?, ?, ?)",
        [
            (ID, 0, "example.net", NOW - 60, 0, 0, ""),
            (ID, 1, "example.com", NOW + 300, 3, 1, "451 4.7.1 Greylisted"),
        ],
    )
    connection.close()
    return path


def version_of(path: Path) -> int:
    connection = apsw.Connection(str(path))
    version = connection.pragma("user_version")
    connection.close()
    assert isinstance(version, int)
    return version


def play(folder: Path, scene: Callable[[SqliteStore], Awaitable[None]], worker: int = 0) -> None:
    async def whole() -> None:
        store = SqliteStore.open(folder, worker, clock=SetClock(), log=LogLines().log)
        try:
            await asyncio.wait_for(scene(store), 20)
        finally:
            await store.close()

    asyncio.run(whole())


async def works(store: SqliteStore) -> None:
    """Take up the old message where it was left, and use what the old version had not."""
    queue_id = from_number(ID)
    assert not store.recovery.set_aside
    assert store.recovery.pending == 2
    (claim,) = await store.claim(NOW + 300, 10)
    assert claim.queue_id == queue_id
    assert claim.message.content.head == HEAD
    assert claim.message.envelope.recipients[1].address == "carol@example.com"
    assert [(due.number, due.attempts, due.warned, due.overdue) for due in claim.due] == [
        (0, 0, False, False),
        (1, 3, True, False),
    ]
    await store.settle(Settlement(queue_id, (Settled(0, State.FAILED, "550"),), news=news(0)))
    last = await store.settle(Settlement(queue_id, (Settled(1, State.DELIVERED),)))
    assert not last.removed
    assert (await store.settle(Settlement(queue_id, (), (message(),), told=news(0)))).removed


def test_a_file_of_the_first_version_goes_on_where_it_lies(tmp_path: Path) -> None:
    path = first_version(tmp_path / "queue")
    play(path.parent, works)
    assert version_of(path) == VERSION
    assert not list(path.parent.glob("*damaged*"))


def test_a_second_start_finds_nothing_to_do(tmp_path: Path) -> None:
    path = first_version(tmp_path / "queue")

    async def nothing(_: SqliteStore) -> None:
        pass

    play(path.parent, nothing)
    play(path.parent, works)


def test_the_command_line_may_be_the_first_to_open_it(tmp_path: Path) -> None:
    path = first_version(tmp_path / "queue")
    with QueueDirectory(path.parent) as directory:
        assert not directory.problems
        (listed,) = directory.list(10)
        assert listed.recipients[1].last_reply == "451 4.7.1 Greylisted"
        assert directory.retry(listed.queue_id)
        assert directory.delete(listed.queue_id)
    assert version_of(path) == VERSION


def test_a_file_of_the_first_version_is_adopted(tmp_path: Path) -> None:
    path = first_version(tmp_path / "queue", worker=3)

    async def take_over(store: SqliteStore) -> None:
        assert await adopt(store, path.parent, 1, NOW, LogLines().log) == 1
        assert [listed.queue_id for listed in await store.list(10)] == [from_number(ID)]

    play(path.parent, take_over)
    assert not path.exists()


def test_an_upgrade_that_is_cut_off_leaves_the_file_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = first_version(tmp_path / "queue")
    monkeypatch.setattr(schema, "_UPGRADES", {1: "CREATE TABLE news (message INTEGER); SELECT no_such();"})
    connection = apsw.Connection(str(path))
    with pytest.raises(apsw.SQLError):
        schema._upgrade(connection)
    connection.close()
    monkeypatch.undo()
    assert version_of(path) == 1
    play(path.parent, works)
