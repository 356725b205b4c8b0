"""Queues of workers that are no longer configured: a living worker takes their messages over.

    moved = await adopt(store, folder, workers=2, now=time.time(), log=log)     # by worker 0, once it serves

A few messages at a time are copied into the store, and, once they are durable there, removed from the old file; their
bodies are linked into the store's spool before. A crash in between leaves a message in both files, and the next start
copies it again: where it was delivered meanwhile it is a duplicate, but never a loss. A file whose worker still lives
is left alone.
"""

import asyncio
import os
from pathlib import Path
from typing import Final

from valija.logs import Log
from valija.queue.paths import QueueInUse, QueuePaths, take_lock, workers_in
from valija.queue.recovery import recover
from valija.queue.rows import RawRows, Rows
from valija.queue.spool import Spool
from valija.queue.sqlite import SqliteStore

_BATCH: Final = 50  # messages
_BODY_FILE: Final = 4  # column


async def adopt(store: SqliteStore, folder: Path, workers: int, now: float, log: Log) -> int:
    """Move the messages of workers numbered `workers` and above into a store; return how many. Raises OSError."""
    moved = 0
    for worker in workers_in(folder):
        if worker >= workers:
            try:
                moved += await _adopt_one(store, QueuePaths(folder, worker), now, log)
            except QueueInUse as in_use:
                log.warning("queue not adopted", path=str(folder), reason=str(in_use))
    return moved


async def _adopt_one(store: SqliteStore, paths: QueuePaths, now: float, log: Log) -> int:
    lock = take_lock(paths.lock)
    try:
        connection, recovery = await asyncio.to_thread(recover, paths, now)
        if recovery.set_aside:
            log.error("queue file set aside", path=str(paths.database), reason=recovery.set_aside)
        try:
            moved = await _move_all(store, Rows(connection), Spool(paths.spool))
        finally:
            connection.close()
        _remove(paths)
        log.info("queue adopted", path=str(paths.database), messages=moved)
        return moved
    finally:
        os.close(lock)


async def _move_all(store: SqliteStore, old: Rows, old_spool: Spool) -> int:
    moved = 0
    while True:
        messages, recipients = await asyncio.to_thread(old.raw, _BATCH)
        if not messages:
            return moved
        bodies = [message[_BODY_FILE] for message in messages if message[_BODY_FILE]]
        await asyncio.to_thread(_link_all, bodies, old_spool, store.spool)
        await store.take_over(messages, recipients)
        await asyncio.to_thread(_forget, old, messages)
        for name in bodies:
            old_spool.remove(name)
        moved += len(messages)


def _link_all(names: list[str], source: Spool, target: Spool) -> None:
    for name in names:
        source.link(name, target)
        target.sync(name)


def _forget(old: Rows, messages: RawRows) -> None:
    with old.transaction():
        for message in messages:
            old.delete(message[0])


def _remove(paths: QueuePaths) -> None:
    """Remove what an emptied queue leaves; not its lock, which another process may be about to take."""
    for suffix in ("", "-wal", "-shm"):
        paths.database.with_name(paths.database.name + suffix).unlink(missing_ok=True)
    paths.flight.unlink(missing_ok=True)
    paths.spool.rmdir()
