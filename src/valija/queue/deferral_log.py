"""The lines that the log has for recipients who were not served, once it is decided what follows.

    tell_deferred(log, claim, outcomes, settlement)
    # deferred queue_id=3f2a recipients=1 to=bob@example.net attempts=3 next_attempt=2026-11-25T04:43:54Z
    # given up queue_id=3f2a recipients=1 to=bob@example.net attempts=39

One line for those who have the same next attempt, which most often are all of a job.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from valija.logs import Log
from valija.mail.outcome import Outcome, State
from valija.queue.store import Claim, Settlement

_MOST_NAMED: Final = 10  # recipients in a line


def tell_deferred(log: Log, claim: Claim, outcomes: Sequence[Outcome], settlement: Settlement) -> None:
    """Log what follows for the recipients whose outcome was deferred: when they are tried again, if at all."""
    deferred = {outcome.number for outcome in outcomes if outcome.state is State.DEFERRED}
    by_time: dict[float, list[int]] = {}
    for settled in settlement.recipients:
        if settled.number in deferred:
            again = settled.next_attempt if settled.state is State.DEFERRED else 0.0
            by_time.setdefault(again, []).append(settled.number)
    attempts = {due.number: due.attempts + 1 for due in claim.due}
    for again, numbers in sorted(by_time.items()):
        facts = {
            "queue_id": claim.queue_id,
            "recipients": len(numbers),
            "to": _named(claim, numbers),
            "attempts": attempts[numbers[0]],
        }
        if again:
            log.info("deferred", **facts, next_attempt=f"{datetime.fromtimestamp(again, UTC):%Y-%m-%dT%H:%M:%SZ}")
        else:
            log.info("given up", **facts)


def _named(claim: Claim, numbers: Sequence[int]) -> str | list[str]:
    recipients = claim.message.envelope.recipients
    named = [recipients[number].address for number in numbers[:_MOST_NAMED]]
    return named[0] if len(named) == 1 else named
