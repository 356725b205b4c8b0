"""Queues of workers that are no longer configured: a living worker takes their messages over.

    moved = await adopt(store, folder, workers=2, now=time.time(), log=log)     # by worker 0, once it serves

A few messages at a time are copied into the store, and, once they are durable there, removed from the old file; their
bodies are linked into the store's spool before. A crash in between leaves a message in both files, and the next start
copies it again: where it was delivered meanwhile it is a duplicate, but never a loss. A file whose worker still lives
is left alone, and so is one that can't be used: the next start tries again.
"""

import asyncio
import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final

import apsw

from valija.faults.points import fault_point
from valija.logs import Log
from valija.queue.identity import from_number
from valija.queue.paths import COMPANIONS, QueueBarred, QueueInUse, QueuePaths, check_access, take_lock, workers_in
from valija.queue.recovery import recover, tell
from valija.queue.rows import RawMessages, Rows
from valija.queue.spool import Spool
from valija.queue.sqlite import SqliteStore
from valija.queue.store import QueueFull

_linked = fault_point("adoption.linked")
_taken = fault_point("adoption.taken")
_forgotten = fault_point("adoption.forgotten")

_BATCH: Final = 50  # messages
_BODY_FILE: Final = 4  # column
_REMEDY: Final = "mend this and start again: its messages wait in the file"


async def adopt(store: SqliteStore, folder: Path, workers: int, now: float, log: Log) -> int:
    """Move the messages of workers numbered `workers` and above into a store; return how many. Raises OSError.

    What can't be moved stays where it is, with a line in the log, and stops nothing else.
    """
    moved = 0
    for worker in workers_in(folder):
        if worker >= workers:
            moved += await _adopt_if_possible(store, QueuePaths(folder, worker), now, log)
    return moved


async def _adopt_if_possible(store: SqliteStore, paths: QueuePaths, now: float, log: Log) -> int:
    path = str(paths.database)
    try:
        return await _adopt_one(store, paths, now, log)
    except QueueInUse as in_use:
        log.warning("queue not adopted", path=path, reason=str(in_use))
    except QueueBarred as barred:
        log.error("queue not adopted", path=path, reason=str(barred))
    except (OSError, apsw.Error, QueueFull) as error:
        log.error("queue not adopted", path=path, reason=str(error), remedy=_REMEDY)
    except Exception:
        log.exception("queue not adopted", path=path, remedy=_REMEDY)
    return 0


async def _adopt_one(store: SqliteStore, paths: QueuePaths, now: float, log: Log) -> int:
    check_access(paths)
    lock = take_lock(paths.lock)
    try:
        connection, recovery = await asyncio.to_thread(recover, paths, now)
        tell(recovery, paths, log)
        try:
            moved = await _move_all(store, Rows(connection), Spool(paths.spool), log)
        finally:
            connection.close()
        _remove(paths, log)
        log.info("queue adopted", path=str(paths.database), messages=moved)
        return moved
    finally:
        os.close(lock)


async def _move_all(store: SqliteStore, old: Rows, old_spool: Spool, log: Log) -> int:
    moved = 0
    while True:
        raw = await asyncio.to_thread(old.raw, _BATCH)
        if not raw.messages:
            return moved
        bodies = {message[_BODY_FILE]: from_number(message[0]) for message in raw.messages if message[_BODY_FILE]}
        for name in await asyncio.to_thread(_link_all, bodies, old_spool, store.spool):
            log.error("body of a message is gone", queue_id=bodies[name], path=str(old_spool.folder / name))
        _linked()
        await store.take_over(raw)
        _taken()
        await asyncio.to_thread(_forget, old, raw)
        _forgotten()
        for name in bodies:
            old_spool.remove(name)
        moved += len(raw.messages)


def _link_all(names: Iterable[str], source: Spool, target: Spool) -> list[str]:
    """Have bodies in another spool; return those that are in neither: their messages must not keep others back."""
    gone = []
    for name in names:
        with suppress(FileNotFoundError):
            source.link(name, target)
        try:
            target.sync(name)
        except FileNotFoundError:
            gone.append(name)
    return gone


def _forget(old: Rows, raw: RawMessages) -> None:
    with old.transaction():
        for message in raw.messages:
            old.delete(message[0])


def _remove(paths: QueuePaths, log: Log) -> None:
    """Remove what an emptied queue leaves; not its lock, which another process may be about to take.

    The spool goes first, if it is empty: what lies there is not ours to remove, and the file stays with it.
    """
    try:
        paths.spool.rmdir()
    except OSError as error:
        log.warning("queue file left where it is", path=str(paths.database), reason=str(error))
        return
    for suffix in ("", *COMPANIONS):
        paths.database.with_name(paths.database.name + suffix).unlink(missing_ok=True)
    paths.flight.unlink(missing_ok=True)
