"""What the scheduler asks of a delivery agent.

outcomes = await agent.deliver(job)
assert sorted(outcome.number for outcome in outcomes) == sorted(job.numbers)
"""

from typing import Protocol

from valija.mail.job import Job
from valija.mail.outcome import Outcome


class DeliveryAgent(Protocol):
    """Carries out one attempt at the recipients of a job."""

    async def deliver(self, job: Job) -> list[Outcome]:
        """Return exactly one outcome for each recipient of the job.

        Never raises for anything a peer, the network or a disk does: unknown means deferred. When the caller is
        cancelled the attempt is given up; what had been sent by then may arrive all the same.
        """

    async def close(self) -> None:
        """Let go of idle connections and end the busy ones; nothing is delivered after it."""
