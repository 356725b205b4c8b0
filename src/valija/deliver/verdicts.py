"""From what a peer said to the outcomes of an errand's recipients.

settle_decided(errand, transaction, peer)      # errand.numbers: those that have no verdict yet

The first digit decides: 2yz delivered, 5yz failed, all else deferred (RFC 5321 section 4.2.1).
"""

from typing import Final

from valija.deliver.errand import Errand, Failure, Peer
from valija.mail.outcome import State
from valija.mail.reply import Reply
from valija.smtp.client_transaction import Transaction, needs_smtputf8

_NO_SMTPUTF8: Final = Reply(550, "5.6.7", "The address or header is internationalised, and the host has no SMTPUTF8")


def settle_decided(errand: Errand, transaction: Transaction, peer: Peer) -> None:
    """Record the verdicts there are; the errand keeps the recipients without one and the postponed."""
    undecided: list[int] = []
    for place, number in enumerate(errand.numbers):
        reply = transaction.verdict(place)
        if reply is None or (not reply.is_positive and transaction.is_postponed(place)):
            undecided.append(number)
        elif reply.is_positive:
            errand.settle(number, State.DELIVERED, reply, peer, dsn_passed_on=transaction.dsn)
        else:
            errand.settle(number, State.FAILED if reply.is_permanent else State.DEFERRED, reply, peer)
    errand.numbers = undecided


def refuse_internationalised(errand: Errand, peer: Peer) -> None:
    """Fail the recipients that a peer without SMTPUTF8 can't be told of (RFC 6531 section 3.2, C090)."""
    job = errand.attempt.job
    recipients = [job.envelope.recipients[number] for number in errand.numbers]
    needs = needs_smtputf8(job.envelope, recipients, job.content)
    if not any(needs):
        return
    refused = [number for number, needed in zip(errand.numbers, needs, strict=True) if needed]
    errand.numbers = [number for number, needed in zip(errand.numbers, needs, strict=True) if not needed]
    errand.fail(Failure(_NO_SMTPUTF8, peer, permanent=True), refused)
