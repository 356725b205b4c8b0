"""One connection to a peer: octets between the transport and the client machine, and errands through it.

    session = Session(target, machine, options=options, read=read, registry=registry, log=log)
    event = await session.event()          # while it is being opened: see deliver/connect
    leftover = await session.serve(work, errand)

While it serves everything happens in callbacks: a flight of octets is one write, replies are handled as they come, and
the next errand is taken while the final dot of the one before is still on its way (deliver/load). A large content is
streamed, a piece whenever the peer has room, read in a thread.

The deadline is looked at by the agent's sweep, not by a timer of its own; only whole replies and taken pieces of
content count as progress, so that a dripping peer is not waited for any longer.
"""

import asyncio
import sys
from collections import deque
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, cast

import msgspec

from valija.deliver.chunk_faults import ChunkFaults
from valija.deliver.errand import Errand, Failure, Peer, Target
from valija.deliver.load import OUR_FAULT, Load
from valija.deliver.options import SmtpOptions, time_limits
from valija.deliver.verdicts import settle_decided
from valija.deliver.work import Work
from valija.logs import Log
from valija.mail.content import Content
from valija.mail.outcome import Channel
from valija.mail.reply import Reply
from valija.smtp.client import ClientMachine
from valija.smtp.client_events import ClientEvent, ContentWanted, SessionEnded, Step, TransactionEnded
from valija.smtp.client_login import Login
from valija.tls.contexts import tls_facts
from valija.tls.starttls import TlsFailed, start_tls

if TYPE_CHECKING:
    import ssl

Read = Callable[[Content], Iterator[bytes]]


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
        now = self._loop.time()
        self._retires_at = now + options.connection_reuse_time_limit
        self._most = options.connection_reuse_count_limit or sys.maxsize  # messages it may carry
        self._early: deque[ClientEvent] = deque()  # events that came while the session is being opened
        self._waiter: asyncio.Future[None] | None = None
        self._work: Work | None = None
        self._load: Load | None = None  # while it serves
        self._ended: asyncio.Future[Errand | None] | None = None
        self._feeder: asyncio.Task[None] | None = None
        self._room: asyncio.Future[None] | None = None  # pending while the peer takes no more octets
        self._leaving = False
        self._timed_out = False
        self._chunk_faults = chunk_faults or ChunkFaults()
        self.deadline = now + self._limits[Step.BANNER]

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
        self._load = Load(
            self.machine,
            self.peer,
            work,
            errand,
            options=self._options,
            chunk_faults=self._chunk_faults,
            log=self._log,
        )
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
        if self.machine.awaits is Step.IDLE and (self._load is None or self._load.is_empty):
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
            if self._load is not None and self._work is not None and (machine.is_idle or machine.can_begin):
                self._take_next(self._load, self._work)
        except Exception:
            self._break_down()
        self._flush()

    def _break_down(self) -> None:
        """After a fault of ours nobody waits in vain: all that is carried is deferred, and the connection goes."""
        self._log.exception("delivery fault", remote=str(self.target))
        self.machine.end(OUR_FAULT)
        if self._load is not None:
            self._load.defer_all(OUR_FAULT)
        self._resolve(SessionEnded(OUR_FAULT, False, Step.OVER))
        self.transport.abort()

    def _resolve(self, event: ClientEvent) -> None:
        """Hand an event to who opens the session, or its end to who serves with it."""
        if self._load is None:
            self._early.append(event)
            if self._waiter is not None and not self._waiter.done():
                self._waiter.set_result(None)
        elif self._ended is not None and not self._ended.done():
            self._ended.set_result(self._load.leftover)

    def _handle(self, event: ClientEvent) -> None:
        load = self._load
        if load is None:
            self._resolve(event)
        elif isinstance(event, TransactionEnded):
            load.transaction_ended(event.transaction)
        elif isinstance(event, ContentWanted):
            self._feeder = self._loop.create_task(self._feed(load))
        elif isinstance(event, SessionEnded):
            load.session_ended(event, silent=self._timed_out)
            if self._feeder is not None:
                self._feeder.cancel()
            self._resolve(event)

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

    def _take_next(self, load: Load, work: Work) -> None:
        machine = self.machine
        must_end = self._leaving or self._is_old() or work.must_leave(self)
        while not must_end and machine.can_begin and machine.begun < self._most and (errand := load.next()) is not None:
            load.begin(errand)
        if not machine.is_idle:
            return
        if must_end or machine.begun >= self._most or machine.is_exhausted or not work.may_rest(self):
            machine.quit()
            self._advance()

    def _is_old(self) -> bool:
        """Whether the session has been reused long enough. Its first errand is carried however long opening it took."""
        begun = self.machine.begun
        return begun > 0 and (begun >= self._most or self._loop.time() > self._retires_at)

    # Large contents

    async def _feed(self, load: Load) -> None:
        """Stream a content; a fault of ours ends the connection before the final dot, so nothing half is accepted."""
        errand, transaction = load.current
        machine = self.machine
        try:
            pieces = self._read(errand.job.content)
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
            self._log.error("refused to send", queue_id=errand.job.queue_id, reason=str(fault))
            if not machine.ended:
                settle_decided(errand, transaction, self.peer)
                errand.fail(Failure(OUR_FAULT, self.peer))
                errand.numbers = ()
                self.abort()
