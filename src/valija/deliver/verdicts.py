"""From what a peer said, or announced, to the outcomes of an errand's recipients.

    refuse_unfit(errand, peer, capabilities, now)  # before a transaction: errand.numbers are those that can be served
    settle_decided(errand, transaction, peer)      # in it: errand.numbers are those that have no verdict yet

The first digit decides: 2yz delivered, 5yz failed, all else deferred (RFC 5321 section 4.2.1).
"""

from typing import Final

from valija.deliver.errand import Errand, Failure, Peer
from valija.mail.envelope import Envelope
from valija.mail.outcome import Channel, State
from valija.mail.reply import Reply
from valija.smtp.client_capabilities import Capabilities
from valija.smtp.client_transaction import Transaction, needs_smtputf8, seconds_left

_NO_REQUIRETLS: Final = Reply(550, "5.7.30", "REQUIRETLS support required, and the host has none")
_UNVERIFIED: Final = Reply(451, "4.7.10", "The sender requires TLS to a host that proves its name")
_NO_DELIVERBY: Final = Reply(
    550, "5.3.3", "To be delivered in time or returned, and the host has no DELIVERBY for that"
)
_LATE: Final = Reply(550, "5.4.7", "Delivery time expired")
_NO_SMTPUTF8: Final = Reply(550, "5.6.7", "The address or header is internationalised, and the host has no SMTPUTF8")


def settle_decided(errand: Errand, transaction: Transaction, peer: Peer) -> None:
    """Record the verdicts there are; the errand keeps the recipients without one and the postponed."""
    undecided: list[int] = []
    for place, number in enumerate(errand.numbers):
        reply = transaction.verdict(place)
        is_taken = reply is not None and reply.is_positive
        if reply is None or (not is_taken and transaction.is_postponed(place)):
            undecided.append(number)
        elif is_taken:
            errand.settle(
                number,
                State.DELIVERED,
                reply,
                peer,
                dsn_passed_on=transaction.dsn,
                deliver_by_passed_on=transaction.deliver_by,
            )
        else:
            errand.settle(number, State.FAILED if reply.is_permanent else State.DEFERRED, reply, peer)
    errand.numbers = undecided


def refuse_unfit(errand: Errand, peer: Peer, capabilities: Capabilities, now: float) -> None:
    """Settle the recipients that a host must not be asked to take the message for; the errand keeps the others.

    `now` is in epoch seconds. Nothing of the message has been said to the host.
    """
    job = errand.job
    envelope = job.envelope
    refusal: Reply | None = None
    if 0 < capabilities.size_limit < job.content.size:
        refusal = _too_big(job.content.size, capabilities.size_limit)
    elif envelope.require_tls or envelope.deliver_by is not None:
        refusal = _promise_broken(envelope, peer, capabilities, now)
    if refusal is not None:
        errand.fail(Failure(refusal, peer, permanent=refusal.is_permanent))
        errand.numbers = []
    elif not (capabilities.smtputf8 or job.route.is_final):  # the mailbox itself takes a header as it is, or says no
        refuse_internationalised(errand, peer)


def _too_big(size: int, limit: int) -> Reply:
    """RFC 1870 section 6.1: what a host can't take is not offered to it."""
    return Reply(552, "5.3.4", f"The message has {size} octets, and the host takes no more than {limit}")


def _promise_broken(envelope: Envelope, peer: Peer, capabilities: Capabilities, now: float) -> Reply | None:
    """Return why what the sender was promised could not be kept with this host, None where it can."""
    if envelope.require_tls and envelope.reverse_path:  # a report is not lost for it (RFC 8689 section 5)
        if not capabilities.require_tls:
            return _NO_REQUIRETLS
        if peer.channel is not Channel.VERIFIED:
            return _UNVERIFIED  # whoever chose the host should have seen to it: no fault of the message
    by = envelope.deliver_by
    if by is not None and by.returns:  # RFC 2852 section 4.1.4.1
        left = seconds_left(by, now)
        if left <= 0:
            return _LATE
        if not capabilities.deliver_by or capabilities.least_deliver_by > left:
            return _NO_DELIVERBY
    return None


def may_have_taken(transaction: Transaction, *, by_peer: bool, silent: bool) -> bool:
    """Whether the peer may have the content of a transaction that it did not answer to its end (RFC 1047).

    The session was ended by the peer's own reply, or for the peer was `silent` too long, or else was lost.
    """
    if not transaction.dot_sent:
        return False
    if not transaction.is_chunk:
        return True
    # With a chunk all was said before anything was answered: a peer that closed without a word has not got to it.
    return not by_peer and (silent or not transaction.is_untouched)


def refuse_internationalised(errand: Errand, peer: Peer) -> None:
    """Fail the recipients that a peer without SMTPUTF8 can't be told of (RFC 6531 section 3.2, C090)."""
    job = errand.job
    recipients = [job.envelope.recipients[number] for number in errand.numbers]
    needs = needs_smtputf8(job.envelope, recipients, job.content)
    if not any(needs):
        return
    refused = [number for number, needed in zip(errand.numbers, needs, strict=True) if needed]
    errand.numbers = [number for number, needed in zip(errand.numbers, needs, strict=True) if not needed]
    errand.fail(Failure(_NO_SMTPUTF8, peer, permanent=True), refused)
