"""The pace of a receiver, learnt from its refusals: against model receivers, and against chance."""

from collections import deque
from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from valija.policy.pace import BARREN_ROUNDS, FLOOR, FORGOTTEN, MOVING, START, Pace

Receiver = Callable[[float], bool]


class Within:
    """Takes so many within any `span` seconds."""

    def __init__(self, most: int, span: float) -> None:
        self._most, self._span = most, span
        self._taken: deque[float] = deque()

    def __call__(self, now: float) -> bool:
        while self._taken and self._taken[0] <= now - self._span:
            self._taken.popleft()
        if len(self._taken) >= self._most:
            return False
        self._taken.append(now)
        return True


class Bucket:
    """Takes `rate` a second, and `burst` at once after a pause."""

    def __init__(self, rate: float, burst: float) -> None:
        self._rate, self._burst = rate, burst
        self._left, self._last = burst, 0.0

    def __call__(self, now: float) -> bool:
        self._left = min(self._burst, self._left + (now - self._last) * self._rate)
        self._last = now
        if self._left < 1:
            return False
        self._left -= 1
        return True


def bring(pace: Pace, receiver: Receiver, seconds: float, begin: float = 0.0) -> tuple[list[float], list[float]]:
    """Bring mail without end; return when some was taken, and when it was refused."""
    taken: list[float] = []
    refused: list[float] = []
    now = begin
    while now < begin + seconds:
        if (wait := pace.wait(now)) > 0:
            now += wait
            continue
        pace.began(now)
        then, now = now, now + 0.001
        if receiver(then):
            pace.accepted(now)
            taken.append(then)
        else:
            pace.throttled(now, begun=then)
            refused.append(then)
    return taken, refused


@pytest.mark.parametrize(
    ("receiver", "rate"),
    [(Within(5, 1.0), 5.0), (Bucket(5, 5), 5.0), (Bucket(5, 30), 5.0), (Bucket(0.5, 3), 0.5), (Bucket(50, 10), 50.0)],
    ids=["5 a second", "bucket of 5", "bucket of 30", "one in two seconds", "50 a second"],
)
def test_a_receiver_gets_about_what_it_takes(receiver: Receiver, rate: float) -> None:
    pace = Pace()
    bring(pace, receiver, 60.0)
    taken, refused = bring(pace, receiver, 60.0, begin=60.0)
    assert len(taken) / 60 > 0.75 * rate
    assert len(refused) < 0.1 * len(taken) + 6


def test_no_refusal_is_no_limit() -> None:
    pace = Pace()
    taken, _ = bring(pace, lambda now: True, 5.0)
    assert pace.rate is None
    assert len(taken) > 4000


def test_the_first_refusal_sets_the_pace_below_what_was_taken() -> None:
    pace = Pace()
    for n in range(20):
        pace.accepted(100.0 + n * 0.1)
    assert pace.throttled(102.0, begun=101.9)
    assert pace.rate is not None
    assert 5 < pace.rate < 10


def test_refusals_of_one_round_count_once() -> None:
    pace = Pace()
    for n in range(50):
        pace.accepted(n * 0.01)
    begun = [0.5 + n * 0.001 for n in range(30)]
    assert [pace.throttled(0.6 + n * 0.001, begun=then) for n, then in enumerate(begun)] == [True] + [False] * 29


def test_who_takes_nothing_is_asked_less_and_less() -> None:
    pace = Pace()
    _, refused = bring(pace, lambda now: False, 3600.0)
    gaps = [round(after - before, 3) for before, after in pairwise(refused)]
    assert gaps == sorted(gaps)
    assert gaps[-1] == pytest.approx(1 / FLOOR, abs=0.01)
    assert len(refused) < 80


def test_it_is_stuck_after_some_rounds_and_not_after_one_refusal() -> None:
    pace = Pace()
    now = 0.0
    for rounds in range(BARREN_ROUNDS):
        assert not pace.is_stuck(now), rounds
        pace.throttled(now, begun=now)
        now += 1.0
    assert pace.is_stuck(now)
    pace.accepted(now)
    assert not pace.is_stuck(now)


def test_it_is_not_stuck_while_something_was_taken_lately() -> None:
    pace = Pace()
    pace.accepted(0.0)
    for n in range(10):
        pace.throttled(1.0 + n, begun=1.0 + n)
    assert (pace.moves(MOVING), pace.is_stuck(MOVING)) == (True, False)
    assert (pace.moves(MOVING + 1), pace.is_stuck(MOVING + 1)) == (False, True)


def test_after_a_long_no_the_first_yes_leads_back_in_minutes() -> None:
    pace = Pace()
    bring(pace, Within(20, 1.0), 60.0)
    bring(pace, lambda now: False, 900.0, begin=60.0)
    assert pace.rate is not None
    assert pace.rate < 2 * FLOOR
    taken, _ = bring(pace, Within(20, 1.0), 300.0, begin=960.0)
    assert len([when for when in taken if when > 1200.0]) > 60 * 0.5


def test_a_limit_that_nobody_confirms_for_an_hour_is_forgotten() -> None:
    pace = Pace()
    pace.throttled(0.0, begun=0.0)
    assert pace.wait(1.0) > 0
    assert pace.wait(FORGOTTEN + 1.0) == 0
    assert pace.rate is None


def test_a_pace_that_is_not_used_up_is_not_raised() -> None:
    pace = Pace()
    for n in range(100):
        pace.accepted(n * 0.01)
    pace.throttled(1.0, begun=1.0)
    rate = pace.rate
    for n in range(100):  # far fewer than it may be: nobody has to wait
        now = 10.0 + n * 5
        assert pace.wait(now) == 0
        pace.began(now)
        pace.accepted(now)
    assert pace.rate == rate


def test_the_ceiling_is_never_below_one_a_second_at_first() -> None:
    pace = Pace()
    pace.accepted(0.0)
    pace.throttled(9.0, begun=9.0)
    assert pace.rate is not None
    assert pace.rate > START / 2


# Whatever happens

Steps = st.lists(
    st.tuples(st.sampled_from(["wait", "take", "refuse", "refuse old"]), st.floats(0.0, 50.0)), max_size=200
)


@given(Steps)
def test_it_is_never_below_the_floor_and_slows_down_once_a_round(steps: list[tuple[str, float]]) -> None:
    pace = Pace()
    now, decreased = 0.0, -1.0
    for what, seconds in steps:
        now += seconds
        before = pace.rate
        if what == "wait":
            assert 0.0 <= pace.wait(now) <= 1 / FLOOR + 1.0
        elif what == "take":
            if pace.wait(now) == 0:
                pace.began(now)
            pace.accepted(now)
            assert pace.rate is None or before is None or pace.rate >= before
        else:
            begun = now if what == "refuse" else min(now, decreased)
            slower = pace.throttled(now, begun=begun)
            assert slower == (before is None or begun > decreased)
            assert slower or pace.rate == before
            decreased = now if slower else decreased
        assert pace.rate is None or pace.rate >= FLOOR


@given(Steps)
def test_there_is_no_limit_any_more_when_all_is_taken_for_a_while(steps: list[tuple[str, float]]) -> None:
    pace = Pace()
    now = 0.0
    for what, seconds in steps:
        now += seconds
        if what.startswith("refuse"):
            pace.throttled(now, begun=now)
        else:
            pace.accepted(now)
    end = now + FORGOTTEN
    while pace.rate is not None and now < end:
        now += max(pace.wait(now), 0.001)
        if pace.wait(now) == 0:
            pace.began(now)
            pace.accepted(now)
    assert pace.rate is None
    assert now < end
