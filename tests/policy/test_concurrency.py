"""How many connections at once: grown by success, shrunk by failure, and not asked again at once after a refusal."""

from hypothesis import given
from hypothesis import strategies as st

from valija.policy.concurrency import INITIAL, LONGEST_PAUSE, SHORTEST_PAUSE, Concurrency


def test_it_begins_small_and_grows_by_one_for_a_round_of_successes() -> None:
    window = Concurrency(20)
    assert window.size == INITIAL
    for _ in range(INITIAL + 1):
        window.succeeded(0.0)
    assert window.size == INITIAL + 1


def test_it_shrinks_by_one_for_a_round_of_failures() -> None:
    window = Concurrency(20)
    for _ in range(INITIAL):
        window.failed()
    assert window.size == INITIAL - 2  # the last of the round begins the next
    for _ in range(100):
        window.failed()
    assert window.size == 1


def test_the_limit_holds_from_the_start_and_when_it_is_changed() -> None:
    window = Concurrency(2)
    assert window.size == 2
    window.limit = 8
    for _ in range(1000):
        window.succeeded(0.0)
    assert window.size == 8
    window.limit = 3
    assert window.size == 3
    window.failed()
    assert window.size == 2


def test_a_refused_connection_stops_the_growth_for_longer_each_time() -> None:
    window = Concurrency(20)
    window.refused(0.0, working=2)
    assert window.size == 2
    window.succeeded(SHORTEST_PAUSE - 0.1)
    assert window.size == 2
    for _ in range(3):
        window.succeeded(SHORTEST_PAUSE)
    assert window.size == 3
    window.refused(SHORTEST_PAUSE, working=2)
    for _ in range(50):
        window.succeeded(2.9 * SHORTEST_PAUSE)
    assert window.size == 2
    for _ in range(3):
        window.succeeded(3 * SHORTEST_PAUSE)
    assert window.size == 3


def test_refusals_within_a_pause_count_once() -> None:
    window = Concurrency(20)
    for n in range(10):
        window.refused(n * 0.1, working=4)
    for _ in range(5):
        window.succeeded(SHORTEST_PAUSE)
    assert window.size == 5


@given(st.lists(st.tuples(st.sampled_from("sfr"), st.floats(0, 100), st.integers(0, 30)), max_size=300))
def test_there_is_always_one_and_never_more_than_the_limit(steps: list[tuple[str, float, int]]) -> None:
    window = Concurrency(12)
    now = 0.0
    for what, seconds, working in steps:
        now += seconds
        if what == "s":
            window.succeeded(now)
        elif what == "f":
            window.failed()
        else:
            window.refused(now, working=working)
            assert window.size <= max(1, working)
        assert 1 <= window.size <= 12
    for _ in range(1000):
        window.succeeded(now + LONGEST_PAUSE)
    assert window.size == 12
