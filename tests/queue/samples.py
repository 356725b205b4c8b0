"""What the tests of the queue are made of: messages, outcomes, a clock to set, and a log to read."""

from collections.abc import Sequence
from typing import Any

import structlog
from structlog.testing import LogCapture

from valija.content.reported import Reported, ReportKind
from valija.logs import Log
from valija.mail.content import Content
from valija.mail.envelope import DeliverBy, Envelope, Notify, Recipient, Ret
from valija.mail.job import QueueId, Route
from valija.mail.origin import Origin
from valija.mail.outcome import Outcome, State
from valija.mail.reply import Reply
from valija.queue.store import NewMessage, Unreported

NOW = 1_800_000_000.0
OK = Reply(250, "2.0.0", "Ok")
GREYLISTED = Reply(451, "4.7.1", "Greylisted, come back later")
UNKNOWN_USER = Reply(550, "5.1.1", "No such user")


class SetClock:
    """A clock that says what the test wants."""

    def __init__(self, now: float = NOW) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def message(
    *addresses: str,
    reverse_path: str = "alice@example.org",
    notify: Notify = Notify.ABSENT,
    arrived: float = NOW,
    content: Content | None = None,
    ret: Ret = "",
    hold_until: float = 0.0,
    deliver_by: DeliverBy | None = None,
    priority: int = 0,
) -> NewMessage:
    recipients = tuple(Recipient(address, notify) for address in addresses or ("bob@example.net",))
    return NewMessage(
        Envelope(reverse_path, recipients, ret=ret, hold_until=hold_until, deliver_by=deliver_by, priority=priority),
        content or Content.of(b"Subject: hello\r\n\r\nHello.\r\n"),
        Origin("submission", arrived, "192.0.2.7", "client.example", "ESMTPSA", "alice@example.org"),
    )


def delivered(number: int = 0, *, dsn_passed_on: bool = False) -> Outcome:
    return Outcome(number, State.DELIVERED, OK, "mx.example.net", "192.0.2.1", dsn_passed_on=dsn_passed_on)


def deferred(number: int = 0, reply: Reply = GREYLISTED) -> Outcome:
    return Outcome(number, State.DEFERRED, reply, "mx.example.net", "192.0.2.1")


def failed(number: int = 0, reply: Reply = UNKNOWN_USER) -> Outcome:
    return Outcome(number, State.FAILED, reply, "mx.example.net", "192.0.2.1")


def news(*numbers: int, kind: ReportKind = ReportKind.FAILURE) -> tuple[Unreported, ...]:
    """Return news of some recipients of a message."""
    about = [Recipient(f"r{number}@example.net") for number in numbers]
    return tuple(Unreported(kind, Reported(one, failed(number))) for number, one in zip(numbers, about, strict=True))


def report(kind: ReportKind, queue_id: QueueId, _message: NewMessage, reported: Sequence[Reported]) -> Content:
    """Write a report that a test can read."""
    lines = [f"{kind} report on {queue_id}"]
    lines += [f"{one.recipient.address}: {one.outcome.reply}" for one in reported]
    lines += [f"expired after {one.expired_after:g} s" for one in reported if one.expired_after]
    return Content.of("\r\n".join([*lines, ""]).encode("ascii", "replace"))


def to_domain(_: Envelope, address: str) -> Route:
    return Route("remote", address.rpartition("@")[2])


class LogLines:
    """A log and what was written to it."""

    def __init__(self) -> None:
        capture = LogCapture()
        self.entries = capture.entries
        self.log: Log = structlog.wrap_logger(None, [capture], structlog.make_filtering_bound_logger(0)).bind()

    def of(self, event: str) -> list[dict[str, Any]]:
        return [dict(entry) for entry in self.entries if entry["event"] == event]
