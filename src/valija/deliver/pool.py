"""The connections to one next hop, and the errands that wait for them.

    destination.submit(errand)       # an idle session takes it at once, or a connection is opened, or it waits

A worker is a task that opens a session, lets it serve, and tries what the session could not finish at the next host.
Few connections that are never without work are faster than many: another one is opened only where the backlog is
larger than the open ones can take, or where an errand has waited too long; and never more than the operator of the
hosts takes for all its domains together (deliver/seats). Whose turn it is, and whether it may begin, the line decides
(deliver/waiting).

When a next hop can't be reached at all, or breaks off again and again, everything that waited for it is deferred with
the same reason, and so is what comes until it is looked at again (policy/suspension). A connection in addition to
working ones that fails is no such reason. What was refused as too fast goes back into the line, as long as that moves.
"""

import asyncio
import time
from collections.abc import Sequence
from functools import partial
from typing import Final

from valija.deliver.connect import Connector
from valija.deliver.errand import Errand, Failure, Target
from valija.deliver.pace import Operators
from valija.deliver.seats import Seat
from valija.deliver.session import Session
from valija.deliver.standing import Standing
from valija.deliver.waiting import THROTTLED_PATIENCE, WaitingLine
from valija.logs import Log
from valija.mail.job import Route
from valija.mail.reply import Reply
from valija.policy.throttling import too_fast_for
from valija.smtp.client_transaction import Transaction

BACKLOG_PER_CONNECTION: Final = 8  # errands
PATIENCE: Final = 0.2  # seconds that an errand waits before it is worth another connection

_SERVICE_CLOSING: Final = 421
_NOT_LET_IN: Final = 454  # a login that failed has a pause of its own, see deliver/login
_OUR_FAULT: Final = Reply(451, "4.3.0", "Local error while sending, it will be tried again")


def wants_connection(waiting: int, connections: int, limit: int, *, stalled: bool) -> bool:
    """Decide whether to open another connection; `connections` counts those being opened too."""
    if not waiting or connections >= limit:
        return False
    return connections == 0 or stalled or waiting > BACKLOG_PER_CONNECTION * connections


class _NotNow(Exception):
    """A connection that was to be opened is not wanted any more, or not yet."""


class Destination:
    """One next hop. It is `is_unused` when nothing waits and nothing is open. `standing` outlives it."""

    def __init__(self, route: Route, connector: Connector, operators: Operators, standing: Standing, log: Log) -> None:
        self._route = route
        self._connector = connector
        self._operators = operators
        self.standing = standing
        self._log = log
        self._loop = asyncio.get_running_loop()
        self._line = WaitingLine(self._on_turn)
        self._idle: list[Session] = []
        self._seats: dict[Session, Seat] = {}
        self._seeking: set[Seat] = set()
        self._workers: set[asyncio.Task[None]] = set()
        self._serving: set[asyncio.Task[None]] = set()
        self._closing = False
        if standing.operator:
            self._line.join(operators.named(standing.operator))

    @property
    def is_unused(self) -> bool:
        """Whether it can be forgotten."""
        return not (self._line or self._workers)

    @property
    def waiting(self) -> int:
        """How many errands wait."""
        return len(self._line)

    @property
    def connections(self) -> int:
        """How many connections are open."""
        return len(self._serving)

    def submit(self, errand: Errand) -> None:
        """Have an errand carried."""
        now = errand.since = self._loop.time()
        if (refusal := self._refusal(now)) is not None:
            errand.fail(refusal)
            return
        line = self._line
        line.put(errand)
        if line.is_limited:
            line.ask_turns()
            return
        while self._idle and line.queue.size:
            self._idle.pop().wake()
        if line.queue.size:
            self._consider()
        for seat in self._seeking:
            if seat.among is not None:
                seat.among.ask(seat, errand)

    def sweep(self, now: float) -> None:
        """See whether something has been waiting too long."""
        line = self._line
        if line.is_limited:
            line.defer_overdue(now)
        errand = line.peek()
        is_opening = len(self._workers) > len(self._serving)  # who waits for a slow host gains nothing by two of them
        if errand is not None and now - errand.since > PATIENCE and not is_opening:
            self._consider(stalled=True)

    async def close(self) -> None:
        """End idle sessions now, busy ones after the transactions under way; return when all are gone.

        The attempts at what was not sent are cancelled.
        """
        self._closing = True
        while (errand := self._line.take_any()) is not None:
            errand.attempt.done.cancel()
        for session in list(self._seats):
            session.leave()
        for worker in self._workers.difference(self._serving):
            worker.cancel()
        while self._workers:
            await asyncio.wait(self._workers)
        self.forget()

    def forget(self) -> None:
        """Be no next hop of any operator any more."""
        self._line.leave()

    # What sessions ask and tell

    def take(self) -> Errand | None:
        """Return the next errand, None where none may begin."""
        return self._line.take()

    def put_back(self, errand: Errand) -> None:
        """Take an errand back, to be served when its message has its turn."""
        errand.since = self._loop.time()
        self._line.put_back(errand)
        self._line.ask_turns()

    def may_rest(self, session: Session) -> bool:
        """Note a session that has nothing to do; False where its connection is wanted elsewhere."""
        seat = self._seats[session]
        if seat.among is not None and seat.among.must_not_rest(seat):
            return False
        if session not in self._idle:
            self._idle.append(session)
        return True

    def must_leave(self, session: Session) -> bool:
        """Whether a session's turn is over, as others wait for a connection to the same operator."""
        seat = self._seats[session]
        among = seat.among
        return among is not None and among.line.size > 0 and among.must_leave(seat)

    @property
    def recipient_limit(self) -> int:
        """How many recipients it takes at once, 0 where that was not learnt."""
        return self.standing.recipient_limit(self._loop.time())

    def took_only(self, recipients: int) -> None:
        """Hear that it had enough after so many recipients."""
        self.standing.learn_recipient_limit(recipients, self._loop.time())

    def concluded(self, errand: Errand, transaction: Transaction) -> None:
        """Hear of a transaction to which all replies came."""
        if not self.standing.suspension.is_clear:
            self.standing.works()
        operator = self._line.operator
        if operator is None:
            return
        if _is_taken(transaction):
            operator.accepted()
            return
        age = time.time() - errand.attempt.job.origin.received_at
        if (reply := too_fast_for(transaction, age=age)) is not None:
            operator.throttled(reply, begun=errand.begun)

    def throttled(self, errand: Errand | None, failure: Failure, begun: float) -> None:
        """Hear that what began at `begun` was refused as too fast.

        As long as the line moves the errand goes back into it, and nothing is deferred; but not for ever.
        """
        operator = self._line.operator
        now = self._loop.time()
        if operator is not None:
            operator.throttled(failure.reply, begun=begun)
        moves = operator is not None and operator.pace.moves(now) and not self._closing
        if errand is not None:
            if moves and now - errand.attempt.began < THROTTLED_PATIENCE:
                errand.tried = frozenset()
                errand.failure = None
                self.put_back(errand)
            else:
                errand.fail(failure)
        if not moves and (errand is None or (operator is not None and operator.is_stuck())):
            self._defer_waiting(failure)

    # Connections

    def _on_turn(self) -> None:
        if self._idle:
            self._idle.pop().wake()
        else:
            self._consider()

    def _consider(self, *, stalled: bool = False) -> None:
        waiting = self._line.ready
        if not waiting or self._closing:
            return
        operator = self._line.operator
        limit = operator.concurrency.size if operator is not None else self._operators.limit
        if wants_connection(waiting, len(self._workers), limit, stalled=stalled):
            worker = self._loop.create_task(self._work(Seat(self)))
            self._workers.add(worker)
            worker.add_done_callback(self._on_worker_gone)

    def _on_worker_gone(self, worker: asyncio.Task[None]) -> None:
        self._workers.discard(worker)
        if self.is_unused:
            self._line.forget_turns()
        self._consider()

    async def _work(self, seat: Seat) -> None:
        errand: Errand | None = None
        try:
            while not self._closing:
                began = self._loop.time()
                enter = partial(self._enter, seat, errand)
                opened = await self._connector.open(self._route, errand.tried if errand else (), enter=enter)
                if not isinstance(opened, Session):
                    self._on_failure(opened, errand, began)
                    return
                errand = await self._serve(opened, errand, seat)
                if errand is None:
                    return
                if self._is_too_fast_again(errand, opened.target):
                    self.throttled(errand, errand.failure or Failure(_OUR_FAULT), errand.begun)
                    return
            self._drop(errand)
        except _NotNow:
            pass
        except asyncio.CancelledError:
            self._drop(errand)
            raise
        except Exception:
            self._log.exception("delivery fault", next_hop=self._route.next_hop)
            if errand is not None:
                errand.attempt.defer_rest(_OUR_FAULT)
            else:
                self._on_failure(Failure(_OUR_FAULT), None, 0.0)
        finally:
            seat.leave()

    async def _enter(self, seat: Seat, errand: Errand | None, targets: Sequence[Target]) -> None:
        """Take a seat among the connections to the operator of the best host. Raises _NotNow."""
        line = self._line
        operator = self._operators.of(targets[0].host)
        self.standing.operator = operator.name
        self.standing.endpoints = [target.endpoint for target in targets]
        line.join(operator)
        if seat.among is not operator.seats:
            seat.leave()
            self._seeking.add(seat)
            try:
                await operator.seats.take(seat, errand or line.peek())
            finally:
                self._seeking.discard(seat)
        if errand is not None:
            return
        if not line.ready and (refusal := self._refusal(self._loop.time())) is not None:
            self._defer_waiting(refusal)
        if not line.ready:
            line.ask_turns()
        if not line.ready:
            raise _NotNow

    async def _serve(self, session: Session, errand: Errand | None, seat: Seat) -> Errand | None:
        worker = asyncio.current_task()
        assert worker is not None
        self._serving.add(worker)
        self._seats[session] = seat
        seat.session = session
        try:
            return await session.serve(self, errand)
        finally:
            seat.session = None
            del self._seats[session]
            self._serving.discard(worker)
            if session in self._idle:
                self._idle.remove(session)

    # Failures

    def _refusal(self, now: float) -> Failure | None:
        """Return why nothing is tried for now, None where something may be."""
        standing, operator = self.standing, self._line.operator
        if standing.why is not None and (why := standing.refusal(now)) is not None:
            return why
        if operator is None or operator.throttling is None:
            return None
        return Failure(operator.throttling.reply) if operator.is_stuck() and operator.pace.wait(now) else None

    def _is_too_fast_again(self, errand: Errand, target: Target) -> bool:
        """Whether 421 needs no other host to confirm it: there is a limit, and this was no session grown old."""
        failure = errand.failure
        is_closing = failure is not None and failure.by_peer and failure.reply.code == _SERVICE_CLOSING
        return is_closing and self._line.is_limited and target in errand.tried

    def _on_failure(self, failure: Failure | None, errand: Errand | None, began: float) -> None:
        """Nothing could be opened; without a `failure` because all hosts had been tried, and the errand knows why."""
        why = failure or (errand and errand.failure) or Failure(_OUR_FAULT)
        too_fast = why.by_peer and why.reply.code == _SERVICE_CLOSING
        now = self._loop.time()
        if failure is not None and self._is_one_too_many(too_fast=too_fast, now=now):
            if errand is not None and too_fast and now - errand.attempt.began < THROTTLED_PATIENCE:
                self.put_back(errand)
            elif errand is not None:
                errand.fail(why)
        elif too_fast:
            self.throttled(errand, why, errand.begun if errand is not None and failure is None else began)
        elif errand is not None:
            errand.fail(why)
            if not why.permanent and self.standing.broke(now, why):
                self._defer_waiting(why)
        else:
            if not why.permanent and why.reply is not _OUR_FAULT and why.reply.code != _NOT_LET_IN:
                self.standing.suspend(now, why)
            self._defer_waiting(why)

    def _is_one_too_many(self, *, too_fast: bool, now: float) -> bool:
        """Whether a connection that could not be opened was one beside others that work, or that are still tried."""
        operator = self._line.operator
        working = len(self._serving)
        if operator is not None:
            if too_fast:  # it is the operator that says so, to all its domains
                working = max(working, operator.seats.taken - 1)
            if working:
                operator.concurrency.refused(now, working=working)
            else:
                operator.concurrency.failed()
        return working > 0 or len(self._workers) > 1

    def _defer_waiting(self, why: Failure) -> None:
        while (errand := self._line.take_any()) is not None:
            errand.fail(why)

    def _drop(self, errand: Errand | None) -> None:
        if errand is not None:
            errand.attempt.done.cancel()


def _is_taken(transaction: Transaction) -> bool:
    """Whether the peer took the message for somebody."""
    final = transaction.final_reply
    return final is not None and final.is_positive and transaction.has_recipients
