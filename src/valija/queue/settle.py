"""What follows from an attempt: delivered, deferred until when, or failed, and the reports to the reverse-path. Pure.

    verdict = settle(claim, outcomes, final=False, started=started, now=now, policy=RetryPolicy(), random=0.5,
                     make_report=make_report)
    receipt = await store.settle(verdict.settlement)

    verdict = tell(queue_id, message, news, now=now, make_report=make_report)     # when a round of attempts has ended

Rules:

- Each recipient of the job has exactly one outcome, and gets exactly one Settled. Anything else is an error of ours.
- A deferred recipient is given up when its attempt began after the end of the message's lifetime. The peer's last words
  stay what they were; the report has 4.4.7 as its status, and says how long it was tried (RFC 3463 section 3.5).
- Reports go by NOTIFY (RFC 3461 section 4.1): a failure unless it was excluded; a delay, once, unless excluded; a
  delivery only where it was asked for, and not where the next host took over the duty to report.
- A message past the time its sender set (RFC 2852 section 4.1.3) goes back with 5.4.7, or its sender is told once with
  4.4.7 and it is tried on. A hand-over to a host that does not know of that time is told (section 4.1.4).
- One report of a kind and round, on all recipients concerned: where other attempts at a message are under way, the news
  are kept for the last of them. None is made about a null reverse-path.
- A report is as urgent as its message was (RFC 6710 section 4.6), and travels as protected (RFC 8689 section 5).
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import msgspec

from valija.content.reported import Reported, ReportKind
from valija.mail.content import Content
from valija.mail.envelope import Envelope, Notify, Recipient
from valija.mail.job import QueueId
from valija.mail.origin import Origin
from valija.mail.outcome import Outcome, State
from valija.mail.reply import Reply
from valija.policy.retry import RetryPolicy, begin_of, is_given_up, is_warning_due, next_attempt
from valija.queue.store import Claim, Due, NewMessage, Settled, Settlement, Unreported

MakeReport = Callable[[ReportKind, QueueId, NewMessage, Sequence[Reported]], Content]
"""Writes the content of a report on a message: kind, its queue id, the message, the recipients concerned."""

OUR_FAULT: Final = Reply(451, "4.3.0", "Internal error, the message will be tried again")
"""The reply that a recipient is deferred with when the attempt itself went wrong here."""

TOO_LATE: Final = Reply(451, "4.4.7", "The time to deliver by, which the sender set, has passed")
"""The reply to an attempt that was not made, because no more may be made."""

NEWS_AT_ONCE: Final = 10_000
"""So many recipients one report names at most: it has to be a message that most servers take."""

_SUCCESS, _FAILURE, _DELAY = map(int, (Notify.SUCCESS, Notify.FAILURE, Notify.DELAY))
_UNSAID: Final = 1 << 10  # stands for an absent NOTIFY where wishes are compared
_UNLESS_NEVER: Final = _SUCCESS | _FAILURE | _DELAY | _UNSAID
_LONGEST_REPLY: Final = 1000  # characters kept of one
_LONGEST_TOLD: Final = 2000  # characters of a reply that a report quotes
_NO_DEADLINE: Final = float("inf")


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
    keeps_news: bool = False,
) -> Verdict:
    """Return the effect of one job's attempt, begun at `started`, that ended with `outcomes` at `now`.

    `claim` holds exactly the job's recipients. `final` tells that a delivery put the message into its mailbox, so
    that nobody behind can report on it. `random` is in [0, 1). With `keeps_news` nothing is reported yet.
    """
    judge = _Judge(claim, final=final, started=started, now=now, policy=policy, random=random)
    due = {recipient.number: recipient for recipient in claim.due}
    settled = tuple([judge.settled(due.pop(outcome.number), outcome) for outcome in outcomes])
    assert not due, f"no outcome for the recipients {sorted(due)} of {claim.queue_id}"
    if not judge.news:
        ended = all(each.state is not State.DEFERRED for each in settled)
        ends = ended and claim.only and not claim.message.content.body_file
        return Verdict(Settlement(claim.queue_id, settled, ends_message=ends))
    if keeps_news:
        news = tuple([_kept(kind, reported) for kind, all_of_it in judge.news.items() for reported in all_of_it])
        return Verdict(Settlement(claim.queue_id, settled, news=news))
    reports = _reports(claim.queue_id, claim.message, judge.news, now, make_report)
    return Verdict(Settlement(claim.queue_id, settled, reports), tuple(judge.news))


def tell(
    queue_id: QueueId, message: NewMessage, news: Sequence[Unreported], *, now: float, make_report: MakeReport
) -> Verdict:
    """Return the settlement that reports news which were kept, and forgets them: one report of each kind."""
    by_kind: dict[ReportKind, list[Reported]] = {}
    for each in news:
        by_kind.setdefault(each.kind, []).append(each.reported)
    reports = _reports(queue_id, message, by_kind, now, make_report)
    return Verdict(Settlement(queue_id, (), reports, told=tuple(news)), tuple(by_kind))


def is_forbidden(envelope: Envelope, now: float) -> bool:
    """Whether no attempt at a message may be made any more, because its time to deliver by has passed."""
    deliver_by = envelope.deliver_by
    return deliver_by is not None and deliver_by.returns and now >= deliver_by.until


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

    __slots__ = ("_begun", "_deadline", "_envelope", "_final", "_now", "_policy", "_random", "_started", "news")

    def __init__(
        self, claim: Claim, *, final: bool, started: float, now: float, policy: RetryPolicy, random: float
    ) -> None:
        envelope = self._envelope = claim.message.envelope
        self._begun = begin_of(claim.message.origin.received_at, envelope.hold_until)
        self._deadline = envelope.deliver_by.until if envelope.deliver_by else _NO_DEADLINE
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
        too_late = expired = False
        if outcome.state is State.DEFERRED:
            too_late = is_forbidden(self._envelope, self._now)
            expired = not too_late and is_given_up(self._policy, self._started, self._begun)
            if not too_late and not expired:
                return self._deferred(due, outcome)
            outcome = msgspec.structs.replace(outcome, state=State.FAILED)
        self._tell(ReportKind.FAILURE, _FAILURE | _UNSAID, outcome, expired=expired, too_late=too_late)
        return Settled(outcome.number, State.FAILED, _words(outcome.reply))

    def _delivered(self, outcome: Outcome) -> Settled:
        if self._final:
            self._tell(ReportKind.SUCCESS, _SUCCESS, outcome)
        elif self._envelope.deliver_by is not None and self._is_traced(outcome):
            self._tell(ReportKind.RELAYED, _UNLESS_NEVER, outcome)
        elif not outcome.dsn_passed_on:
            self._tell(ReportKind.RELAYED, _SUCCESS, outcome)
        return Settled(outcome.number, State.DELIVERED)

    def _is_traced(self, outcome: Outcome) -> bool:
        """Whether a hand-over is told because of the time to deliver by, which was handed over with it or was not."""
        deliver_by = self._envelope.deliver_by
        assert deliver_by is not None
        return deliver_by.traces or (not outcome.deliver_by_passed_on and self._started < self._deadline)

    def _deferred(self, due: Due, outcome: Outcome) -> Settled:
        overdue = self._now >= self._deadline
        warned = due.warned or is_warning_due(self._policy, self._now, self._begun)
        if (overdue and not due.overdue) or (warned and not due.warned):
            self._tell(ReportKind.DELAY, _DELAY | _UNSAID, outcome, too_late=overdue and not due.overdue)
        again = next_attempt(
            self._policy, due.attempts + 1, self._now, self._begun, self._random, deadline=self._deadline
        )
        return Settled(outcome.number, State.DEFERRED, _words(outcome.reply), again, warned, overdue)

    def _tell(
        self, kind: ReportKind, wish: int, outcome: Outcome, *, expired: bool = False, too_late: bool = False
    ) -> None:
        """Note a recipient for a report, if its sender can hear of it and wishes to."""
        recipient = self._envelope.recipients[outcome.number]
        if (recipient.notify or _UNSAID) & wish and self._envelope.reverse_path:
            lifetime = self._policy.lifetime
            until = self._begun + lifetime if kind is ReportKind.DELAY else 0.0
            told = Reported(recipient, outcome, until, lifetime if expired else 0.0, too_late)
            self.news.setdefault(kind, []).append(told)


def _words(reply: Reply) -> str:
    """Return a reply as it is kept: a text that every encoding can take, of a length that a peer can't choose."""
    return str(reply)[:_LONGEST_REPLY].encode("utf-8", "backslashreplace").decode()


def _kept(kind: ReportKind, reported: Reported) -> Unreported:
    """Return news as they are kept until their report: texts that every encoding can take, as long as one quotes."""
    outcome = reported.outcome
    reply = Reply(outcome.reply.code, _encodable(outcome.reply.enhanced), _encodable(outcome.reply.text))
    outcome = msgspec.structs.replace(outcome, reply=reply, remote=_encodable(outcome.remote))
    return Unreported(kind, msgspec.structs.replace(reported, outcome=outcome))


def _encodable(text: str) -> str:
    return text[:_LONGEST_TOLD].encode("utf-8", "backslashreplace").decode()


def _reports(
    queue_id: QueueId,
    message: NewMessage,
    news: Mapping[ReportKind, Sequence[Reported]],
    now: float,
    make_report: MakeReport,
) -> tuple[NewMessage, ...]:
    """Return the reports as messages: null reverse-path, and no report on the report (RFC 3461 section 6.1)."""
    return tuple(
        [
            NewMessage(
                _report_envelope(message.envelope, content := make_report(kind, queue_id, message, reported)),
                content,
                Origin("local", now, rule=f"{kind} report on {queue_id}"),
            )
            for kind, reported in news.items()
        ]
    )


def _report_envelope(about: Envelope, content: Content) -> Envelope:
    return Envelope(
        "",
        (Recipient(about.reverse_path, Notify.NEVER),),
        "7BIT" if content.head.isascii() else "8BITMIME",
        smtputf8=not about.reverse_path.isascii(),
        require_tls=about.require_tls,
        priority=about.priority,
    )
