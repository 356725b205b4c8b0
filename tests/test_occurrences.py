"""Counting over all workers: exact for an hour, whatever becomes of a worker."""

import os

from hypothesis import given
from hypothesis import strategies as st

from valija.occurrences import OccurrenceCounter, OccurrenceTable

HOUR = 3600.0


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


def counters(workers: int = 2) -> tuple[list[OccurrenceCounter], Clock]:
    table, clock = OccurrenceTable.shared(workers, HOUR), Clock()
    return [table.counter(worker, clock) for worker in range(workers)], clock


def test_every_worker_sees_what_all_have_counted() -> None:
    (one, two), _ = counters()
    one.add("alice")
    two.add("alice")
    two.add("bob")
    assert [counter.count("alice") for counter in (one, two)] == [2, 2]
    assert one.count("bob") == 1
    assert one.count("carol") == 0


@given(st.floats(0, 1e8), st.floats(0, 2 * HOUR))
def test_it_counts_for_an_hour_and_at_most_a_quarter_longer(begin: float, later: float) -> None:
    (one, two), clock = counters()
    clock.now = begin
    one.add("alice")
    clock.now = begin + later
    if later <= HOUR - 1:
        assert two.count("alice") == 1
    if later >= 1.25 * HOUR + 1:
        assert two.count("alice") == 0


@given(st.lists(st.tuples(st.integers(0, 1), st.floats(0, 2000)), max_size=60))
def test_it_is_the_number_of_the_last_hour(events: list[tuple[int, float]]) -> None:
    both, clock = counters()
    times = []
    for worker, pause in events:
        clock.now += pause
        both[worker].add("alice")
        times.append(clock.now)
        counted = both[1 - worker].count("alice")
        assert sum(time > clock.now - HOUR for time in times) <= counted
        assert counted <= sum(time > clock.now - 1.25 * HOUR for time in times)


def test_what_is_taken_back_does_not_count() -> None:
    (one, two), clock = counters()
    entries = [one.add("alice") for _ in range(3)]
    one.take_back(entries[0])
    assert two.count("alice") == 2
    clock.now += 900
    one.take_back(entries[1])
    assert two.count("alice") == 1
    clock.now += HOUR * 1.25
    one.add("alice")
    one.take_back(entries[2])  # long forgotten: it must not take away the new one
    assert two.count("alice") == 1


def test_a_dead_workers_count_stays_and_its_successor_goes_on() -> None:
    table = OccurrenceTable.shared(2, HOUR)
    pid = os.fork()
    if pid == 0:
        counter = table.counter(1)
        for _ in range(4):
            counter.add("alice")
        os._exit(9)
    os.waitpid(pid, 0)
    successor, other = table.counter(1), table.counter(0)
    assert other.count("alice") == 4
    successor.add("alice")
    assert other.count("alice") == 5


def test_a_thousand_made_up_names_do_not_count_for_others() -> None:
    (one, _), _ = counters()
    for number in range(1000):
        for _ in range(10):
            one.add(f"made up {number}")
    wrongly = [name for number in range(1000) if one.count(name := f"somebody {number}")]
    assert len(wrongly) < 20
