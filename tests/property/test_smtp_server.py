"""The server machine under any cutting of its input, and under garbage."""

from dataclasses import dataclass, field

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.smtp.fixed_site import FixedSite, replies
from valija.mail.origin import Role
from valija.smtp.buffer import HOPELESS_LINE, LOGIN_LINE_LIMIT
from valija.smtp.events import Closing, ContentChunk, ContentEnd, ContentRefused, Event, Mail, StartTls
from valija.smtp.server import ServerMachine, ServerRules
from valija.smtp.states import State

ROLES = st.sampled_from(["smtpd", "submission", "submissions"])

COMMANDS = [
    b"EHLO client.example",
    b"HELO client.example",
    b"EHLO",
    b"MAIL FROM:<alice@local.example>",
    b"MAIL FROM:<a@remote.example> SIZE=10 BODY=8BITMIME RET=HDRS",
    b"MAIL FROM:<a@remote.example> SIZE=99999999",
    "MAIL FROM:<é@remote.example> SMTPUTF8".encode(),
    "MAIL FROM:<é@remote.example>".encode(),
    b"MAIL FROM:<> FOO=1",
    b"MAIL FROM:<alice@local.example> BODY=BINARYMIME",
    b"MAIL FROM:<alice@local.example> REQUIRETLS BY=5;R MT-PRIORITY=9 HOLDFOR=4",
    b"RCPT TO:<bob@local.example>",
    b"RCPT TO:<bob@local.example> NOTIFY=NEVER",
    b"RCPT TO:<nobody@local.example>",
    b"RCPT TO:<x@remote.example>",
    b"RCPT TO:<@local.example:x@remote.example>",
    b"AUTH PLAIN AGFsaWNlQGxvY2FsLmV4YW1wbGUAc2VjcmV0",
    b"AUTH PLAIN AGFsaWNlQGxvY2FsLmV4YW1wbGUAbm8=",
    b"AUTH PLAIN !",
    b"AUTH FOO",
    b"NOOP",
    b"RSET",
    b"VRFY x",
    b"HELP",
    b"EXPN x",
    b"WIZ",
    b"",
    b"NO\nOP",
    b"NO\rOP",
    b"\xff\xfe",
    b"BDAT x",
    b"NOOP " + b"x" * 2100,
    b"AUTH PLAIN " + b"A" * 4000,
]
CONTENT = st.lists(
    st.sampled_from([b"a", b"..", b"Subject: x\r\n", b"\r\n", b"\r\n..", b"\r", b"\n", b"\0", b"b" * 70]), max_size=8
).map(b"".join)

COMMAND = st.sampled_from(COMMANDS).map(lambda line: line + b"\r\n")
CHUNK = st.builds(
    lambda octets, last: b"BDAT %d%s\r\n%s" % (len(octets), b" LAST" if last else b"", octets), CONTENT, st.booleans()
)
TRANSACTION = st.builds(
    lambda body, chunks: (
        b"MAIL FROM:<alice@local.example>%s\r\nRCPT TO:<bob@local.example>\r\n" % body + b"".join(chunks)
    ),
    st.sampled_from([b"", b" BODY=BINARYMIME"]),
    st.lists(CHUNK, max_size=3),
)


@dataclass(frozen=True)
class Flight:
    """Octets that a client sends without waiting, and those that it sends if the last reply was a 354."""

    octets: bytes
    content: bytes = b""


FLIGHT = st.one_of(
    st.lists(st.one_of(COMMAND, CHUNK, TRANSACTION), max_size=6).map(lambda parts: Flight(b"".join(parts))),
    st.builds(lambda head, content: Flight(head + b"DATA\r\n", content + b"\r\n.\r\n"), TRANSACTION, CONTENT),
    st.builds(lambda content: Flight(b"DATA\r\n", content + b"\r\n.\r\n"), CONTENT),
    st.just(Flight(b"STARTTLS\r\n")),
    st.just(Flight(b"EHLO x\r\nAUTH PLAIN AGFsaWNlQGxvY2FsLmV4YW1wbGUAc2VjcmV0\r\n")),
    st.just(Flight(b"AUTH LOGIN\r\nY2Fyb2xAbG9jYWwuZXhhbXBsZQ==\r\neA==\r\n")),
    st.just(Flight(b"AUTH LOGIN\r\n*\r\nAUTH PLAIN\r\nA=\r\nNOOP\r\n")),
)


@dataclass
class Run:
    """A machine that was driven through flights, cut as `sizes` say, and what it said."""

    role: Role
    sizes: list[int]
    output: bytes = b""
    events: list[Event] = field(default_factory=list)

    def __post_init__(self) -> None:
        rules = ServerRules(
            "mail.local.example", self.role, size_limit=200, recipient_limit=3, auth_failure_limit=4, error_limit=12
        )
        self.machine = ServerMachine(
            rules, tls_active=self.role == "submissions", mechanisms=lambda: ("PLAIN", "LOGIN")
        )
        self.site = FixedSite()
        self._cut = 0
        self.machine.greet()
        self.pump()

    def fly(self, flight: Flight) -> None:
        self.feed(flight.octets)
        if self.output.rpartition(b"\r\n")[0].rpartition(b"\n")[2].startswith(b"354"):
            self.feed(flight.content)

    def feed(self, octets: bytes) -> None:
        while octets:
            size = self.sizes[self._cut % len(self.sizes)]
            self._cut += 1
            self.machine.receive(octets[:size])
            octets = octets[size:]
            self.pump()

    def pump(self) -> None:
        while (event := self.machine.next_event()) is not None:
            self.events.append(event)
            if event.needs_answer:
                self.machine.answer(self.site.answer(event))
            elif isinstance(event, StartTls):
                self.output += self.machine.take_output()
                self.machine.tls_started()
        self.output += self.machine.take_output()
        assert self.machine.buffered <= LOGIN_LINE_LIMIT + 2

    def story(self) -> list[Event]:
        """Return the events with adjacent chunks made one, and no chunks of a content that was refused."""
        told: list[Event] = []
        for event in self.events:
            if isinstance(event, ContentRefused) and told and isinstance(told[-1], ContentChunk):
                told.pop()
            if isinstance(event, ContentChunk) and told and isinstance(told[-1], ContentChunk):
                told[-1] = ContentChunk(told[-1].data + event.data)
            else:
                told.append(event)
        return told


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(ROLES, st.lists(FLIGHT, max_size=6), st.lists(st.integers(1, 60), min_size=1, max_size=5))
def test_any_cutting_gives_the_same_events_and_output(role: Role, flights: list[Flight], sizes: list[int]) -> None:
    whole, cut = Run(role, [10**9]), Run(role, sizes)
    for flight in flights:
        whole.fly(flight)
        cut.fly(flight)
        assert cut.output == whole.output
        assert cut.story() == whole.story()
        assert cut.machine._state == whole.machine._state


@settings(max_examples=200, deadline=None)
@given(ROLES, st.lists(COMMAND, max_size=15))
def test_one_reply_for_each_command(role: Role, lines: list[bytes]) -> None:
    run = Run(role, [10**9])
    for number, line in enumerate(lines, start=2):
        run.feed(line)
        assert len(replies(run.output)) == number
        if run.machine.closed:
            break


@settings(max_examples=200, deadline=None)
@given(
    ROLES,
    st.lists(st.one_of(st.binary(max_size=200), COMMAND, CHUNK, TRANSACTION, st.just(b"DATA\r\n")), max_size=20),
    st.lists(st.integers(1, 500), min_size=1, max_size=4),
)
def test_garbage_never_raises(role: Role, pieces: list[bytes], sizes: list[int]) -> None:
    run = Run(role, sizes)
    for piece in pieces:
        run.feed(piece)
    assert replies(run.output)
    assert run.machine.closed == (sum(isinstance(event, Closing) for event in run.events) == 1)


@settings(max_examples=30, deadline=None)
@given(ROLES, st.binary(min_size=1, max_size=40).filter(lambda octets: b"\n" not in octets), st.integers(1, 9000))
def test_garbage_without_line_ends_is_bounded_and_ends(role: Role, octets: bytes, size: int) -> None:
    run = Run(role, [size])
    run.feed(octets * (HOPELESS_LINE // len(octets) + 2))
    assert run.machine.closed


@settings(max_examples=300, deadline=None)
@given(ROLES, st.lists(FLIGHT, max_size=8), st.lists(st.integers(1, 60), min_size=1, max_size=3))
def test_octets_that_are_no_lines_only_of_users_who_declared_them(
    role: Role, flights: list[Flight], sizes: list[int]
) -> None:
    run = Run(role, sizes)
    if role == "submissions":
        run.fly(Flight(b"EHLO x\r\nAUTH PLAIN AGFsaWNlQGxvY2FsLmV4YW1wbGUAc2VjcmV0\r\n"))
    for flight in flights:
        run.fly(flight)
    declared, content = False, b""
    for event in run.events:
        if isinstance(event, Mail):
            declared, content = event.body == "BINARYMIME", b""
            assert role != "smtpd" or not declared
        elif isinstance(event, ContentChunk):
            content += event.data
        elif isinstance(event, ContentEnd) and not declared:
            assert not {b"\r", b"\n", b"\0"} & {bytes([octet]) for octet in content.replace(b"\r\n", b"")}


@settings(max_examples=200, deadline=None)
@given(st.lists(FLIGHT, max_size=8), st.lists(st.integers(1, 60), min_size=1, max_size=3))
def test_no_mail_without_tls_and_login(flights: list[Flight], sizes: list[int]) -> None:
    run = Run("submission", sizes)
    for flight in flights:
        run.fly(flight)
        machine = run.machine
        assert not machine.authenticated or machine.tls_active
        assert machine._state in (State.START, State.CLEAR, State.STRANGER) or machine.authenticated
