"""Who starts when, by a clock of the test's own."""

from hypothesis import given
from hypothesis import strategies as st

from valija.deliver.errand import Target
from valija.deliver.race import PACE, Race, running_order

V6A, V6B, V4A, V4B = (Target("mx", address, 25) for address in ("2001:db8::1", "2001:db8::2", "192.0.2.1", "192.0.2.2"))


def starts(race: Race, now: float) -> list[int]:
    found = []
    while (runner := race.due(now)) is not None:
        found.append(runner)
    return found


# The order


def test_families_come_by_turns_ipv6_first() -> None:
    order = running_order([V6A, V6B, V4A, V4B], ipv6_first=True, is_suspect=lambda _: False)
    assert order == [V6A, V4A, V6B, V4B]


def test_ipv4_comes_first_where_ipv6_leads_nowhere() -> None:
    order = running_order([V6A, V6B, V4A], ipv6_first=False, is_suspect=lambda _: False)
    assert order == [V4A, V6A, V6B]


def test_suspects_come_last() -> None:
    order = running_order([V6A, V4A, V4B], ipv6_first=True, is_suspect=lambda target: target == V6A)
    assert order == [V4A, V4B, V6A]


@given(st.lists(st.sampled_from([V6A, V6B, V4A, V4B]), unique=True), st.booleans(), st.sets(st.integers(0, 3)))
def test_the_order_loses_nobody(targets: list[Target], ipv6_first: bool, suspects: set[int]) -> None:
    all_four = [V6A, V6B, V4A, V4B]
    order = running_order(targets, ipv6_first=ipv6_first, is_suspect=lambda one: all_four.index(one) in suspects)
    assert sorted(map(str, order)) == sorted(map(str, targets))


# The pace


def test_each_starts_a_quarter_of_a_second_after_the_one_before() -> None:
    race = Race(3, began=100.0, patience=30.0)
    assert starts(race, 100.0) == [0]
    assert race.wakes_at() == 100.0 + PACE
    assert starts(race, 100.2) == []
    assert starts(race, 100.25) == [1]
    assert starts(race, 100.49) == []
    assert starts(race, 100.5) == [2]
    assert race.wakes_at() == 130.0


def test_the_next_starts_at_once_when_the_one_before_fails() -> None:
    race = Race(3, began=0.0, patience=30.0)
    assert starts(race, 0.0) == [0]
    race.failed(0)
    assert starts(race, 0.001) == [1]
    assert starts(race, 0.002) == []


def test_the_failure_of_an_earlier_one_does_not_hasten_the_next() -> None:
    race = Race(3, began=0.0, patience=30.0)
    assert starts(race, 0.0) + starts(race, 0.25) == [0, 1]
    race.failed(0)
    assert starts(race, 0.3) == []
    assert starts(race, 0.5) == [2]


def test_it_is_over_when_all_have_failed() -> None:
    race = Race(2, began=0.0, patience=30.0)
    for runner in (0, 1):
        assert starts(race, 0.0) == [runner]
        assert not race.is_over(0.0)
        race.failed(runner)
    assert race.is_over(0.0)


def test_it_is_over_when_patience_is() -> None:
    race = Race(2, began=0.0, patience=30.0)
    assert starts(race, 0.0) + starts(race, 1.0) == [0, 1]
    assert race.wakes_at() == 30.0
    assert not race.is_over(29.9)
    assert race.is_over(30.0)


def test_who_had_a_start_of_a_pace_and_still_runs_was_outrun() -> None:
    race = Race(3, began=0.0, patience=30.0)
    assert starts(race, 0.0) + starts(race, 0.25) == [0, 1]
    assert race.outrun_by(1) == [0]
    assert race.outrun_by(0) == []
    race.failed(1)
    assert starts(race, 0.3) == [2]
    assert race.outrun_by(2) == [0]


def test_who_started_but_just_before_the_winner_was_not_outrun() -> None:
    race = Race(3, began=0.0, patience=30.0)
    assert starts(race, 0.0) == [0]
    race.failed(0)
    assert starts(race, 0.1) == [1]
    assert starts(race, 0.35) == [2]
    assert race.outrun_by(1) == []


# Reserves


def test_a_reserve_starts_only_when_the_others_have_failed() -> None:
    race = Race(2, began=0.0, patience=30.0, reserves=1)
    assert starts(race, 0.0) == [0]
    assert race.wakes_at() == 15.0
    assert starts(race, 14.9) == []
    race.failed(0)
    assert starts(race, 14.9) == [1]


def test_a_reserve_starts_at_half_time_when_the_others_are_silent() -> None:
    race = Race(3, began=0.0, patience=30.0, reserves=1)
    assert starts(race, 0.0) + starts(race, 0.25) == [0, 1]
    assert race.wakes_at() == 15.0
    assert starts(race, 15.0) == [2]


@given(
    runners=st.integers(1, 6),
    reserves=st.integers(0, 6),
    steps=st.lists(st.tuples(st.floats(0.0, 5.0), st.one_of(st.none(), st.integers(0, 5))), max_size=40),
)
def test_any_race_starts_each_once_in_order_and_never_stalls(
    runners: int, reserves: int, steps: list[tuple[float, int | None]]
) -> None:
    race = Race(runners, began=0.0, patience=30.0, reserves=min(reserves, runners - 1))
    now, started, running = 0.0, list[int](), set[int]()
    for wait, failing in [(0.0, None), *steps]:
        now += wait
        if race.is_over(now):
            break
        new = starts(race, now)
        started += new
        running |= set(new)
        assert running, "somebody runs, or it is over"
        assert race.wakes_at() > now
        if failing in running:
            running.discard(failing)
            race.failed(failing)
    assert started == list(range(len(started)))
