"""The retry schedule (RFC 5321 section 4.5.4.1)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from valija.policy.retry import RetryPolicy, begin_of, is_given_up, is_warning_due, next_attempt

ARRIVED = 1_800_000_000.0
MIDDLE = 0.5  # no jitter
POLICY = RetryPolicy()


def test_c091_the_wait_grows_from_five_minutes_to_four_hours() -> None:
    now, waits = ARRIVED, []
    for attempts in range(1, 10):
        waits.append(next_attempt(POLICY, attempts, now, ARRIVED, MIDDLE) - now)
        now += waits[-1]
    assert waits == [300, 600, 1200, 2400, 4800, 9600, 14400, 14400, 14400]


def test_c091_gives_up_after_five_days() -> None:
    now, attempts = ARRIVED, 0
    while not is_given_up(POLICY, now, ARRIVED):
        attempts += 1
        now = next_attempt(POLICY, attempts, now, ARRIVED, MIDDLE)
    assert now == ARRIVED + 5 * 86400
    assert 30 < attempts < 50
    assert 5 * 86400 / attempts > 1800  # on average half an hour or more between attempts


@given(st.integers(1, 10**6), st.floats(0, 5 * 86400), st.floats(0, 1, exclude_max=True))
def test_the_wait_has_bounds(attempts: int, age: float, random: float) -> None:
    now = ARRIVED + age
    due = next_attempt(POLICY, attempts, now, ARRIVED, random)
    assert due <= now + POLICY.longest_wait
    assert due >= min(now + 270, ARRIVED + POLICY.lifetime)


def test_jitter_parts_what_was_deferred_together() -> None:
    dues = {next_attempt(POLICY, 1, ARRIVED, ARRIVED, random) - ARRIVED for random in (0.0, 0.25, 0.999)}
    assert len(dues) == 3
    assert all(270 <= due <= 330 for due in dues)


def test_c110_an_attempt_that_the_clock_jumped_over_is_not_the_last() -> None:
    jumped = ARRIVED + 10 * 86400
    assert not is_given_up(POLICY, ARRIVED, ARRIVED)  # begun before the jump, ended after it
    assert next_attempt(POLICY, 1, jumped, ARRIVED, MIDDLE) == jumped + 300
    assert is_given_up(POLICY, jumped + 300, ARRIVED)


def test_c110_a_message_from_the_future_is_retried_in_the_normal_interval() -> None:
    now = ARRIVED - 10 * 86400
    assert next_attempt(POLICY, 1, now, ARRIVED, MIDDLE) == now + 300
    assert not is_given_up(POLICY, now, ARRIVED)
    assert not is_warning_due(POLICY, now, ARRIVED)


@pytest.mark.parametrize(("warning", "age", "due"), [(14400, 14399, False), (14400, 14400, True), (0, 10**6, False)])
def test_a_delay_is_told_after_its_time_unless_it_is_off(warning: float, age: float, due: bool) -> None:
    assert is_warning_due(RetryPolicy(delay_warning=warning), ARRIVED + age, ARRIVED) is due


def test_a_short_lifetime_still_means_a_second_attempt() -> None:
    policy = RetryPolicy(lifetime=60)
    assert next_attempt(policy, 1, ARRIVED + 1, ARRIVED, MIDDLE) == ARRIVED + 60


# --- a time to be sent at, and a time to deliver by


def test_a_lifetime_begins_with_the_release() -> None:
    assert begin_of(ARRIVED, 0.0) == ARRIVED
    assert begin_of(ARRIVED, ARRIVED + 3600) == ARRIVED + 3600


def test_the_last_attempt_before_a_deadline_comes_a_minute_ahead_and_then_the_deadline() -> None:
    deadline = ARRIVED + 1200
    now, times = ARRIVED, []
    for attempts in range(1, 6):
        now = next_attempt(POLICY, attempts, now, ARRIVED, MIDDLE, deadline=deadline)
        times.append(now - ARRIVED)
    assert times == [300, 900, 1140, 1200, 1200 + 4800]


@given(st.integers(1, 40), st.floats(0, 5 * 86400), st.floats(0, 1, exclude_max=True), st.floats(-1000, 6 * 86400))
def test_no_deadline_is_slept_through(attempts: int, age: float, random: float, by: float) -> None:
    now, deadline = ARRIVED + age, ARRIVED + by
    due = next_attempt(POLICY, attempts, now, ARRIVED, random, deadline=deadline)
    free = next_attempt(POLICY, attempts, now, ARRIVED, random)
    assert due > now
    assert due <= free
    if now < deadline:
        assert due <= deadline
        assert due in (free, deadline, deadline - 60)
    else:
        assert due == free
