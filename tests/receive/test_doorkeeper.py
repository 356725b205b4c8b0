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


def come(keeper: Doorkeeper, address: str, limits: ArrivalLimits = LIMITS) -> Reply | None:
    """Come in to stay, and return what is said to it."""
    return keeper.enter(address, limits).refusal


def look_in(keeper: Doorkeeper, address: str, limits: ArrivalLimits) -> Reply | None:
    """Come in and leave at once."""
    visit = keeper.enter(address, limits)
    keeper.leave(visit)
    return visit.refusal


def test_sessions_are_counted_over_all_workers(pair: Pair) -> None:
    one, two = pair
    visits = [keeper.enter("192.0.2.1", LIMITS) for keeper in (one, two, one)]
    assert [visit.refusal for visit in visits] == [None] * 3
    refused = two.enter("192.0.2.1", LIMITS)
    assert refused.refusal == Reply(
        421, "4.7.0", "Too many connections from 192.0.2.1 at once (at most 3), try again later"
    )
    two.leave(refused)
    assert come(one, "192.0.2.2") is None
    one.leave(visits[0])
    assert come(two, "192.0.2.1") is None


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
        assert come(pair[number % 2], client(number)) is None
    refusal = come(pair[0], client(200))
    assert refusal is not None
    assert f"from {network} at once (at most {most})" in refusal.text
    assert come(pair[0], "198.51.100.1") is None


def test_connections_of_a_minute_are_counted_refused_ones_too(pair: Pair) -> None:
    limits = ArrivalLimits(sessions=100, connections=4, unknown_recipients=0)
    for number in range(4):
        assert look_in(pair[number % 2], "192.0.2.1", limits) is None
    for _ in range(3):
        refusal = look_in(pair[1], "192.0.2.1", limits)
        assert refusal is not None
        assert "within a minute (at most 4)" in refusal.text
    for number in range(2, 11):
        assert come(pair[0], f"192.0.2.{number}", limits) is None
    refusal = come(pair[0], "192.0.2.11", limits)
    assert refusal is not None
    assert "from 192.0.2.0/24 within a minute (at most 16)" in refusal.text


def test_who_has_too_many_sessions_is_counted_by_the_minute_too(pair: Pair) -> None:
    limits = ArrivalLimits(sessions=1, connections=3, unknown_recipients=0)
    stays = pair[0].enter("192.0.2.1", limits)
    for _ in range(3):
        refusal = look_in(pair[0], "192.0.2.1", limits)
        assert refusal is not None
        assert "at once" in refusal.text
    pair[0].leave(stays)
    refusal = look_in(pair[0], "192.0.2.1", limits)
    assert refusal is not None
    assert "within a minute" in refusal.text


def test_unknown_recipients_shut_the_door(pair: Pair) -> None:
    limits = ArrivalLimits(sessions=100, connections=0, unknown_recipients=2)
    for number in range(3):
        assert pair[0].harvest("192.0.2.1", 2) is None
        pair[number % 2].count_unknown_recipient("192.0.2.1")
    refusal = come(pair[1], "192.0.2.1", limits)
    assert refusal == pair[0].harvest("192.0.2.1", 2)
    assert refusal is not None
    assert "Too many unknown recipients from 192.0.2.1 within an hour (at most 2)" in refusal.text
    assert come(pair[1], "192.0.2.2", limits) is None
    assert pair[1].harvest("192.0.2.1", 0) is None, "no limit"


@pytest.mark.parametrize("here", ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"])
def test_this_machine_may_stand_for_many(pair: Pair, here: str) -> None:
    limits = ArrivalLimits(sessions=1000, connections=1, unknown_recipients=1)
    for _ in range(20):
        pair[0].count_unknown_recipient(here)
        assert come(pair[0], here, limits) is None


def test_who_brought_mail_is_known_to_all(pair: Pair) -> None:
    assert not pair[1].knows("2001:db8::1")
    pair[0].remember("2001:db8::1")
    assert pair[1].knows("2001:db8::2")
    assert not pair[1].knows("2001:db8:0:1::1")


def test_gateways_stand_for_many(pair: Pair) -> None:
    limits = ArrivalLimits(sessions=1000, connections=1, unknown_recipients=1)
    door = pair[0].at("smtpd")
    door.is_shared = {"172.17.0.1"}.__contains__
    for _ in range(20):
        door.count_unknown_recipient("172.17.0.1")
        assert come(door, "172.17.0.1", limits) is None
    assert come(door, "172.17.0.2", limits) is None
    assert come(door, "172.17.0.2", limits) is not None


def test_who_is_known_is_not_shut_out_by_its_neighbours(pair: Pair) -> None:
    limits = ArrivalLimits(sessions=3, connections=4, unknown_recipients=2)
    pair[1].remember("192.0.2.77")
    for number in range(1, 30):
        come(pair[number % 2], f"192.0.2.{number}", limits)
        look_in(pair[number % 2], f"192.0.2.{number}", limits)
        pair[number % 2].count_unknown_recipient(f"192.0.2.{number}")
    assert come(pair[0], "192.0.2.88", limits) is not None
    assert come(pair[0], "192.0.2.77", limits) is None
    assert pair[0].harvest("192.0.2.77", 2) is None


def test_those_that_are_known_have_one_networks_share_together(pair: Pair) -> None:
    for number in range(1, 30):
        pair[0].remember(f"192.0.2.{number}")
    let_in = sum(come(pair[0], f"192.0.2.{number}") is None for number in range(1, 30))
    assert let_in == LIMITS.sessions * NETWORK_SHARE
    assert come(pair[0], "192.0.2.88") is None


def test_who_is_known_may_have_as_much_as_its_network_but_of_sessions(pair: Pair) -> None:
    """A mailing list's host: many members that have moved, many connections, all from one address."""
    limits = ArrivalLimits(sessions=3, connections=4, unknown_recipients=2)
    pair[0].remember("192.0.2.77")
    for number in range(8):
        pair[number % 2].count_unknown_recipient("192.0.2.77")
    for _ in range(16):
        assert look_in(pair[0], "192.0.2.77", limits) is None
    refusal = look_in(pair[0], "192.0.2.77", limits)
    assert refusal is not None
    assert "from 192.0.2.77 within a minute (at most 16)" in refusal.text
    pair[0].count_unknown_recipient("192.0.2.77")
    refusal = pair[1].harvest("192.0.2.77", 2)
    assert refusal is not None
    assert "from 192.0.2.77 within an hour (at most 8)" in refusal.text
    assert [come(pair[0], "192.0.2.77") for _ in range(3)] == [None] * 3
    assert come(pair[0], "192.0.2.77") is not None


def test_who_becomes_known_within_its_session_leaves_no_ghost(pair: Pair) -> None:
    for _ in range(100):
        visit = pair[0].enter("192.0.2.1", LIMITS)
        pair[0].remember("192.0.2.1")
        assert visit.refusal is None
        pair[0].leave(visit)
    assert [come(pair[1], f"192.0.2.{number}") for number in range(2, 14)] == [None] * 12


def test_each_door_counts_for_itself(pair: Pair) -> None:
    limits = ArrivalLimits(sessions=2, connections=5, unknown_recipients=2)
    smtpd, submissions = (pair[0].at(role) for role in ("smtpd", "submissions"))
    for _ in range(9):
        come(smtpd, "192.0.2.1", limits)
        smtpd.count_unknown_recipient("192.0.2.1")
    smtpd.remember("192.0.2.1")
    assert come(pair[1].at("smtpd"), "192.0.2.1", limits) is not None
    visit = submissions.enter("192.0.2.1", limits)
    assert visit.refusal is None
    assert not visit.caller.is_known


def test_a_refusal_is_told_once(pair: Pair) -> None:
    many, other = Reply(421, "4.7.0", "Too many from 192.0.2.1"), Reply(421, "4.3.2", "Another")
    assert pair[0].is_news(many)
    assert not pair[1].is_news(many)
    assert pair[1].is_news(other)
