"""The reference store: the contract in its plainest form, in memory. For tests; nothing here survives anything.

    store = MemoryStore(IdSource(0, clock=lambda: 1.0))
    await store.put(store.new_id(), message, claim=False)

Known weakness: everything is a walk over all messages.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

from valija.mail.address import domain_of
from valija.mail.envelope import Envelope
from valija.mail.job import QueueId
from valija.mail.outcome import State
from valija.queue.identity import IdSource
from valija.queue.store import (
    Claim,
    Due,
    Listed,
    NewMessage,
    PendingRecipient,
    Receipt,
    Settled,
    Settlement,
    Unreported,
    awaited_release,
)


@dataclass
class _Pending:
    """A recipient that is neither delivered nor failed."""

    next_hop: str
    next_attempt: float
    attempts: int = 0
    warned: bool = False
    overdue: bool = False
    last_reply: str = ""
    leased: bool = False


@dataclass
class _Message:
    message: NewMessage
    hold: bool = False
    pending: dict[int, _Pending] = field(default_factory=dict)
    news: dict[tuple[str, int], Unreported] = field(default_factory=dict)

    @property
    def is_awaited(self) -> bool:
        return self.message.envelope.hold_until > 0


class MemoryStore:
    """A QueueStore without durability. `clock` tells the time of admin commands."""

    def __init__(
        self,
        ids: IdSource,
        clock: Callable[[], float],
        next_hop: Callable[[Envelope, str], str] = lambda _, address: domain_of(address),
    ) -> None:
        self._ids = ids
        self._clock = clock
        self._next_hop = next_hop
        self._messages: dict[QueueId, _Message] = {}

    def new_id(self) -> QueueId:
        """See QueueStore."""
        return self._ids.next()

    async def put(self, queue_id: QueueId, message: NewMessage, *, claim: bool) -> None:
        """See QueueStore."""
        self._insert(queue_id, message, leased=claim)

    def _insert(self, queue_id: QueueId, message: NewMessage, *, leased: bool) -> None:
        kept = self._messages[queue_id] = _Message(message, message.on_hold)
        due = max(message.origin.received_at, message.envelope.hold_until)
        for number, recipient in enumerate(message.envelope.recipients):
            next_hop = self._next_hop(message.envelope, recipient.address)
            kept.pending[number] = _Pending(next_hop, due, leased=leased)

    def _free(self, skip: AbstractSet[str], skip_messages: AbstractSet[QueueId]) -> Iterator[tuple[float, QueueId]]:
        """Yield next attempt and message of each recipient that may be claimed when its time has come."""
        for queue_id, kept in self._messages.items():
            for pending in kept.pending.values():
                if not (kept.hold or queue_id in skip_messages or pending.leased or pending.next_hop in skip):
                    yield pending.next_attempt, queue_id

    async def claim(
        self,
        now: float,
        limit: int,
        skip: AbstractSet[str] = frozenset(),
        skip_messages: AbstractSet[QueueId] = frozenset(),
    ) -> Sequence[Claim]:
        """See QueueStore."""
        due = sorted(entry for entry in self._free(skip, skip_messages) if entry[0] <= now)
        return [self._lease(queue_id, now, skip) for queue_id in list(dict.fromkeys(entry[1] for entry in due))[:limit]]

    def _lease(self, queue_id: QueueId, now: float, skip: AbstractSet[str]) -> Claim:
        kept = self._messages[queue_id]
        due = []
        for number, pending in kept.pending.items():
            if pending.next_attempt <= now and not pending.leased and pending.next_hop not in skip:
                pending.leased = True
                due.append(Due(number, pending.attempts, pending.warned, pending.overdue))
        return Claim(queue_id, kept.message, tuple(due), only=len(due) == len(kept.pending))

    async def release(self, claims: Iterable[Claim]) -> None:
        """See QueueStore."""
        for claim in claims:
            self._end_lease(claim.queue_id, [due.number for due in claim.due])

    def _end_lease(self, queue_id: QueueId, numbers: Sequence[int]) -> None:
        kept = self._messages.get(queue_id)
        for number in numbers:
            if kept and number in kept.pending:
                kept.pending[number].leased = False

    def end_all_leases(self) -> None:
        """End all leases, as the end of a process does."""
        for kept in self._messages.values():
            for pending in kept.pending.values():
                pending.leased = False

    async def settle(self, settlement: Settlement) -> Receipt:
        """See QueueStore."""
        kept = self._messages.get(settlement.queue_id)
        reports = tuple(self.new_id() for _ in settlement.reports)
        if kept is None:
            return Receipt(removed=False)
        for settled in settlement.recipients:
            self._apply(kept, settled)
        kept.news |= {each.key: each for each in settlement.news}
        for each in settlement.told:
            kept.news.pop(each.key, None)
        for queue_id, report in zip(reports, settlement.reports, strict=True):
            self._insert(queue_id, report, leased=False)
        removed = not kept.pending and not kept.news
        if removed:
            del self._messages[settlement.queue_id]
        return Receipt(removed, reports)

    def _apply(self, kept: _Message, settled: Settled) -> None:
        if settled.state is not State.DEFERRED:
            kept.pending.pop(settled.number, None)
        elif pending := kept.pending.get(settled.number):
            pending.attempts += 1
            pending.leased = False
            pending.next_attempt = settled.next_attempt
            pending.last_reply = settled.last_reply
            pending.warned = settled.warned
            pending.overdue = settled.overdue

    async def unreported(self) -> Sequence[QueueId]:
        """See QueueStore."""
        return sorted(queue_id for queue_id, kept in self._messages.items() if kept.news)

    async def news(self, queue_id: QueueId, limit: int) -> tuple[NewMessage, Sequence[Unreported]] | None:
        """See QueueStore."""
        kept = self._messages.get(queue_id)
        if kept is None or not kept.news:
            return None
        return kept.message, [kept.news[key] for key in sorted(kept.news)[:limit]]

    async def next_due(
        self, skip: AbstractSet[str] = frozenset(), skip_messages: AbstractSet[QueueId] = frozenset()
    ) -> float | None:
        """See QueueStore."""
        return min((entry[0] for entry in self._free(skip, skip_messages)), default=None)

    async def bring_forward(self, beyond: float, to: float) -> int:
        """See QueueStore."""
        late = [
            pending
            for kept in self._messages.values()
            for pending in kept.pending.values()
            if pending.next_attempt > beyond and not kept.hold and not (kept.is_awaited and not pending.attempts)
        ]
        for pending in late:
            pending.next_attempt = to
        return len(late)

    def begin(self, queue_id: QueueId) -> int:
        """See QueueStore; memory survives no crash."""
        return 0

    def end(self, token: int) -> None:
        """See QueueStore."""

    def on_change(self, wake: Callable[[], None]) -> None:
        """See QueueStore; nobody else sees this store."""

    async def list(self, limit: int, after: QueueId | None = None) -> Sequence[Listed]:
        """See QueueStore."""
        ids = sorted(queue_id for queue_id in self._messages if after is None or queue_id > after)
        return [self._listed(queue_id) for queue_id in ids[:limit]]

    def _listed(self, queue_id: QueueId) -> Listed:
        kept = self._messages[queue_id]
        envelope = kept.message.envelope
        recipients = tuple(
            PendingRecipient(
                envelope.recipients[number].address,
                "deferred" if pending.attempts else "pending",
                pending.attempts,
                pending.next_attempt,
                pending.last_reply,
            )
            for number, pending in sorted(kept.pending.items())
        )
        return Listed(
            queue_id,
            envelope.reverse_path,
            kept.message.content.size,
            kept.message.origin.received_at,
            kept.hold,
            recipients,
            awaited_release(envelope, recipients),
            kept.message.origin.login,
        )

    async def show(self, queue_id: QueueId) -> tuple[Listed, NewMessage] | None:
        """See QueueStore."""
        kept = self._messages.get(queue_id)
        return (self._listed(queue_id), kept.message) if kept else None

    async def hold(self, queue_id: QueueId) -> bool:
        """See QueueStore."""
        kept = self._messages.get(queue_id)
        if kept:
            kept.hold = True
        return kept is not None

    async def release_hold(self, queue_id: QueueId) -> bool:
        """See QueueStore."""
        kept = self._messages.get(queue_id)
        if kept is None:
            return False
        kept.hold = False
        release = max(self._clock(), kept.message.envelope.hold_until)
        for pending in kept.pending.values():
            pending.next_attempt = self._clock() if pending.attempts else release
        return True

    async def retry(self, queue_id: QueueId) -> bool:
        """See QueueStore."""
        kept = self._messages.get(queue_id)
        for pending in kept.pending.values() if kept else ():
            pending.next_attempt = self._clock()
        return kept is not None

    async def delete(self, queue_id: QueueId) -> bool:
        """See QueueStore."""
        return self._messages.pop(queue_id, None) is not None

    async def close(self) -> None:
        """See QueueStore."""
