"""A claim as jobs: the recipients of a message that share a route are one. Pure.

for route, part in by_route(claim, router.route):
    ...
"""

from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Final

from valija.mail.envelope import Envelope
from valija.mail.job import Job, Route
from valija.queue.store import Claim, Due
from valija.queue.window import Attempt

_number: Final = attrgetter("number")


def by_route(claim: Claim, route: Callable[[Envelope, str], Route]) -> list[tuple[Route, Claim]]:
    """Return the part of a claim that each route has, in the order of their first recipients."""
    envelope = claim.message.envelope
    recipients = envelope.recipients
    if len(claim.due) == 1:
        return [(route(envelope, recipients[claim.due[0].number].address), claim)]
    groups: dict[Route, list[Due]] = {}
    for due in claim.due:
        groups.setdefault(route(envelope, recipients[due.number].address), []).append(due)
    if len(groups) == 1:
        return [(way, claim) for way in groups]
    return [(way, part_of(claim, due)) for way, due in groups.items()]


def part_of(claim: Claim, due: Sequence[Due]) -> Claim:
    """Return the claim to some of a claim's recipients."""
    return Claim(claim.queue_id, claim.message, tuple(due), only=False, crashes=claim.crashes)


def job_of(attempt: Attempt) -> Job:
    """Return what a delivery agent is asked to do in an attempt."""
    claim, message = attempt.claim, attempt.claim.message
    numbers = tuple(map(_number, claim.due))
    return Job(claim.queue_id, attempt.lane.route, message.envelope, message.origin, message.content, numbers)
