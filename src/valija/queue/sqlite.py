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
import errno
import os
from collections.abc import Callable, Iterable, Sequence
from collections.abc import Set as AbstractSet
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, Self

import apsw

from valija.faults.points import fault_point
from valija.logs import Log
from valija.mail.address import domain_of
from valija.mail.envelope import Envelope
from valija.mail.job import QueueId
from valija.queue.claims import Claims
from valija.queue.flight import Flight
from valija.queue.identity import IdSource, from_number, to_number
from valija.queue.paths import QueuePaths, check_access, take_lock
from valija.queue.recovery import Recovery, recover, tell
from valija.queue.rows import RawMessages, Row, Rows, new_row
from valija.queue.spool import Spool
from valija.queue.store import Claim, Listed, NewMessage, QueueFull, Receipt, Settlement, Unreported
from valija.queue.writer import Writer

_committed = fault_point("queue.committed")
_claimed = fault_point("queue.claimed")
_recorded = fault_point("settlement.recorded")

_POLL_INTERVAL: Final = 1.0  # seconds
_MANY: Final = 1000  # recipients: beyond, the row is made in a thread, while the loop goes on


class SqliteStore:
    """A QueueStore in the folder of a server's queue."""

    def __init__(
        self,
        *,
        paths: QueuePaths,
        lock: int,
        connection: apsw.Connection,
        recovery: Recovery,
        clock: Callable[[], float],
        next_hop: Callable[[Envelope, str], str],
    ) -> None:
        self.recovery = recovery
        self._paths = paths
        self.spool = Spool(paths.spool)
        self._lock = lock
        self._clock = clock
        self._next_hop = next_hop
        self._loop = asyncio.get_running_loop()
        self._connection = connection
        self._rows = Rows(connection)
        self._claims = Claims(self._rows)
        self._ids = IdSource(paths.worker, clock, self._rows.largest())
        self._flight = Flight(paths.flight)
        self._version = self._rows.foreign_version()
        self._wakes: list[Callable[[], None]] = []
        self._files = ThreadPoolExecutor(2, "queue files")  # a large body's sync delays nobody else
        self._writer = Writer(connection, paths.database.stem)
        self._poll: asyncio.TimerHandle | None = self._loop.call_later(_POLL_INTERVAL, self.poke)

    @classmethod
    def open(
        cls,
        folder: Path,
        worker: int,
        *,
        clock: Callable[[], float],
        log: Log,
        next_hop: Callable[[Envelope, str], str] = lambda _, address: domain_of(address),
    ) -> Self:
        """Open a worker's queue, made where it is missing, and recover what the process before left.

        `next_hop` tells how claims see the way of a recipient. To be called in the running loop, before anything waits
        for it. Raises QueueInUse, QueueBarred for what this process may not use, OSError for a folder that can't be
        made; a damaged file is set aside instead.
        """
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        paths = QueuePaths(folder, worker)
        check_access(paths)
        lock = take_lock(paths.lock)
        try:
            connection, recovery = recover(paths, clock())
        except BaseException:
            os.close(lock)
            raise
        tell(recovery, paths, log)
        return cls(paths=paths, lock=lock, connection=connection, recovery=recovery, clock=clock, next_hop=next_hop)

    def new_id(self) -> QueueId:
        """See QueueStore."""
        return self._ids.next()

    async def put(self, queue_id: QueueId, message: NewMessage, *, claim: bool) -> None:
        """See QueueStore."""
        number = to_number(queue_id)
        body_file = message.content.body_file
        try:
            row = await self._row(number, message)
            if body_file:
                await self._sync(body_file)
            lease = self._lease_all(number, len(row.recipients)) if claim else None
            await self._writer.insert(row, lease)
            _committed()
        except asyncio.CancelledError:
            self._abandon(number, len(message.envelope.recipients))
            raise
        except BaseException:
            if body_file:
                self._remove_file(body_file)
            raise

    async def _sync(self, body_file: str) -> None:
        try:
            await self._loop.run_in_executor(self._files, self.spool.sync, body_file)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise QueueFull(f"no room for a large content: {error}") from None
            raise

    async def _row(self, number: int, message: NewMessage) -> Row:
        if len(message.envelope.recipients) > _MANY:
            return await self._loop.run_in_executor(self._files, new_row, number, message, self._next_hop)
        return new_row(number, message, self._next_hop)

    def _lease_all(self, number: int, count: int) -> Callable[[None], None]:
        return lambda _: self._claims.lease_all(number, count)

    def _abandon(self, number: int, count: int) -> None:
        """Give back what a caller who went away while it was put may have leased: it is due like any other."""
        ending = self._writer.read(lambda: self._claims.end(number, range(count)))
        ending.add_done_callback(lambda _: self._wake())

    async def claim(
        self,
        now: float,
        limit: int,
        skip: AbstractSet[str] = frozenset(),
        skip_messages: AbstractSet[QueueId] = frozenset(),
    ) -> Sequence[Claim]:
        """See QueueStore."""
        passed_over = frozenset(map(to_number, skip_messages))
        finding = self._writer.read(lambda: self._claims.find(now, limit, skip, passed_over))
        try:
            claims = await asyncio.shield(finding)
        except asyncio.CancelledError:
            finding.add_done_callback(self._give_back)
            raise
        if claims:
            _claimed()
        return claims

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
                self._claims.end(number, places)

        return self._writer.read(end)

    async def settle(self, settlement: Settlement) -> Receipt:
        """See QueueStore."""
        number = to_number(settlement.queue_id)
        if settlement.ends_message:
            effect = await self._writer.remove(number, lambda _: self._claims.forget(number))
            _recorded()
            return Receipt(effect.removed)
        report_ids = tuple([self._ids.next() for _ in settlement.reports])
        reports = [
            new_row(to_number(queue_id), report, self._next_hop)
            for queue_id, report in zip(report_ids, settlement.reports, strict=True)
        ]
        places = [settled.number for settled in settlement.recipients]
        effect = await self._writer.write(
            lambda: self._rows.settle(number, settlement.recipients, reports, settlement.news, settlement.told),
            lambda _: self._claims.end(number, places),
            patient=not reports,
        )
        _recorded()
        if effect.body_file:
            self._remove_file(effect.body_file)
        return Receipt(effect.removed, report_ids if effect.found else ())

    async def unreported(self) -> Sequence[QueueId]:
        """See QueueStore."""
        return [from_number(number) for number in await self._writer.read(self._rows.unreported)]

    async def news(self, queue_id: QueueId, limit: int) -> tuple[NewMessage, Sequence[Unreported]] | None:
        """See QueueStore."""
        return await self._writer.read(lambda: self._news(to_number(queue_id), limit))

    def _news(self, number: int, limit: int) -> tuple[NewMessage, Sequence[Unreported]] | None:
        news = self._rows.news(number, limit)
        stored = self._rows.load(number) if news else None
        return (stored.message, news) if stored else None

    async def next_due(
        self, skip: AbstractSet[str] = frozenset(), skip_messages: AbstractSet[QueueId] = frozenset()
    ) -> float | None:
        """See QueueStore."""
        passed_over = frozenset(map(to_number, skip_messages))
        return await self._writer.read(lambda: self._claims.next_due(skip, passed_over))

    async def bring_forward(self, beyond: float, to: float) -> int:
        """See QueueStore."""
        return await self._writer.write(lambda: self._rows.bring_forward(beyond, to))

    def begin(self, queue_id: QueueId) -> int:
        """See QueueStore."""
        return self._flight.begin(to_number(queue_id))

    def end(self, token: int) -> None:
        """See QueueStore."""
        self._flight.end(token)

    async def damaged(self) -> str:
        """Return, with the reason, when the file turns out to be damaged. The next start looks closely at it."""
        reason = await asyncio.shield(self._writer.damage)
        self._paths.suspect.touch(mode=0o600)
        return reason

    def on_change(self, wake: Callable[[], None]) -> None:
        """See QueueStore."""
        self._wakes.append(wake)

    def poke(self) -> None:
        """Look now whether another process changed the file."""
        if self._poll is not None:
            self._poll.cancel()
            self._poll = self._loop.call_later(_POLL_INTERVAL, self.poke)
            self._writer.read(self._rows.foreign_version).add_done_callback(self._compare_version)

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
        return await self._changed(
            self._writer.write(lambda: self._rows.release_hold(to_number(queue_id), self._clock()))
        )

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

    async def take_over(self, raw: RawMessages) -> None:
        """Add messages as they lie in another queue file, once their bodies are here (see queue/adoption)."""
        await self._writer.write(lambda: self._rows.insert_raw(raw))
        self._wake()

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
        """Remove a body whose message is gone. What fails here is an orphan that the next start sweeps."""
        self._files.submit(self.spool.remove, name)
