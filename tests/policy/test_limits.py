"""How much an account may send in a day."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from valija.policy.limits import (
    HOUR,
    HOURS,
    NAMES,
    UNLIMITED,
    AccountLimits,
    LimitName,
    Spent,
    first_over,
    free_again,
    refusal,
    room_of,
)

LIMITS = AccountLimits(messages_per_day=10, recipients_per_day=20, first_time_recipients_per_day=5)
NONE = AccountLimits(0, 0, 0)
COUNTS = st.builds(Spent, st.integers(0, 200), st.integers(0, 200), st.integers(0, 200))


@pytest.mark.parametrize(
    ("spent", "more", "over"),
    [
        (Spent(), Spent(1, 1, 1), None),
        (Spent(9, 19, 4), Spent(1, 1, 1), None),
        (Spent(10, 10, 0), Spent(1, 1, 0), "messages_per_day"),
        (Spent(5, 20, 0), Spent(1, 1, 0), "recipients_per_day"),
        (Spent(5, 15, 0), Spent(1, 6, 0), "recipients_per_day"),
        (Spent(5, 10, 5), Spent(1, 1, 1), "first_time_recipients_per_day"),
        (Spent(5, 10, 9), Spent(1, 1, 0), None),  # whom they know they may go on writing to
    ],
)
def test_which_limit_is_passed(spent: Spent, more: Spent, over: LimitName | None) -> None:
    assert first_over(spent, more, LIMITS) == over
    assert first_over(spent, more, NONE) is None


def test_without_limits_there_is_always_room() -> None:
    assert NONE.are_off
    assert not LIMITS.are_off
    assert room_of(Spent(10**9, 10**9, 10**9), NONE, 4) == Spent(UNLIMITED, UNLIMITED, UNLIMITED)


@given(COUNTS, st.integers(1, 8))
def test_workers_that_keep_to_their_room_never_pass_a_limit(spent: Spent, workers: int) -> None:
    """Each asks once, and uses up what it was told; what they do together stays within the limits."""
    room = room_of(spent, LIMITS, workers)
    for name in NAMES:
        together = spent.of(name) + workers * room.of(name)
        assert together <= max(LIMITS.of(name), spent.of(name))


@given(
    st.dictionaries(st.integers(1000, 1000 + HOURS), COUNTS, max_size=HOURS).map(lambda found: sorted(found.items())),
    st.sampled_from(NAMES),
)
def test_a_limit_ends_when_enough_is_forgotten_and_not_before(hours: list[tuple[int, Spent]], name: LimitName) -> None:
    more = Spent(1, 1, 1)
    until = free_again(hours, more, LIMITS, name)

    def left_at(moment: float) -> int:
        return sum(spent.of(name) for hour, spent in hours if hour > int(moment) // HOUR - HOURS)

    assert left_at(until) + more.of(name) <= LIMITS.of(name) or not hours
    if hours and sum(spent.of(name) for _, spent in hours) + more.of(name) > LIMITS.of(name):
        assert left_at(until - 1) + more.of(name) > LIMITS.of(name)


def test_the_words_of_a_refusal() -> None:
    reply = refusal("recipients_per_day", LIMITS, 1_790_000_000.0, "postmaster@example.org")
    assert (reply.code, reply.enhanced) == (450, "4.7.1")
    assert "limit of 20 recipients a day" in reply.text
    assert "2026-09-21 14:13 UTC" in reply.text
    assert "postmaster@example.org" in reply.text
    assert len(refusal("messages_per_day", LIMITS, 0.0, "p" * 500).encode()) <= 512
