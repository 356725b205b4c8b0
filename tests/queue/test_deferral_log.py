"""What the log says of those who were not served: when they are tried again, or that they are given up."""

from tests.queue.samples import LogLines
from valija.mail.content import Content
from valija.mail.envelope import Envelope, Recipient
from valija.mail.job import QueueId
from valija.mail.origin import Origin
from valija.mail.outcome import Outcome, State
from valija.mail.reply import Reply
from valija.queue.deferral_log import tell_deferred
from valija.queue.store import Claim, Due, NewMessage, Settled, Settlement

REPLY = Reply(450, "4.2.0", "later")
AGAIN = 1795583034.9


def told(*fates: tuple[State, State, float]) -> LogLines:
    """Log what became of some recipients: the outcome of each, its settled state, and its next attempt."""
    envelope = Envelope("alice@example.org", tuple(Recipient(f"u{n}@example.net") for n in range(len(fates))))
    message = NewMessage(envelope, Content.of(b""), Origin("smtpd", 0.0))
    claim = Claim(QueueId("x"), message, tuple(Due(number, attempts=2) for number in range(len(fates))), only=True)
    outcomes = [Outcome(number, outcome, REPLY) for number, (outcome, _, _) in enumerate(fates)]
    settled = tuple(Settled(number, state, "", again) for number, (_, state, again) in enumerate(fates))
    lines = LogLines()
    tell_deferred(lines.log, claim, outcomes, Settlement(QueueId("x"), settled))
    return lines


def test_those_with_one_next_attempt_share_a_line() -> None:
    lines = told(*[(State.DEFERRED, State.DEFERRED, AGAIN)] * 12, (State.DEFERRED, State.DEFERRED, AGAIN + 60))
    first, second = lines.of("deferred")
    assert (first["recipients"], first["attempts"], first["next_attempt"]) == (12, 3, "2026-11-25T05:03:54Z")
    assert first["to"] == [f"u{number}@example.net" for number in range(10)]
    assert (second["recipients"], second["to"]) == (1, "u12@example.net")


def test_who_is_given_up_is_told_apart_from_who_was_refused_or_served() -> None:
    lines = told(
        (State.DEFERRED, State.FAILED, 0.0), (State.FAILED, State.FAILED, 0.0), (State.DELIVERED, State.DELIVERED, 0.0)
    )
    (line,) = lines.of("given up")
    assert line["to"] == "u0@example.net"
    assert not lines.of("deferred")
