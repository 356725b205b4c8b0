"""The embedded store: one SQLite file per worker, written by one thread, with large bodies in files beside it.

    store = SqliteStore.open(Path("/var/lib/valija/queue"), worker=0, clock=time.time, log=log)   # inside the loop
    log.info("queue opened", pending=store.recovery.pending)
    await store.put(store.new_id(), message, claim=True)
    await store.close()

In the folder lie, for worker 0: `worker-0.sqlite3` and its write-ahead log, `worker-0.spool/` (queue/spool),
`worker-0.flight` (queue/flight) and `worker-0.lock`, locked as long as the worker lives.

Leases live in this process: when it ends they end. The writer's thread alone reads and changes them.

Known weakness: what other processes change (the command line) is noticed once a second.
"""

import asyncio
import fcntl
import os
from collections.abc import Callable, Iterable, Sequence
from collections.abc import Set as AbstractSet
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, Self

import apsw
import msgspec

from valija.logs import Log
from valija.mail.address import domain_of
from valija.mail.job import QueueId
from valija.queue.claims import Leases, find_due, next_due
from valija.queue.flight import Flight
from valija.queue.identity import IdSource, from_number, to_number
from valija.queue.rows import Effect, Rows, new_row
from valija.queue.schema import open_or_replace
from valija.queue.spool import Spool
from valija.queue.store import Claim, Listed, NewMessage, Receipt, Settlement
from valija.queue.writer import Writer

_POLL_INTERVAL: Final = 1.0  # seconds


class QueueInUse(Exception):
    """Another process serves this queue file."""


class Recovery(msgspec.Struct, frozen=True):
    """What was found at the start.

    `pending` recipients wait (those on hold are not counted); `unfinished` messages were being attempted when the
    process before this one died, `held` of them too often; `orphans` are files of contents that were never queued.
    `set_aside` says why a file was, "" if none was.
    """

    pending: int
    unfinished: int
    held: tuple[QueueId, ...]
    orphans: int
    set_aside: str


class SqliteStore:
    """A QueueStore in the folder of a server's queue."""

    def __init__(
        self,
        paths: "QueuePaths",
        lock: int,
        connection: apsw.Connection,
        ids: IdSource,
        recovery: Recovery,
        clock: Callable[[], float],
        next_hop: Callable[[str], str],
    ) -> None:
        self.spool = Spool(paths.spool)
        self.recovery = recovery
        self._lock = lock
        self._ids = ids
        self._clock = clock
        self._next_hop = next_hop
        self._connection = connection
        self._rows = Rows(connection)
        self._leases = Leases()
        self._flight = Flight(paths.flight)
        self._writer = Writer(connection, paths.database.stem)
        self._files = ThreadPoolExecutor(2, "queue files")  # a large body's sync delays nobody else
        self._wakes: list[Callable[[], None]] = []
        self._version = connection.data_version()
        self._poll: asyncio.TimerHandle | None = self._loop.call_later(_POLL_INTERVAL, self.poke)

    @classmethod
    def open(
        cls, folder: Path, worker: int, *, clock: Callable[[], float], log: Log, next_hop: Callable[[str], str] = domain_of
    ) -> Self:
        """Open a worker's queue, made where it is missing, and recover from what the process before left.

        `next_hop` tells how claims see the way of an address. Call it in the running loop, before anything waits for
        it. Raises QueueInUse, and OSError for a folder that can't be used; a damaged file is set aside instead.
        """
        paths = QueuePaths(folder, worker)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = take_lock(paths.lock)
        connection, reason = open_or_replace(paths.database, clock())
        recovery = recover(connection, paths, reason)
        _log_recovery(log, paths, recovery)
        ids = IdSource(worker, clock, Rows(connection).largest())
        return cls(paths, lock, connection, ids, recovery, clock, next_hop)

    @property
    def _loop(self) -> asyncio.AbstractEventLoop:
        return asyncio.get_running_loop()

    def new_id(self) -> QueueId:
        """See QueueStore."""
        return self._ids.next()

    async def put(self, queue_id: QueueId, message: NewMessage, *, claim: bool) -> None:
        """See QueueStore."""
        number = to_number(queue_id)
        body_file = message.content.body_file
        try:
            row = new_row(number, message, self._next_hop)
            if body_file:
                await self._loop.run_in_executor(self._files, self.spool.sync, body_file)
            lease = self._lease_all(number, len(row.recipients)) if claim else None
            await self._writer.write(lambda: self._rows.insert(row), lease)
        except asyncio.CancelledError:
            self._writer.write(lambda: None, self._unlease_all(number, len(message.envelope.recipients)))
            raise
        except BaseException:
            if body_file:
                self._remove_file(body_file)
            raise

    def _lease_all(self, number: int, count: int) -> Callable[[None], None]:
        return lambda _: self._leases.take_all(number, count)

    def _unlease_all(self, number: int, count: int) -> Callable[[None], None]:
        return lambda _: self._leases.end(number, range(count))

    async def claim(self, now: float, limit: int, skip: AbstractSet[str] = frozenset()) -> Sequence[Claim]:
        """See QueueStore."""
        finding = self._writer.read(
            lambda: find_due(self._connection, self._rows, self._leases, now, limit, skip)
        )
        try:
            return await asyncio.shield(finding)
        except asyncio.CancelledError:
            finding.add_done_callback(self._give_back)
            raise

    def _give_back(self, found: "asyncio.Future[Sequence[Claim]]") -> None:
        if not found.cancelled() and found.exception() is None:
            self._end_leases(found.result())

    async def release(self, claims: Iterable[Claim]) -> None:
        """See QueueStore."""
        await self._end_leases(claims)

    def _end_leases(self, claims: Iterable[Claim]) -> "asyncio.Future[None]":
        given_back = [(to_number(claim.queue_id), [due.number for due in claim.due]) for claim in claims]

        def end() -> None:
            for number, places in given_back:
                self._leases.end(number, places)

        return self._writer.read(end)

    async def settle(self, settlement: Settlement) -> Receipt:
        """See QueueStore."""
        number = to_number(settlement.queue_id)
        report_ids = tuple([self._ids.next() for _ in settlement.reports])
        reports = [
            new_row(to_number(queue_id), report, self._next_hop)
            for queue_id, report in zip(report_ids, settlement.reports, strict=True)
        ]
        places = [settled.number for settled in settlement.recipients]
        effect = await self._writer.write(
            lambda: self._rows.settle(number, settlement.recipients, reports),
            lambda _: self._leases.end(number, places),
            patient=not reports,
        )
        if effect.body_file:
            self._remove_file(effect.body_file)
        return Receipt(effect.removed, report_ids if effect.found else ())

    async def next_due(self, skip: AbstractSet[str] = frozenset()) -> float | None:
        """See QueueStore."""
        return await self._writer.read(lambda: next_due(self._connection, self._leases, skip))

    async def bring_forward(self, beyond: float, to: float) -> int:
        """See QueueStore."""
        return await self._writer.write(lambda: self._rows.bring_forward(beyond, to))

    def begin(self, queue_id: QueueId) -> int:
        """See QueueStore."""
        return self._flight.begin(to_number(queue_id))

    def end(self, token: int) -> None:
        """See QueueStore."""
        self._flight.end(token)

    def on_change(self, wake: Callable[[], None]) -> None:
        """See QueueStore."""
        self._wakes.append(wake)

    def poke(self) -> None:
        """Look now whether another process changed the file."""
        if self._poll is not None:
            self._poll.cancel()
            self._poll = self._loop.call_later(_POLL_INTERVAL, self.poke)
            self._writer.read(self._connection.data_version).add_done_callback(self._compare_version)

    def _compare_version(self, reading: "asyncio.Future[int]") -> None:
        if not reading.cancelled() and reading.exception() is None and reading.result() != self._version:
            self._version = reading.result()
            self._wake()

    def _wake(self) -> None:
        for wake in self._wakes:
            wake()

    async def list(self, limit: int, after: QueueId | None = None) -> Sequence[Listed]:
        """See QueueStore."""
        number = to_number(after) if after else 0
        return await self._writer.read(lambda: self._rows.list(limit, number))

    async def show(self, queue_id: QueueId) -> tuple[Listed, NewMessage] | None:
        """See QueueStore."""
        return await self._writer.read(lambda: self._rows.show(to_number(queue_id)))

    async def hold(self, queue_id: QueueId) -> bool:
        """See QueueStore."""
        return await self._writer.write(lambda: self._rows.hold(to_number(queue_id)))

    async def release_hold(self, queue_id: QueueId) -> bool:
        """See QueueStore."""
        return await self._changed(self._writer.write(lambda: self._rows.release_hold(to_number(queue_id), self._clock())))

    async def retry(self, queue_id: QueueId) -> bool:
        """See QueueStore."""
        return await self._changed(self._writer.write(lambda: self._rows.retry(to_number(queue_id), self._clock())))

    async def _changed(self, change: "asyncio.Future[bool]") -> bool:
        found = await change
        self._wake()
        return found

    async def delete(self, queue_id: QueueId) -> bool:
        """See QueueStore."""
        body_file = await self._writer.write(lambda: self._rows.delete(to_number(queue_id)))
        if body_file:
            self._remove_file(body_file)
        return body_file is not None

    async def close(self) -> None:
        """See QueueStore."""
        if self._poll is None:
            return
        self._poll.cancel()
        self._poll = None
        await self._writer.close()
        self._files.shutdown(wait=True)
        self._flight.close()
        os.close(self._lock)

    def _remove_file(self, name: str) -> None:
        """Remove a body whose message is gone, durably. What fails here is an orphan that the next start sweeps."""
        self._files.submit(suppress(OSError)(self.spool.remove), name)
