"""What follows from an attempt: delivered, deferred until when, or failed, and the reports to the reverse-path. Pure.

    verdict = settle(claim, outcomes, final=False, started=started, now=now, policy=RetryPolicy(), random=0.5,
                     make_report=make_report)
    receipt = await store.settle(verdict.settlement)

Rules:

- Each recipient of the job has exactly one outcome, and gets exactly one Settled. Anything else is an error of ours.
- A deferred recipient is given up when its attempt began after the end of the message's lifetime. The peer's last words
  stay what they were; the report has 4.4.7 as its status, and says how long it was tried (RFC 3463 section 3.5).
- Reports go by NOTIFY (RFC 3461 section 4.1): a failure unless it was excluded; a delay, once, unless excluded; a
  delivery only where it was asked for, and not where the next host took over the duty to report.
- One report of a kind and attempt, on all recipients concerned. None is made about a null reverse-path.

Known weakness: recipients of one message that travel in different jobs are reported separately.
"""

from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from valija.content.reported import Reported, ReportKind
from valija.mail.content import Content
from valija.mail.envelope import Envelope, Notify, Recipient
from valija.mail.job import QueueId
from valija.mail.origin import Origin
from valija.mail.outcome import Outcome, State
from valija.mail.reply import Reply
from valija.policy.retry import RetryPolicy, is_given_up, is_warning_due, next_attempt
from valija.queue.store import Claim, Due, NewMessage, Settled, Settlement

MakeReport = Callable[[ReportKind, QueueId, NewMessage, Sequence[Reported]], Content]
"""Writes the content of a report on a message: kind, its queue id, the message, the recipients concerned."""

OUR_FAULT: Final = Reply(451, "4.3.0", "Internal error, the message will be tried again")
"""The reply that a recipient is deferred with when the attempt itself went wrong here."""

_ABSENT, _SUCCESS, _FAILURE, _DELAY = map(int, (Notify.ABSENT, Notify.SUCCESS, Notify.FAILURE, Notify.DELAY))
_LONGEST_REPLY: Final = 1000  # characters kept of one


class Verdict(msgspec.Struct, frozen=True, gc=False):
    """A settlement, and the kinds of its reports, in their order."""

    settlement: Settlement
    kinds: tuple[ReportKind, ...] = ()


def settle(
    claim: Claim,
    outcomes: Sequence[Outcome],
    *,
    final: bool,
    started: float,
    now: float,
    policy: RetryPolicy,
    random: float,
    make_report: MakeReport,
) -> Verdict:
    """Return the effect of one job's attempt, begun at `started`, that ended with `outcomes` at `now`.

    `claim` holds exactly the job's recipients. `final` tells that a delivery put the message into its mailbox, so
    that nobody behind can report on it. `random` is in [0, 1).
    """
    judge = _Judge(claim, final=final, started=started, now=now, policy=policy, random=random)
    due = {recipient.number: recipient for recipient in claim.due}
    settled = tuple([judge.settled(due.pop(outcome.number), outcome) for outcome in outcomes])
    assert not due, f"no outcome for the recipients {sorted(due)} of {claim.queue_id}"
    if not judge.news:
        ended = all(each.state is not State.DEFERRED for each in settled)
        ends = ended and claim.only and not claim.message.content.body_file
        return Verdict(Settlement(claim.queue_id, settled, ends_message=ends))
    reports = tuple([_report(claim, kind, judge.news[kind], now, make_report) for kind in judge.news])
    return Verdict(Settlement(claim.queue_id, settled, reports), tuple(judge.news))


def settle_in_doubt(
    claim: Claim, outcomes: Sequence[Outcome], *, now: float, policy: RetryPolicy, random: float
) -> Verdict:
    """Return what is safe to record where `settle` itself failed: delivered stays delivered, all else comes later."""
    told = {outcome.number: outcome for outcome in outcomes}
    settled = []
    for due in claim.due:
        outcome = told.get(due.number)
        if outcome is not None and outcome.state is State.DELIVERED:
            settled.append(Settled(due.number, State.DELIVERED))
        else:
            again = next_attempt(policy, due.attempts + 1, now, now, random)
            settled.append(Settled(due.number, State.DEFERRED, _words(OUR_FAULT), again, due.warned))
    return Verdict(Settlement(claim.queue_id, tuple(settled)))


class _Judge:
    """Settles the recipients of one attempt one by one, and collects the news to report."""

    __slots__ = ("_arrived", "_envelope", "_final", "_now", "_policy", "_random", "_started", "news")

    def __init__(
        self, claim: Claim, *, final: bool, started: float, now: float, policy: RetryPolicy, random: float
    ) -> None:
        self._envelope = claim.message.envelope
        self._arrived = claim.message.origin.received_at
        self._final = final
        self._started = started
        self._now = now
        self._policy = policy
        self._random = random
        self.news: dict[ReportKind, list[Reported]] = {}

    def settled(self, due: Due, outcome: Outcome) -> Settled:
        """Return the effect on one recipient."""
        if outcome.state is State.DELIVERED:
            return self._delivered(outcome)
        if outcome.state is State.DEFERRED:
            if not is_given_up(self._policy, self._started, self._arrived):
                return self._deferred(due, outcome)
            outcome = msgspec.structs.replace(outcome, state=State.FAILED)
            self._tell(ReportKind.FAILURE, _FAILURE, outcome, unless_excluded=True, expired=True)
        else:
            self._tell(ReportKind.FAILURE, _FAILURE, outcome, unless_excluded=True)
        return Settled(outcome.number, State.FAILED, _words(outcome.reply))

    def _delivered(self, outcome: Outcome) -> Settled:
        if not outcome.dsn_passed_on:
            kind = ReportKind.SUCCESS if self._final else ReportKind.RELAYED
            self._tell(kind, _SUCCESS, outcome, unless_excluded=False)
        return Settled(outcome.number, State.DELIVERED)

    def _deferred(self, due: Due, outcome: Outcome) -> Settled:
        warned = due.warned
        if not warned and is_warning_due(self._policy, self._now, self._arrived):
            self._tell(ReportKind.DELAY, _DELAY, outcome, unless_excluded=True)
            warned = True
        again = next_attempt(self._policy, due.attempts + 1, self._now, self._arrived, self._random)
        return Settled(outcome.number, State.DEFERRED, _words(outcome.reply), again, warned)

    def _tell(
        self, kind: ReportKind, wish: int, outcome: Outcome, *, unless_excluded: bool, expired: bool = False
    ) -> None:
        """Note a recipient for a report, if its sender can hear of it and wishes to."""
        recipient = self._envelope.recipients[outcome.number]
        wished = recipient.notify & wish or (unless_excluded and recipient.notify == _ABSENT)
        if wished and self._envelope.reverse_path:
            lifetime = self._policy.lifetime
            until = self._arrived + lifetime if kind is ReportKind.DELAY else 0.0
            self.news.setdefault(kind, []).append(Reported(recipient, outcome, until, lifetime if expired else 0.0))


def _words(reply: Reply) -> str:
    """Return a reply as it is kept: a text that every encoding can take, of a length that a peer can't choose."""
    return str(reply)[:_LONGEST_REPLY].encode("utf-8", "backslashreplace").decode()


def _report(
    claim: Claim, kind: ReportKind, reported: Sequence[Reported], now: float, make_report: MakeReport
) -> NewMessage:
    """Return a report as a message: null reverse-path, and no report on the report (RFC 3461 section 6.1)."""
    reverse_path = claim.message.envelope.reverse_path
    content = make_report(kind, claim.queue_id, claim.message, reported)
    envelope = Envelope(
        "",
        (Recipient(reverse_path, Notify.NEVER),),
        "7BIT" if content.head.isascii() else "8BITMIME",
        smtputf8=not reverse_path.isascii(),
    )
    return NewMessage(envelope, content, Origin("local", now, rule=f"{kind} report on {claim.queue_id}"))
