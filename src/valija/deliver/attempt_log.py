"""The line that the log has for each recipient of an ended attempt, whoever made it, and what led there.

tell(log, job, outcomes, seconds=0.31)
# attempt queue_id=3f2a recipient=bob@example.net outcome=delivered next_hop=example.net remote=mx1.example.net ...

Where a connection had to be opened: what the DNS told of the next hop, and each host that could not be used.
"""

from collections.abc import Iterable
from typing import Final

from valija.deliver.errand import Failure
from valija.deliver.hosts import Way
from valija.logs import Log
from valija.mail.job import Job, Route
from valija.mail.outcome import Outcome

_MOST_NAMED: Final = 6  # addresses in a line


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


def tell_way(log: Log, route: Route, way: Way) -> None:
    """Log what will be tried for a next hop, in its order; `dnssec`: the answer that named the hosts was signed."""
    targets = way.targets
    log.info(
        "hosts found",
        next_hop=route.next_hop,
        hosts=[f"{target.host}[{target.address}]" for target in targets[:_MOST_NAMED]],
        dnssec=way.hosts[targets[0].host].mx_authentic,
        **({"alias_of": way.alias_of} if way.alias_of else {}),
    )


def tell_unusable(log: Log, route: Route, host: str, failure: Failure) -> None:
    """Log why a host could not be used."""
    peer = failure.peer
    log.info(
        "host not usable",
        next_hop=route.next_hop,
        remote=host,
        remote_address=peer.target.address if peer else "",
        tls_level=peer.tls_level if peer else "",
        tls_source=peer.tls_source if peer else "",
        reply=str(failure.reply),
    )
