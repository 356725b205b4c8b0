"""What one client and one network may have, counted over two workers."""

from collections.abc import Callable

import pytest

from valija.mail.reply import Reply
from valija.receive.doorkeeper import NETWORK_SHARE, ArrivalLimits, Doorkeeper, SharedArrivals

LIMITS = ArrivalLimits(sessions=3, connections=0, unknown_recipients=0)


@pytest.fixture
def pair() -> tuple[Doorkeeper, Doorkeeper]:
    shared = SharedArrivals(2)
    return Doorkeeper(shared, 0), Doorkeeper(shared, 1)


Pair = tuple[Doorkeeper, Doorkeeper]


def test_sessions_are_counted_over_all_workers(pair: Pair) -> None:
    one, two = pair
    assert [keeper.enter("192.0.2.1", LIMITS) for keeper in (one, two, one)] == [None] * 3
    refusal = two.enter("192.0.2.1", LIMITS)
    assert refusal == Reply(421, "4.7.0", "Too many connections from 192.0.2.1 at once (at most 3), try again later")
    two.leave("192.0.2.1")
    assert one.enter("192.0.2.2", LIMITS) is None
    one.leave("192.0.2.1")
    assert two.enter("192.0.2.1", LIMITS) is None


@pytest.mark.parametrize(
    ("client", "network"),
    [
        (lambda number: f"192.0.2.{number}", "192.0.2.0/24"),
        (lambda number: f"::ffff:192.0.2.{number}", "192.0.2.0/24"),
        (lambda number: f"2001:db8:0:{number}::1", "2001:db8::/48"),
    ],
    ids=["IPv4", "IPv4-mapped", "IPv6"],
)
def test_a_network_has_its_share_of_them(pair: Pair, client: Callable[[int], str], network: str) -> None:
    most = LIMITS.sessions * NETWORK_SHARE
    for number in range(1, most + 1):
        assert pair[number % 2].enter(client(number), LIMITS) is None
    refusal = pair[0].enter(client(200), LIMITS)
    assert refusal is not None
    assert f"from {network} at once (at most {most})" in refusal.text
    assert pair[0].enter("198.51.100.1", LIMITS) is None


def test_connections_of_a_minute_are_counted_refused_ones_too(pair: Pair) -> None:
    limits = ArrivalLimits(sessions=100, connections=4, unknown_recipients=0)
    for number in range(4):
        assert pair[number % 2].enter("192.0.2.1", limits) is None
        pair[number % 2].leave("192.0.2.1")
    for _ in range(3):
        refusal = pair[1].enter("192.0.2.1", limits)
        assert refusal is not None
        assert "within a minute (at most 4)" in refusal.text
        pair[1].leave("192.0.2.1")
    for number in range(2, 11):
        assert pair[0].enter(f"192.0.2.{number}", limits) is None
    refusal = pair[0].enter("192.0.2.11", limits)
    assert refusal is not None
    assert "from 192.0.2.0/24 within a minute (at most 16)" in refusal.text


def test_unknown_recipients_shut_the_door(pair: Pair) -> None:
    limits = ArrivalLimits(sessions=100, connections=0, unknown_recipients=2)
    for number in range(3):
        assert pair[0].harvest("192.0.2.1", 2) is None
        pair[number % 2].count_unknown_recipient("192.0.2.1")
    refusal = pair[1].enter("192.0.2.1", limits)
    assert refusal == pair[0].harvest("192.0.2.1", 2)
    assert refusal is not None
    assert "Too many unknown recipients from 192.0.2.1 within an hour (at most 2)" in refusal.text
    assert pair[1].enter("192.0.2.2", limits) is None
    assert pair[1].harvest("192.0.2.1", 0) is None, "no limit"


@pytest.mark.parametrize("here", ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"])
def test_this_machine_may_stand_for_many(pair: Pair, here: str) -> None:
    limits = ArrivalLimits(sessions=1000, connections=1, unknown_recipients=1)
    for _ in range(20):
        pair[0].count_unknown_recipient(here)
        assert pair[0].enter(here, limits) is None


def test_who_brought_mail_is_known_to_all(pair: Pair) -> None:
    assert not pair[1].knows("2001:db8::1")
    pair[0].remember("2001:db8::1")
    assert pair[1].knows("2001:db8::2")
    assert not pair[1].knows("2001:db8:0:1::1")


def test_a_refusal_is_told_once(pair: Pair) -> None:
    many, other = Reply(421, "4.7.0", "Too many"), Reply(421, "4.3.2", "Another")
    assert pair[0].is_news("192.0.2.1", many)
    assert not pair[1].is_news("192.0.2.1", many)
    assert pair[1].is_news("192.0.2.1", other)
    assert pair[1].is_news("192.0.2.2", many)
