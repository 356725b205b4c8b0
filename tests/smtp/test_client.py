"""The client machine step by step, and every step against every kind of reply."""

import itertools

import pytest

from valija.mail.reply import Reply
from valija.smtp.client import ClientMachine
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
from valija.smtp.client_sasl import Secret
from valija.smtp.client_transaction import Transaction

GREETED = b"220 mx\r\n250-mx\r\n250-PIPELINING\r\n250 STARTTLS\r\n"


def transaction(name: str = "m", recipients: int = 1, payload: bytes | None = b"x\r\n.\r\n") -> Transaction:
    rcpt = [f"RCPT {name}{n}\r\n".encode() for n in range(recipients)]
    return Transaction([f"MAIL {name}\r\n".encode(), *rcpt, b"DATA\r\n"], payload)


def one_flight(name: str = "m", recipients: int = 1) -> Transaction:
    rcpt = [f"RCPT {name}{n}\r\n".encode() for n in range(recipients)]
    return Transaction([f"MAIL {name}\r\n".encode(), *rcpt, b"BDAT 3 LAST\r\n"], b"x\r\n", is_chunk=True)


def feed(machine: ClientMachine, octets: bytes) -> list[ClientEvent]:
    machine.receive(octets)
    return events(machine)


def events(machine: ClientMachine) -> list[ClientEvent]:
    found = []
    while (event := machine.next_event()) is not None:
        found.append(event)
    return found


def greeted(greeting: bytes = GREETED) -> ClientMachine:
    machine = ClientMachine("me")
    [ready] = feed(machine, greeting)
    assert isinstance(ready, Ready)
    machine.take_output()
    return machine


def test_tls_before_the_banner() -> None:
    machine = ClientMachine("me", tls_first=True)
    assert machine.awaits is Step.HANDSHAKE
    machine.tls_came_first()
    assert (machine.awaits, machine.tls_active, machine.take_output()) == (Step.BANNER, True, b"")
    assert feed(machine, b"220 mx\r\n") == []
    assert machine.take_output() == b"EHLO me\r\n"


def test_clear_text_where_tls_comes_first_is_answered_by_nothing() -> None:
    machine = ClientMachine("me", tls_first=True)
    [ended] = feed(machine, b"220 mx ESMTP\r\n")
    assert isinstance(ended, SessionEnded)
    assert not ended.by_peer
    assert ended.reply.is_transient
    assert machine.take_output() == b""


def test_a_pipelined_transaction_and_the_next_behind_its_dot() -> None:
    machine = greeted()
    one, two = transaction("a"), transaction("b")
    machine.begin(one)
    assert machine.take_output() == b"MAIL a\r\nRCPT a0\r\nDATA\r\n"
    assert not machine.can_begin
    assert feed(machine, b"250 ok\r\n250 ok\r\n354 go\r\n") == []
    assert machine.can_begin
    machine.begin(two)
    assert machine.take_output() == b"x\r\n.\r\nMAIL b\r\nRCPT b0\r\nDATA\r\n"  # RFC 2920 section 3.1: one write
    assert not machine.can_begin
    assert machine.awaits is Step.FINAL
    [ended] = feed(machine, b"250 taken\r\n250 ok\r\n550 no\r\n554 none\r\n")[:1]
    assert isinstance(ended, TransactionEnded)
    assert ended.transaction is one
    assert two.verdict(0) == Reply(550, "", "no")
    assert machine.take_output() == b"RSET\r\n"
    assert not machine.can_begin
    assert feed(machine, b"250 ok\r\n") == []
    assert machine.is_idle


def test_without_pipelining_one_command_at_a_time() -> None:
    machine = greeted(b"220 mx\r\n250 mx\r\n")
    machine.begin(transaction(recipients=2))
    for sent, reply in [(b"MAIL m", b"250"), (b"RCPT m0", b"550 no"), (b"RCPT m1", b"250"), (b"DATA", b"354")]:
        assert machine.take_output() == sent + b"\r\n"
        assert feed(machine, reply + b"\r\n") == []
    assert machine.take_output() == b"x\r\n.\r\n"
    assert not machine.can_begin
    assert [type(event) for event in feed(machine, b"250 ok\r\n")] == [TransactionEnded]


def test_a_chunk_leaves_with_its_commands_and_the_next_behind_a_reset() -> None:
    machine = greeted()
    one, two, three = one_flight("a"), one_flight("b"), transaction("c")
    machine.begin(one)
    assert machine.awaits is Step.CHUNK
    assert machine.can_begin
    machine.begin(two)
    assert machine.take_output() == (
        b"MAIL a\r\nRCPT a0\r\nBDAT 3 LAST\r\nx\r\nRSET\r\nMAIL b\r\nRCPT b0\r\nBDAT 3 LAST\r\nx\r\n"
    )
    assert not machine.can_begin
    [ended] = feed(machine, b"250 ok\r\n250 ok\r\n250 taken\r\n")
    assert isinstance(ended, TransactionEnded)
    assert ended.transaction is one
    machine.begin(three)
    assert machine.take_output() == b"RSET\r\nMAIL c\r\nRCPT c0\r\nDATA\r\n"
    [ended] = feed(machine, b"250 reset\r\n250 ok\r\n250 ok\r\n554 spam\r\n")
    assert isinstance(ended, TransactionEnded)
    assert two.verdict(0) == Reply(554, "", "spam")
    assert machine.take_output() == b""  # the next one's RSET is on its way already
    assert feed(machine, b"250 reset\r\n250 ok\r\n250 ok\r\n354 go\r\n") == []
    assert machine.take_output() == b"x\r\n.\r\n"


def test_a_chunk_for_nobody_is_followed_by_a_reset() -> None:
    machine = greeted()
    machine.begin(one_flight(recipients=2))
    machine.take_output()
    [ended] = feed(machine, b"250 ok\r\n550 no\r\n450 later\r\n503 nobody\r\n")
    assert isinstance(ended, TransactionEnded)
    assert [ended.transaction.verdict(place) for place in (0, 1)] == [Reply(550, "", "no"), Reply(450, "", "later")]
    assert machine.take_output() == b"RSET\r\n"
    assert not machine.can_begin


@pytest.mark.parametrize("reply", [b"500 5.5.1 what?\r\n", b"502 no such command\r\n", b"503 5.5.1 order\r\n"])
def test_a_peer_that_does_not_know_bdat_is_left_before_anything_else_is_said(reply: bytes) -> None:
    machine = greeted()
    one, two = one_flight("a"), one_flight("b")
    machine.begin(one)
    machine.begin(two)
    machine.take_output()
    [ended] = feed(machine, b"250 ok\r\n250 ok\r\n" + reply + b"500 what?\r\n" * 9)
    assert isinstance(ended, SessionEnded)
    assert ended.unfinished == (one, two)
    assert one.chunk_unknown
    assert one.verdict(0) is None  # neither delivered nor failed
    assert not two.chunk_unknown


def test_a_content_in_pieces() -> None:
    machine = greeted()
    machine.begin(transaction(payload=None))
    machine.take_output()
    [wanted] = feed(machine, b"250 ok\r\n250 ok\r\n354 go\r\n")
    assert isinstance(wanted, ContentWanted)
    assert machine.awaits is Step.CONTENT
    for piece in (b".a\r", b"\n.b"):
        machine.send(piece)
    machine.end_content()
    assert machine.take_output() == b"..a\r\n..b\r\n.\r\n"
    assert machine.can_begin


@pytest.mark.parametrize(("reply", "code"), [(b"552 5.3.4 too big\r\n", 552), (b"421 4.3.2 bye\r\n", 421)])
def test_a_peer_that_gives_up_amid_the_content(reply: bytes, code: int) -> None:
    machine = greeted()
    one = transaction(payload=None)
    machine.begin(one)
    feed(machine, b"250 ok\r\n250 ok\r\n354 go\r\n")
    machine.send(b"a\r\n")
    assert [type(event) for event in feed(machine, reply)] == [TransactionEnded, SessionEnded]
    verdict = one.verdict(0)
    assert verdict is not None
    assert verdict.code == code
    machine.take_output()
    machine.send(b"more\r\n")
    machine.end_content()
    assert machine.take_output() == b""  # no final dot


def test_tls_forgets_what_was_learnt_before() -> None:
    machine = greeted()
    machine.start_tls()
    assert [type(event) for event in feed(machine, b"220 go\r\n")] == [TlsReady]
    machine.take_output()
    machine.tls_started()
    assert machine.take_output() == b"EHLO me\r\n"
    [ready] = feed(machine, b"250-mx\r\n250 SIZE 5\r\n")
    assert isinstance(ready, Ready)
    assert ready.capabilities.size_limit == 5
    assert not ready.capabilities.pipelining
    assert not ready.capabilities.starttls


def test_c052_octets_behind_the_220() -> None:
    machine = greeted()
    machine.start_tls()
    assert [type(event) for event in feed(machine, b"220 go\r\n250 mx\r\n")] == [SessionEnded]


@pytest.mark.parametrize("code", [454, 502, 554])
def test_c058_a_refused_starttls_leaves_the_session_usable(code: int) -> None:
    machine = greeted()
    machine.start_tls()
    assert [type(event) for event in feed(machine, b"%d no\r\n" % code)] == [TlsRefused]
    assert machine.can_begin


def test_mail_max_is_kept() -> None:
    machine = greeted(b"220 mx\r\n250-mx\r\n250-PIPELINING\r\n250 LIMITS MAILMAX=1\r\n")
    machine.begin(transaction())
    feed(machine, b"250 ok\r\n250 ok\r\n354 go\r\n")
    assert not machine.can_begin
    feed(machine, b"250 ok\r\n")
    assert machine.is_idle
    assert machine.is_exhausted
    assert not machine.can_begin


def test_quit_is_the_end() -> None:
    machine = greeted()
    machine.quit()
    assert machine.take_output() == b"QUIT\r\n"
    assert [type(event) for event in events(machine)] == [SessionEnded]
    assert feed(machine, b"221 bye\r\n") == []
    assert machine.awaits is Step.OVER


def test_a_reply_out_of_step_ends_the_session() -> None:
    machine = greeted()
    [ended] = feed(machine, b"250 what\r\n")
    assert isinstance(ended, SessionEnded)
    assert ended.reply.is_transient
    machine = greeted()
    machine.receive(b"250 left over")
    assert not machine.can_begin


def at(step: Step) -> ClientMachine:
    """A machine that waits at `step`."""
    if step is Step.BANNER:
        return ClientMachine("me")
    if step in (Step.EHLO, Step.HELO):
        machine = ClientMachine("me")
        feed(machine, b"220 mx\r\n" + (b"502 no\r\n" if step is Step.HELO else b""))
        return machine
    machine = greeted()
    if step in (Step.STARTTLS, Step.HANDSHAKE):
        machine.start_tls()
        feed(machine, b"220 go\r\n" if step is Step.HANDSHAKE else b"")
        return machine
    if step is Step.AUTH:
        machine.log_in(Login("PLAIN", Secret("alice", b"secret")))
        return machine
    machine.begin(one_flight() if step is Step.CHUNK else transaction())
    before = {
        Step.CHUNK: b"250 ok\r\n250 ok\r\n",
        Step.MAIL: b"",
        Step.RCPT: b"250 ok\r\n",
        Step.DATA: b"250 ok\r\n250 ok\r\n",
        Step.FINAL: b"250 ok\r\n250 ok\r\n354 go\r\n",
        Step.RSET: b"250 ok\r\n250 ok\r\n554 no\r\n",
    }
    feed(machine, before[step])
    return machine


NEXT = {
    # step: what follows 250, 354, 450, 550
    Step.BANNER: (Step.EHLO, Step.OVER, Step.OVER, Step.OVER),
    Step.EHLO: (Step.IDLE, Step.OVER, Step.OVER, Step.HELO),
    Step.HELO: (Step.IDLE, Step.OVER, Step.OVER, Step.OVER),
    Step.STARTTLS: (Step.IDLE, Step.IDLE, Step.IDLE, Step.IDLE),
    Step.HANDSHAKE: (Step.OVER, Step.OVER, Step.OVER, Step.OVER),
    Step.AUTH: (Step.IDLE, Step.OVER, Step.IDLE, Step.IDLE),
    Step.MAIL: (Step.RCPT, Step.OVER, Step.RCPT, Step.RCPT),
    Step.RCPT: (Step.DATA, Step.OVER, Step.DATA, Step.DATA),
    Step.DATA: (Step.OVER, Step.FINAL, Step.RSET, Step.RSET),
    Step.FINAL: (Step.IDLE, Step.OVER, Step.IDLE, Step.IDLE),
    Step.CHUNK: (Step.IDLE, Step.OVER, Step.RSET, Step.RSET),
    Step.RSET: (Step.IDLE, Step.OVER, Step.OVER, Step.OVER),
}


def test_the_table_is_complete() -> None:
    assert set(NEXT) == set(ClientMachine._handlers) == set(Step) - {Step.IDLE, Step.CONTENT, Step.OVER}


@pytest.mark.parametrize(("step", "reply"), list(itertools.product(NEXT, (0, 1, 2, 3))))
def test_every_step_and_every_class_of_reply(step: Step, reply: int) -> None:
    machine = at(step)
    assert machine.awaits is step
    feed(machine, (b"250 x\r\n", b"354 x\r\n", b"450 x\r\n", b"550 x\r\n")[reply])
    assert machine.awaits is NEXT[step][reply]
    assert machine.ended == (machine.awaits is Step.OVER)


@pytest.mark.parametrize("step", NEXT)
@pytest.mark.parametrize("octets", [b"421 bye\r\n", b"nonsense\r\n", b"521-no\r\n220 yes\r\n"])
def test_every_step_ends_with_421_or_nonsense(step: Step, octets: bytes) -> None:
    machine = at(step)
    found = feed(machine, octets)
    assert machine.ended
    ended = found[-1]
    assert isinstance(ended, SessionEnded)
    assert ended.reply.is_transient
    assert [type(event) for event in found].count(SessionEnded) == 1


@pytest.mark.parametrize("step", NEXT)
def test_every_step_can_lose_the_connection(step: Step) -> None:
    machine = at(step)
    machine.end(Reply(450, "4.4.2", "lost"))
    machine.end(Reply(450, "4.4.2", "lost again"))
    [ended] = events(machine)
    assert isinstance(ended, SessionEnded)
    assert ended.step is step
    assert len(ended.unfinished) == (step in (Step.MAIL, Step.RCPT, Step.DATA, Step.FINAL, Step.CHUNK))
    for unfinished in ended.unfinished:
        assert unfinished.is_untouched == (step is Step.MAIL)
        assert unfinished.dot_sent == (step in (Step.FINAL, Step.CHUNK))
