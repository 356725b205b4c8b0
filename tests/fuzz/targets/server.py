"""The server's side of SMTP: what any client sends, however it is cut.

An input begins with a line of settings, `ROLE SIZE...`: a listener's role, and the sizes that its octets are cut to.
What follows is what the client sends; a form feed in it is where the client waits for the replies.

    smtpd 7 1
    EHLO client.example (CRLF) MAIL FROM:<a@remote.example> ... DATA (CRLF) (form feed) Subject: x ...
"""

import itertools
from collections.abc import Hashable, Sequence
from pathlib import Path

from tests.dialogs.dialog import dialogs, octets
from tests.fuzz.engine import Target
from tests.fuzz.reader import Heard, hear, replies_in
from tests.smtp.fixed_site import MECHANISMS, NOW, FixedSite
from valija.mail.origin import Role
from valija.mail.reply import Reply
from valija.smtp.buffer import LOGIN_LINE_LIMIT
from valija.smtp.events import ContentChunk, ContentEnd, ContentRefused, Data, Event, Mail, StartTls
from valija.smtp.server import ServerMachine, ServerRules

WAITS = b"\f"
_ROLES: dict[bytes, Role] = {b"smtpd": "smtpd", b"submission": "submission", b"submissions": "submissions"}
_DIALOGS = Path(__file__).parents[2] / "dialogs"
_OUT_OF_TURN = ("Octets behind STARTTLS", "Content sent before the 354")  # who waited is another client


class MoodySite(FixedSite):
    """A fixed site that refuses, by the sender's name, a content or its beginning."""

    def __init__(self) -> None:
        super().__init__()
        self._name = ""

    def answer(self, event: Event) -> Reply:
        """Return the answer to an event."""
        if isinstance(event, Mail):
            self._name = event.reverse_path.partition("@")[0]
        if isinstance(event, Data) and self._name == "later":
            return Reply(451, "4.3.0", "Later")
        if isinstance(event, ContentEnd) and self._name in ("never", "bye"):
            return Reply(554, "5.7.1", "Never") if self._name == "never" else Reply(421, "4.3.2", "Bye")
        return super().answer(event)


class Session:
    """A machine that took its input in pieces of these sizes, and what it said."""

    def __init__(self, role: Role, sizes: Sequence[int]) -> None:
        rules = ServerRules(
            "mail.local.example", role, size_limit=600, recipient_limit=3, future_release_limit=9.0, error_limit=12,
            junk_command_limit=30, auth_failure_limit=4,
        )  # fmt: skip
        self.machine = ServerMachine(
            rules, tls_active=role == "submissions", mechanisms=lambda: MECHANISMS, clock=lambda: NOW
        )
        self.events: list[Event] = []
        self.output = b""
        self.accepted: list[bytes] = []
        self._site = MoodySite()
        self._sizes = itertools.cycle(sizes)
        self._content = b""
        self.machine.greet()
        self._advance()

    def feed(self, flight: bytes) -> None:
        """Send a flight, cut."""
        while flight:
            size = next(self._sizes)
            self.machine.receive(flight[:size])
            flight = flight[size:]
            self._advance()

    def _advance(self) -> None:
        machine = self.machine
        while (event := machine.next_event()) is not None:
            self._note(event)
            if event.needs_answer:
                reply = self._site.answer(event)
                if isinstance(event, ContentEnd) and reply.is_positive:
                    self.accepted.append(self._content)
                machine.answer(reply)
            elif isinstance(event, StartTls):
                self.output += machine.take_output()
                machine.tls_started()
        self.output += machine.take_output()
        assert machine.buffered <= LOGIN_LINE_LIMIT + 2

    def _note(self, event: Event) -> None:
        if isinstance(event, ContentChunk):
            self._content += event.data
            return
        if isinstance(event, Data):
            self._content = b""
        if isinstance(event, ContentEnd):
            self.events.append(ContentChunk(self._content))
        self.events.append(event)


def run(given: bytes) -> Hashable:
    """Hold a session three times, cut otherwise, and once by the independent reader."""
    role, sizes, flights = _read(given)
    whole = Session(role, [10**9])
    for flight in flights:
        whole.feed(flight)
    said = replies_in(whole.output)
    out_of_turn = whole.machine.closed and said[-1][1].endswith(_OUT_OF_TURN)
    if not out_of_turn:
        for other in (Session(role, sizes), Session(role, [1])):
            for flight in flights:
                other.feed(flight)
            assert other.output == whole.output
            assert other.events == whole.events
            assert other.accepted == whole.accepted
    _check(hear(b"".join(flights), list(said)), whole)
    return tuple(code for code, _ in said[:12])


def _check(heard: Heard, whole: Session) -> None:
    """A reply for each command, and what was accepted is what was sent."""
    assert heard.contents == whole.accepted
    if whole.machine.closed:  # at a time when a line was not yet whole, or in the middle of a flight
        assert heard.beyond <= 1
    else:
        assert heard.beyond == 0
        assert heard.unanswered == 0
    told = sum(isinstance(event, ContentEnd | ContentRefused) for event in whole.events)
    begun = sum(isinstance(event, Data) for event in whole.events)
    assert told <= begun + sum(isinstance(event, Mail) for event in whole.events)


def _read(given: bytes) -> tuple[Role, list[int], list[bytes]]:
    settings, _, rest = given.partition(b"\n")
    words = settings.split()
    sizes = [int(word) for word in words[1:9] if word.isdigit() and 0 < len(word) < 5 and int(word)]
    role = _ROLES.get(words[0] if words else b"", "smtpd")
    return role, sizes or [7, 1, 30], rest.split(WAITS)


def written(role: str, flights: Sequence[bytes]) -> bytes:
    """Return an input that says this."""
    return f"{role} 5 3 17\n".encode() + WAITS.join(flights)


def _from_dialogs() -> list[bytes]:
    """Return what the clients of the dialogues send, as inputs."""
    found = []
    for dialog in dialogs(_DIALOGS):
        flights, flight = [], b""
        for step in dialog.steps:
            if step.kind in ("C:", "C>"):
                flight += octets(step.text) + (b"\r\n" if step.kind == "C:" else b"")
            elif flight:
                flights.append(flight)
                flight = b""
        found.append(written(dialog.role, [*flights, flight]))
    return [given for given in found if len(given) < 8192]


_WORDS = (
    b"EHLO client.example\r\n", b"HELO x\r\n", b"STARTTLS\r\n\f", b"MAIL FROM:<a@remote.example>\r\n",
    b"MAIL FROM:<later@remote.example>\r\n", b"MAIL FROM:<never@remote.example>\r\n",
    b"MAIL FROM:<bye@x.example>\r\n", b"MAIL FROM:<> BODY=BINARYMIME\r\n", b"RCPT TO:<alice@local.example>\r\n",
    b"RCPT TO:<Postmaster>\r\n", b"RCPT TO:<x@remote.example>\r\n", b"DATA\r\n\f", b"\f", b"\r\n.\r\n", b".\r\n",
    b"\r\n..\r\n", b"\n.\r\n", b"\r\n.\n", b"\r.\r", b"\r\n.\r\r\n", b"BDAT 5 LAST\r\nab\r\nc", b"BDAT 1\r\n\r",
    b"BDAT 1 LAST\r\n\n", b"BDAT 0 LAST\r\n", b"BDAT 99999999999\r\n", b"RSET\r\n", b"NOOP\r\n", b"QUIT\r\n",
    b"VRFY x\r\n", b"HELP\r\n", b"EXPN x\r\n", b"AUTH PLAIN AGFsaWNlQGxvY2FsLmV4YW1wbGUAc2VjcmV0\r\n",
    b"AUTH LOGIN\r\n", b"*\r\n", b"AUTH PLAIN\r\n", b"=\r\n", b" SIZE=5", b" BODY=8BITMIME", b" SMTPUTF8",
    b" RET=HDRS", b" ENVID=x", b" NOTIFY=NEVER", b" ORCPT=rfc822;a@b", b" AUTH=<>", b" REQUIRETLS", b" BY=5;R",
    b" MT-PRIORITY=3", b" HOLDFOR=5", b"\x16\x03\x01", b"GET / HTTP/1.1\r\n",
)  # fmt: skip

TARGETS = (Target("smtp_server", run, _WORDS, largest=6000, cost=12, more_seeds=_from_dialogs),)
