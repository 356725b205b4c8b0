"""A site of fixed answers for the bare machine, and a client's end of it: no policy, no queue, no I/O.

    client = MachineClient(ServerRules("mail.local.example", "smtpd"))
    client.ask(b"EHLO x\\r\\n")        # ["250 mail.local.example | PIPELINING | ..."]

The site is the one that tests/dialogs/dialog.py describes.
"""

from base64 import b64encode

from valija.mail.address import mailbox_key, split
from valija.mail.reply import Reply
from valija.policy.requests import RequestLimits, grant
from valija.smtp.events import (
    Auth,
    AuthCancelled,
    AuthResponse,
    Closing,
    ContentChunk,
    ContentEnd,
    ContentRefused,
    Data,
    Event,
    Mail,
    Rcpt,
    StartTls,
)
from valija.smtp.requests import Requests
from valija.smtp.sasl import EXCHANGES, Challenge, Credentials, LoginExchange, PlainExchange, Step
from valija.smtp.server import ServerMachine, ServerRules

HOSTED = "local.example"
PASSWORDS = {"alice@local.example": b"secret", "carol@local.example": b"x", "bob@local.example": b"hunter2"}
MAILBOXES = {*PASSWORDS, "postmaster@local.example", "postmaster@"}
MECHANISMS = ("PLAIN", "LOGIN")

NOW = 1_800_000_000.0  # epoch seconds

WRONG = Reply(535, "5.7.8", "Authentication credentials invalid")


class FixedSite:
    """Answers events by fixed tables."""

    def __init__(self) -> None:
        self.login = ""
        self._exchange: PlainExchange | LoginExchange | None = None

    def answer(self, event: Event) -> Reply:
        """Return the answer to an event that needs one."""
        match event:
            case Mail(reverse_path=path, requests=requests):
                if self.login and path not in ("", self.login):
                    return Reply(550, "5.7.1", "Not your address")
                return self._grant(requests) if requests else Reply(250, "2.1.0", "Ok")
            case Rcpt(recipient=recipient):
                return self._recipient(recipient.address)
            case Data():
                return Reply(354, "", "End data with <CR><LF>.<CR><LF>")
            case ContentEnd():
                return Reply(250, "2.0.0", "Ok: queued as FIXED")
            case Auth(mechanism=mechanism, initial=initial):
                if mechanism not in EXCHANGES:
                    return Reply(504, "5.5.4", "Mechanism not offered")
                self._exchange = EXCHANGES[mechanism]()
                return self._step(self._exchange.respond(initial))
            case AuthResponse(data=data):
                assert self._exchange is not None
                return self._step(self._exchange.respond(data))
        raise AssertionError(event)

    def _grant(self, requests: Requests) -> Reply:
        granted = grant(requests, NOW, RequestLimits())
        return granted if isinstance(granted, Reply) else granted.reply or Reply(250, "2.1.0", "Ok")

    def _recipient(self, address: str) -> Reply:
        local, domain = split(address)
        if "%" in local or "!" in local or "@" in local:
            return Reply(550, "5.7.1", "Relay access denied")
        if domain in (HOSTED, ""):
            known = mailbox_key(address) in MAILBOXES
            return Reply(250, "2.1.5", "Ok") if known else Reply(550, "5.1.1", "No such user here")
        return Reply(250, "2.1.5", "Ok") if self.login else Reply(554, "5.7.1", "Relay access denied")

    def _step(self, step: Step) -> Reply:
        if isinstance(step, Challenge):
            return Reply(334, "", b64encode(step.data).decode())
        if not isinstance(step, Credentials):
            return Reply(501, "5.5.2", "Malformed response")
        if step.authzid not in ("", step.authcid) or PASSWORDS.get(step.authcid) != step.password:
            return WRONG
        self.login = step.authcid
        return Reply(235, "2.7.0", "Authentication successful")


class MachineClient:
    """A machine with its fixed site, driven as a session does it; also a `Peer` for dialogues."""

    def __init__(self, rules: ServerRules, site: FixedSite | None = None) -> None:
        self.machine = ServerMachine(
            rules, tls_active=rules.role == "submissions", mechanisms=lambda: MECHANISMS, clock=lambda: NOW
        )
        self.site = site or FixedSite()
        self.events: list[Event] = []
        self.messages: list[bytes] = []
        self.output = b""
        self._content = b""
        self._replies: list[str] = []
        self.machine.greet()
        self._pump()

    def send(self, octets: bytes) -> None:
        """Hand octets to the machine and answer what it asks."""
        self.machine.receive(octets)
        self._pump()

    def ask(self, octets: bytes) -> list[str]:
        """Send octets; return all replies that were not fetched yet, the banner left out, a line each."""
        self.send(octets)
        replies = [reply.replace("\n", " | ") for reply in self._replies if not reply.startswith("220 mail")]
        self._replies.clear()
        return replies

    def reply(self) -> str | None:
        """See Peer."""
        return self._replies.pop(0) if self._replies else None

    def is_silent(self) -> bool:
        """See Peer."""
        return not self._replies

    def start_tls(self) -> None:
        """See Peer."""
        assert isinstance(self.events[-1], StartTls), self.events[-1:]
        self.machine.tls_started()

    def is_closed(self) -> bool:
        """See Peer."""
        return self.machine.closed and isinstance(self.events[-1], Closing)

    def message(self) -> bytes:
        """See Peer."""
        return self.messages[-1]

    def _pump(self) -> None:
        while (event := self.machine.next_event()) is not None:
            self.events.append(event)
            self._note(event)
            if event.needs_answer:
                self.machine.answer(self.site.answer(event))
        output = self.machine.take_output()
        self.output += output
        self._replies += replies(output)

    def _note(self, event: Event) -> None:
        if isinstance(event, ContentChunk):
            self._content += event.data
        elif isinstance(event, ContentEnd):
            self.messages.append(self._content)
            self._content = b""
        elif isinstance(event, ContentRefused | AuthCancelled):
            self._content = b""


def replies(output: bytes) -> list[str]:
    """Return the replies in an output, the lines of each with LF between them."""
    found, lines = [], []
    for line in output.decode().split("\r\n")[:-1]:
        lines.append(line)
        if line[3] == " ":
            found.append("\n".join(lines))
            lines = []
    assert not lines, "a reply without its last line"
    return found
