"""The line of errands that wait at a next hop: users take turns, and within a user's turns the messages do.

    line = WaitingLine(on_turn)
    line.put(errand)
    line.take()          # the next one, None where nothing waits, or nothing may begin yet

What an errand leaves over (recipients beyond a limit) goes behind the turns of others, so that a password reset
overtakes a mailing of 10,000 to the same provider. The users are the login, else the client's address, else the domain
of the reverse-path.

While the operator of the hosts has a limit (deliver/pace), each `take` needs a turn from it; `on_turn` is called when
one came. Who has been on its way for `THROTTLED_PATIENCE` by then is deferred with what the operator said.
"""

import asyncio
from collections.abc import Callable
from typing import Final

from valija.deliver.errand import Errand, Failure
from valija.deliver.pace import Operator
from valija.mail.reply import Reply
from valija.policy.fair_queue import FairQueue

THROTTLED_PATIENCE: Final = 300.0  # seconds of an attempt

_SLOW: Final = Reply(451, "4.4.5", "The host takes mail slowly, it will be tried again")


class WaitingLine:
    """The line of one next hop. `queue` is what waits in it; to look at only."""

    def __init__(self, on_turn: Callable[[], None]) -> None:
        self.operator: Operator | None = None
        self._on_turn = on_turn
        self.queue: FairQueue[Errand] = FairQueue()
        self._turns = 0  # given, and not yet used
        self._loop = asyncio.get_running_loop()

    def __len__(self) -> int:
        return self.queue.size

    @property
    def is_limited(self) -> bool:
        """Whether turns are needed."""
        return self.operator is not None and self.operator.pace.rate is not None

    @property
    def ready(self) -> int:
        """How many errands may begin now."""
        waiting = self.queue.size
        return min(waiting, self._turns) if waiting and self.is_limited else waiting

    # The line

    def put(self, errand: Errand) -> None:
        """Add an errand behind those of its message."""
        attempt = errand.attempt
        job = attempt.job
        self.queue.put(errand, user=attempt.user, message=job.queue_id, priority=job.envelope.priority)

    def put_back(self, errand: Errand) -> None:
        """Add an errand before those of its message."""
        attempt = errand.attempt
        job = attempt.job
        self.queue.put_back(errand, user=attempt.user, message=job.queue_id, priority=job.envelope.priority)

    def peek(self) -> Errand | None:
        """Return whose turn among the errands it is; it stays in the line."""
        while (errand := self.queue.peek()) is not None:
            if not errand.is_abandoned:
                return errand
            self.queue.take()
        return None

    def take_any(self) -> Errand | None:
        """Take the next errand, whether it may begin or not."""
        while (errand := self.queue.take()) is not None:
            if not errand.is_abandoned:
                return errand
        return None

    def take(self) -> Errand | None:
        """Take the next errand that may begin."""
        operator = self.operator
        if operator is None or operator.pace.rate is None:
            return self.take_any()
        self.defer_overdue(self._loop.time())
        if not self._turns:
            self.ask_turns()
        if not self.ready:
            return None
        self._turns -= 1
        return self.take_any()

    def defer_overdue(self, now: float) -> None:
        """Defer those at the head of the line that have been on their way for too long."""
        while (errand := self.peek()) is not None and now - errand.attempt.began > THROTTLED_PATIENCE:
            self.queue.take()
            said = self.operator.throttling if self.operator else None
            errand.fail(Failure(said.reply if said else _SLOW))

    # Turns

    def join(self, operator: Operator) -> None:
        """Belong to an operator."""
        if operator is not self.operator:
            self.leave()
            self.operator = operator
            operator.lines.add(self)

    def leave(self) -> None:
        """Belong to none."""
        if self.operator is not None:
            self.operator.lines.discard(self)
            self.operator = None

    @property
    def wants_turn(self) -> bool:
        """Whether an errand waits that has no turn yet."""
        return self.queue.size > self._turns

    def give_turn(self) -> None:
        """Hear that one transaction may begin."""
        if self.is_limited:
            self._turns += 1
        self._on_turn()
        if self.wants_turn:
            self.ask_turns()

    def ask_turns(self) -> None:
        """Ask for a turn, where one is needed."""
        if self.operator is not None and self.operator.is_limited and (errand := self.peek()) is not None:
            self.operator.ask_turn(self, errand)

    def forget_turns(self) -> None:
        """Let go of turns that nobody will use."""
        self._turns = 0
