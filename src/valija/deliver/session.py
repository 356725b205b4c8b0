"""One connection to a peer: octets between the transport and the client machine, and errands through it.

    session = Session(target, machine, options=options, read=read, registry=registry, log=log)
    event = await session.event()          # while it is being opened: see deliver/connect
    leftover = await session.serve(work, errand)

While it serves everything happens in callbacks: a flight of octets is one write, replies are handled as they come, and
the next errand is taken while the final dot of the one before is still on its way. A large content is streamed, a piece
whenever the peer has room, read in a thread.

The deadline is looked at by the agent's sweep, not by a timer of its own; only whole replies and taken pieces of
content count as progress, so that a dripping peer is not waited for any longer.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final, Protocol, cast

import msgspec

from valija.deliver.chunk_faults import ChunkFaults
from valija.deliver.errand import Errand, Failure, Peer, Target
from valija.deliver.options import SmtpOptions, time_limits
from valija.deliver.verdicts import may_have_taken, refuse_unfit, settle_decided
from valija.logs import Log
from valija.mail.content import Content
from valija.mail.outcome import Channel
from valija.mail.reply import Reply
from valija.smtp.client import ClientMachine
from valija.smtp.client_events import ClientEvent, ContentWanted, SessionEnded, Step, TransactionEnded
from valija.smtp.client_login import Login
from valija.smtp.client_transaction import Transaction, plan
from valija.tls.contexts import tls_facts
from valija.tls.starttls import TlsFailed, start_tls

if TYPE_CHECKING:
    import ssl

Read = Callable[[Content], Iterator[bytes]]

_SERVICE_CLOSING: Final = 421
_OUR_FAULT: Final = Reply(451, "4.3.0", "Local error while sending, it will be tried again")


class Work(Protocol):
    """Where a session gets its errands from."""

    def take(self) -> Errand | None:
        """Return the next errand, None if none is waiting."""

    def put_back(self, errand: Errand) -> None:
        """Take an errand back, to be served when its message has its turn."""

    def may_rest(self, session: "Session") -> bool:
        """Hear that the session has nothing to do: `session.wake` makes it look again. False: it is to end."""

    def must_leave(self, session: "Session") -> bool:
        """Whether the session is to take nothing more."""

    @property
    def recipient_limit(self) -> int:
        """How many recipients the next hop takes in a transaction, 0 where that is not known."""

    def took_only(self, recipients: int) -> None:
        """Hear that the peer had enough after so many recipients of a transaction."""

    def concluded(self, errand: Errand, transaction: Transaction) -> None:
        """Hear of a transaction to which all replies came."""

    def throttled(self, errand: Errand, failure: Failure, begun: float) -> None:
        """Take an errand back that was refused by 421 in place of being taken."""


class Session(asyncio.Protocol):
    """The protocol object of one outgoing connection."""

    def __init__(
        self,
        target: Target,
        machine: ClientMachine,
        *,
        options: SmtpOptions,
        read: Read,
        registry: "set[Session]",
        log: Log,
        chunk_faults: ChunkFaults | None = None,
    ) -> None:
        self.target = target
        self.peer = Peer(target)
        self.machine = machine
        self._limits = time_limits(options)
        self._options = options
        self._read = read
        self._registry = registry
        self._log = log
        self._loop = asyncio.get_running_loop()
        self._opened = self._loop.time()
        self._early: deque[ClientEvent] = deque()  # events that came while the session is being opened
        self._waiter: asyncio.Future[None] | None = None
        self._work: Work | None = None
        self._carried: deque[tuple[Errand, Transaction]] = deque()
        self._ended: asyncio.Future[Errand | None] | None = None
        self._leftover: Errand | None = None
        self._first: Errand | None = None  # what the session was opened for
        self._feeder: asyncio.Task[None] | None = None
        self._room: asyncio.Future[None] | None = None  # pending while the peer takes no more octets
        self._recipient_limit = options.destination_recipient_limit
        self._leaving = False
        self._timed_out = False
        self._chunk_faults = chunk_faults or ChunkFaults()
        self.deadline = self._opened + self._limits[Step.BANNER]

    # What the loop tells

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for the banner."""
        self.transport = cast("asyncio.Transport", transport)
        self._registry.add(self)

    def data_received(self, data: bytes) -> None:
        """Feed the machine, and act on what it makes of it."""
        machine = self.machine
        replies = machine.replies
        machine.receive(data)
        self._advance()
        if machine.replies != replies:
            self._progress()

    def pause_writing(self) -> None:
        """The peer is slow to read: stop feeding it."""
        if self._room is None:
            self._room = self._loop.create_future()

    def resume_writing(self) -> None:
        """It has room again."""
        if self._room is not None:
            self._room.set_result(None)
            self._room = None

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone, whoever ended it."""
        why = f" ({exc.strerror})" if isinstance(exc, OSError) and exc.strerror else ""
        self._registry.discard(self)
        self._give_up(f"Lost the connection to {self.target}{why} while waiting for {self.machine.awaits}")
        self.resume_writing()

    # While it is being opened

    async def event(self) -> ClientEvent:
        """Return the machine's next event. The last one is SessionEnded."""
        while not self._early:
            self._waiter = self._loop.create_future()
            await self._waiter
        return self._early.popleft()

    def ask_for_tls(self) -> None:
        """Send STARTTLS."""
        self.machine.start_tls()
        self._flush()
        self._progress()

    def log_in(self, login: Login) -> None:
        """Send AUTH; LoggedIn, LoginRefused or SessionEnded is the next event."""
        self.machine.log_in(login)
        self._flush()
        self._progress()

    async def take_up_tls(
        self,
        context: "ssl.SSLContext",
        server_hostname: str,
        check: "Callable[[ssl.SSLObject], None]",
        *,
        channel: Channel,
        first: bool = False,
    ) -> None:
        """Do the handshake and say EHLO once more; `first`, TLS comes before the banner, and that is waited for.

        `check` looks at the peer's certificate before anything is said inside. Raises TlsFailed, and what `check` does.
        """
        if first and self.machine.ended:
            raise TlsFailed("the peer spoke in clear where TLS comes first")
        self.deadline = float("inf")  # start_tls has its own
        self.transport = await start_tls(
            self.transport,
            self,
            context,
            server_side=False,
            server_hostname=server_hostname,
            timeout=self._options.starttls_timeout,
        )
        check(self.transport.get_extra_info("ssl_object"))
        self.peer = msgspec.structs.replace(self.peer, channel=channel, tls=tls_facts(self.transport))
        if first:
            self.machine.tls_came_first()
        else:
            self.machine.tls_started()
        self._flush()
        self._progress()

    # While it serves

    async def serve(self, work: Work, errand: Errand | None) -> Errand | None:
        """Carry errands, `errand` first, until the session ends; return one that has to be tried elsewhere, if any."""
        if self.machine.ended:  # gone in between
            return self._turn_away(errand or work.take())
        self._ended = self._loop.create_future()
        self._work = work
        for limit in (self.machine.capabilities.rcpt_max, work.recipient_limit):
            if limit:
                self._recipient_limit = min(self._recipient_limit, limit)
        self._first = errand
        self.wake()
        return await self._ended

    def _turn_away(self, errand: Errand | None) -> Errand | None:
        if errand is not None:
            errand.tried |= {self.target}
            errand.failure = Failure(Reply(450, "4.4.2", f"{self.target} closed the session at once"), self.peer)
        return errand

    def wake(self) -> None:
        """Look for an errand."""
        self._advance()
        self._progress()

    @property
    def is_resting(self) -> bool:
        """Whether it waits for an errand."""
        return self._work is not None and self.machine.is_idle

    def leave(self) -> None:
        """Take nothing more, and end as soon as nothing is under way."""
        self._leaving = True
        if self._work is None and self.machine.is_idle:
            self.machine.quit()
        self._advance()

    def abort(self) -> None:
        """End at once. What was under way is not finished."""
        self._give_up("The attempt was ended here")

    def sweep(self, now: float) -> None:
        """Look at the deadline."""
        if now < self.deadline or self.machine.ended:
            return
        if self.machine.awaits is Step.IDLE and not self._carried:
            self._leaving = True
            self._advance()
        else:
            self._timed_out = True
            self._give_up(f"{self.target} took too long: waited for {self.machine.awaits}")

    # Steps

    def _advance(self) -> None:
        """Handle the machine's events, take what can be begun, and write it all at once."""
        machine = self.machine
        try:
            while (event := machine.next_event()) is not None:
                self._handle(event)
            if self._work is not None and (machine.can_begin or machine.is_idle):
                self._take_next(self._work)
        except Exception:
            self._break_down()
        self._flush()

    def _break_down(self) -> None:
        """After a fault of ours nobody waits in vain: all that is carried is deferred, and the connection goes."""
        self._log.exception("delivery fault", remote=str(self.target))
        self.machine.end(_OUR_FAULT)
        for errand, _ in self._carried:
            errand.attempt.defer_rest(_OUR_FAULT)
        self._carried.clear()
        self._resolve(SessionEnded(_OUR_FAULT, False, Step.OVER))
        self.transport.abort()

    def _resolve(self, event: ClientEvent) -> None:
        """Hand an event to who opens the session, or its end to who serves with it."""
        if self._work is None:
            self._early.append(event)
            if self._waiter is not None and not self._waiter.done():
                self._waiter.set_result(None)
        elif self._ended is not None and not self._ended.done():
            self._ended.set_result(self._leftover)

    def _handle(self, event: ClientEvent) -> None:
        if self._work is None:
            self._resolve(event)
        elif isinstance(event, TransactionEnded):
            self._on_transaction_ended(event.transaction)
        elif isinstance(event, ContentWanted):
            self._feeder = self._loop.create_task(self._feed(self._carried[0][0]))
        elif isinstance(event, SessionEnded):
            self._on_session_ended(event)

    def _flush(self) -> None:
        output = self.machine.take_output()
        if output and not self.transport.is_closing():
            self.transport.write(output)
        if self.machine.ended:
            self.transport.close()

    def _progress(self) -> None:
        self.deadline = self._loop.time() + self._limits[self.machine.awaits]

    def _give_up(self, why: str) -> None:
        if not self.machine.ended:
            self.machine.end(Reply(450, "4.4.2", why))
            self._advance()
            self.transport.abort()

    def _take_next(self, work: Work) -> None:
        machine = self.machine
        if not (self._leaving or self._is_old() or work.must_leave(self)):
            while machine.can_begin and (errand := self._next(work)) is not None:
                self._try_to_begin(errand, work)
            if machine.is_idle and not machine.is_exhausted and not self._is_used_up and work.may_rest(self):
                return
        if machine.is_idle:
            machine.quit()
            self._advance()

    def _next(self, work: Work) -> Errand | None:
        if self._first is not None:
            errand, self._first = self._first, None
            return errand
        return None if self._is_used_up else work.take()

    @property
    def _is_used_up(self) -> bool:
        """Whether the session has carried as many messages as it may."""
        return 0 < self._options.connection_reuse_count_limit <= self.machine.begun

    def _is_old(self) -> bool:
        """Whether the session has been reused long enough. Its first errand is carried however long opening it took."""
        if not self.machine.begun:
            return False
        return self._is_used_up or self._loop.time() > self._opened + self._options.connection_reuse_time_limit

    def _try_to_begin(self, errand: Errand, work: Work) -> None:
        try:
            self._begin(errand, work)
        except Exception as fault:  # Unclean, or worse: nothing of it was sent
            self._log.error("refused to send", queue_id=errand.attempt.job.queue_id, reason=str(fault))
            errand.attempt.defer_rest(_OUR_FAULT)

    def _begin(self, errand: Errand, work: Work) -> None:
        job = errand.job
        capabilities = self.machine.capabilities
        now = time.time()
        refuse_unfit(errand, self.peer, capabilities, now)
        if len(errand.numbers) > self._recipient_limit:
            work.put_back(errand.part(errand.numbers[self._recipient_limit :]))
            errand.numbers = errand.numbers[: self._recipient_limit]
        if not errand.numbers:
            return
        recipients = [job.envelope.recipients[number] for number in errand.numbers]
        chunks = not self._chunk_faults.avoids(self.target, self._loop.time())
        kind = self.machine.transaction_kind
        transaction = plan(job.envelope, recipients, job.content, capabilities, now=now, chunks=chunks, kind=kind)
        self._carried.append((errand, transaction))
        errand.begun = self._loop.time()
        self.machine.begin(transaction)

    # Ends

    def _on_transaction_ended(self, transaction: Transaction) -> None:
        errand, _ = self._carried[0]
        work, final = self._work, transaction.final_reply
        is_closing = final is not None and final.code == _SERVICE_CLOSING
        if is_closing:
            transaction.final_reply = None  # it says "not now" to all, rather than a verdict on each
        settle_decided(errand, transaction, self.peer)
        self._carried.popleft()
        if work is None:
            return
        if final is not None and is_closing:
            if errand.numbers:
                work.throttled(errand, Failure(final, self.peer, by_peer=True), errand.begun)
            return
        work.concluded(errand, transaction)
        if errand.numbers:
            self._recipient_limit = sum(reply.is_positive for reply in transaction.rcpt_replies)
            work.took_only(self._recipient_limit)
            work.put_back(errand)

    def _on_session_ended(self, event: SessionEnded) -> None:
        failure = Failure(event.reply, self.peer, event.by_peer)
        reused = self.machine.finished > 0
        for transaction in event.unfinished:
            errand, _ = self._carried[0]
            settle_decided(errand, transaction, self.peer)
            stale = reused and transaction.is_untouched
            if transaction.chunk_unknown or (transaction.is_chunk and not (stale or event.by_peer)):
                self._chunk_faults.note(self.target, self._loop.time())
            if errand.numbers and may_have_taken(transaction, by_peer=event.by_peer, silent=self._timed_out):
                self._defer_doubtful(errand, failure)
            elif errand.numbers:
                # Neither a connection that had grown stale says anything about its host (C086), nor BDAT about DATA.
                if not (stale or transaction.chunk_unknown):
                    errand.tried |= {self.target}
                errand.failure = failure
                self._leave_over(errand)
            self._carried.popleft()
        if self._feeder is not None:
            self._feeder.cancel()
        if self._first is not None:
            self._leave_over(self._first)
            self._first = None
        self._resolve(event)

    def _leave_over(self, errand: Errand) -> None:
        """Have an errand tried elsewhere; there can be two where both had been sent ahead of the replies."""
        if self._leftover is None:
            self._leftover = errand
        elif self._work is not None:
            self._work.put_back(errand)

    def _defer_doubtful(self, errand: Errand, failure: Failure) -> None:
        """The final dot was sent and not answered: the peer may have the message all the same (RFC 1047, C085)."""
        queue_id = errand.attempt.job.queue_id
        self._log.warning("possible duplicate", queue_id=queue_id, remote=str(self.target), reason=str(failure.reply))
        reply = failure.reply
        said = Reply(reply.code, reply.enhanced, f"{reply.text}; the message may be sent more than once")
        errand.fail(Failure(said, self.peer, failure.by_peer))

    # Large contents

    async def _feed(self, errand: Errand) -> None:
        """Stream a content; a fault of ours ends the connection before the final dot, so nothing half is accepted."""
        job = errand.job
        machine = self.machine
        try:
            pieces = self._read(job.content)
            while (piece := await self._loop.run_in_executor(None, next, pieces, b"")) and not machine.ended:
                machine.send(piece)
                self._flush()
                if self._room is not None:
                    await self._room
                self._progress()
            machine.end_content()
            self._advance()
            self._progress()
        except Exception as fault:
            self._log.error("refused to send", queue_id=job.queue_id, reason=str(fault))
            if not machine.ended:
                settle_decided(errand, self._carried[0][1], self.peer)
                errand.fail(Failure(_OUR_FAULT, self.peer))
                errand.numbers = ()
                self.abort()
