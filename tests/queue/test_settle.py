"""What follows from an attempt: states, next attempts, reports."""

from collections.abc import Callable, Sequence
from random import Random

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.queue.samples import NOW, deferred, delivered, failed, message, report
from valija.content.reported import Reported, ReportKind
from valija.mail.content import Content
from valija.mail.envelope import DeliverBy, Notify, Recipient
from valija.mail.job import QueueId
from valija.mail.outcome import Outcome, State
from valija.mail.reply import Reply
from valija.policy.retry import RetryPolicy
from valija.queue.settle import TOO_LATE, MakeReport, Verdict, is_forbidden, settle, settle_in_doubt, tell
from valija.queue.store import Claim, Due, NewMessage, Settled, Unreported

ID = QueueId("bmmm9v73d3tbp")
POLICY = RetryPolicy()
END = NOW + POLICY.lifetime
ALL = Notify.SUCCESS | Notify.FAILURE | Notify.DELAY
KINDS = {ReportKind.FAILURE, ReportKind.DELAY, ReportKind.SUCCESS, ReportKind.RELAYED}


def judged(
    new: NewMessage,
    outcomes: Sequence[Outcome],
    *,
    started: float = NOW,
    due: Sequence[Due] | None = None,
    final: bool = False,
    make_report: MakeReport = report,
    keeps_news: bool = False,
) -> Verdict:
    claim = Claim.fresh(ID, new) if due is None else Claim(ID, new, tuple(due), only=True)
    return settle(
        claim,
        outcomes,
        final=final,
        started=started,
        now=started + 1,
        policy=POLICY,
        random=0.5,
        make_report=make_report,
        keeps_news=keeps_news,
    )


def test_delivered_needs_no_more() -> None:
    verdict = judged(message(), [delivered()])
    assert [settled.state for settled in verdict.settlement.recipients] == [State.DELIVERED]
    assert verdict.kinds == ()


def test_every_recipient_is_settled_once_in_its_own_way() -> None:
    verdict = judged(message("a@x.example", "b@x.example", "c@x.example"), [failed(2), delivered(0), deferred(1)])
    states = {settled.number: settled.state for settled in verdict.settlement.recipients}
    assert states == {0: State.DELIVERED, 1: State.DEFERRED, 2: State.FAILED}


@pytest.mark.parametrize("outcomes", [[], [delivered(0)], [delivered(0), delivered(0)], [delivered(0), delivered(2)]])
def test_a_recipient_unaccounted_for_is_a_fault(outcomes: list[Outcome]) -> None:
    with pytest.raises((AssertionError, KeyError)):
        judged(message("a@x.example", "b@x.example"), outcomes)


def test_a_message_ends_only_when_nobody_and_nothing_is_left_of_it() -> None:
    two = message("a@x.example", "b@x.example")
    both = [delivered(0), delivered(1)]
    assert judged(two, both).settlement.ends_message
    assert not judged(two, [delivered(0), deferred(1)]).settlement.ends_message
    assert not judged(two, [delivered(0), failed(1)]).settlement.ends_message, "a report follows"
    in_a_file = msgspec.structs.replace(two, content=Content(b"", 10, "0" * 32))
    assert not judged(in_a_file, both).settlement.ends_message
    part = Claim(ID, two, (Due(0),), only=False)
    verdict = settle(
        part, [delivered(0)], final=False, started=NOW, now=NOW, policy=POLICY, random=0.5, make_report=report
    )
    assert not verdict.settlement.ends_message


def test_in_doubt_only_what_is_certain_is_recorded() -> None:
    claim = Claim.fresh(ID, message("a@x.example", "b@x.example", "c@x.example"))
    verdict = settle_in_doubt(claim, [delivered(0), failed(1)], now=NOW, policy=POLICY, random=0.5)
    states = [settled.state for settled in verdict.settlement.recipients]
    assert states == [State.DELIVERED, State.DEFERRED, State.DEFERRED]
    assert verdict.settlement.recipients[1].next_attempt == NOW + 300
    assert "4.3.0" in verdict.settlement.recipients[1].last_reply


def test_deferred_keeps_the_reply_and_gets_a_time() -> None:
    (settled,) = judged(message(), [deferred()], due=[Due(0, attempts=2)]).settlement.recipients
    assert settled.last_reply == "451 4.7.1 Greylisted, come back later"
    assert settled.next_attempt == NOW + 1 + 1200
    assert not settled.warned


def test_a_hostile_reply_is_kept_as_text_of_bounded_length() -> None:
    (settled,) = judged(message(), [deferred(reply=Reply(451, "", "\udcff" + "x" * 10**6))]).settlement.recipients
    assert len(settled.last_reply) < 1100
    assert settled.last_reply.encode().startswith(b"451 \\udcff")


def test_c091_given_up_after_its_lifetime_with_the_last_reply() -> None:
    verdict = judged(message(), [deferred()], started=END, due=[Due(0, 40, warned=True)])
    (settled,) = verdict.settlement.recipients
    assert settled.state is State.FAILED
    assert verdict.kinds == (ReportKind.FAILURE,)
    words = verdict.settlement.reports[0].content.head.decode()
    assert "bob@example.net: 451 4.7.1 Greylisted, come back later" in words
    assert "expired after 432000 s" in words


def test_c091_what_is_given_up_keeps_who_spoke_and_what_was_said() -> None:
    seen: list[Reported] = []

    def keep(kind: ReportKind, queue_id: QueueId, new: NewMessage, reported: Sequence[Reported]) -> Content:
        seen.extend(reported)
        return report(kind, queue_id, new, reported)

    claim = Claim.fresh(ID, message())
    settle(claim, [deferred()], final=False, started=END, now=END, policy=POLICY, random=0, make_report=keep)
    (one,) = seen
    assert one.outcome == msgspec.structs.replace(deferred(), state=State.FAILED)
    assert one.expired_after == POLICY.lifetime
    seen.clear()
    settle(claim, [failed()], final=False, started=END, now=END, policy=POLICY, random=0, make_report=keep)
    assert [one.expired_after for one in seen] == [0]


def test_c110_an_attempt_begun_in_time_is_not_the_last() -> None:
    verdict = settle(
        Claim.fresh(ID, message()),
        [deferred()],
        final=False,
        started=NOW,
        now=NOW + 864000,
        policy=POLICY,
        random=0.5,
        make_report=report,
    )
    (settled,) = verdict.settlement.recipients
    assert settled.state is State.DEFERRED
    assert settled.next_attempt == NOW + 864000 + 300


def test_a_report_has_the_null_reverse_path_and_asks_for_none() -> None:
    (bounce,) = judged(message(), [failed()]).settlement.reports
    assert bounce.envelope.reverse_path == ""
    assert bounce.envelope.recipients == (Recipient("alice@example.org", Notify.NEVER),)
    assert bounce.origin.role == "local"
    assert bounce.origin.received_at == NOW + 1
    assert not bounce.envelope.smtputf8


def test_a_report_that_is_not_ascii_is_sent_as_what_it_is() -> None:
    def utf8_report(*_: object) -> Content:
        return Content.of("Grüße".encode())

    claim = Claim.fresh(ID, message(reverse_path="jörg@example.org"))
    verdict = settle(
        claim, [failed()], final=False, started=NOW, now=NOW, policy=POLICY, random=0, make_report=utf8_report
    )
    (bounce,) = verdict.settlement.reports
    assert bounce.envelope.body == "8BITMIME"
    assert bounce.envelope.smtputf8


@pytest.mark.parametrize("notify", [Notify.ABSENT, Notify.SUCCESS | Notify.FAILURE | Notify.DELAY])
@pytest.mark.parametrize("outcome", [delivered(), deferred(), failed()])
def test_nothing_is_reported_about_a_null_reverse_path(outcome: Outcome, notify: Notify) -> None:
    assert judged(message(reverse_path="", notify=notify), [outcome], started=END).kinds == ()


@pytest.mark.parametrize(
    ("notify", "told"),
    [
        (Notify.ABSENT, {ReportKind.FAILURE, ReportKind.DELAY}),
        (Notify.NEVER, set()),
        (Notify.FAILURE, {ReportKind.FAILURE}),
        (Notify.DELAY, {ReportKind.DELAY}),
        (Notify.SUCCESS, {ReportKind.SUCCESS, ReportKind.RELAYED}),
        (Notify.SUCCESS | Notify.FAILURE | Notify.DELAY, KINDS),
    ],
)
def test_c093_notify_rules(notify: Notify, told: set[ReportKind]) -> None:
    new = message(notify=notify)
    late = NOW + POLICY.delay_warning
    happened = {
        *judged(new, [failed()]).kinds,
        *judged(new, [deferred()], started=late).kinds,
        *judged(new, [delivered()], final=True).kinds,
        *judged(new, [delivered()]).kinds,
    }
    assert happened == told


def test_c093_a_hop_that_took_the_duty_to_report_over_is_not_reported_for() -> None:
    assert judged(message(notify=Notify.SUCCESS), [delivered(dsn_passed_on=True)]).kinds == ()


def test_a_delay_is_told_once_and_says_until_when() -> None:
    seen: list[Reported] = []

    def keep(kind: ReportKind, queue_id: QueueId, new: NewMessage, reported: Sequence[Reported]) -> Content:
        seen.extend(reported)
        return report(kind, queue_id, new, reported)

    late = NOW + POLICY.delay_warning
    claim = Claim.fresh(ID, message())
    early = settle(
        claim, [deferred()], final=False, started=NOW, now=late - 1, policy=POLICY, random=0, make_report=keep
    )
    assert early.kinds == ()
    first = settle(claim, [deferred()], final=False, started=NOW, now=late, policy=POLICY, random=0, make_report=keep)
    assert first.kinds == (ReportKind.DELAY,)
    assert first.settlement.recipients[0].warned
    assert [one.will_retry_until for one in seen] == [END]
    again = judged(message(), [deferred()], started=late + 9000, due=[Due(0, 7, warned=True)])
    assert again.kinds == ()
    assert again.settlement.recipients[0].warned


def test_one_report_of_a_kind_holds_all_recipients_concerned() -> None:
    new = message("a@x.example", "b@x.example", "c@x.example", "d@x.example", notify=Notify.FAILURE | Notify.SUCCESS)
    verdict = judged(new, [failed(0), delivered(1), failed(2), deferred(3)])
    assert verdict.kinds == (ReportKind.FAILURE, ReportKind.RELAYED)
    failure, relayed = (bounce.content.head.decode() for bounce in verdict.settlement.reports)
    assert "a@x.example" in failure
    assert "c@x.example" in failure
    assert "b@x.example" in relayed
    assert "d@x.example" not in failure + relayed


# --- rounds


def never(*_: object) -> Content:
    raise AssertionError("no report is made yet")


def test_news_are_kept_where_others_are_under_way() -> None:
    new = message("a@x.example", "b@x.example", "c@x.example", notify=Notify.FAILURE | Notify.SUCCESS)
    verdict = judged(new, [failed(0), delivered(1), deferred(2)], make_report=never, keeps_news=True)
    assert verdict.kinds == ()
    assert verdict.settlement.reports == ()
    assert [(each.kind, each.reported.outcome) for each in verdict.settlement.news] == [
        (ReportKind.FAILURE, failed(0)),
        (ReportKind.RELAYED, delivered(1)),
    ]
    assert not verdict.settlement.ends_message
    none = judged(message(), [delivered()], make_report=never, keeps_news=True)
    assert none.settlement.ends_message, "no news, nothing to wait for"


def test_kept_news_are_told_in_one_report_of_each_kind_and_forgotten() -> None:
    new = message("a@x.example", "b@y.example", "c@z.example", notify=Notify.FAILURE | Notify.SUCCESS)
    news = [
        each
        for outcome in (failed(2), delivered(1), failed(0))
        for each in judged(new, [outcome], due=[Due(outcome.number)], keeps_news=True).settlement.news
    ]
    verdict = tell(ID, new, news, now=NOW + 5, make_report=report)
    assert verdict.settlement.told == tuple(news)
    assert verdict.settlement.recipients == ()
    assert verdict.kinds == (ReportKind.FAILURE, ReportKind.RELAYED)
    failure, relayed = verdict.settlement.reports
    assert {line.partition(":")[0] for line in failure.content.head.decode().splitlines()[1:]} == {
        "a@x.example",
        "c@z.example",
    }
    assert b"b@y.example" in relayed.content.head
    assert failure.envelope.reverse_path == ""


def test_kept_news_are_bounded_and_encodable_whatever_a_peer_said() -> None:
    hostile = msgspec.structs.replace(failed(reply=Reply(550, "5.1.1", "\udcff" * 10**5)), remote="mx\udc80")
    (kept,) = judged(message(), [hostile], keeps_news=True).settlement.news
    assert len(msgspec.msgpack.encode(kept)) < 20_000
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(kept), type=Unreported) == kept
    assert kept.reported.outcome.reply.text.startswith("\\udcff")


@given(
    st.lists(st.sampled_from([delivered, deferred, failed]), min_size=1, max_size=12),
    st.lists(st.integers(0, 3), min_size=12, max_size=12),
    st.randoms(),
)
def test_every_recipient_is_accounted_for_whatever_order_the_jobs_of_a_round_end_in(
    ends: list[Callable[[int], Outcome]], jobs: list[int], random: Random
) -> None:
    new = message(*(f"r{number}@d{jobs[number]}.example" for number in range(len(ends))), notify=ALL)
    late = NOW + POLICY.delay_warning
    parts = [[number for number in range(len(ends)) if jobs[number] == job] for job in range(4)]
    parts = [part for part in parts if part]
    random.shuffle(parts)
    settled: list[Settled] = []
    news: list[Unreported] = []
    for part in parts:
        outcomes = [ends[number](number) for number in part]
        random.shuffle(outcomes)
        due = [Due(number) for number in part]
        settlement = judged(new, outcomes, started=late, due=due, keeps_news=True).settlement
        settled += settlement.recipients
        news += settlement.news
    assert sorted(each.number for each in settled) == list(range(len(ends)))
    told: list[tuple[ReportKind, int]] = []

    def note(kind: ReportKind, _i: QueueId, _m: NewMessage, reported: Sequence[Reported]) -> Content:
        told.extend((kind, one.outcome.number) for one in reported)
        return Content.of(b"")

    verdict = tell(ID, new, news, now=late, make_report=note)
    kinds = {delivered: ReportKind.RELAYED, deferred: ReportKind.DELAY, failed: ReportKind.FAILURE}
    assert sorted(told) == sorted((kinds[end], number) for number, end in enumerate(ends))
    assert len(verdict.settlement.reports) == len(set(verdict.kinds)) == len({kind for kind, _ in told})


# --- what a report inherits


def test_a_report_travels_as_protected_and_as_urgent_as_its_message() -> None:
    new = message()
    asked = msgspec.structs.replace(new.envelope, require_tls=True, priority=4)
    (bounce,) = judged(msgspec.structs.replace(new, envelope=asked), [failed()]).settlement.reports
    assert bounce.envelope.require_tls
    assert bounce.envelope.priority == 4
    (plain,) = judged(message(), [failed()]).settlement.reports
    assert not plain.envelope.require_tls


# --- a time to be sent at (RFC 4865)


def test_lifetime_and_warning_count_from_the_release() -> None:
    release = NOW + 30 * 86400
    new = message()
    held = msgspec.structs.replace(new, envelope=msgspec.structs.replace(new.envelope, hold_until=release))
    first = judged(held, [deferred()], started=release)
    assert first.kinds == ()
    assert first.settlement.recipients[0].state is State.DEFERRED
    assert judged(held, [deferred()], started=release + POLICY.delay_warning).kinds == (ReportKind.DELAY,)
    assert judged(held, [deferred()], started=release + POLICY.lifetime - 1).kinds == (ReportKind.DELAY,)
    assert judged(held, [deferred()], started=release + POLICY.lifetime).kinds == (ReportKind.FAILURE,)


# --- a time to deliver by (RFC 2852)


BY = NOW + 1000.0


def by(mode: str, *, notify: Notify = Notify.ABSENT, until: float = BY) -> NewMessage:
    new = message(notify=notify)
    deliver_by = DeliverBy(until, returns="R" in mode, traces="T" in mode)
    return msgspec.structs.replace(new, envelope=msgspec.structs.replace(new.envelope, deliver_by=deliver_by))


def told_of(
    new: NewMessage, outcome: Outcome, started: float, due: Due | None = None
) -> tuple[Settled, list[Reported]]:
    seen: list[Reported] = []

    def keep(kind: ReportKind, queue_id: QueueId, about: NewMessage, reported: Sequence[Reported]) -> Content:
        seen.extend(reported)
        return report(kind, queue_id, about, reported)

    (settled,) = judged(new, [outcome], started=started, due=[due or Due(0)], make_report=keep).settlement.recipients
    return settled, seen


def test_the_last_attempt_before_a_deadline_and_the_deadline_are_planned() -> None:
    settled, seen = told_of(by("R"), deferred(), NOW + 700, Due(0, attempts=2))
    assert settled.next_attempt == BY - 60
    settled, _ = told_of(by("R"), deferred(), BY - 60, Due(0, attempts=3))
    assert settled.next_attempt == BY
    assert seen == []


def test_what_is_to_be_returned_fails_at_its_deadline_with_the_last_words() -> None:
    settled, (one,) = told_of(by("R"), deferred(), BY)
    assert settled.state is State.FAILED
    assert one.deadline_passed
    assert one.outcome.reply == deferred().reply
    assert not one.expired_after


def test_no_attempt_is_made_past_a_deadline_that_forbids_it() -> None:
    assert not is_forbidden(by("R").envelope, BY - 1)
    assert is_forbidden(by("R").envelope, BY)
    assert not is_forbidden(by("N").envelope, BY)
    assert not is_forbidden(message().envelope, BY)
    settled, (one,) = told_of(by("R"), Outcome(0, State.DEFERRED, TOO_LATE), BY)
    assert settled.state is State.FAILED
    assert one.deadline_passed


def test_what_is_not_to_be_returned_is_told_once_and_tried_on() -> None:
    settled, (one,) = told_of(by("N"), deferred(), BY)
    assert settled.state is State.DEFERRED
    assert settled.overdue
    assert not settled.warned, "that it is late by our own measure is yet to be told"
    assert one.deadline_passed
    again, seen = told_of(by("N"), deferred(), BY + 600, Due(0, 3, overdue=True))
    assert again.overdue
    assert seen == []
    warned, (later,) = told_of(by("N"), deferred(), NOW + POLICY.delay_warning, Due(0, 5, overdue=True))
    assert warned.warned
    assert not later.deadline_passed


def test_a_deadline_is_told_to_who_was_warned_before() -> None:
    until = NOW + POLICY.delay_warning + 500
    settled, (one,) = told_of(by("N", until=until), deferred(), until, Due(0, 5, warned=True))
    assert settled.warned
    assert settled.overdue
    assert one.deadline_passed


@pytest.mark.parametrize(
    ("mode", "notify", "is_told"),
    [
        ("R", Notify.ABSENT, True),
        ("R", Notify.FAILURE, True),
        ("R", Notify.DELAY, False),
        ("R", Notify.NEVER, False),
        ("N", Notify.ABSENT, True),
        ("N", Notify.DELAY, True),
        ("N", Notify.FAILURE, False),
        ("N", Notify.NEVER, False),
    ],
)
def test_who_hears_of_a_deadline(mode: str, notify: Notify, is_told: bool) -> None:
    settled, seen = told_of(by(mode, notify=notify), deferred(), BY)
    assert settled.state is (State.FAILED if mode == "R" else State.DEFERRED)
    assert [one.deadline_passed for one in seen] == [True] * is_told


@pytest.mark.parametrize(
    ("mode", "passed_on", "started", "notify", "is_told"),
    [
        ("N", False, NOW, Notify.ABSENT, True),
        ("N", False, NOW, Notify.FAILURE, True),
        ("N", False, NOW, Notify.NEVER, False),
        ("N", True, NOW, Notify.ABSENT, False),
        ("N", False, BY, Notify.ABSENT, False),
        ("NT", True, NOW, Notify.ABSENT, True),
        ("RT", True, NOW, Notify.FAILURE, True),
        ("RT", True, NOW, Notify.NEVER, False),
        ("R", True, NOW, Notify.ABSENT, False),
    ],
)
def test_a_hand_over_that_loses_the_deadline_or_is_traced_is_told(
    mode: str, passed_on: bool, started: float, notify: Notify, is_told: bool
) -> None:
    outcome = msgspec.structs.replace(delivered(dsn_passed_on=True), deliver_by_passed_on=passed_on)
    _, seen = told_of(by(mode, notify=notify), outcome, started)
    assert len(seen) == is_told


def test_a_delivery_into_a_mailbox_is_no_hand_over() -> None:
    assert judged(by("NT"), [delivered()], final=True).kinds == ()
