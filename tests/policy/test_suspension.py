"""A next hop that can't be used is looked at again less and less often, and forgiven at once."""

from valija.policy.suspension import FAILED_IN_A_ROW, LONGEST, SHORTEST, Suspension


def test_the_first_failure_leaves_the_next_one_a_try() -> None:
    suspension = Suspension()
    suspension.begin(0.0)
    assert not suspension.is_on
    assert suspension.wait(0.0) == 0


def test_waits_double_up_to_five_minutes() -> None:
    suspension = Suspension()
    suspension.begin(0.0)
    now, waits = 0.0, []
    for _ in range(12):
        suspension.begin(now)
        assert suspension.is_on
        waits.append(suspension.wait(now))
        now += waits[-1]
        assert suspension.wait(now) == 0
    assert waits[:4] == [SHORTEST, 2 * SHORTEST, 4 * SHORTEST, 8 * SHORTEST]
    assert waits[-1] == LONGEST


def test_attempts_that_break_off_count_only_in_a_row() -> None:
    suspension = Suspension()
    for _ in range(3):
        assert not any(suspension.failed(0.0) for _ in range(FAILED_IN_A_ROW - 1))
        suspension.end()
    assert [suspension.failed(0.0) for _ in range(FAILED_IN_A_ROW)][-1]
    assert suspension.wait(0.0) == SHORTEST


def test_success_ends_it_and_a_wish_has_it_tried() -> None:
    suspension = Suspension()
    for _ in range(5):
        suspension.begin(0.0)
    suspension.look_again()
    assert suspension.is_on
    assert suspension.wait(0.0) == 0
    suspension.begin(0.0)
    assert suspension.wait(0.0) == 16 * SHORTEST
    suspension.end()
    assert not suspension.is_on
    assert suspension.wait(0.0) == 0


def test_what_was_long_ago_says_nothing_about_today() -> None:
    suspension = Suspension()
    for _ in range(12):
        suspension.begin(0.0)
    later = 3 * LONGEST
    suspension.begin(later)
    assert suspension.wait(later) == SHORTEST
