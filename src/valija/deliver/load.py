"""What a session carries: errands, each with the transaction that serves it, and what becomes of them at its end.

    load = Load(machine, peer, work, first=errand, options=options, chunk_faults=faults, log=log)
    while machine.can_begin and (errand := load.next()) is not None:
        load.begin(errand)
    load.transaction_ended(transaction)      # all its replies came
    load.session_ended(event, silent=False)  # then load.leftover has to be tried elsewhere, if there is any

No octet passes here: see deliver/session. Two errands can be under way, the second sent ahead of the first one's reply.
"""

import asyncio
import time
from collections import deque
from typing import Final

from valija.deliver.chunk_faults import ChunkFaults
from valija.deliver.errand import Errand, Failure, Peer
from valija.deliver.options import SmtpOptions
from valija.deliver.verdicts import may_have_taken, refuse_unfit, settle_decided
from valija.deliver.work import Work
from valija.faults.points import fault_point
from valija.logs import Log
from valija.mail.reply import Reply
from valija.smtp.client import ClientMachine
from valija.smtp.client_events import SessionEnded
from valija.smtp.client_transaction import Transaction, plan

OUR_FAULT: Final = Reply(451, "4.3.0", "Local error while sending, it will be tried again")

_SERVICE_CLOSING: Final = 421

_replied = fault_point("attempt.replied")


class Load:
    """The errands of one session with `peer`. `first` is what it was opened for."""

    __slots__ = (
        "_carried",
        "_chunk_faults",
        "_first",
        "_log",
        "_loop",
        "_machine",
        "_peer",
        "_recipient_limit",
        "_work",
        "leftover",
    )

    def __init__(
        self,
        machine: ClientMachine,
        peer: Peer,
        work: Work,
        first: Errand | None,
        *,
        options: SmtpOptions,
        chunk_faults: ChunkFaults,
        log: Log,
    ) -> None:
        self._machine = machine
        self._peer = peer
        self._work = work
        self._first = first
        self._chunk_faults = chunk_faults
        self._log = log
        self._loop = asyncio.get_running_loop()
        self._carried: deque[tuple[Errand, Transaction]] = deque()
        self._recipient_limit = options.destination_recipient_limit
        for limit in (machine.capabilities.rcpt_max, work.recipient_limit):
            if limit:
                self._recipient_limit = min(self._recipient_limit, limit)
        self.leftover: Errand | None = None

    @property
    def is_empty(self) -> bool:
        """Whether nothing is under way."""
        return not self._carried

    @property
    def current(self) -> tuple[Errand, Transaction]:
        """What the peer hears now."""
        return self._carried[0]

    # Beginning

    def next(self) -> Errand | None:
        """Return what is to be carried next, None if nothing waits."""
        if self._first is not None:
            errand, self._first = self._first, None
            return errand
        return self._work.take()

    def begin(self, errand: Errand) -> None:
        """Begin to say an errand's message, if it can be said to this peer."""
        try:
            self._begin(errand)
        except Exception as fault:  # Unclean, or worse: nothing of it was sent
            self._log.error("refused to send", queue_id=errand.attempt.job.queue_id, reason=str(fault))
            errand.attempt.defer_rest(OUR_FAULT)

    def _begin(self, errand: Errand) -> None:
        job, machine = errand.job, self._machine
        capabilities = machine.capabilities
        now, epoch = self._loop.time(), time.time()
        refuse_unfit(errand, self._peer, capabilities, epoch)
        if len(errand.numbers) > self._recipient_limit:
            self._work.put_back(errand.part(errand.numbers[self._recipient_limit :]))
            errand.numbers = errand.numbers[: self._recipient_limit]
        if not errand.numbers:
            return
        recipients = [job.envelope.recipients[number] for number in errand.numbers]
        chunks = capabilities.chunking and not self._chunk_faults.avoids(self._peer.target, now)
        kind = machine.transaction_kind
        transaction = plan(job.envelope, recipients, job.content, capabilities, now=epoch, chunks=chunks, kind=kind)
        self._carried.append((errand, transaction))
        errand.begun = now
        machine.begin(transaction)

    # Ends

    def transaction_ended(self, transaction: Transaction) -> None:
        """Settle what was decided in a transaction; what the peer had no room for is put back."""
        _replied()
        errand, _ = self._carried[0]
        final = transaction.final_reply
        is_closing = final is not None and final.code == _SERVICE_CLOSING
        if is_closing:
            transaction.final_reply = None  # it says "not now" to all, rather than a verdict on each
        settle_decided(errand, transaction, self._peer)
        self._carried.popleft()
        if final is not None and is_closing:
            if errand.numbers:
                self._work.throttled(errand, Failure(final, self._peer, by_peer=True), errand.begun)
            return
        self._work.concluded(errand, transaction)
        if errand.numbers:
            self._recipient_limit = sum(reply.is_positive for reply in transaction.rcpt_replies)
            self._work.took_only(self._recipient_limit)
            self._work.put_back(errand)

    def session_ended(self, event: SessionEnded, *, silent: bool) -> None:
        """Settle what was decided, and find out what has to be tried elsewhere. `silent`: the peer took too long."""
        failure = Failure(event.reply, self._peer, event.by_peer)
        reused = self._machine.finished > 0
        for transaction in event.unfinished:
            errand, _ = self._carried[0]
            settle_decided(errand, transaction, self._peer)
            stale = reused and transaction.is_untouched
            if transaction.chunk_unknown or (transaction.is_chunk and not (stale or event.by_peer)):
                self._chunk_faults.note(self._peer.target, self._loop.time())
            if errand.numbers and may_have_taken(transaction, by_peer=event.by_peer, silent=silent):
                self._defer_doubtful(errand, failure)
            elif errand.numbers:
                # Neither a connection that had grown stale says anything about its host (C086), nor BDAT about DATA.
                if not (stale or transaction.chunk_unknown):
                    errand.tried |= {self._peer.target}
                errand.failure = failure
                self._leave_over(errand)
            self._carried.popleft()
        if self._first is not None:
            self._leave_over(self._first)
            self._first = None

    def defer_all(self, reply: Reply) -> None:
        """Defer all that is carried, after a fault of ours."""
        for errand, _ in self._carried:
            errand.attempt.defer_rest(reply)
        self._carried.clear()

    def _leave_over(self, errand: Errand) -> None:
        """Have an errand tried elsewhere; there can be two where both had been sent ahead of the replies."""
        if self.leftover is None:
            self.leftover = errand
        else:
            self._work.put_back(errand)

    def _defer_doubtful(self, errand: Errand, failure: Failure) -> None:
        """The final dot was sent and not answered: the peer may have the message all the same (RFC 1047, C085)."""
        queue_id, remote = errand.attempt.job.queue_id, str(self._peer.target)
        self._log.warning("possible duplicate", queue_id=queue_id, remote=remote, reason=str(failure.reply))
        reply = failure.reply
        said = Reply(reply.code, reply.enhanced, f"{reply.text}; the message may be sent more than once")
        errand.fail(Failure(said, self._peer, failure.by_peer))
