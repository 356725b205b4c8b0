"""The operators of receiving hosts: what is known of the pace each of them wants, and the turns that keep it.

    operators = Operators(limit=20)
    operator = operators.of("alt1.gmail-smtp-in.l.google.com")      # the same one for all domains whose mail it takes
    await operator.seats.take(seat, errand)                         # a connection: see deliver/seats
    operator.ask_turn(line, errand)                                 # a transaction, while there is a limit

While an operator has no limit, which is the rule, all that is done for it is to count. When it has one (policy/pace),
a next hop with waiting errands asks for a turn for each user among them; turns are given at the pace, fairly between
users over all next hops, and with a turn a next hop may begin one transaction.

`Operators` outlives a change of the configuration: what was learnt stays.
"""

import asyncio
import time
from typing import Final, Protocol

import msgspec

from valija.deliver.errand import Errand
from valija.deliver.seats import Seats
from valija.mail.reply import Reply
from valija.policy.concurrency import Concurrency
from valija.policy.fair_queue import FairQueue
from valija.policy.mx_operator import operator_of
from valija.policy.pace import Pace

MOST_OPERATORS: Final = 4000  # that are remembered


class Throttling(msgspec.Struct, frozen=True, gc=False):
    """What an operator said when it wanted less, and when, in epoch seconds."""

    reply: Reply
    at: float


class Paced(Protocol):
    """The line of a next hop, as its operator sees it: see deliver/waiting."""

    @property
    def wants_turn(self) -> bool:
        """Whether an errand waits that has no turn yet."""

    def give_turn(self) -> None:
        """Hear that one transaction may begin."""

    def forget_turns(self) -> None:
        """Let go of turns that were given."""

    def ask_turns(self) -> None:
        """Ask for a turn, where something waits."""


class Operator:
    """One operator. Made within a running loop."""

    def __init__(self, name: str, limit: int) -> None:
        self.name = name
        self.concurrency = Concurrency(limit)
        self.pace = Pace()
        self.throttling: Throttling | None = None
        self.seats = Seats(self._seats_now)
        self.lines: set[Paced] = set()
        self._loop = asyncio.get_running_loop()
        self._queue: FairQueue[tuple[Paced, str]] = FairQueue()
        self._asked: set[tuple[Paced, str]] = set()
        self._timer: asyncio.TimerHandle | None = None

    @property
    def is_limited(self) -> bool:
        """Whether turns have to be asked for."""
        return self.pace.rate is not None

    @property
    def is_forgettable(self) -> bool:
        """Whether nobody uses it, and nothing was learnt that would be missed."""
        is_unused = not (self.lines or self.seats.taken or self._queue)
        return is_unused and not self.is_limited and self.concurrency.is_fresh

    def is_stuck(self) -> bool:
        """Whether it takes nothing at all for now: only probes make sense."""
        return self.is_limited and self.pace.is_stuck(self._loop.time())

    # What next hops tell

    def accepted(self) -> None:
        """Hear that a transaction went well."""
        now = self._loop.time()
        self.pace.accepted(now)
        self.concurrency.succeeded(now)
        if self.seats.line.size:
            self.seats.hand_out()
        if self._queue.size:
            self._give_turns()  # the pace may have risen

    def throttled(self, reply: Reply, *, begun: float) -> None:
        """Hear that what began at `begun`, by the loop's clock, was refused as too fast."""
        was_limited = self.is_limited
        self.throttling = Throttling(reply, time.time())
        self.pace.throttled(self._loop.time(), begun=begun)
        if not was_limited:
            for line in list(self.lines):
                line.forget_turns()
                line.ask_turns()

    # Turns

    def ask_turn(self, line: Paced, errand: Errand) -> None:
        """Put a next hop into the queue for a turn; it may get it at once."""
        user = errand.attempt.user
        ticket = line, user
        if ticket not in self._asked:
            self._asked.add(ticket)
            job = errand.attempt.job
            self._queue.put(ticket, user=user, message=job.queue_id, priority=job.envelope.priority)
        self._give_turns()

    def _give_turns(self) -> None:
        """Give what turns there are, and come back when the next one is."""
        now = self._loop.time()
        while self._queue and self.pace.wait(now) <= 0:
            ticket = self._queue.take()
            assert ticket is not None
            self._asked.discard(ticket)
            if ticket[0].wants_turn:
                self.pace.began(now)
                ticket[0].give_turn()
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(self.pace.wait(now), self._give_turns) if self._queue else None

    def _seats_now(self) -> int:
        return 1 if self.is_stuck() else self.concurrency.size


class Operators:
    """All that mail was brought to of late. `limit` is how many connections one of them gets from this process."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._known: dict[str, Operator] = {}

    def use(self, limit: int) -> None:
        """Live by another limit from now on."""
        self.limit = limit
        for operator in self._known.values():
            operator.concurrency.limit = limit

    def of(self, host: str) -> Operator:
        """Return the operator of a host, known by its name or address."""
        return self.named(operator_of(host))

    def known(self, name: str) -> Operator | None:
        """Return an operator by its own name, None where nothing is known of it."""
        return self._known.get(name)

    def named(self, name: str) -> Operator:
        """Return an operator by its own name."""
        operator = self._known.get(name)
        if operator is None:
            if len(self._known) >= MOST_OPERATORS:
                self._forget()
            operator = self._known[name] = Operator(name, self.limit)
        return operator

    def _forget(self) -> None:
        """Make room: those of whom nothing was learnt go first, then the half that is known for the longest time."""
        kept = {name: operator for name, operator in self._known.items() if not operator.is_forgettable}
        if len(kept) > MOST_OPERATORS // 2:
            kept = dict(list(kept.items())[-MOST_OPERATORS // 2 :])
        self._known = kept
