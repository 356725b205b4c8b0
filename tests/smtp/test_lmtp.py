"""The client's side of LMTP: a reply per recipient, and what is odd ends the session without a lost recipient."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from valija.mail.content import Content
from valija.mail.envelope import Envelope, Recipient
from valija.mail.reply import Reply
from valija.smtp.client_events import ClientEvent, Ready, SessionEnded, TransactionEnded
from valija.smtp.client_transaction import plan
from valija.smtp.lmtp import LmtpMachine, LmtpTransaction

HELLO = b"220 dovecot ready\r\n250-dovecot\r\n250-8BITMIME\r\n250-CHUNKING\r\n250 PIPELINING\r\n"
CONTENT = b"Subject: x\r\n\r\nbody\r\n"


def begun(recipients: int, hello: bytes = HELLO) -> tuple[LmtpMachine, LmtpTransaction]:
    """Return a machine that has begun a transaction."""
    machine = LmtpMachine("mail.example.org")
    machine.receive(hello)
    assert isinstance(machine.next_event(), Ready)
    machine.take_output()
    those = tuple(Recipient(f"r{number}@example.org") for number in range(recipients))
    envelope = Envelope("ann@remote.example", those)
    transaction = plan(
        envelope, those, Content.of(CONTENT), machine.capabilities, chunks=True, kind=machine.transaction_kind
    )
    assert isinstance(transaction, LmtpTransaction)
    machine.begin(transaction)
    return machine, transaction


def events(machine: LmtpMachine, octets: bytes, cuts: Sequence[int] = ()) -> list[ClientEvent]:
    found = []
    for start, end in zip((0, *sorted(cuts)), (*sorted(cuts), len(octets)), strict=True):
        machine.receive(octets[start:end])
        while (event := machine.next_event()) is not None:
            found.append(event)
    return found


def codes(transaction: LmtpTransaction, recipients: int) -> list[int | None]:
    verdicts = [transaction.verdict(place) for place in range(recipients)]
    return [verdict.code if verdict else None for verdict in verdicts]


def test_it_says_lhlo_and_never_bdat() -> None:
    machine = LmtpMachine("mail.example.org")
    machine.receive(b"220 ready\r\n")
    assert machine.next_event() is None
    assert machine.take_output() == b"LHLO mail.example.org\r\n"
    machine, _ = begun(1)
    assert machine.take_output() == (b"MAIL FROM:<ann@remote.example>\r\nRCPT TO:<r0@example.org>\r\nDATA\r\n")


def test_without_lhlo_there_is_nothing_to_fall_back_to() -> None:
    machine = LmtpMachine("mail.example.org")
    machine.receive(b"220 ready\r\n500 5.5.1 what?\r\n")
    event = machine.next_event()
    assert isinstance(event, SessionEnded)
    assert event.by_peer


ANSWERS = (
    b"250 2.1.0 ok\r\n250 2.1.5 ok\r\n550 5.1.1 nobody\r\n250 2.1.5 ok\r\n250 2.1.5 ok\r\n354 go\r\n"
    b"250 2.0.0 <r0> saved\r\n552 5.2.2 <r2> full\r\n452 4.2.2 <r3> full now\r\n"
)


@given(st.lists(st.integers(0, len(ANSWERS)), max_size=8))
def test_each_recipient_has_its_own_verdict_however_the_replies_are_cut(cuts: list[int]) -> None:
    machine, transaction = begun(4)
    assert events(machine, ANSWERS, cuts) == [TransactionEnded(transaction)]
    assert codes(transaction, 4) == [250, 550, 552, 452]
    assert machine.is_idle
    assert machine.take_output().endswith(CONTENT + b".\r\n")


def test_without_pipelining_too() -> None:
    machine, transaction = begun(4, b"220 x\r\n250 x\r\n")
    assert events(machine, ANSWERS) == [TransactionEnded(transaction)]
    assert codes(transaction, 4) == [250, 550, 552, 452]


def test_the_next_transaction_may_begin_behind_the_dot() -> None:
    machine, first = begun(2)
    events(machine, b"250 ok\r\n250 ok\r\n250 ok\r\n354 go\r\n")
    assert machine.can_begin
    recipient = Recipient("next@example.org")
    second = plan(
        Envelope("", (recipient,)), [recipient], Content.of(CONTENT), machine.capabilities, kind=LmtpTransaction
    )
    machine.begin(second)
    replies = b"250 first\r\n250 other\r\n250 ok\r\n550 5.1.1 no\r\n503 5.5.1 no recipients\r\n250 reset\r\n"
    assert events(machine, replies) == [TransactionEnded(first), TransactionEnded(second)]
    assert codes(first, 2) == [250, 250]
    assert second.verdict(0) == Reply(550, "5.1.1", "no")


def test_nobody_was_taken() -> None:
    machine, transaction = begun(2)
    assert events(machine, b"250 ok\r\n550 no\r\n450 not now\r\n503 5.5.1 no recipients\r\n") == [
        TransactionEnded(transaction)
    ]
    assert codes(transaction, 2) == [550, 450]
    assert machine.take_output().endswith(b"RSET\r\n")


def test_354_to_nobody_ends_the_session() -> None:
    machine, transaction = begun(1)
    [event] = events(machine, b"250 ok\r\n550 5.1.1 no\r\n354 go\r\n")
    assert isinstance(event, SessionEnded)
    assert event.unfinished == (transaction,)
    assert codes(transaction, 1) == [550]


@pytest.mark.parametrize("last", [b"", b"421 4.3.2 going down\r\n", b"nonsense\r\n", b"354 more?\r\n"])
def test_what_was_answered_before_the_end_counts(last: bytes) -> None:
    machine, transaction = begun(3)
    events(machine, b"250 ok\r\n250 ok\r\n250 ok\r\n250 ok\r\n354 go\r\n250 saved\r\n" + last)
    machine.end(Reply(450, "4.4.2", "lost"))
    assert machine.ended
    verdicts = codes(transaction, 3)
    assert verdicts[0] == 250
    assert verdicts[2] is None, "nobody knows: it is tried again"
    assert verdicts[1] == (421 if last.startswith(b"421") else None)


def test_a_reply_too_many_ends_the_session() -> None:
    machine, transaction = begun(1)
    found = events(machine, b"250 ok\r\n250 ok\r\n354 go\r\n250 saved\r\n250 saved twice\r\n")
    assert found[0] == TransactionEnded(transaction)
    assert isinstance(found[1], SessionEnded)


ODD = (
    b"250 ok\r\n",
    b"354 go\r\n",
    b"550 5.1.1 no\r\n",
    b"452 full\r\n",
    b"421 bye\r\n",
    b"x\r\n",
    b"\r\n",
    b"250-a\r\n",
)


@given(st.lists(st.sampled_from(ODD), max_size=12))
def test_no_replies_raise_and_no_recipient_is_lost(replies: list[bytes]) -> None:
    machine, transaction = begun(3)
    found = events(machine, b"".join(replies))
    machine.end(Reply(450, "4.4.2", "lost"))
    while (event := machine.next_event()) is not None:
        found.append(event)
    ended = [event for event in found if isinstance(event, TransactionEnded)]
    if ended:
        assert None not in codes(transaction, 3)
    else:
        assert isinstance(found[-1], SessionEnded)
        assert found[-1].unfinished == (transaction,)
