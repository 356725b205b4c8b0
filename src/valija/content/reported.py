"""What a report tells about: the kind of news, and the recipients it concerns."""

import re
from collections.abc import Sequence
from enum import StrEnum
from functools import cached_property

import msgspec

from valija.mail.address import split
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
    tried until it was given up, in seconds; 0 where it failed for good. `deadline_passed`: it was late for the sender's
    own deadline (RFC 2852); a failed one was given up for that, a delayed one is tried on.
    """

    recipient: Recipient
    outcome: Outcome
    will_retry_until: float = 0.0
    expired_after: float = 0.0
    deadline_passed: bool = False

    @property
    def words(self) -> str:
        """What was said of the recipient, on one line; an alias does not give away where it leads (C097)."""
        recipient, words = self.recipient, str(self.outcome.reply)
        if not recipient.given or recipient.given == recipient.address:
            return words
        return re.sub(re.escape(recipient.address), lambda _: recipient.given, words, flags=re.IGNORECASE)

    @property
    def impersonal_words(self) -> str:
        """The same words without the recipient's address, as they may have been said of others too."""
        return self.words.replace(self.recipient.reported_address, "...")

    def fate(self, words: str) -> tuple[object, ...]:
        """Return what this one has in common with others that met the very same fate, told in `words`."""
        outcome = self.outcome
        return (
            words,
            outcome.remote,
            outcome.remote_address,
            outcome.tls_source,
            outcome.dsn_passed_on,
            outcome.deliver_by_passed_on,
            self.will_retry_until,
            self.expired_after,
            self.deadline_passed,
        )


class News(msgspec.Struct, frozen=True, dict=True):
    """All that a report tells: `reported` met the same kind of fate. Times are seconds since the epoch."""

    kind: ReportKind
    envelope: Envelope
    queue_id: str
    arrived: float
    reported: Sequence[Reported]
    hostname: str
    now: float

    @cached_property
    def answers(self) -> list[list[Reported]]:
        """The recipients by what was said of them, their addresses aside, in the order of the first of each."""
        groups: dict[tuple[object, ...], list[Reported]] = {}
        for one in self.reported:
            groups.setdefault(one.fate(one.impersonal_words), []).append(one)
        return list(groups.values())

    @property
    def internationalised(self) -> bool:
        """Whether the report may hold UTF-8 anywhere: it goes to an address that only SMTPUTF8 can carry.

        To all others it has to be deliverable by hops without SMTPUTF8, whatever the message was.
        """
        return not split(self.envelope.reverse_path)[0].isascii()
