"""The connections to one next hop, and the errands that wait for them.

    destination.submit(errand)       # an idle session takes it at once, or a connection is opened, or it waits

A worker is a task that opens a session, lets it serve, and tries what the session could not finish at the next host.
Few connections that are never without work are faster than many: another one is opened only where the backlog is
larger than the open ones can take, or where an errand has waited too long.

When a next hop can't be reached at all, everything that waited for that is deferred with the same reason. A connection
in addition to working ones that fails is no such reason; for a while no further one is tried.
"""

import asyncio
from collections import deque
from typing import Final

from valija.deliver.connect import Connector
from valija.deliver.errand import Errand, Failure
from valija.deliver.options import SmtpOptions
from valija.deliver.session import Session
from valija.logs import Log
from valija.mail.job import Route
from valija.mail.reply import Reply

BACKLOG_PER_CONNECTION: Final = 8  # errands
PATIENCE: Final = 0.2  # seconds that an errand waits before it is worth another connection
PAUSE_AFTER_REFUSAL: Final = 10.0  # seconds without attempts at an additional connection

_OUR_FAULT: Final = Reply(451, "4.3.0", "Local error while sending, it will be tried again")


def wants_connection(waiting: int, connections: int, limit: int, *, stalled: bool) -> bool:
    """Decide whether to open another connection; `connections` counts those being opened too."""
    if not waiting or connections >= limit:
        return False
    return connections == 0 or stalled or waiting > BACKLOG_PER_CONNECTION * connections


class Destination:
    """One next hop. It is `is_unused` when nothing waits and nothing is open."""

    def __init__(self, route: Route, connector: Connector, options: SmtpOptions, log: Log) -> None:
        self._route = route
        self._connector = connector
        self._limit = options.destination_concurrency_limit
        self._log = log
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[Errand] = deque()
        self._idle: list[Session] = []
        self._serving: dict[Session, asyncio.Task[None]] = {}
        self._workers: set[asyncio.Task[None]] = set()
        self._no_more_until = 0.0
        self._closing = False

    @property
    def is_unused(self) -> bool:
        """Whether it can be forgotten."""
        return not (self._waiting or self._workers)

    def submit(self, errand: Errand) -> None:
        """Have an errand carried."""
        errand.since = self._loop.time()
        self._waiting.append(errand)
        while self._waiting and self._idle:
            self._idle.pop().wake()
        self._consider()

    def sweep(self, now: float) -> None:
        """See whether something has been waiting too long."""
        while self._waiting and self._waiting[0].is_abandoned:
            self._waiting.popleft()
        is_opening = len(self._workers) > len(self._serving)  # who waits for a slow host gains nothing by two of them
        if self._waiting and now - self._waiting[0].since > PATIENCE and not is_opening:
            self._consider(stalled=True)

    async def close(self) -> None:
        """End idle sessions now, busy ones after the transactions under way; return when all are gone.

        The attempts at what was not sent are cancelled.
        """
        self._closing = True
        while (errand := self.take()) is not None:
            errand.attempt.done.cancel()
        for session in list(self._serving):
            session.leave()
        for worker in self._workers.difference(self._serving.values()):
            worker.cancel()
        while self._workers:
            await asyncio.wait(self._workers)

    # What sessions ask

    def take(self) -> Errand | None:
        """Return the next errand."""
        while self._waiting:
            errand = self._waiting.popleft()
            if not errand.is_abandoned:
                return errand
        return None

    def put_back(self, errand: Errand) -> None:
        """Take an errand back, to be served next."""
        errand.since = self._loop.time()
        self._waiting.appendleft(errand)

    def is_idle(self, session: Session) -> None:
        """Note a session that has nothing to do."""
        if session not in self._idle:
            self._idle.append(session)

    # Connections

    def _consider(self, *, stalled: bool = False) -> None:
        if self._closing or (self._workers and self._loop.time() < self._no_more_until):
            return
        if wants_connection(len(self._waiting), len(self._workers), self._limit, stalled=stalled):
            worker = self._loop.create_task(self._work())
            self._workers.add(worker)
            worker.add_done_callback(self._on_worker_gone)

    def _on_worker_gone(self, worker: asyncio.Task[None]) -> None:
        self._workers.discard(worker)
        self._consider()

    async def _work(self) -> None:
        errand: Errand | None = None
        try:
            while not self._closing:
                opened = await self._connector.open(self._route, errand.tried if errand else ())
                if not isinstance(opened, Session):
                    self._on_failure(opened, errand)
                    return
                errand = await self._serve(opened, errand)
                if errand is None:
                    return
            self._drop(errand)
        except asyncio.CancelledError:
            self._drop(errand)
            raise
        except Exception:
            self._log.exception("delivery fault", next_hop=self._route.next_hop)
            if errand is not None:
                errand.attempt.defer_rest(_OUR_FAULT)
            else:
                self._on_failure(Failure(_OUR_FAULT), None)

    async def _serve(self, session: Session, errand: Errand | None) -> Errand | None:
        worker = asyncio.current_task()
        assert worker is not None
        self._serving[session] = worker
        try:
            return await session.serve(self, errand)
        finally:
            del self._serving[session]
            if session in self._idle:
                self._idle.remove(session)

    def _on_failure(self, failure: Failure | None, errand: Errand | None) -> None:
        """Nothing could be opened; without a `failure` because all hosts had been tried, and the errand knows why."""
        if errand is not None:
            errand.fail(failure or errand.failure or Failure(_OUR_FAULT))
        elif len(self._workers) > 1:
            self._no_more_until = self._loop.time() + PAUSE_AFTER_REFUSAL
        else:
            while (waiting := self.take()) is not None:
                waiting.fail(failure or Failure(_OUR_FAULT))

    def _drop(self, errand: Errand | None) -> None:
        if errand is not None:
            errand.attempt.done.cancel()
