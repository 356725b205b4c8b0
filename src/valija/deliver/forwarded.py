"""What an alias sends on to another server, as the copies that leave: each says by which address it came.

    for part in copies(job):          # [job] where nothing is forwarded
        destination.submit(Errand(attempt, part.numbers, job=part))

A copy has the reverse-path of its recipients (mail/envelope.Recipient.return_path), `Delivered-To` on top, by which it
is known when it comes back, and ORCPT, so that the reports of servers further on name the address the sender used (RFC
3461 section 5.2.1). Recipients that came by one address share a transaction; those of another must not learn of it.
"""

import msgspec

from valija.content.trace import delivered_to_field
from valija.content.typed_address import orcpt_of
from valija.mail.content import Content
from valija.mail.envelope import Recipient
from valija.mail.job import Job


def copies(job: Job) -> list[Job]:
    """Return the parts of a job that differ in what is sent; together they have its recipients."""
    recipients = job.envelope.recipients
    if not [number for number in job.numbers if recipients[number].given]:
        return [job]
    groups: dict[tuple[str, str], list[int]] = {}
    for number in job.numbers:
        recipient = recipients[number]
        groups.setdefault((recipient.given, recipient.return_path), []).append(number)
    return [_copy(job, given, return_path, tuple(numbers)) for (given, return_path), numbers in groups.items()]


def _copy(job: Job, given: str, return_path: str, numbers: tuple[int, ...]) -> Job:
    if not given:
        return msgspec.structs.replace(job, numbers=numbers)
    envelope = msgspec.structs.replace(
        job.envelope,
        reverse_path=return_path or job.envelope.reverse_path,
        recipients=_with_orcpt(job, given, frozenset(numbers)),
    )
    top = delivered_to_field(given, in_ascii=True)
    content = Content(top + job.content.head, len(top) + job.content.size, job.content.body_file)
    return msgspec.structs.replace(job, envelope=envelope, content=content, numbers=numbers)


def _with_orcpt(job: Job, given: str, numbers: frozenset[int]) -> tuple[Recipient, ...]:
    orcpt = orcpt_of(given)
    return tuple(
        msgspec.structs.replace(recipient, orcpt=orcpt) if number in numbers and not recipient.orcpt else recipient
        for number, recipient in enumerate(job.envelope.recipients)
    )
