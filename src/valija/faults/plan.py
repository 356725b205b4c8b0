"""What is to go wrong, where and when: the text of VALIJA_FAULT as values.

    plan = parse("queue.committed:kill@3, content.write:full@2-9, disk.sync:io@5%")
    plan[0].point, plan[0].action, plan[0].first          # "queue.committed", "kill", 3

    POINT:ACTION[@WHEN], ...        WHEN: the first pass if it is left out; N; N- (from then on); N-M; P% (by chance)

Passes are counted over all workers and their restarts, from the start of the server.
"""

import re
from typing import Final, Literal, cast

import msgspec

Action = Literal["kill", "full", "io"]

ACTIONS: Final[dict[Action, str]] = {
    "kill": "the process is killed (SIGKILL)",
    "full": "the disk is full (ENOSPC)",
    "io": "the disk fails (EIO)",
}

POINTS: Final = {
    "content.create": "a large content's file is about to be made",
    "content.write": "a piece of a large content is about to be written",
    "content.sync": "a large content is in its file, not yet synced",
    "content.synced": "a large content is on disk, not yet named by the queue",
    "queue.write": "a message is written to the queue, not yet committed",
    "queue.committed": "it is committed, nobody has been told",
    "reply.accepted": "the message is in the queue, its 250 not yet written",
    "queue.claimed": "recipients are claimed from the file",
    "attempt.begun": "an attempt is marked as under way",
    "attempt.replied": "the peer's answer to the content is read, the outcome not yet told",
    "attempt.ended": "the outcomes are known, not yet recorded",
    "report.write": "a report stands in the transaction that settles its cause",
    "settlement.write": "the outcomes are written to the queue, not yet committed",
    "settlement.recorded": "they are committed, the content's file is still there",
    "content.removed": "the content's file is removed",
    "maildir.write": "a message is about to be written to a mailbox's tmp",
    "maildir.sync": "it is written, not yet synced",
    "maildir.rename": "it is synced, not yet in new",
    "maildir.renamed": "it is in new, the folder not yet synced",
    "maildir.delivered": "it is in the mailbox, the outcome not yet told",
    "drop.write": "sendmail is about to write a message into the maildrop",
    "drop.complete": "it is open to the server, not yet synced",
    "drop.synced": "it is on disk, sendmail has not ended",
    "maildrop.queued": "a message of the maildrop is queued, its file still there",
    "adoption.linked": "the bodies of a batch are linked into the adopting queue",
    "adoption.taken": "the batch is in both queues",
    "adoption.forgotten": "the batch has left the old queue, its bodies not yet",
    "recovery.counted": "crashes are counted, what nobody needs is not yet removed",
    "recovery.aside": "a part of an unusable queue is renamed, what is left of it is not",
    "disk.write": "SQLite is about to write to the queue's file or its log",
    "disk.sync": "SQLite is about to sync the queue's file or its log",
}
"""Each fault point, and what is the case there."""

DISK_POINTS: Final = {
    *("content.create", "content.write", "content.sync", "drop.write"),
    *("maildir.write", "maildir.sync", "maildir.rename", "disk.write", "disk.sync"),
}
"""Where the disk is asked for something next, so that it can be full or fail."""

_ORDER: Final = re.compile(r"(?P<point>[\w.-]+):(?P<action>\w+)(?:@(?P<when>[\d%-]+))?")
_WHEN: Final = re.compile(r"(?P<first>[1-9]\d*)(?P<on>-(?P<last>\d+)?)?|(?P<percent>\d{1,3})%")
_FOR_EVER: Final = 1 << 62


class Fault(msgspec.Struct, frozen=True):
    """One thing that goes wrong: in passes `first` to `last`, or with a chance of `percent` in each."""

    point: str
    action: Action
    first: int = 1
    last: int = 1
    percent: int = 0

    def strikes(self, passes: int, chance: float) -> bool:
        """Whether it does in this pass; `chance` is a random number in [0, 1)."""
        if self.percent:
            return chance * 100 < self.percent
        return self.first <= passes <= self.last


class UnknownFault(ValueError):
    """The text names no fault; the message says what is wrong with it."""


def parse(text: str) -> tuple[Fault, ...]:
    """Return what a text asks for, nothing for an empty one. Raises UnknownFault."""
    return tuple(_fault(order.strip()) for order in text.split(",") if order.strip())


def _fault(order: str) -> Fault:
    parts = _ORDER.fullmatch(order)
    if parts is None:
        raise UnknownFault(f"{order!r}: write POINT:ACTION or POINT:ACTION@WHEN, as queue.committed:kill@3")
    if parts["point"] not in POINTS:
        raise UnknownFault(f"{order!r}: there is no fault point {parts['point']!r}; docs/durability.md lists them")
    if parts["action"] not in ACTIONS:
        raise UnknownFault(f"{order!r}: the actions are {', '.join(ACTIONS)}")
    if parts["action"] != "kill" and parts["point"] not in DISK_POINTS:
        raise UnknownFault(f"{order!r}: nothing is asked of the disk there; only kill can strike")
    when = _WHEN.fullmatch(parts["when"] or "1")
    if when is None:
        raise UnknownFault(f"{order!r}: when? Write a pass as @3, passes as @3-5 or @3-, a chance as @5%")
    action = cast("Action", parts["action"])
    if when["percent"]:
        return Fault(parts["point"], action, percent=int(when["percent"]))
    first = int(when["first"])
    last = int(when["last"]) if when["last"] else _FOR_EVER if when["on"] else first
    return Fault(parts["point"], action, first, last)
