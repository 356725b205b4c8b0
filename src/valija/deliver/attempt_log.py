"""The line that the log has for each recipient of an ended attempt, whoever made it.

tell(log, job, outcomes, seconds=0.31)
# attempt queue_id=3f2a recipient=bob@example.net outcome=delivered next_hop=example.net remote=mx1.example.net ...
"""

from collections.abc import Iterable

from valija.logs import Log
from valija.mail.job import Job
from valija.mail.outcome import Outcome


def tell(log: Log, job: Job, outcomes: Iterable[Outcome], seconds: float) -> None:
    """Log the outcomes of a job; `seconds` is how long the attempt took. Texts are as they came: the log escapes."""
    recipients = job.envelope.recipients
    for outcome in outcomes:
        tls = outcome.tls
        log.info(
            "attempt",
            queue_id=job.queue_id,
            recipient=recipients[outcome.number].address,
            outcome=outcome.state.value,
            next_hop=job.route.next_hop,
            remote=outcome.remote,
            remote_address=outcome.remote_address,
            tls=outcome.channel.value,
            tls_version=tls.version if tls else "",
            cipher=tls.cipher if tls else "",
            tls_level=outcome.tls_level,
            tls_source=outcome.tls_source,
            reply=str(outcome.reply),
            seconds=round(seconds, 3),
        )
