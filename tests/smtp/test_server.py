"""The machine beyond single commands: its rules, its limits, and the cases that need a whole session."""

import pytest

from tests.smtp.fixed_site import FixedSite, MachineClient, replies
from valija.mail.envelope import Recipient
from valija.mail.reply import Reply
from valija.smtp import answers
from valija.smtp.conversation import HELD_LIMIT
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
    GiveWay,
    Hello,
    Mail,
    Rcpt,
    Reset,
    StartTls,
)
from valija.smtp.intake import SWALLOW_LIMIT
from valija.smtp.rules import BINARY_LIMIT
from valija.smtp.server import COMMANDS_AT_ONCE, ServerMachine, ServerRules

SMTPD = ServerRules("mail.local.example", "smtpd")
SUBMISSIONS = ServerRules("mail.local.example", "submissions")
OK = Reply(250, "2.0.0", "Ok")
GO_AHEAD = Reply(354, "", "Go ahead")
ENVELOPE = b"EHLO client.example\r\nMAIL FROM:<a@remote.example>\r\nRCPT TO:<alice@local.example>\r\n"
RIGHT = b"AUTH PLAIN AGFsaWNlQGxvY2FsLmV4YW1wbGUAc2VjcmV0\r\n"
WRONG = b"AUTH PLAIN AGFsaWNlQGxvY2FsLmV4YW1wbGUAbm8=\r\n"


class Refusing(FixedSite):
    """A site that answers one kind of event in its own way."""

    def __init__(self, kind: type[Event], reply: Reply) -> None:
        super().__init__()
        self.kind, self.reply = kind, reply

    def answer(self, event: Event) -> Reply:
        return self.reply if isinstance(event, self.kind) else super().answer(event)


def codes(client: MachineClient, octets: bytes) -> list[str]:
    return [reply[:3] for reply in client.ask(octets)]


def greeted(rules: ServerRules = SMTPD, site: FixedSite | None = None) -> MachineClient:
    client = MachineClient(rules, site)
    client.ask(b"EHLO client.example\r\n")
    return client


def in_data(rules: ServerRules = SMTPD) -> MachineClient:
    client = MachineClient(rules)
    assert codes(client, ENVELOPE + b"DATA\r\n") == ["250", "250", "250", "354"]
    return client


def fresh(rules: ServerRules = SMTPD) -> ServerMachine:
    machine = ServerMachine(rules)
    machine.greet()
    return machine


def test_the_events_of_a_message() -> None:
    client = in_data()
    client.ask(b"x\r\n.\r\nQUIT\r\n")
    assert client.events == [
        Hello("client.example", extended=True),
        Mail("a@remote.example", 0, "7BIT", False, "", ""),
        Rcpt(Recipient("alice@local.example")),
        Data(),
        ContentChunk(b"x\r\n"),
        ContentEnd(),
        Closing(answers.BYE),
    ]


def test_rule_2_nothing_is_read_while_a_question_is_open() -> None:
    machine = fresh()
    machine.receive(ENVELOPE)
    assert isinstance(machine.next_event(), Hello)
    assert isinstance(machine.next_event(), Mail)
    assert machine.awaiting_answer
    assert machine.next_event() is None
    assert machine.buffered > 0
    machine.answer(OK)
    assert not machine.awaiting_answer
    assert isinstance(machine.next_event(), Rcpt)
    assert machine.in_transaction


def test_an_answer_needs_a_question() -> None:
    with pytest.raises(RuntimeError, match="no event awaits"):
        fresh().answer(OK)


def test_rule_2_shut_down_voids_the_question() -> None:
    machine = fresh()
    machine.receive(b"HELO x\r\nMAIL FROM:<>\r\n")
    machine.next_event()
    machine.next_event()
    stop = Reply(421, "4.3.2", "Shutting down")
    machine.shut_down(stop)
    machine.answer(OK)
    assert machine.next_event() == Closing(stop)
    assert machine.next_event() is None
    assert replies(machine.take_output())[-1] == "421 4.3.2 Shutting down"
    machine.shut_down(stop)
    machine.receive(b"NOOP\r\n")
    machine.greet()
    machine.tls_started()
    assert (machine.next_event(), machine.take_output(), machine.buffered) == (None, b"", 0)


def test_shut_down_drops_events_that_were_not_taken() -> None:
    machine = fresh()
    machine.receive(b"EHLO x\r\nQUIT\r\n")
    machine.shut_down(answers.TOO_MUCH_AHEAD)
    assert machine.next_event() == Closing(answers.TOO_MUCH_AHEAD)


def test_shut_down_instead_of_a_banner() -> None:
    machine = ServerMachine(SMTPD)
    machine.shut_down(Reply(421, "4.7.0", "Too many connections"))
    machine.greet()
    assert machine.take_output() == b"421 4.7.0 Too many connections\r\n"
    assert isinstance(machine.next_event(), Closing)


@pytest.mark.parametrize("kind", [Mail, Rcpt, Data, ContentEnd])
def test_rule_3_a_421_ends_the_session(kind: type[Event]) -> None:
    client = MachineClient(SMTPD, Refusing(kind, Reply(421, "4.3.2", "Shutting down")))
    client.ask(ENVELOPE + b"DATA\r\n")
    client.ask(b"x\r\n.\r\n")
    assert client.events[-1] == Closing(Reply(421, "4.3.2", "Shutting down"))
    assert client.output.endswith(b"421 4.3.2 Shutting down\r\n")
    assert client.ask(b"NOOP\r\n") == []


def test_replies_of_a_batch_leave_in_one_write() -> None:
    machine = fresh()
    machine.receive(b"NOOP\r\nRSET\r\nNOOP\r\n")
    assert machine.next_event() is None
    assert len(replies(machine.take_output())) == 4
    assert machine.take_output() == b""


def test_resets_are_told_once_and_only_in_a_transaction() -> None:
    client = MachineClient(SMTPD)
    client.ask(ENVELOPE + b"RSET\r\nRSET\r\n" + ENVELOPE + b"EHLO x\r\nEHLO x\r\n")
    kinds = [type(event).__name__ for event in client.events]
    assert kinds == ["Hello", "Mail", "Rcpt", "Reset", "Hello", "Mail", "Rcpt", "Reset", "Hello", "Hello"]


def test_starttls_drops_the_transaction_first() -> None:
    client = MachineClient(SMTPD)
    client.ask(ENVELOPE + b"STARTTLS\r\n")
    assert client.events[-2:] == [Reset(), StartTls()]


# Talking out of turn


@pytest.mark.parametrize("poll_first", [True, False])
def test_c010_commands_before_the_banner(poll_first: bool) -> None:
    machine = ServerMachine(SMTPD)
    machine.receive(b"EHLO x\r\n")
    if poll_first:
        assert machine.next_event() == Closing(answers.BEFORE_BANNER)
    machine.greet()
    assert machine.take_output() == b"554 5.5.0 Spoke before the banner\r\n"
    assert machine.closed


def test_c010_content_that_arrives_before_the_answer_to_data() -> None:
    machine = fresh()
    machine.receive(ENVELOPE + b"DATA\r\n")
    while (event := machine.next_event()) is not None and not isinstance(event, Data):
        if event.needs_answer:
            machine.answer(OK)
    machine.receive(b"QUIT\r\n.\r\n")
    machine.answer(GO_AHEAD)
    assert machine.next_event() == Closing(answers.AHEAD_OF_354)
    assert machine.take_output().endswith(b"554 5.5.0 Content sent before the 354\r\n")


def test_c010_content_behind_a_data_without_recipients_is_not_run_as_commands() -> None:
    client = greeted()
    octets = (
        b"MAIL FROM:<a@remote.example>\r\nRCPT TO:<nobody@local.example>\r\nDATA\r\nMAIL FROM:<x@evil.example>\r\n.\r\n"
    )
    assert codes(client, octets) == ["250", "550", "554"]
    assert client.is_closed()


def test_c010_data_refused_with_content_behind_it() -> None:
    machine = fresh()
    machine.receive(ENVELOPE + b"DATA\r\n")
    while (event := machine.next_event()) is not None and not isinstance(event, Data):
        if event.needs_answer:
            machine.answer(OK)
    machine.receive(b"RSET\r\n.\r\n")
    machine.answer(Reply(452, "4.3.1", "Disk full"))
    assert machine.next_event() == Closing(answers.AHEAD_OF_354)


def test_c052_octets_in_clear_after_the_220() -> None:
    client = greeted()
    assert codes(client, b"STARTTLS\r\n") == ["220"]
    assert client.ask(b"MAIL FROM:<>\r\n") == ["554 5.5.0 Octets behind STARTTLS"]
    assert client.is_closed()


def test_c052_octets_in_clear_that_arrive_during_the_handshake() -> None:
    client = greeted()
    client.send(b"STARTTLS\r\n")
    client.machine.receive(b"MAIL FROM:<>\r\n")
    client.start_tls()
    assert client.machine.next_event() == Closing(answers.AHEAD_OF_TLS)
    assert not client.machine.tls_active


def test_c054_starttls_where_it_is_not_offered() -> None:
    client = greeted(ServerRules("mail.local.example", "smtpd", tls="none"))
    assert client.ask(b"STARTTLS\r\n") == [str(answers.NOT_IMPLEMENTED)]


def test_c053_state_before_tls_is_forgotten() -> None:
    client = greeted()
    client.ask(b"MAIL FROM:<>\r\nSTARTTLS\r\n")
    client.start_tls()
    machine = client.machine
    assert (machine.hello_name, machine.extended, machine.in_transaction, machine.tls_active) == (
        "",
        False,
        False,
        True,
    )
    assert codes(client, b"RCPT TO:<alice@local.example>\r\nMAIL FROM:<>\r\nEHLO b\r\n") == ["503", "503", "250"]
    assert machine.hello_name == "b"


def test_mechanisms_are_asked_anew_at_each_ehlo() -> None:
    offered: list[tuple[str, ...]] = [("PLAIN",), ()]
    machine = ServerMachine(SUBMISSIONS, tls_active=True, mechanisms=lambda: offered.pop(0))
    machine.greet()
    for expected in (True, False):
        machine.receive(b"EHLO x\r\n")
        machine.next_event()
        assert (b"AUTH PLAIN" in machine.take_output()) == expected


# Logins


def test_c037_a_password_in_clear_is_not_kept() -> None:
    machine = fresh(ServerRules("mail.local.example", "submission"))
    machine.receive(b"EHLO x\r\n" + WRONG)
    machine.next_event()
    assert machine.next_event() is None
    assert replies(machine.take_output())[-1].startswith("538 5.7.11")
    assert machine._input._data == b""


def test_smtpd_has_no_auth() -> None:
    client = greeted()
    assert client.ask(WRONG + b"AUTH\r\nAUTH !\r\n") == [str(answers.NOT_IMPLEMENTED)] * 3
    assert not any(isinstance(event, Auth) for event in client.events)


def test_auth_is_passed_up_though_ehlo_could_list_no_mechanism() -> None:
    machine = ServerMachine(SUBMISSIONS, tls_active=True)
    machine.greet()
    machine.receive(b"EHLO x\r\nAUTH PLAIN\r\n")
    assert isinstance(machine.next_event(), Hello)
    assert machine.next_event() == Auth("PLAIN", None)
    machine.answer(Reply(454, "4.7.0", "Temporary authentication failure"))
    machine.receive(b"NOOP\r\n")
    assert machine.next_event() is None
    assert [reply[:3] for reply in replies(machine.take_output())] == ["220", "250", "454", "250"]


def test_c040_cancelled_is_not_malformed() -> None:
    client = greeted(SUBMISSIONS)
    assert codes(client, b"AUTH PLAIN\r\n*\r\nAUTH PLAIN\r\n=\r\nAUTH PLAIN\r\n\xff\r\n") == ["334", "501"] * 3
    cancelled = [event for event in client.events if isinstance(event, AuthCancelled)]
    assert cancelled == [AuthCancelled(malformed=False), AuthCancelled(malformed=True), AuthCancelled(malformed=True)]


def test_an_empty_line_is_an_empty_response() -> None:
    client = greeted(SUBMISSIONS)
    assert codes(client, b"AUTH LOGIN\r\n\r\n") == ["334", "334"]
    assert client.events[-1] == AuthResponse(b"")


def test_c044_a_reset_is_no_logout() -> None:
    client = greeted(SUBMISSIONS)
    assert codes(client, RIGHT + b"RSET\r\nEHLO x\r\n" + RIGHT) == ["235", "250", "250", "503"]
    assert client.machine.authenticated


@pytest.mark.parametrize(("length", "code"), [(4096, "535"), (12_288, "535"), (100_000, "500")])
def test_c046_long_responses(length: int, code: str) -> None:
    client = greeted(SUBMISSIONS)
    # "AGEA" is NUL a NUL: what follows is the password.
    response = b"AGEA" + b"eHh4" * (length // 4 - 1)
    assert codes(client, b"AUTH PLAIN\r\n" + response + b"\r\nNOOP\r\n") == ["334", code, "250"]


def test_c046_a_long_initial_response() -> None:
    client = greeted(SUBMISSIONS)
    assert codes(client, b"AUTH PLAIN AGEA" + b"eHh4" * 3071 + b"\r\n") == ["535"]


def test_c024_an_endless_response() -> None:
    client = greeted(SUBMISSIONS)
    client.ask(b"AUTH PLAIN\r\n")
    for _ in range(40):
        client.send(b"A" * 4096)
        assert client.machine.buffered <= 16_384
    assert client.is_closed()
    assert client.events[-2] == AuthCancelled(malformed=True)


def test_ten_failed_logins_of_any_kind_end_the_session() -> None:
    client = greeted(SUBMISSIONS)
    octets = (WRONG + b"AUTH PLAIN !\r\nRSET\r\nAUTH PLAIN\r\n?\r\nEHLO x\r\nAUTH PLAIN AAAA\r\n") * 3
    received = codes(client, octets)
    assert received[-1] == "421"
    assert received.count("535") + received.count("501") == 9
    assert client.events[-1] == Closing(answers.TOO_MANY_LOGINS)


# Decisions of the session


def test_a_refused_mail_begins_no_transaction() -> None:
    client = MachineClient(SMTPD, Refusing(Mail, Reply(450, "4.7.1", "Later")))
    assert codes(client, ENVELOPE) == ["250", "450", "503"]
    assert not client.machine.in_transaction


def test_a_deferred_recipient_is_no_recipient_and_no_refused_one() -> None:
    rules = ServerRules("mail.local.example", "smtpd", refused_recipient_limit=1)
    client = MachineClient(rules, Refusing(Rcpt, Reply(450, "4.7.1", "Later")))
    assert codes(client, ENVELOPE + b"DATA\r\n") == ["250", "250", "450", "554"]


def test_a_refused_data_leaves_the_transaction_open() -> None:
    client = MachineClient(SMTPD, Refusing(Data, Reply(452, "4.3.1", "Disk full")))
    assert codes(client, ENVELOPE + b"DATA\r\n") == ["250", "250", "250", "452"]
    assert codes(client, b"MAIL FROM:<>\r\nRSET\r\nMAIL FROM:<>\r\n") == ["503", "250", "250"]


def test_a_refused_content_ends_the_transaction() -> None:
    client = MachineClient(SMTPD, Refusing(ContentEnd, Reply(554, "5.6.0", "No")))
    client.ask(ENVELOPE + b"DATA\r\n")
    assert codes(client, b"x\r\n.\r\nDATA\r\nMAIL FROM:<>\r\n") == ["554", "503", "250"]


# Limits


def test_c029_errors_end_the_session() -> None:
    assert codes(greeted(), b"FOO\r\n" * 30) == ["500"] * 19 + ["421"]


def test_an_accepted_message_forgives() -> None:
    client = greeted()
    client.ask(b"FOO\r\n" * 19 + ENVELOPE + b"BDAT 2 LAST\r\n\r\n")
    assert client.machine.errors == 0
    assert codes(client, b"FOO\r\n") == ["500"]


def test_junk_ends_the_session() -> None:
    client = greeted(ServerRules("mail.local.example", "smtpd", junk_command_limit=4))
    assert codes(client, b"NOOP\r\nRSET\r\nVRFY x\r\nHELP\r\n") == ["250", "250", "252", "421"]


def test_a_bdat_series_behind_a_failed_chunk_is_no_series_of_errors() -> None:
    client = greeted()
    octets = ENVELOPE + b"BDAT 1\r\n\n" + b"BDAT 6\r\nQUIT\r\n" * 50
    assert codes(client, octets) == ["250"] * 3 + ["554"] + ["503"] * 50


def test_who_feeds_on_while_an_answer_is_awaited_is_cut_off() -> None:
    machine = fresh()
    machine.receive(ENVELOPE)
    machine.next_event()
    machine.next_event()
    for _ in range(HELD_LIMIT // 65_536 + 2):
        machine.receive(b"NOOP\r\n" * 10_923)
        assert machine.buffered <= HELD_LIMIT + 65_538 + len(ENVELOPE)
    assert machine.next_event() == Closing(answers.TOO_MUCH_AHEAD)


def test_a_whole_session_may_come_at_once() -> None:
    content = b"x" * 5_000_000
    client = MachineClient(SMTPD)
    received = codes(client, ENVELOPE + b"BDAT 5000000 LAST\r\n" + content + b"QUIT\r\n")
    assert received == ["250", "250", "250", "250", "221"]
    assert client.message() == content


# Contents


def test_content_flows_out_as_it_comes() -> None:
    client = in_data()
    for number in range(10):
        client.send(b"x" * 1000)
        assert client.machine.buffered <= 4
        chunks = [event for event in client.events if isinstance(event, ContentChunk)]
        assert len(chunks) == number + 1
    assert client.machine.in_content
    client.send(b"\r\n.\r\n")
    assert not client.machine.in_content
    assert client.message() == b"x" * 10_000 + b"\r\n"


@pytest.mark.parametrize("octet", [b"\0", b"a"])
def test_c024_an_endless_content(octet: bytes) -> None:
    client = in_data(ServerRules("mail.local.example", "smtpd", size_limit=1_000_000))
    piece = octet * 1_000_000
    for _ in range(70):
        client.machine.receive(piece)
        while (event := client.machine.next_event()) is not None:
            if isinstance(event, ContentRefused | Closing):
                client.events.append(event)
        assert client.machine.buffered <= 4
    assert client.events[-2:] == [ContentRefused(answers.TOO_BIG), Closing(answers.TOO_BIG)]


@pytest.mark.parametrize(
    "octets", [b"xx\n.\r\n", b"xx\r\n.\n", b"\r.\r", b"\r\n.\r", b"\r\n.\r\r\n", b"\r\n\0.\r\n", b"\r\n.\0\r\n"]
)
@pytest.mark.parametrize("size", [1, 2, 3, 100])
def test_c002_c003_nothing_but_the_true_end_ends_data(octets: bytes, size: int) -> None:
    client = in_data()
    smuggled = b"x" + octets + b"MAIL FROM:<x@evil.example>\r\n"
    for at in range(0, len(smuggled), size):
        client.send(smuggled[at : at + size])
    assert client.is_silent()
    assert client.ask(b"\r\n.\r\n") == [str(answers.BARE_LINE_ENDS)]
    assert client.events[-1] == ContentRefused(answers.BARE_LINE_ENDS)
    assert client.messages == []


def test_c026_long_lines_of_content_pass_untouched() -> None:
    client = in_data()
    body = b"".join(b"x" * length + b"\r\n" for length in (998, 999, 1000, 5000))
    assert codes(client, body + b".\r\n") == ["250"]
    assert client.message() == body


def test_c031_an_empty_last_chunk_ends_the_message() -> None:
    client = greeted()
    received = codes(client, ENVELOPE + b"BDAT 14\r\nSubject: z\r\n\r\nBDAT 4\r\nhi\r\nBDAT 0 LAST\r\nNOOP\r\n")
    assert received[3:] == ["250"] * 4
    assert client.message() == b"Subject: z\r\n\r\nhi\r\n"
    assert not client.machine.in_transaction


def test_c034_a_bad_chunk_spoils_the_series() -> None:
    client = greeted()
    received = codes(client, ENVELOPE + b"BDAT 4\r\nab\r\nBDAT x\r\nBDAT 0 LAST\r\nDATA\r\nRSET\r\nMAIL FROM:<>\r\n")
    assert received[3:] == ["250", "501", "503", "503", "250", "250"]
    assert client.messages == []
    assert ContentRefused(answers.BAD_BDAT) in client.events


def test_a_crlf_may_be_cut_by_chunks() -> None:
    client = greeted()
    assert codes(client, ENVELOPE + b"BDAT 2\r\na\rBDAT 1 LAST\r\n\n")[-2:] == ["250", "250"]
    assert client.message() == b"a\r\n"


def test_a_cr_at_the_end_of_the_last_chunk_is_bare() -> None:
    client = greeted()
    assert client.ask(ENVELOPE + b"BDAT 2 LAST\r\na\rNOOP\r\n")[-2:] == [str(answers.BARE_LINE_ENDS), "250 2.0.0 Ok"]


def test_a_refused_first_chunk_is_swallowed() -> None:
    client = MachineClient(SMTPD, Refusing(Data, Reply(452, "4.3.1", "Disk full")))
    octets = ENVELOPE + b"BDAT 6\r\nQUIT\r\nBDAT 6 LAST\r\nQUIT\r\nRSET\r\nNOOP\r\n"
    assert codes(client, octets)[3:] == ["452", "503", "250", "250"]
    assert not any(isinstance(event, ContentChunk) for event in client.events)


@pytest.mark.parametrize("before", [b"", b"EHLO x\r\n", b"EHLO x\r\nMAIL FROM:<>\r\n"])
def test_a_chunk_out_of_order_is_swallowed(before: bytes) -> None:
    client = MachineClient(SMTPD)
    client.ask(before)
    assert codes(client, b"BDAT 6\r\nQUIT\r\nNOOP\r\n")[-1] == "250"
    assert not client.machine.closed


@pytest.mark.parametrize("size", [SMTPD.size_limit + SWALLOW_LIMIT + 1, 10**30])
@pytest.mark.parametrize("envelope", [b"", ENVELOPE, ENVELOPE + b"BDAT 0\r\n"])
def test_a_chunk_too_large_to_swallow_ends_the_session(envelope: bytes, size: int) -> None:
    client = MachineClient(SMTPD)
    assert client.ask(envelope + b"BDAT %d\r\nQUIT\r\n" % size)[-1] == str(answers.TOO_BIG)
    assert client.events[-1] == Closing(answers.TOO_BIG)


def test_no_size_limit() -> None:
    client = greeted(ServerRules("mail.local.example", "smtpd", size_limit=0))
    assert codes(client, b"MAIL FROM:<> SIZE=99999999999999999999\r\n") == ["250"]


def test_c033_nothing_of_a_forgotten_chunk_is_in_the_next_message() -> None:
    client = greeted()
    client.ask(ENVELOPE + b"BDAT 8\r\nHey <3\r\nRSET\r\n")
    after = client.events.index(Reset())
    client.ask(ENVELOPE + b"BDAT 2 LAST\r\n\r\n")
    assert [event.data for event in client.events[after:] if isinstance(event, ContentChunk)] == [b"\r\n"]


# Not SMTP


@pytest.mark.parametrize("size", [1, 3, 1000])
@pytest.mark.parametrize(
    "octets",
    [
        b"\x16\x03\x01\x01\x1a\x01\x00\x01\r\nEHLO x\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\nEHLO x\r\n",
        b"POST /" + b"x" * 3000 + b" HTTP/1.1\r\n\r\nEHLO x\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ],
)
def test_c023_other_protocols(octets: bytes, size: int) -> None:
    client = MachineClient(SMTPD)
    for at in range(0, len(octets), size):
        client.send(octets[at : at + size])
    assert [type(event) for event in client.events] == [Closing]
    assert len(replies(client.output)) == 2


def test_c024_a_line_without_end() -> None:
    client = MachineClient(SMTPD)
    for _ in range(100):
        client.send(b"\0" * 4096)
        assert client.machine.buffered <= 16_384
    assert client.events == [Closing(answers.LINE_TOO_LONG)]


def test_c027_the_name_is_kept_as_it_came() -> None:
    client = MachineClient(SMTPD)
    assert codes(client, b"EHLO x) (y\r\n") == ["250"]
    assert client.machine.hello_name == "x) (y"
    assert codes(client, b"EHLO x\nX-Injected: 1\r\nEHLO\r\nEHLO \x1b[31mred\r\n") == ["500", "501", "500"]
    assert client.machine.hello_name == "x) (y"


def test_c018_a_refused_mail_leaves_no_transaction() -> None:
    client = greeted()
    assert codes(client, b"MAIL FROM:<> FOO=1\r\n") == ["555"]
    assert not client.machine.in_transaction
    assert codes(client, b"MAIL FROM:<>\r\n") == ["250"]


def submitting(size_limit: int = 52_428_800) -> MachineClient:
    client = greeted(ServerRules("mail.local.example", "submissions", size_limit=size_limit))
    assert codes(client, RIGHT) == ["235"]
    return client


BINARY = b"MAIL FROM:<alice@local.example> BODY=BINARYMIME\r\nRCPT TO:<bob@local.example>\r\n"
ODD = b"\0\r\n.\r\n\n.\n\r.\r\nMAIL FROM:<>\r\n"


def test_a_binary_content_is_passed_on_as_it_is() -> None:
    client = submitting()
    octets = BINARY + b"BDAT %d\r\n" % len(ODD) + ODD + b"BDAT 1 LAST\r\n\r"
    assert codes(client, octets) == ["250"] * 4
    assert client.messages == [ODD + b"\r"]


def test_binary_holds_for_one_transaction() -> None:
    client = submitting()
    codes(client, BINARY + b"RSET\r\n" + BINARY + b"BDAT 1 LAST\r\n\n")
    ordinary = BINARY.replace(b" BODY=BINARYMIME", b"")
    assert codes(client, ordinary + b"BDAT 3 LAST\r\na\n\0") == ["250", "250", "554"]
    assert codes(client, BINARY + b"EHLO again\r\n" + ordinary + b"DATA\r\n") == ["250"] * 5 + ["354"]
    assert codes(client, b"a\nb\r\n.\r\n") == ["554"]


def test_data_of_a_binary_content_waits_for_rset() -> None:
    client = submitting()
    assert codes(client, BINARY + b"DATA\r\n") == ["250", "250", "503"]
    assert isinstance(client.events[-1], ContentRefused)
    assert codes(client, b"BDAT 6 LAST\r\nQUIT\r\nMAIL FROM:<>\r\n") == ["503", "503"]
    assert codes(client, b"RSET\r\nMAIL FROM:<>\r\n") == ["250", "250"]


def test_c010_content_behind_data_of_a_binary_content_is_not_run_as_commands() -> None:
    client = submitting()
    assert codes(client, BINARY + b"DATA\r\nMAIL FROM:<evil@local.example>\r\n.\r\n") == ["250", "250", "554"]
    assert client.machine.closed


@pytest.mark.parametrize("limit", [100, 0, 52_428_800])
def test_a_binary_content_has_a_limit_of_its_own(limit: int) -> None:
    client = submitting(limit)
    most = 100 if limit == 100 else BINARY_LIMIT
    assert client.ask(b"MAIL FROM:<> SIZE=%d BODY=BINARYMIME\r\n" % (most + 1))[0].startswith("552 5.3.4")
    assert codes(client, BINARY + b"BDAT %d\r\n" % most + b"\n" * most) == ["250", "250", "250"]
    assert client.ask(b"BDAT 1 LAST\r\n\n") == [str(answers.BINARY_TOO_BIG)]
    assert client.messages == []


def test_c090_smtputf8_holds_for_one_transaction() -> None:
    client = greeted()
    octets = "MAIL FROM:<a@b.example> SMTPUTF8\r\nRCPT TO:<é@local.example>\r\nRSET\r\n".encode()
    octets += "MAIL FROM:<a@b.example>\r\nRCPT TO:<é@local.example>\r\n".encode()
    assert codes(client, octets) == ["250", "550", "250", "250", "553"]


@pytest.mark.parametrize("size", [1, 10, 1_000_000])
@pytest.mark.parametrize("command", [b"RCPT TO:<alice@local.example>\r\n", b"BDAT 0\r\n", b"BDAT 2\r\n\r\n"])
def test_after_many_commands_others_have_their_turn(command: bytes, size: int) -> None:
    client = MachineClient(ServerRules("mail.local.example", "smtpd", recipient_limit=3))
    octets = ENVELOPE + command * (3 * COMMANDS_AT_ONCE - 3)
    for start in range(0, len(octets), size):
        client.send(octets[start : start + size])
    assert sum(isinstance(event, GiveWay) for event in client.events) == 3
    assert isinstance(client.events[-1], GiveWay)


def test_way_is_given_in_the_midst_of_what_is_held() -> None:
    machine = ServerMachine(SMTPD)
    machine.greet()
    machine.receive(b"NOOP\r\n" * 98 + b"EHLO x\r\n" + b"RSET\r\n" * 2)
    assert isinstance(machine.next_event(), Hello)
    assert isinstance(machine.next_event(), GiveWay)
    assert machine.buffered == len(b"RSET\r\n")
    assert not machine.in_content
