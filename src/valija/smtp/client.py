"""The client's side of an SMTP session, without I/O: octets in, events out (RFC 5321, 2920, 3207).

    machine = ClientMachine("mail.example.org")
    machine.receive(octets)
    while (event := machine.next_event()) is not None: ...      # see smtp/client_events
    if machine.can_begin: machine.begin(plan(...))              # see smtp/client_transaction
    transport.write(machine.take_output())

The rules of the state machine:

- The banner is awaited, then EHLO is sent, and HELO only where EHLO gets a 5yz. `Ready` tells what the peer announced;
  after `tls_started` all of it is forgotten and EHLO is sent once more.
- A login goes one line at a time, and nothing is begun before it has ended.
- What was sent and not yet answered stands in one line of `Step`s; a reply belongs to the first of them, and the table
  `_handlers` says what it does. A reply nobody waits for ends the session.
- Replies to MAIL, RCPT, DATA and the final dot belong to the oldest open transaction. With PIPELINING all commands of a
  transaction leave at once, and the next transaction may begin as soon as the final dot is on its way: dot and next
  MAIL leave in one write (RFC 2920 section 3.1). Without it each command waits for the reply to the one before.
- With CHUNKING a small content leaves with its commands, in one flight. A BDAT that fails leaves the peer in a state
  that only RSET ends (RFC 3030 section 2): what is begun before its reply has RSET in front of it. A peer that calls
  BDAT unknown although it had recipients may have taken the content for commands: the session ends.
- 354 although no recipient was taken: a lone dot, its reply ignored. A transaction that was refused before its
  content is followed by RSET, and nothing is begun before that is answered.
- 421 ends the session wherever it comes; only as the reply to a final dot it is a verdict as well.
- A reply that is none, or of a class its command cannot have, ends the session: transient, whatever it meant.

The same octets give the same events however they are cut, and no octets raise. Only `begin` and `send` raise (Unclean,
by a fault of ours), before anything of the fault has left.

Known weakness: a peer that closes right behind a 250 while a further transaction is on its way to it may reset the
connection and destroy its own reply: the message is then sent again.
"""

from collections import deque
from collections.abc import Callable, Collection, Mapping
from typing import Any, ClassVar, Final

from valija.mail.reply import Reply
from valija.smtp.client_capabilities import Capabilities, read_capabilities
from valija.smtp.client_content import Stuffing
from valija.smtp.client_events import (
    ClientEvent,
    ContentWanted,
    Ready,
    SessionEnded,
    Step,
    TlsReady,
    TlsRefused,
    TransactionEnded,
)
from valija.smtp.client_login import Login
from valija.smtp.client_transaction import Transaction
from valija.smtp.replies import ReplyParser, Unreadable

_SERVICE_CLOSING: Final = 421
_NOT_UNDERSTOOD: Final = range(500, 505)  # RFC 5321 section 4.2.2: it is the command that is wrong
_CONTENT_ENDS: Final = (Step.FINAL, Step.CHUNK)
_BEFORE_CONTENT: Final = (Step.MAIL, Step.RCPT)


class ClientMachine:
    """One session. `hostname` is what we call ourselves; `ignored_keywords` of EHLO count as not announced.

    With `tls_first` TLS has to come before the banner (RFC 8314 section 3): `tls_came_first` tells that it is there.
    """

    transaction_kind: ClassVar[type[Transaction]] = Transaction  # to give to `plan`

    __slots__ = (
        "_awaited",
        "_events",
        "_hostname",
        "_ignored_keywords",
        "_login",
        "_open",
        "_output",
        "_parser",
        "_stuffing",
        "_unsent",
        "begun",
        "capabilities",
        "ended",
        "finished",
        "replies",
        "tls_active",
    )

    def __init__(self, hostname: str, *, ignored_keywords: Collection[str] = (), tls_first: bool = False) -> None:
        self._hostname = hostname
        self._ignored_keywords = ignored_keywords
        self._parser = ReplyParser()
        self._output: list[bytes] = []
        self._events: deque[ClientEvent] = deque()
        self._awaited: deque[Step] = deque((Step.HANDSHAKE if tls_first else Step.BANNER,))
        self._open: deque[Transaction] = deque()
        self._unsent: deque[bytes] = deque()  # commands that wait for the reply to the one before
        self._login: Login | None = None  # under way
        self._stuffing: Stuffing | None = None  # a content is being sent in pieces
        self.capabilities = Capabilities()
        self.tls_active = False
        self.ended = False
        self.begun = 0  # transactions
        self.finished = 0
        self.replies = 0  # whole replies so far: progress, where single octets are none

    # What the driver feeds and takes

    def receive(self, data: bytes) -> None:
        """Take octets from the peer."""
        if not self.ended:
            self._parser.feed(data)

    def next_event(self) -> ClientEvent | None:
        """Return the next event, None if octets or a step of the driver are needed."""
        while not self._events:
            if self.ended:
                return None
            reply = self._parser.next()
            if reply is None:
                return None
            self._take(reply)
        return self._events.popleft()

    def take_output(self) -> bytes:
        """Return what is to be written, and forget it."""
        output = self._output
        if not output:
            return b""
        self._output = []
        return output[0] if len(output) == 1 else b"".join(output)

    @property
    def awaits(self) -> Step:
        """The step whose time limit counts now."""
        if self.ended:
            return Step.OVER
        if self._awaited:
            step = self._awaited[0]
            # A peer may keep its replies back until it has read the whole flight.
            return Step.CHUNK if step in _BEFORE_CONTENT and self._open[0].is_chunk else step
        return Step.CONTENT if self._stuffing is not None else Step.IDLE

    # What the driver decides

    def start_tls(self) -> None:
        """Ask for TLS, after Ready."""
        self._send(b"STARTTLS\r\n", Step.STARTTLS)

    def tls_started(self) -> None:
        """The handshake is done: what was learnt in clear is forgotten (RFC 3207 section 4.2)."""
        self._awaited.clear()
        self.tls_active = True
        self.capabilities = Capabilities()
        self._hello()

    def tls_came_first(self) -> None:
        """The handshake is done, and the banner is awaited inside TLS."""
        self._awaited = deque((Step.BANNER,))
        self.tls_active = True

    def log_in(self, login: Login) -> None:
        """Ask to be let in, in an idle session after Ready: LoggedIn or LoginRefused comes of it (RFC 4954)."""
        assert self.is_idle
        self._login = login
        self._send(login.command(), Step.AUTH)

    @property
    def can_begin(self) -> bool:
        """Whether a transaction may begin: nothing is open, or only one whose final dot has been sent."""
        if self._awaited:
            may_begin = self.capabilities.pipelining and len(self._open) == 1 and self._open[0].dot_sent
        else:
            may_begin = not self._open and self._parser.is_empty
        return may_begin and not self.ended and not 0 < self.capabilities.mail_max <= self.begun

    @property
    def is_idle(self) -> bool:
        """Nothing is under way."""
        return not (self._awaited or self._open or self.ended)

    @property
    def is_exhausted(self) -> bool:
        """The peer takes no more transactions in this session (RFC 9422 MAILMAX)."""
        return 0 < self.capabilities.mail_max <= self.begun

    def begin(self, transaction: Transaction) -> None:
        """Begin a transaction; `can_begin` holds."""
        assert self.can_begin
        self.begun += 1
        if self._open and self._open[0].is_chunk:
            self._send(b"RSET\r\n", Step.RSET)
        self._open.append(transaction)
        commands = transaction.commands
        if self.capabilities.pipelining:
            self._output += commands
            last = Step.CHUNK if transaction.is_chunk else Step.DATA
            self._awaited += (Step.MAIL, *(Step.RCPT,) * (len(commands) - 2), last)
            if transaction.is_chunk:
                self._send_chunk(transaction)
        else:
            self._unsent.extend(commands[1:])
            self._send(commands[0], Step.MAIL)

    def send(self, chunk: bytes) -> None:
        """Send a piece of the content that ContentWanted asked for. Raises Unclean: then abort the connection."""
        if self._stuffing is not None:
            self._output.append(self._stuffing.feed(chunk))

    def end_content(self) -> None:
        """The content is complete. Raises Unclean: then abort the connection."""
        if self._stuffing is not None:
            self._finish_content(self._stuffing.finish())

    def quit(self) -> None:
        """End an idle session with QUIT; its reply is not waited for."""
        if not self.ended:
            self._output.append(b"QUIT\r\n")
            self.end(Reply(221, "2.0.0", "The session was ended here"))

    def end(self, reply: Reply, *, by_peer: bool = False) -> None:
        """The session is over: connection lost, time passed, or our own wish. `reply` says why."""
        if self.ended:
            return
        step = self.awaits
        self.ended = True
        self._awaited.clear()
        self._unsent.clear()
        self._login = None
        self._stuffing = None
        unfinished = tuple(self._open)
        self._open.clear()
        self._events.append(SessionEnded(reply, by_peer, step, unfinished))

    # What a reply does

    def _take(self, reply: Reply | Unreadable) -> None:
        self.replies += 1
        if isinstance(reply, Unreadable):
            self._cannot_understand(reply.why)
        elif not self._awaited:
            self._take_unasked(reply)
        elif reply.code == _SERVICE_CLOSING and self._awaited[0] not in _CONTENT_ENDS:
            self.end(reply, by_peer=True)
        else:
            self._handlers[self._awaited.popleft()](self, reply)

    def _take_unasked(self, reply: Reply) -> None:
        """A peer may give up amid a content, or on an idle session; all else is out of step."""
        if self._stuffing is not None and reply.code >= 400:
            transaction = self._open[0]
            transaction.final_reply = reply
            self._ended(transaction)
            self.end(reply, by_peer=True)
        elif reply.code == _SERVICE_CLOSING:
            self.end(reply, by_peer=True)
        else:
            self._cannot_understand(f"a reply to nothing: {reply.code}")

    def _cannot_understand(self, why: str) -> None:
        self.end(Reply(450, "4.5.0", f"The peer does not speak SMTP as agreed: {why}"))

    def _on_banner(self, reply: Reply) -> None:
        if reply.code // 100 == 2:
            self._hello()
        else:
            self._refused(reply)

    def _on_ehlo(self, reply: Reply) -> None:
        if reply.is_permanent:
            self._send(f"HELO {self._hostname}\r\n".encode(), Step.HELO)
        elif reply.code // 100 == 2:
            self.capabilities = read_capabilities(reply.text, self._ignored_keywords)
            self._events.append(Ready(self.capabilities))
        else:
            self._refused(reply)

    def _on_helo(self, reply: Reply) -> None:
        if reply.code // 100 == 2:
            self._events.append(Ready(self.capabilities))
        else:
            self._refused(reply)

    def _on_starttls(self, reply: Reply) -> None:
        if reply.code != 220:
            self._events.append(TlsRefused(reply))
        elif self._parser.is_empty:
            self._awaited.append(Step.HANDSHAKE)
            self._events.append(TlsReady())
        else:
            self._cannot_understand("octets behind the reply to STARTTLS")

    def _on_handshake(self, reply: Reply) -> None:
        self._cannot_understand("a reply in clear where TLS was agreed")

    def _on_auth(self, reply: Reply) -> None:
        login = self._login
        assert login is not None
        if reply.code // 100 != 3:
            self._login = None
            self._events.append(login.ended(reply))
            return
        answer = login.answer(reply.text) if reply.code == 334 else None
        if answer is None:
            self._cannot_understand(f"{reply.code} where a login ends")
        else:
            self._send(answer, Step.AUTH)

    def _on_mail(self, reply: Reply) -> None:
        if reply.code // 100 == 3:
            self._cannot_understand(f"{reply.code} to MAIL FROM")
            return
        transaction = self._open[0]
        transaction.mail_reply = reply
        if not self.capabilities.pipelining:
            if reply.is_positive:
                self._send_next()
            else:
                self._abandon(transaction)

    def _on_rcpt(self, reply: Reply) -> None:
        if reply.code // 100 == 3:
            self._cannot_understand(f"{reply.code} to RCPT TO")
            return
        transaction = self._open[0]
        transaction.rcpt_replies.append(reply)
        if self.capabilities.pipelining:
            return
        if len(self._unsent) > 1 or transaction.has_recipients:
            self._send_next()
        else:
            self._abandon(transaction)

    def _on_data(self, reply: Reply) -> None:
        transaction = self._open[0]
        if reply.code // 100 == 2:
            self._cannot_understand(f"{reply.code} to DATA")
            return
        transaction.data_reply = reply
        if not reply.is_positive:
            self._abandon(transaction)
        elif not transaction.has_recipients:
            self._finish_content(b".\r\n")
        elif transaction.payload is not None:
            self._finish_content(transaction.payload)
            transaction.payload = None
        else:
            self._stuffing = Stuffing()
            self._events.append(ContentWanted(transaction))

    def _on_final(self, reply: Reply) -> None:
        transaction = self._open[0]
        if reply.code // 100 == 3:
            self._cannot_understand(f"{reply.code} to the final dot")
            return
        transaction.final_reply = reply
        self._ended(transaction)
        if reply.code == _SERVICE_CLOSING:
            self.end(reply, by_peer=True)

    def _on_chunk(self, reply: Reply) -> None:
        transaction = self._open[0]
        if reply.code // 100 == 3:
            self._cannot_understand(f"{reply.code} to BDAT")
            return
        if transaction.has_recipients and reply.code in _NOT_UNDERSTOOD:
            transaction.chunk_unknown = True
            self.end(reply, by_peer=True)
            return
        transaction.final_reply = reply
        if not reply.is_positive and not (self._awaited and self._awaited[0] is Step.RSET):
            self._send(b"RSET\r\n", Step.RSET)
        self._ended(transaction)
        if reply.code == _SERVICE_CLOSING:
            self.end(reply, by_peer=True)

    def _on_rset(self, reply: Reply) -> None:
        if reply.code // 100 != 2:
            self._refused(reply)

    def _refused(self, reply: Reply) -> None:
        self.end(reply, by_peer=True)

    # Steps

    def _hello(self) -> None:
        self._send(f"EHLO {self._hostname}\r\n".encode(), Step.EHLO)

    def _send(self, command: bytes, step: Step) -> None:
        self._output.append(command)
        self._awaited.append(step)

    def _send_next(self) -> None:
        command = self._unsent.popleft()
        self._send(command, Step.RCPT if self._unsent else Step.DATA)

    def _send_chunk(self, transaction: Transaction) -> None:
        assert transaction.payload is not None
        self._output.append(transaction.payload)
        transaction.payload = None
        transaction.dot_sent = True

    def _finish_content(self, octets: bytes) -> None:
        self._stuffing = None
        self._open[0].dot_sent = True
        self._send(octets, Step.FINAL)

    def _abandon(self, transaction: Transaction) -> None:
        """The transaction ends without a content; the peer may still think it open."""
        self._unsent.clear()
        self._send(b"RSET\r\n", Step.RSET)
        self._ended(transaction)

    def _ended(self, transaction: Transaction) -> None:
        self._open.popleft()
        self.finished += 1
        self._events.append(TransactionEnded(transaction))

    _handlers: ClassVar[Mapping[Step, Callable[[Any, Reply], None]]] = {
        Step.BANNER: _on_banner,
        Step.EHLO: _on_ehlo,
        Step.HELO: _on_helo,
        Step.STARTTLS: _on_starttls,
        Step.HANDSHAKE: _on_handshake,
        Step.AUTH: _on_auth,
        Step.MAIL: _on_mail,
        Step.RCPT: _on_rcpt,
        Step.DATA: _on_data,
        Step.FINAL: _on_final,
        Step.CHUNK: _on_chunk,
        Step.RSET: _on_rset,
    }
