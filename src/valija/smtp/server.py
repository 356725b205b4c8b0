"""The server's side of SMTP as a machine without I/O: octets in, events and replies out.

    machine = ServerMachine(ServerRules("mail.example.org", "smtpd"))
    machine.greet()
    machine.receive(b"EHLO client.example\\r\\nMAIL FROM:<a@example.net>\\r\\n")
    machine.next_event()            # Hello("client.example", extended=True)
    machine.next_event()            # Mail("a@example.net", ...)
    machine.answer(Reply(250, "2.1.0", "Ok"))
    machine.take_output()           # banner, EHLO's lines and the 250, for one write

The rules:

1. Which command is legal in which state stands in smtp/states; the machine refuses the rest, and syntax errors, with a
   reply of its own. Each command gets one reply, in order. What needs a decision becomes an event.
2. One question at a time: after an event that needs an answer nothing is read until `answer`. The one exception
   to the order is `shut_down`, which ends the session at any moment.
3. A 421, whoever gives it, ends the session: the next event is Closing, and input is thrown away from then on.
4. DATA ends at CRLF.CRLF and nowhere else, BDAT after its octets (smtp/server_content). A content that breaks a rule is
   swallowed to its true end, gets one refusal there, and is reported as ContentRefused. Chunks may have been handed
   out before. A DATA that the session refuses leaves the transaction open; a BDAT series that fails is over, and its
   transaction waits for RSET; so does one that wants DATA for a binary content.
5. Talking out of turn ends the session: octets before the banner, behind STARTTLS, or behind a DATA that is legal or
   lacks only recipients, before its reply. What its sender means as content must never run as commands.
6. After the TLS handshake nothing is known of before but the counts of errors and failed logins (RFC 3207 section 4.2).
7. The limits of smtp/rules end the session with 421 in place of the reply that was due. Errors, refused recipients and
   junk are counted since the last accepted message; failed logins for good.

8. After each COMMANDS_AT_ONCE commands comes GiveWay: one client's pipeline must not keep all others waiting.

Memory: a line costs at most LOGIN_LINE_LIMIT octets, content is passed on as it comes. Octets that arrive while an
answer is awaited are held: stop reading when `buffered` grows (smtp/conversation cuts off who doesn't).

Known weakness: the machine does not know the time. Timeouts are the session's, and so are clients that send contents
or refused commands for ever without breaking a rule.
"""

from collections.abc import Callable
from typing import Final

from valija.mail.reply import Reply
from valija.smtp import answers, commands, events
from valija.smtp.buffer import LineTooLong
from valija.smtp.commands import BASIC_OFFER, Refused
from valija.smtp.events import Event
from valija.smtp.extensions import banner, ehlo_reply, helo_reply, mail_offer
from valija.smtp.intake import DottedContent
from valija.smtp.rules import ServerRules
from valija.smtp.server_content import ContentConversation
from valija.smtp.states import LEGAL, TABLE, TABLE_WITHOUT_LOGINS, State

__all__ = ["ServerMachine", "ServerRules"]

COMMANDS_AT_ONCE: Final = 100  # a millisecond's work or two

_TLS_HANDSHAKE: Final = b"\x16\x03"  # how a TLS client begins (RFC 8446 section 5.1)


class ServerMachine(ContentConversation):
    """One connection's state. See the module's rules; nothing here raises for what a client does."""

    __slots__ = (
        "_clock",
        "_commands",
        "_mechanisms",
        "_offer",
        "_table",
        "authenticated",
        "extended",
        "hello_name",
        "tls_active",
    )

    def __init__(
        self,
        rules: ServerRules,
        *,
        tls_active: bool = False,
        mechanisms: Callable[[], tuple[str, ...]] = tuple,
        clock: Callable[[], float] = float,
    ) -> None:
        super().__init__(rules, silence=answers.BEFORE_BANNER, read_line=ServerMachine._read_command)
        self.tls_active = tls_active
        self.authenticated = False
        self.extended = False  # EHLO, not HELO
        self.hello_name = ""
        self._mechanisms = mechanisms
        self._clock = clock  # epoch seconds; asked only to announce until when mail can be held
        self._offer = BASIC_OFFER
        self._table = TABLE if rules.takes_logins else TABLE_WITHOUT_LOGINS
        self._commands = 0  # since the last GiveWay

    def greet(self) -> None:
        """Queue the banner."""
        if self.buffered:
            self._end(answers.BEFORE_BANNER)
        elif not self.closed:
            self._send(banner(self.rules))
            self._read = ServerMachine._read_command

    def tls_started(self) -> None:
        """Forget all that was learnt in clear: the handshake that StartTls asked for is done.

        Call it before any octet from inside TLS is received; what is held now came in clear and ends the session.
        """
        if self.closed:
            return
        if self.buffered:
            self._end(answers.AHEAD_OF_TLS)
            return
        self.tls_active = True
        self.extended = False
        self.hello_name = ""
        self._state = State.START
        self._read = ServerMachine._read_command

    # Reading: each of these returns whether it made progress

    def _read_command(self) -> bool:
        if self._commands >= COMMANDS_AT_ONCE:
            self._commands = 0
            self._events.append(events.GiveWay())
            return True
        if self._state is State.START and self._input.starts_with(_TLS_HANDSHAKE):
            self._end(answers.FOREIGN)
            return True
        try:
            line = self._input.take_line()
            if line is None:
                return False
            self._commands += 1
            command, argument = commands.split(line)
            refusal = self._table[self._state].get(command, answers.UNKNOWN)
            if refusal is LEGAL:
                _COMMANDS[command](self, argument)
            else:
                self._refuse_command(command, argument, refusal)
        except Refused as fault:
            self._refuse(fault.reply)
        except LineTooLong as fault:
            if fault.hopeless or commands.is_foreign(fault.start):
                self._end(answers.LINE_TOO_LONG)
            else:
                self._refuse(answers.LINE_TOO_LONG)
        return True

    def _refuse_command(self, command: str, argument: str, refusal: Reply) -> None:
        if command == "BDAT":
            self._swallow_chunk(commands.chunk(argument), refusal)
        elif command == "AUTH":
            self._input.forget_used()
            self._refuse(refusal)
        elif refusal is answers.UNKNOWN and commands.is_foreign(command.encode()):
            self._end(answers.FOREIGN)
        elif command == "DATA" and refusal is answers.NO_RECIPIENTS and self.buffered:
            self._end(answers.AHEAD_OF_354)
        else:
            self._refuse(refusal)

    def _read_response(self) -> bool:
        try:
            line = self._input.take_line(response=True)
            if line is None:
                return False
            self._input.forget_used()
            self._read = ServerMachine._read_command
            if line == b"*":
                self._events.append(events.AuthCancelled(malformed=False))
                self._send_idle(answers.AUTH_CANCELLED)
            else:
                self._events.append(events.AuthResponse(commands.sasl_response(line)))
        except Refused as fault:
            self._cancel_login(fault.reply)
        except LineTooLong as fault:
            self._cancel_login(answers.LINE_TOO_LONG, hopeless=fault.hopeless)
        return True

    # Commands, in the states where they are legal

    def _ehlo(self, argument: str) -> None:
        self._greeted(commands.hello(argument), extended=True)
        self._offer = mail_offer(self.rules, self.tls_active)
        now = self._clock() if self.rules.holds_mail else 0.0
        self._send_idle(ehlo_reply(self.rules, self.tls_active, self._mechanisms(), now))

    def _helo(self, argument: str) -> None:
        self._greeted(commands.hello(argument), extended=False)
        self._send_idle(helo_reply(self.rules))

    def _greeted(self, name: str, *, extended: bool) -> None:
        self._drop_transaction()
        self.hello_name, self.extended = name, extended
        if self.rules.demands_tls and not self.tls_active:
            self._state = State.CLEAR
        elif self.rules.takes_logins and not self.authenticated:
            self._state = State.STRANGER
        else:
            self._state = State.READY
        self._events.append(events.Hello(name, extended))

    def _mail(self, argument: str) -> None:
        command = commands.mail(argument, extended=self.extended, offer=self._offer)
        if 0 < self.rules.size_limit < command.size:
            self._send_idle(answers.TOO_BIG)
        elif command.body == "BINARYMIME" and command.size > self.rules.binary_size_limit:
            self._send_idle(answers.BINARY_TOO_BIG)
        else:
            self._events.append(command)

    def _rcpt(self, argument: str) -> None:
        recipient = commands.rcpt(argument, extended=self.extended, smtputf8=self._smtputf8)
        if self._recipients >= self.rules.recipient_limit:
            self._send(answers.TOO_MANY_RECIPIENTS)
        else:
            self._events.append(events.Rcpt(recipient))

    def _data(self, argument: str) -> None:
        _no_argument(argument)
        if self.buffered:
            self._end(answers.AHEAD_OF_354)
            return
        if self._binary:
            self._spoil(answers.BINARY_BY_CHUNKS)
            return
        self._content = DottedContent(self.rules.size_limit)
        self._events.append(events.Data())

    def _bdat(self, argument: str) -> None:
        try:
            chunk = commands.chunk(argument)
        except Refused as fault:
            if self._state is not State.CHUNKING:
                raise
            self._spoil(fault.reply)
            return
        self._await_chunk(chunk)

    def _rset(self, argument: str) -> None:
        _no_argument(argument)
        self._drop_transaction()
        self._send_idle(answers.OK)

    def _noop(self, argument: str) -> None:
        self._send_idle(answers.OK)

    def _help(self, argument: str) -> None:
        self._send_idle(answers.HELP)

    def _vrfy(self, argument: str) -> None:
        commands.verify(argument)
        self._send_idle(answers.CANNOT_VERIFY)

    def _quit(self, argument: str) -> None:
        _no_argument(argument)
        self._end(answers.BYE)

    def _starttls(self, argument: str) -> None:
        _no_argument(argument)
        if self.tls_active:
            raise Refused(answers.ALREADY_TLS)
        if not self.rules.offers_starttls:
            raise Refused(answers.NOT_IMPLEMENTED)
        if self.buffered:
            self._end(answers.AHEAD_OF_TLS)
            return
        self._drop_transaction()
        self._send(answers.READY_FOR_TLS)
        self._events.append(events.StartTls())
        self._expect_silence(answers.AHEAD_OF_TLS)

    def _auth(self, argument: str) -> None:
        self._input.forget_used()
        try:
            self._events.append(commands.auth(argument, self._mechanisms()))
        except Refused as fault:
            if fault.reply is not answers.BAD_BASE64:
                raise
            self._fail_login(fault.reply)

    # Answers of the session

    def _answered(self, question: Event, reply: Reply) -> None:
        _ANSWERED[type(question)](self, question, reply)

    def _mail_answered(self, question: Event, reply: Reply) -> None:
        if not reply.is_positive:
            self._send_idle(reply)
            return
        assert isinstance(question, events.Mail)
        self._state, self._smtputf8 = State.MAILED, question.smtputf8
        self._binary = question.body == "BINARYMIME"
        self._send(reply)

    def _rcpt_answered(self, _question: Event, reply: Reply) -> None:
        limit = None
        if reply.is_positive:
            self._state = State.ADDRESSED
            self._recipients += 1
        elif reply.is_permanent:
            limit = self._tally.refused_recipient()
        self._send_unless(limit, reply)

    def _content_answered(self, _question: Event, reply: Reply) -> None:
        self._end_transaction()
        if reply.is_positive:
            self._tally.accepted_message()
        self._send(reply)

    def _auth_answered(self, _question: Event, reply: Reply) -> None:
        if reply.code == 334:
            self._read = ServerMachine._read_response
            self._send(reply)
        elif reply.is_positive:
            self.authenticated = True
            self._state = State.READY
            self._send(reply)
        elif reply.code in _FAILED_LOGIN:
            self._fail_login(reply)
        else:
            self._send_idle(reply)

    # Logins that fail

    def _fail_login(self, reply: Reply) -> None:
        self._send_unless(self._tally.failed_login(), reply)

    def _cancel_login(self, reply: Reply, *, hopeless: bool = False) -> None:
        self._read = ServerMachine._read_command
        self._events.append(events.AuthCancelled(malformed=True))
        if hopeless:
            self._end(reply)
        else:
            self._fail_login(reply)


def _no_argument(argument: str) -> None:
    if argument:
        raise Refused(answers.NO_ARGUMENT)


_FAILED_LOGIN: Final = (501, 535)

_COMMANDS: Final[dict[str, Callable[[ServerMachine, str], None]]] = {
    "EHLO": ServerMachine._ehlo,
    "HELO": ServerMachine._helo,
    "MAIL": ServerMachine._mail,
    "RCPT": ServerMachine._rcpt,
    "DATA": ServerMachine._data,
    "BDAT": ServerMachine._bdat,
    "RSET": ServerMachine._rset,
    "NOOP": ServerMachine._noop,
    "HELP": ServerMachine._help,
    "VRFY": ServerMachine._vrfy,
    "QUIT": ServerMachine._quit,
    "STARTTLS": ServerMachine._starttls,
    "AUTH": ServerMachine._auth,
}

_ANSWERED: Final[dict[type[Event], Callable[[ServerMachine, Event, Reply], None]]] = {
    events.Mail: ServerMachine._mail_answered,
    events.Rcpt: ServerMachine._rcpt_answered,
    events.Data: ServerMachine._content_wanted,
    events.ContentEnd: ServerMachine._content_answered,
    events.Auth: ServerMachine._auth_answered,
    events.AuthResponse: ServerMachine._auth_answered,
}
