"""The agent that hands mail of hosted domains over by LMTP (RFC 2033), as to Dovecot.

    agent = LmtpAgent("/run/dovecot/lmtp", "mail.example.org", read=spool.read, log=log)
    outcomes = await agent.deliver(job)                  # one per recipient, in the server's own words

The place is the path of a socket, or `inet:HOST:PORT`. Connections are kept open for a while and shared; there are at
most CONNECTIONS. Where none can be had, all that waits is deferred with the same reason.

A message that `Delivered-To` says was delivered to a recipient before is not handed over again (5.4.6). Postmaster has
a mailbox in every domain: one that the server knows nothing of is kept by `keep_postmaster`, an agent of another kind.

Known weakness: there is no TLS and no login; the socket, or the network, is for both sides alone.
"""

import asyncio
from collections import deque
from functools import partial
from typing import Final

import msgspec

from valija.auth.options import INET, host_and_port
from valija.content.trace import was_delivered_to
from valija.deliver.agent import DeliveryAgent
from valija.deliver.attempt_log import tell
from valija.deliver.errand import Attempt, Errand, Failure, Peer, Target
from valija.deliver.options import SmtpOptions
from valija.deliver.session import Read, Session
from valija.logs import Log
from valija.mail.address import fold_case, split
from valija.mail.job import Job
from valija.mail.outcome import Outcome, State
from valija.mail.reply import Reply
from valija.policy.relay import POSTMASTER
from valija.smtp.client_events import Ready, SessionEnded
from valija.smtp.client_transaction import Transaction
from valija.smtp.lmtp import LmtpMachine

CONNECTIONS: Final = 10
SWEEP_INTERVAL: Final = 0.1  # seconds between two looks at the deadlines

_BACKLOG: Final = 4  # errands that wait before another connection is worth it
_LOOP: Final = Reply(554, "5.4.6", "Mail loop: the message was delivered to this address before")


class LmtpTarget(Target, frozen=True, gc=False):
    """The place of an LMTP server. `host` is what reports may call it."""

    def __str__(self) -> str:
        return f"lmtp:{self.address}:{self.port}" if self.port else f"lmtp:{self.address}"


class LmtpAgent:
    """Hands over by LMTP. `read` yields a large content piece by piece. Made within a running loop."""

    def __init__(
        self,
        place: str,
        hostname: str,
        *,
        read: Read,
        log: Log,
        keep_postmaster: DeliveryAgent | None = None,
        options: SmtpOptions = SmtpOptions(),  # noqa: B008 - a frozen value
    ) -> None:
        host, port = host_and_port(place) if place.startswith(INET) else (place, 0)
        self._target = LmtpTarget(hostname, host, port)
        self._hostname = hostname
        self._read = read
        self._log = log
        self._keep_postmaster = keep_postmaster
        self._options = options
        self._loop = asyncio.get_running_loop()
        self._line: deque[Errand] = deque()
        self._sessions: set[Session] = set()
        self._idle: list[Session] = []
        self._workers: set[asyncio.Task[None]] = set()
        self._sweeper: asyncio.TimerHandle | None = None
        self._closing = False

    async def deliver(self, job: Job) -> list[Outcome]:
        """Return one outcome for each recipient of the job (see deliver/agent)."""
        began = self._loop.time()
        attempt = Attempt(job, self._loop)
        looping = _looping(job)
        for number in looping:
            attempt.settle(Outcome(number, State.FAILED, _LOOP))
        if left := [number for number in job.numbers if number not in looping]:
            self._submit(Errand(attempt, left))
        outcomes = await attempt.done
        tell(self._log, job, outcomes, self._loop.time() - began)
        return await self._with_postmaster(job, outcomes)

    async def close(self) -> None:
        """Let go of idle connections, and of busy ones when their transactions have ended."""
        self._closing = True
        while self._line:
            self._line.popleft().attempt.done.cancel()
        for session in list(self._sessions):
            session.leave()
        while self._workers:
            await asyncio.wait(self._workers)
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None

    async def _with_postmaster(self, job: Job, outcomes: list[Outcome]) -> list[Outcome]:
        """Have mail for a postmaster that the server does not know kept all the same."""
        unknown = [outcome.number for outcome in outcomes if _is_unknown_postmaster(job, outcome)]
        if not unknown or self._keep_postmaster is None:
            return outcomes
        kept = await self._keep_postmaster.deliver(msgspec.structs.replace(job, numbers=tuple(unknown)))
        return [outcome for outcome in outcomes if outcome.number not in unknown] + kept

    # The line

    def _submit(self, errand: Errand) -> None:
        self._line.append(errand)
        if self._idle:
            self._idle.pop().wake()
        if self._line and not self._closing and len(self._workers) < CONNECTIONS:
            waits_long = len(self._line) > _BACKLOG * len(self._workers)
            if waits_long:
                worker = self._loop.create_task(self._work())
                self._workers.add(worker)
                worker.add_done_callback(self._workers.discard)

    async def _work(self) -> None:
        """Open a connection and have it serve, as long as that leaves something to be tried again."""
        while not self._closing:
            session = await self._open()
            if isinstance(session, Failure):
                self._fail_all(session)
                return
            try:
                left = await session.serve(self, None)
            finally:
                self._forget(session)
            if left is None:
                if not self._line:
                    return
            elif left.tried and left.failure is not None:  # it broke under this errand: not again at once
                left.fail(left.failure)
            else:
                self._line.appendleft(left)

    def _fail_all(self, failure: Failure) -> None:
        while (errand := self.take()) is not None:
            errand.fail(failure)

    def _forget(self, session: Session) -> None:
        if session in self._idle:
            self._idle.remove(session)

    async def _open(self) -> Session | Failure:
        """Return a session that has said hello, or why there is none."""
        make = partial(self._new_session, LmtpMachine(self._hostname))
        try:
            async with asyncio.timeout(self._options.connect_timeout):
                session = await self._connect(make)
        except (OSError, TimeoutError) as error:
            why = getattr(error, "strerror", "") or "no answer"
            return Failure(Reply(451, "4.4.1", f"{self._target} can't be reached: {why}"), Peer(self._target))
        self._begin_to_sweep()
        try:
            event = await session.event()
        except BaseException:
            session.abort()
            raise
        if isinstance(event, Ready):
            return session
        assert isinstance(event, SessionEnded)
        return Failure(event.reply, session.peer, event.by_peer)

    async def _connect(self, make: "partial[Session]") -> Session:
        target = self._target
        if target.port:
            _, session = await self._loop.create_connection(make, target.address, target.port)
        else:
            _, session = await self._loop.create_unix_connection(make, target.address)
        return session

    def _new_session(self, machine: LmtpMachine) -> Session:
        return Session(
            self._target, machine, options=self._options, read=self._read, registry=self._sessions, log=self._log
        )

    def _begin_to_sweep(self) -> None:
        if self._sweeper is None:
            self._sweeper = self._loop.call_later(SWEEP_INTERVAL, self._sweep)

    def _sweep(self) -> None:
        self._sweeper = self._loop.call_later(SWEEP_INTERVAL, self._sweep) if self._sessions else None
        now = self._loop.time()
        for session in list(self._sessions):
            session.sweep(now)

    # What sessions ask and tell

    def take(self) -> Errand | None:
        """Return the next errand."""
        while self._line:
            errand = self._line.popleft()
            if not errand.is_abandoned:
                return errand
        return None

    def put_back(self, errand: Errand) -> None:
        """Take an errand back."""
        self._line.appendleft(errand)

    def may_rest(self, session: Session) -> bool:
        """Note a session that has nothing to do."""
        if session not in self._idle:
            self._idle.append(session)
        return not self._closing

    def must_leave(self, session: Session) -> bool:
        """Whether the agent is being closed."""
        return self._closing

    @property
    def recipient_limit(self) -> int:
        """No limit is known."""
        return 0

    def took_only(self, recipients: int) -> None:
        """Hear that the server had enough after so many recipients: the session keeps to that."""

    def concluded(self, errand: Errand, transaction: Transaction) -> None:
        """Hear of a transaction that has ended."""

    def throttled(self, errand: Errand, failure: Failure, begun: float) -> None:
        """Hear of one that was refused by 421."""
        errand.fail(failure)


def _looping(job: Job) -> frozenset[int]:
    """Return the recipients that have had the message."""
    header = job.content.head.partition(b"\r\n\r\n")[0] + b"\r\n"
    if b"delivered-to:" not in header.lower():
        return frozenset()
    recipients = job.envelope.recipients
    return frozenset(number for number in job.numbers if was_delivered_to(header, recipients[number].address))


def _is_unknown_postmaster(job: Job, outcome: Outcome) -> bool:
    if outcome.state is not State.FAILED or not outcome.reply.enhanced.startswith("5.1."):
        return False
    return fold_case(split(job.envelope.recipients[outcome.number].address)[0]) == POSTMASTER
