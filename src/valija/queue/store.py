"""What the rest of the server asks of a queue (the QueueStore protocol) and the values that go in and out.

The contract that every store keeps, and that tests/contract holds all of them to:

- `put` and `settle` return only when what they recorded survives a power cut.
- A recipient is claimed by one caller at a time. A claim is a lease: it ends with the settlement, or with the
  process (embedded store), or by time (shared store).
- A settlement is one transaction: the recipients' new states, the reports that follow from them, and the deletion of
  a message that has no pending recipient left. All of it happens, or nothing.
- News that a settlement leaves unreported are kept, and the message with them, until a settlement says that its reports
  told them.
- A message on hold is neither claimed nor given up.
- A message that was being attempted during three crashes, without an ended attempt in between, goes on hold.
- A settlement of a message that is gone (deleted by hand meanwhile) does nothing, and queues no reports.
- What became of a large content's file follows what became of the message: kept with it, removed with it.

    queue_id = store.new_id()
    await store.put(queue_id, message, claim=True)
    claim = Claim.fresh(queue_id, message)
    receipt = await store.settle(Settlement(queue_id, (Settled(0, State.DELIVERED),)))
    assert receipt.removed
"""

from collections.abc import Callable, Iterable, Sequence
from collections.abc import Set as AbstractSet
from typing import Final, Protocol, Self

import msgspec

from valija.content.reported import Reported, ReportKind
from valija.mail.content import Content
from valija.mail.envelope import Envelope
from valija.mail.job import QueueId
from valija.mail.origin import Origin
from valija.mail.outcome import State

CRASH_LIMIT: Final = 3
"""After so many crashes in attempts at it a message goes on hold."""


class NewMessage(msgspec.Struct, frozen=True, gc=False):
    """A message to be queued. `on_hold`: it is put there for a human, and not claimed with its `put`."""

    envelope: Envelope
    content: Content
    origin: Origin
    on_hold: bool = False


class Due(msgspec.Struct, frozen=True, gc=False):
    """A claimed recipient: its place in the envelope, its ended attempts, and what was reported already.

    `warned`: that it is late; `overdue`: that the time its sender set has passed (RFC 2852).
    """

    number: int
    attempts: int = 0
    warned: bool = False
    overdue: bool = False


class Claim(msgspec.Struct, frozen=True, gc=False):
    """A message with those of its recipients that are leased to the caller. `crashes` counts crashes in attempts.

    `only` tells that no other recipient of the message is pending, `is_cut` that more recipients of a large message are
    due than a store hands out at once: those of some next hops whole.
    """

    queue_id: QueueId
    message: NewMessage
    due: tuple[Due, ...]
    only: bool
    crashes: int = 0
    is_cut: bool = False

    @classmethod
    def fresh(cls, queue_id: QueueId, message: NewMessage) -> Self:
        """Return the claim to all recipients of a message that was just put."""
        return cls(queue_id, message, fresh_due(len(message.envelope.recipients)), only=True)


_ONE_FRESH: Final = (Due(0),)


def fresh_due(count: int) -> tuple[Due, ...]:
    """Return `count` recipients that were never attempted."""
    return _ONE_FRESH if count == 1 else tuple(map(Due, range(count)))


class Settled(msgspec.Struct, frozen=True, gc=False):
    """The recorded effect of an attempt on one recipient. What follows `state` counts when deferred.

    `next_attempt` is in epoch seconds.
    """

    number: int
    state: State
    last_reply: str = ""
    next_attempt: float = 0.0
    warned: bool = False
    overdue: bool = False


class Unreported(msgspec.Struct, frozen=True, gc=False):
    """News of one recipient that wait for their report, one of each kind at most."""

    kind: ReportKind
    reported: Reported

    @property
    def key(self) -> tuple[str, int]:
        """What tells it from the others of its message."""
        return str(self.kind), self.reported.outcome.number


class Settlement(msgspec.Struct, frozen=True, gc=False):
    """The effect of one attempt: every recipient of its job exactly once, and the reports that follow from it.

    `news` are kept for a report to come. `told` are those kept before that `reports` bring: a settlement of no
    recipient at all, when the last attempt of a round has ended.

    `ends_message` tells what most settlements are: nobody else is pending, nobody is deferred, nothing is reported, and
    no file holds the body. Such a message just leaves, and a store may remove many of them at once.
    """

    queue_id: QueueId
    recipients: tuple[Settled, ...]
    reports: tuple[NewMessage, ...] = ()
    ends_message: bool = False
    news: tuple[Unreported, ...] = ()
    told: tuple[Unreported, ...] = ()


class Receipt(msgspec.Struct, frozen=True, gc=False):
    """What a settlement did: whether the message left the queue, and the queue ids of the reports."""

    removed: bool
    reports: tuple[QueueId, ...] = ()


class PendingRecipient(msgspec.Struct, frozen=True):
    """A line of `valija queue list`. `next_attempt` in epoch seconds."""

    address: str
    state: str
    attempts: int
    next_attempt: float
    last_reply: str


class Listed(msgspec.Struct, frozen=True):
    """A message of `valija queue list`, with its pending recipients.

    `hold_until` is the time of its release where that is still awaited (RFC 4865), else 0. `login` is the user who
    handed it in, `""` where it came otherwise.
    """

    queue_id: QueueId
    reverse_path: str
    size: int
    arrived: float
    hold: bool
    recipients: tuple[PendingRecipient, ...]
    hold_until: float = 0.0
    login: str = ""


def awaited_release(envelope: Envelope, recipients: Sequence[PendingRecipient]) -> float:
    """Return the time of release that a message's recipients wait for, 0 where none does (any more)."""
    release = envelope.hold_until
    return release if any(not each.attempts and each.next_attempt == release for each in recipients) else 0.0


class QueueStore(Protocol):
    """A durable queue. All times are seconds since the epoch."""

    def new_id(self) -> QueueId:
        """Return an id for a message to be put, larger than all before."""

    async def put(self, queue_id: QueueId, message: NewMessage, *, claim: bool) -> None:
        """Store a message, all recipients due since its arrival, or from its release on; return when it is durable.

        With `claim` its recipients are leased to the caller at once, so that fresh mail needs no second look (see
        Claim.fresh). Raises QueueFull where there is no room; nothing is kept then, of a large content neither.
        """

    async def claim(
        self,
        now: float,
        limit: int,
        skip: AbstractSet[str] = frozenset(),
        skip_messages: AbstractSet[QueueId] = frozenset(),
    ) -> Sequence[Claim]:
        """Lease recipients due at `now`, of at most `limit` messages, oldest next attempt first.

        Recipients whose next hop (as the store was told to see it) is in `skip` are left out, and so are some messages.
        """

    async def release(self, claims: Iterable[Claim]) -> None:
        """End leases without an attempt: the recipients are due as they were."""

    async def settle(self, settlement: Settlement) -> Receipt:
        """Record an attempt's effect, in one transaction; return when it is durable."""

    async def unreported(self) -> Sequence[QueueId]:
        """Return the messages that have news waiting for their report."""

    async def news(self, queue_id: QueueId, limit: int) -> tuple[NewMessage, Sequence[Unreported]] | None:
        """Return a message and some of its news, in the order of kind and place; None where there are none."""

    async def next_due(
        self, skip: AbstractSet[str] = frozenset(), skip_messages: AbstractSet[QueueId] = frozenset()
    ) -> float | None:
        """Return the earliest next attempt of a recipient that `claim` could take some day, None if there is none."""

    async def bring_forward(self, beyond: float, to: float) -> int:
        """Have recipients due after `beyond`, which only a clock set back explains, due at `to`; return how many.

        Those on hold are left as they are: the end of the hold makes them due. So are those whose release is awaited.
        """

    def begin(self, queue_id: QueueId) -> int:
        """Tell that an attempt at a message begins: a crash from now on is counted. Returns a token for `end`."""

    def end(self, token: int) -> None:
        """Tell that an attempt is over, before it is settled."""

    def on_change(self, wake: Callable[[], None]) -> None:
        """Have `wake` called in the loop whenever due recipients may have come from elsewhere (CLI, other nodes)."""

    async def list(self, limit: int, after: QueueId | None = None) -> Sequence[Listed]:
        """Return messages in the order of their queue ids, those after `after`."""

    async def show(self, queue_id: QueueId) -> tuple[Listed, NewMessage] | None:
        """Return one message, None if it is not there."""

    async def hold(self, queue_id: QueueId) -> bool:
        """Keep a message for a human. False if it is not there."""

    async def release_hold(self, queue_id: QueueId) -> bool:
        """End a hold; the recipients are due now, or when they are released. False if the message is not there."""

    async def retry(self, queue_id: QueueId) -> bool:
        """Make the pending recipients due now, whose release is awaited too. False if the message is not there."""

    async def delete(self, queue_id: QueueId) -> bool:
        """Remove a message without a report. False if it is not there."""

    async def close(self) -> None:
        """Settle what is under way and let go of the files."""


class QueueFull(Exception):
    """There is no room; nothing of what should be recorded was. It can be tried again when space returns."""
