"""One client's connection: octets between the transport and the server machine, deadlines and back-pressure.

    transport -> data_received -> machine.receive -> events -> Session.handle -> Reply -> machine -> one write

What the session can answer at once is answered at once; what has to wait (login, TLS, the queue) becomes a task, and
the machine keeps what arrives meanwhile, up to a bound at which reading is paused. Replies of a pipelined batch leave
in one write. A long batch is such a task too, between two parts of it: other clients have their turn (receive/turns).

The deadline of a connection (C120) is looked at by the listener's sweep, not by a timer of its own. It is set anew by
each reply of ours; from the first octet of a content to its last each octet buys a little time, never more than the
whole timeout: neither a drip of octets nor one of chunks keeps a connection open. Nor does a drip of commands: a
stranger who brings no message for PATIENCE timeouts has to go.
"""

import asyncio
import contextlib
import ssl
from collections.abc import Coroutine
from typing import Any, Final, Protocol, cast

from valija.mail.reply import Reply
from valija.receive.incoming import IncomingContent
from valija.receive.peer import peer_of
from valija.receive.session import Session
from valija.receive.site import Site
from valija.receive.turns import Turns
from valija.smtp.events import Closing, Event, GiveWay, StartTls
from valija.smtp.server import ServerMachine, ServerRules
from valija.tls.channel import TlsChannel
from valija.tls.contexts import tls_facts
from valija.tls.starttls import TlsFailed, start_tls

HELD_OCTETS: Final = 256 * 1024  # kept for a client whose command is being decided; beyond it reading pauses
OCTETS_AT_ONCE: Final = 256 * 1024  # read from one client before others have their turn
SHORT: Final = 2048  # octets: so much is answered at once, however many stand in line with more
CONTENT_OCTETS_PER_SECOND: Final = 500.0  # what a content must reach on average, as Postfix asks (smtpd_min_data_rate)
HANDSHAKE_TIMEOUT: Final = 60.0  # seconds
PATIENCE: Final = 6  # timeouts in which a stranger must have brought a message: half an hour

_TOO_SLOW = Reply(421, "4.4.2", "Timeout, closing the connection")
_STOPPING = Reply(421, "4.3.2", "The server is being stopped, try again soon")
_OUR_FAULT = Reply(451, "4.3.0", "Local error in processing, try again later")


class Door(Protocol):
    """What a connection asks of the listener that it came in by."""

    loop: asyncio.AbstractEventLoop
    site: Site
    rules: ServerRules
    turns: Turns
    stopping: bool
    content_rate: float
    """Octets per second that a content must reach on average now."""

    def now(self) -> float:
        """The loop's clock."""

    def tls_context(self) -> ssl.SSLContext:
        """The context for a handshake that begins now."""

    def admit(self, connection: "Connection") -> Reply | None:
        """Count a connection in; return why it may not stay, None if it may."""

    def greet_later(self, connection: "Connection") -> None:
        """Have its `greet` called in good time."""

    def forget(self, connection: "Connection") -> None:
        """The connection is gone."""


class Connection(asyncio.Protocol):
    """The protocol object of one client. Made by a Listener, which hears when it ends."""

    __slots__ = (
        "_ended",
        "_greeted",
        "_held_up",
        "_in_handshake",
        "_is_turned_away",
        "_listener",
        "_messages",
        "_octets",
        "_reading_paused",
        "_renewed_for",
        "_since",
        "_task",
        "deadline",
        "machine",
        "session",
        "transport",
    )

    def __init__(self, listener: Door) -> None:
        self._listener = listener
        self._task: asyncio.Task[Any] | None = None
        self._in_handshake = False
        self._greeted = False
        self._is_turned_away = False
        self._held_up = False  # the peer does not read what we write
        self._reading_paused = False
        self._renewed_for: IncomingContent | None = None  # the content whose beginning has renewed the deadline
        self._octets = 0
        self._ended = ""
        self._since = listener.now()  # when the last message was seen to have come, or the client
        self._messages = 0
        self.deadline = self._since + listener.site.options.timeout

    # What the loop tells

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Let the client in, or tell it why not, and see who talks first."""
        self.transport = cast("asyncio.Transport", transport)
        listener = self._listener
        tls_first = listener.site.role == "submissions"
        self.session = self.begin_session(transport)
        refusal = listener.admit(self)
        if refusal is not None:
            self._turn_away(refusal, in_words=not tls_first)
            return
        self.machine = ServerMachine(
            listener.rules, tls_active=tls_first, mechanisms=self.session.mechanisms, clock=listener.site.clock
        )
        self.session.machine = self.machine
        if tls_first:
            self._start_tls()
        else:
            # A client that talks before the banner is heard first: its octets are read between two turns of the loop.
            listener.greet_later(self)

    def _turn_away(self, refusal: Reply, *, in_words: bool) -> None:
        """End before anything began. Words inside TLS would cost a handshake."""
        self._is_turned_away = True
        self._ended = "refused"
        if in_words:
            self.transport.write(refusal.encode())
            self.transport.close()
        else:
            self.transport.abort()

    def begin_session(self, transport: asyncio.BaseTransport) -> Session:
        """Return the session of whoever is there."""
        site = self._listener.site
        return Session(site, peer_of(transport, with_own_end=site.takes_logins))

    def data_received(self, data: bytes) -> None:
        """Feed the machine."""
        if self._is_turned_away:
            return
        machine, size = self.machine, len(data)
        machine.receive(data)
        if machine.in_content:
            self._buy_time(size)
        if self._task is not None:
            if machine.buffered > HELD_OCTETS:
                self._pause_reading()
        elif size > SHORT and not machine.in_content and self._listener.turns.is_busy:
            self._stand_in_line()
        else:
            self._advance()
        self._octets += size
        if self._octets > OCTETS_AT_ONCE and self._task is None and not self.transport.is_closing():
            # The loop would go on reading from who sends fast enough, some megabytes before it turns to anybody else.
            self._stand_in_line()

    def _buy_time(self, octets: int) -> None:
        bought = self.deadline + octets / self._listener.content_rate
        self.deadline = min(self._listener.now() + self._listener.site.options.timeout, bought)

    def _stand_in_line(self) -> None:
        self._octets = 0
        self._pause_reading()
        self._begin(self._others())

    def eof_received(self) -> bool:
        """The client will send no more: finish what is being decided, then go. TLS ends in both directions at once."""
        if self._is_turned_away or self._task is None:
            self._ended = self._ended or "lost"
            return False
        self._ended = self._ended or "half-closed"
        return self.session.tls is None

    def pause_writing(self) -> None:
        """The peer does not read its replies: take no more commands from it."""
        self._held_up = True
        self._pause_reading()

    def resume_writing(self) -> None:
        """It reads again."""
        self._held_up = False
        self._resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone, whoever ended it."""
        if self._task is not None and not self.session.is_committing:
            self._task.cancel()
        if not self._is_turned_away:
            self.session.end(self._ended or "lost")
        self._listener.forget(self)

    # What the listener asks

    def greet(self) -> None:
        """Send the banner, unless the client has spoken out of turn or left."""
        if not self._greeted and not self.transport.is_closing():
            self._greeted = True
            self.machine.greet()
            self._advance()

    def time_out(self) -> None:
        """The deadline has passed. It is not the client's that is kept waiting by us: by a commit, a check, others."""
        if self._task is not None and not self._in_handshake and not self._ended:
            self._renew_deadline()
            return
        if self._ended:
            self.transport.abort()  # it was told already and is not even reading that
            return
        self._ended = "timeout"
        self.shut_down(_TOO_SLOW)

    def brings_nothing(self, now: float) -> bool:
        """Whether no message has come for too long, and none is under way. The sweep asks, so that messages don't."""
        if self.session.messages != self._messages:
            self._messages, self._since = self.session.messages, now
        if now - self._since <= PATIENCE * self._listener.site.options.timeout:
            return False
        return not (self._ended or self._task is not None or self.session.incoming is not None)

    def stop(self, *, at_once: bool) -> None:
        """The server stops: an idle client is told, one that is sending a content may end it unless `at_once`."""
        if at_once or not (self.machine.in_content or self._task is not None):
            self._ended = self._ended or "stopped"
            self.shut_down(_STOPPING)

    def shut_down(self, reply: Reply) -> None:
        """Say a last 421 and close."""
        if self.transport.is_closing():
            return
        if self._in_handshake:  # nobody can read a reply now
            self.transport.abort()
            return
        self.machine.shut_down(reply)
        self._advance()

    # The machine's events

    def _advance(self) -> None:
        """Handle events until more octets are needed or something has to be waited for; then write."""
        while (event := self.machine.next_event()) is not None:
            self._take(event)
            if self._task is not None:
                return
        self._write()

    def _take(self, event: Event) -> None:
        if isinstance(event, StartTls):
            self._start_tls()
            return
        if isinstance(event, GiveWay):
            if self.machine.buffered:
                self._wait_for(self._others())
            return
        try:
            answer = self.session.handle(event)
        except Exception:
            answer = self._fault(event.needs_answer)
        if isinstance(event, Closing):
            self._ended = self._ended or self.session.why_ended(event)
            self._write()
            self.transport.close()
        elif isinstance(answer, Reply):
            self.machine.answer(answer)
        elif answer is not None:
            self._wait_for(self._answer(answer))

    def _write(self) -> None:
        output = self.machine.take_output()
        if output:
            self.transport.write(output)
            incoming = self.session.incoming
            if incoming is None or incoming is not self._renewed_for:
                self._renewed_for = incoming
                self.deadline = self._listener.now() + self._listener.site.options.timeout

    def _renew_deadline(self) -> None:
        self.deadline = self._listener.now() + self._listener.site.options.timeout

    def _fault(self, needs_answer: bool) -> Reply | None:
        """Unknown means transient: a fault of ours is logged and never becomes a 5yz."""
        self._listener.site.log.exception("session fault", session=self.session.id, client=self.session.peer.address)
        return _OUR_FAULT if needs_answer else None

    # What waits

    def _wait_for(self, work: Coroutine[Any, Any, None]) -> None:
        """Write what there is, and take no event until `work` is done."""
        self._write()
        self._begin(work)

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        self._task = self._listener.loop.create_task(work)

    async def _answer(self, answer: Coroutine[Any, Any, Reply]) -> None:
        try:
            reply = await answer
        except Exception:
            reply = self._fault(True) or _OUR_FAULT
        if not self.transport.is_closing():
            self.machine.answer(reply)
        self._go_on()

    async def _others(self) -> None:
        """Stand in line: whoever else has something to say is heard."""
        await self._listener.turns.wait()
        self._go_on()

    def _go_on(self) -> None:
        """What was waited for is done: take what arrived meanwhile."""
        self._task = None
        if self.transport.is_closing():
            return
        if self._listener.stopping and not self.machine.in_content:
            self._ended = "stopped"
            self.machine.shut_down(_STOPPING)
        self._advance()
        if self._ended == "half-closed" and self._task is None:
            self.transport.close()
        self._resume_reading()

    def _start_tls(self) -> None:
        """Flush the 220, take nothing more in clear, and do the handshake (RFC 3207, RFC 8314)."""
        self._in_handshake = True
        self._write()
        handshake = start_tls(
            self.transport, self, self._listener.tls_context(), server_side=True, timeout=HANDSHAKE_TIMEOUT
        )
        self._begin(self._shake_hands(handshake))

    async def _shake_hands(self, handshake: Coroutine[Any, Any, asyncio.Transport]) -> None:
        try:
            self.transport = await handshake
        except TlsFailed as failure:
            self._ended = self._ended or "TLS failed"
            self.session.tls_failure = str(failure)
            return
        finally:
            self._task = None
            self._in_handshake = False
        self._reading_paused = self._held_up = False
        self._renew_deadline()
        self.session.tls = tls_facts(self.transport)
        self.session.channel = TlsChannel.of(self.transport)
        if self.machine.tls_active:  # TLS from the first byte: the banner is still to come
            self.greet()
        else:
            self.session.forget()
            self.machine.tls_started()

    # Back-pressure

    def _pause_reading(self) -> None:
        if not self._reading_paused and not self.transport.is_closing():
            self._reading_paused = True
            self.transport.pause_reading()

    def _resume_reading(self) -> None:
        if self._reading_paused and not self._held_up and self.machine.buffered <= HELD_OCTETS:
            self._reading_paused = False
            with contextlib.suppress(RuntimeError):  # closing
                self.transport.resume_reading()
