"""What is promised to whom, and what is refused."""

import pytest

from valija.mail.envelope import DeliverBy, Envelope, Recipient
from valija.mail.reply import Reply
from valija.policy.requests import Granted, RequestLimits, grant
from valija.smtp.requests import By, Requests

NOW = 1_000_000.0
LIMITS = RequestLimits(longest_hold=3600.0, highest_priority=4)


def granted(requests: Requests, limits: RequestLimits = LIMITS) -> Granted:
    found = grant(requests, NOW, limits)
    assert isinstance(found, Granted), found
    return found


@pytest.mark.parametrize(
    ("requests", "until"),
    [
        (Requests(hold_for=3600), NOW + 3600),
        (Requests(hold_until=NOW + 3600), NOW + 3600),
        (Requests(hold_until=NOW - 5), 0.0),  # in the past: at once
        (Requests(hold_until=NOW), 0.0),
        (Requests(), 0.0),
    ],
)
def test_how_long_a_message_is_held(requests: Requests, until: float) -> None:
    assert granted(requests).hold_until == until


@pytest.mark.parametrize(
    "requests",
    [
        Requests(hold_for=3601),
        Requests(hold_until=NOW + 3600.5),
        Requests(hold_for=60, by=By(59, True, False)),  # RFC 4865 section 5.2.2
        Requests(hold_for=60, by=By(-5, False, False)),
    ],
)
def test_what_is_refused(requests: Requests) -> None:
    reply = grant(requests, NOW, LIMITS)
    assert isinstance(reply, Reply)
    assert (reply.code, reply.enhanced) == (501, "5.5.4")


def test_to_be_delivered_by() -> None:
    assert granted(Requests(by=By(120, True, True))).deliver_by == DeliverBy(NOW + 120, returns=True, traces=True)
    assert granted(Requests(by=By(-5, False, False))).deliver_by == DeliverBy(NOW - 5, returns=False)
    assert granted(Requests(hold_for=60, by=By(61, True, False))).hold_until == NOW + 60


@pytest.mark.parametrize(("asked", "given", "says"), [(4, 4, ""), (-9, -9, ""), (5, 4, "4 "), (9, 4, "4 ")])
def test_priorities_are_lowered_and_it_is_said(asked: int, given: int, says: str) -> None:
    found = granted(Requests(priority=asked))
    assert found.priority == given
    if says:
        assert found.reply is not None
        assert str(found.reply).startswith(f"250 2.3.6 {says}")  # RFC 6710 section 4.1
    else:
        assert found.reply is None


def test_a_site_that_lets_nobody_overtake() -> None:
    limits = RequestLimits(highest_priority=0)
    assert granted(Requests(priority=1), limits).priority == 0
    assert granted(Requests(priority=-1), limits).priority == -1


def test_what_was_promised_is_in_the_envelope() -> None:
    envelope = Envelope("a@example.org", (Recipient("b@example.net"),), envid="QQ")
    requests = Requests(require_tls=True, hold_for=60, by=By(120, True, False), priority=-3)
    assert granted(requests).applied_to(envelope) == Envelope(
        "a@example.org",
        (Recipient("b@example.net"),),
        envid="QQ",
        require_tls=True,
        hold_until=NOW + 60,
        deliver_by=DeliverBy(NOW + 120, returns=True),
        priority=-3,
    )
