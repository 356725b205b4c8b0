"""The one thread that owns a queue file's connection, and commits for all who wait (group commit).

    writer = Writer(connection, "worker-0")
    await writer.insert(row)                                                # durable now
    await writer.remove(number)                                             # durable too, 20 ms later at most
    effect = await writer.write(lambda: rows.settle(...))                   # anything else
    claims = await writer.read(lambda: find_due(...))
    await writer.close()

All that the loop asked for in a few of its turns, which take microseconds when it is at rest, goes over in one piece.
The thread takes all pieces that wait, runs them in one transaction, and one COMMIT, with one sync, answers everybody.
While it syncs, the next transaction gathers. What is asked for alone is committed alone: nobody waits for a batch by
the clock, but those who say they are patient.

What comes in thousands, new messages and those that just leave, is written by a few statements for the whole
transaction: the thread and the loop share the interpreter's lock, and hand it over at each statement.

Where a statement fails, the transaction is rolled back and its pieces are done one by one, so that one fault is one
caller's. Reads follow the writes they were asked for with, outside of the transaction.

Known weakness: a loop that never rests delays commits, for the same reason.
"""

import asyncio
import errno
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any, Final, Generic, TypeVar

import apsw
import msgspec

from valija.queue.rows import REMOVED, Effect, Row, Rows
from valija.queue.store import QueueFull

T = TypeVar("T")

_PATIENCE: Final = 0.02  # seconds
_TURNS: Final = 10  # of the loop
_CROWD: Final = 256  # so many that are patient are work enough
_DAMAGE: Final = (apsw.CorruptError, apsw.NotADBError)


class _Piece(msgspec.Struct, Generic[T], eq=False, gc=False):
    """Something to do, who waits for it, and what came of it.

    `inserts` and `removes` say what `work` does, where that can be done for many pieces at once.
    """

    work: Callable[[], T]
    done: Callable[[T], None] | None
    future: asyncio.Future[T]
    inserts: Row | None = None
    removes: int | None = None
    result: T | None = None
    error: Exception | None = None


_Pieces = Sequence[_Piece[Any]]


class Writer:
    """The writer of one connection. Made in the loop that will await its futures."""

    def __init__(self, connection: apsw.Connection, name: str) -> None:
        self._connection = connection
        self._rows = Rows(connection)
        self._loop = asyncio.get_running_loop()
        self.damage: asyncio.Future[str] = self._loop.create_future()  # ends, with the reason, where the file shows it
        self._writes: list[_Piece[Any]] = []
        self._reads: list[_Piece[Any]] = []
        self._is_sending = False
        self._timer: asyncio.TimerHandle | None = None
        self._inbox: SimpleQueue[tuple[_Pieces, _Pieces] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name=f"queue {name}", daemon=True)
        self._thread.start()

    def insert(self, row: Row, done: Callable[[None], None] | None = None) -> asyncio.Future[None]:
        """Add a message; see `write`."""
        work = partial(self._rows.insert, row)
        return self._add(_Piece(work, done, self._loop.create_future(), inserts=row), patient=False)

    def remove(self, number: int, done: Callable[[Effect], None] | None = None) -> asyncio.Future[Effect]:
        """Remove a message that has no file and nobody to wait for, patiently; see `write`."""
        work = partial(self._rows.settle_all, number)
        return self._add(_Piece(work, done, self._loop.create_future(), removes=number), patient=True)

    def write(
        self, work: Callable[[], T], done: Callable[[T], None] | None = None, *, patient: bool = False
    ) -> asyncio.Future[T]:
        """Run `work` inside a transaction; the future ends when it is durable, or with QueueFull or a fault.

        `work` may run twice and must only change the file. `done` runs in the thread, after the commit and before
        anything that follows.
        """
        return self._add(_Piece(work, done, self._loop.create_future()), patient=patient)

    def _add(self, piece: _Piece[T], *, patient: bool) -> asyncio.Future[T]:
        self._writes.append(piece)
        if not patient or len(self._writes) >= _CROWD:
            self._send_soon()
        elif self._timer is None and not self._is_sending:
            self._timer = self._loop.call_later(_PATIENCE, self._send)
        return piece.future

    def read(self, work: Callable[[], T]) -> asyncio.Future[T]:
        """Run `work` in the thread, after the writes asked for before."""
        piece = _Piece(work, None, self._loop.create_future())
        self._reads.append(piece)
        self._send_soon()
        return piece.future

    async def close(self) -> None:
        """Do what was asked for, end the thread and close the connection."""
        self._send()
        self._inbox.put(None)
        await self._loop.run_in_executor(None, self._thread.join)
        self._connection.close()

    def _send_soon(self) -> None:
        if not self._is_sending:
            self._is_sending = True
            self._gather(_TURNS)

    def _gather(self, turns: int) -> None:
        """Wait some turns of the loop. At rest they pass in microseconds; in a busy one more work joins at each."""
        if turns:
            self._loop.call_soon(self._gather, turns - 1)
        else:
            self._send()

    def _send(self) -> None:
        self._is_sending = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._writes or self._reads:
            self._inbox.put((self._writes, self._reads))
            self._writes, self._reads = [], []

    def _run(self) -> None:
        while True:
            writes, reads, is_last = self._take()
            if writes:
                self._commit(writes)
                self._answer(writes)
            if reads:
                for piece in reads:
                    _run_alone(piece)
                self._answer(reads)
            if is_last:
                return

    def _take(self) -> tuple[_Pieces, _Pieces, bool]:
        """Wait for something to do; return all writes and reads that wait, and whether they are the last."""
        writes: list[_Piece[Any]] = []
        reads: list[_Piece[Any]] = []
        next_one = self._inbox.get()
        try:
            while next_one is not None:
                writes += next_one[0]
                reads += next_one[1]
                next_one = self._inbox.get_nowait()
        except Empty:
            return writes, reads, False
        return writes, reads, True

    def _commit(self, pieces: _Pieces) -> None:
        try:
            self._transact(pieces)
        except Exception as error:
            if isinstance(self._meaning(error), QueueFull):
                self._make_room()
            for piece in pieces:
                self._commit_alone(piece)

    def _commit_alone(self, piece: _Piece[Any]) -> None:
        try:
            self._transact([piece])
        except Exception as error:
            piece.error = self._meaning(error)

    def _transact(self, pieces: _Pieces) -> None:
        with self._rows.transaction():
            if len(pieces) == 1:
                pieces[0].result = pieces[0].work()
            else:
                self._work_together(pieces)
        for piece in pieces:
            if piece.done is not None:
                piece.done(piece.result)

    def _work_together(self, pieces: _Pieces) -> None:
        """Do pieces that are nobody's in particular at once, the others in their order. New messages come first."""
        self._rows.insert(*[piece.inserts for piece in pieces if piece.inserts is not None])
        leaving: list[int] = []
        for piece in pieces:
            if piece.removes is not None:
                leaving.append(piece.removes)
                piece.result = REMOVED
            elif piece.inserts is None:
                piece.result = piece.work()
        self._rows.remove(leaving)

    def _make_room(self) -> None:
        """Have the write-ahead log begin anew in the blocks it has, so that settlements, which make room, may go on."""
        with suppress(apsw.Error):
            self._connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_RESTART)

    def _meaning(self, error: Exception) -> Exception:
        """Return the error to raise for one of the database's: no room is told from what is broken."""
        no_room = isinstance(error, apsw.FullError) or (
            isinstance(error, apsw.IOError | apsw.CantOpenError)
            and self._connection.system_errno in (errno.ENOSPC, errno.EDQUOT)
        )
        return QueueFull(f"no room for the queue: {error}") if no_room else error

    def _answer(self, pieces: _Pieces) -> None:
        try:
            self._loop.call_soon_threadsafe(self._resolve, pieces)
        except RuntimeError:  # the loop is closed: nobody waits any more
            return

    def _resolve(self, pieces: _Pieces) -> None:
        for piece in pieces:
            error = piece.error
            if error is not None and isinstance(error, _DAMAGE) and not self.damage.done():
                self.damage.set_result(str(error))
            if piece.future.done():  # cancelled
                continue
            if error is None:
                piece.future.set_result(piece.result)
            else:
                piece.future.set_exception(error)


def _run_alone(piece: _Piece[Any]) -> None:
    try:
        piece.result = piece.work()
    except Exception as error:
        piece.error = error
