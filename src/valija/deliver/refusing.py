"""The agent for mail that a route forbids: every recipient fails at once, in the words of the route's `error`.

    outcomes = await RefusingAgent(log).deliver(job)      # 550 5.7.1 ...

It is called as Postfix's transport of this kind is: see `error` in `[[smtp.route]]`.
"""

from valija.deliver.attempt_log import tell
from valija.logs import Log
from valija.mail.job import Job
from valija.mail.outcome import Outcome, State
from valija.mail.reply import Reply


class RefusingAgent:
    """Sends nothing."""

    def __init__(self, log: Log) -> None:
        self._log = log

    async def deliver(self, job: Job) -> list[Outcome]:
        """Return a failure for each recipient of the job (see deliver/agent)."""
        reply = Reply(550, "5.7.1", job.route.next_hop)
        outcomes = [Outcome(number, State.FAILED, reply) for number in job.numbers]
        tell(self._log, job, outcomes, 0.0)
        return outcomes

    async def close(self) -> None:
        """There is nothing to let go of."""
