"""What a report tells about: the kind of news, and the recipients it concerns."""

from collections.abc import Sequence
from enum import StrEnum

import msgspec

from valija.mail.envelope import Envelope, Recipient
from valija.mail.outcome import Outcome


class ReportKind(StrEnum):
    """The news. One report brings one kind, of all recipients of a message that it holds for."""

    FAILURE = "failure"
    DELAY = "delay"
    SUCCESS = "success"
    RELAYED = "relayed"


class Reported(msgspec.Struct, frozen=True, gc=False):
    """A recipient and its last outcome.

    `will_retry_until`: when a delayed one is given up, in epoch seconds. `expired_after`: how long a failed one was
    tried until it was given up, in seconds; 0 where it failed for good.
    """

    recipient: Recipient
    outcome: Outcome
    will_retry_until: float = 0.0
    expired_after: float = 0.0


class News(msgspec.Struct, frozen=True, gc=False):
    """All that a report tells: `reported` met the same kind of fate. Times are seconds since the epoch."""

    kind: ReportKind
    envelope: Envelope
    queue_id: str
    arrived: float
    reported: Sequence[Reported]
    hostname: str
    now: float
