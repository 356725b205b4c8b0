"""What follows from an attempt: states, next attempts, reports."""

from collections.abc import Sequence

import msgspec
import pytest

from tests.queue.samples import NOW, deferred, delivered, failed, message, report
from valija.content.reported import Reported, ReportKind
from valija.mail.content import Content
from valija.mail.envelope import Notify, Recipient
from valija.mail.job import QueueId
from valija.mail.outcome import Outcome, State
from valija.mail.reply import Reply
from valija.policy.retry import RetryPolicy
from valija.queue.settle import Verdict, settle, settle_in_doubt
from valija.queue.store import Claim, Due, NewMessage

ID = QueueId("bmmm9v73d3tbp")
POLICY = RetryPolicy()
END = NOW + POLICY.lifetime
KINDS = {ReportKind.FAILURE, ReportKind.DELAY, ReportKind.SUCCESS, ReportKind.RELAYED}


def judged(
    new: NewMessage,
    outcomes: Sequence[Outcome],
    *,
    started: float = NOW,
    due: Sequence[Due] | None = None,
    final: bool = False,
) -> Verdict:
    claim = Claim.fresh(ID, new) if due is None else Claim(ID, new, tuple(due), only=True)
    now = started + 1
    return settle(claim, outcomes, final=final, started=started, now=now, policy=POLICY, random=0.5, make_report=report)


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
