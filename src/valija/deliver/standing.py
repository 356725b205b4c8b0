"""What is remembered of a next hop after its connections are gone: how it went, and what it can't take.

    standings = Standings()
    standing = standings.of(route)
    standing.suspend(now, failure); standing.refusal(now)      # the failure, while nobody should bother it
    standing.count(outcomes)

Bounded: the one that was used longest ago is forgotten for one too many. Times are the loop's, unless said otherwise.
"""

import time
from collections.abc import Iterable, Sequence
from typing import Final

from valija.deliver.errand import Failure
from valija.mail.endpoint import Endpoint
from valija.mail.job import Route
from valija.mail.outcome import Channel, Outcome, State
from valija.policy.suspension import Suspension

MOST_STANDINGS: Final = 4000
LIMIT_REMEMBERED: Final = 3600.0  # seconds that a learnt recipient limit holds, then it is tried anew


class Standing:
    """One next hop. `delivered`, `deferred` and `failed` count recipients; `channel` is the last one's.

    `suspended_at`, in epoch seconds, is when it could not be used, for `why`.
    """

    __slots__ = (
        "_limit_until",
        "_recipient_limit",
        "channel",
        "deferred",
        "delivered",
        "endpoints",
        "failed",
        "operator",
        "suspended_at",
        "suspension",
        "why",
    )

    def __init__(self) -> None:
        self.suspension = Suspension()
        self.why: Failure | None = None
        self.suspended_at = 0.0
        self.operator = ""
        self.endpoints: Sequence[Endpoint] = ()  # where its hosts were when they were looked up last
        self.delivered = self.deferred = self.failed = 0
        self.channel: Channel | None = None
        self._recipient_limit = 0
        self._limit_until = 0.0

    # Whether it can be used

    def refusal(self, now: float) -> Failure | None:
        """Return why nothing is tried for now, None where something may be."""
        return self.why if self.suspension.is_on and self.suspension.wait(now) > 0 else None

    def suspend(self, now: float, why: Failure) -> None:
        """Note that nothing can be opened."""
        self.suspension.begin(now)
        self._note(why)

    def broke(self, now: float, why: Failure) -> bool:
        """Note that an attempt came to nothing at all hosts; return whether that was one too many."""
        is_out = self.suspension.failed(now)
        if is_out:
            self._note(why)
        return is_out

    def works(self) -> None:
        """Note that it answers."""
        self.suspension.end()
        self.why = None

    def _note(self, why: Failure) -> None:
        self.why = why
        self.suspended_at = time.time()

    # What it takes

    def recipient_limit(self, now: float) -> int:
        """Return how many recipients it took at once when it took no more, 0 where that is not known."""
        return self._recipient_limit if now < self._limit_until else 0

    def learn_recipient_limit(self, recipients: int, now: float) -> None:
        """Note that it took no more than these."""
        self._recipient_limit = recipients
        self._limit_until = now + LIMIT_REMEMBERED

    # How it went

    def count(self, outcomes: Sequence[Outcome]) -> None:
        """Count what became of a job's recipients."""
        last = outcomes[-1]
        if last.remote_address:
            self.channel = last.channel
        if len(outcomes) == 1 and last.state is State.DELIVERED:  # the usual case
            self.delivered += 1
            return
        for outcome in outcomes:
            if outcome.state is State.DELIVERED:
                self.delivered += 1
            elif outcome.state is State.DEFERRED:
                self.deferred += 1
            else:
                self.failed += 1


class Standings:
    """Those of all next hops that mail went to."""

    def __init__(self, most: int = MOST_STANDINGS) -> None:
        self._most = most
        self._known: dict[Route, Standing] = {}

    def of(self, route: Route) -> Standing:
        """Return the standing of a next hop, a fresh one where there is none; it counts as used now."""
        standing = self._known.pop(route, None) or Standing()
        self._known[route] = standing
        if len(self._known) > self._most:
            del self._known[next(iter(self._known))]
        return standing

    def look_again(self) -> None:
        """Have all that are suspended tried at once, as somebody asks for it."""
        for standing in self._known.values():
            standing.suspension.look_again()

    def items(self) -> Iterable[tuple[Route, Standing]]:
        """Return all, those that were used last at the end."""
        return list(self._known.items())
