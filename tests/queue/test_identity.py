"""Queue ids: unique, increasing whatever the clock does, and readable."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.queue.samples import NOW, SetClock
from valija.mail.job import QueueId
from valija.queue.identity import MAX_WORKER, IdSource, before, from_number, parse, to_number


@given(st.integers(0, 2**63 - 1), st.integers(0, 2**63 - 1))
def test_text_and_number_say_the_same_and_sort_the_same(one: int, other: int) -> None:
    assert to_number(from_number(one)) == one
    assert len(from_number(one)) == 13
    assert (from_number(one) < from_number(other)) == (one < other)


@given(st.lists(st.floats(-1e6, 1e6), max_size=50), st.integers(0, MAX_WORKER))
def test_ids_increase_whatever_the_clock_does(steps: list[float], worker: int) -> None:
    clock = SetClock()
    ids = IdSource(worker, clock)
    made = [ids.next()]
    for step in steps:
        clock.now = NOW + step
        made.append(ids.next())
    assert made == sorted(set(made))


def test_c110_ids_stay_above_the_largest_of_the_file_when_the_clock_was_set_back() -> None:
    last = IdSource(0, SetClock(NOW + 864000)).next()
    assert IdSource(0, SetClock(NOW), to_number(last)).next() > last
    assert IdSource(3, SetClock(NOW), to_number(last)).next() > last


def test_workers_never_make_the_same_id() -> None:
    clock = SetClock()
    of_workers = [IdSource(worker, clock) for worker in (0, 1, MAX_WORKER)]
    made = [ids.next() for ids in of_workers for _ in range(20000)]  # more than one millisecond has room for
    assert len(set(made)) == len(made)
    numbers = [to_number(queue_id) for queue_id in made]
    assert {number >> 13 & 0xFF for number in numbers} == {0, 1, MAX_WORKER}


def test_no_id_has_a_vowel_or_a_letter_like_a_digit() -> None:
    made = "".join(from_number(number) for number in range(2**62, 2**62 + 10**9, 12345678))
    assert not set(made) & set("aeiouyl")


def test_what_a_human_types_is_read() -> None:
    queue_id = IdSource(0, SetClock()).next()
    assert parse(f" {queue_id.upper()} ") == queue_id


@pytest.mark.parametrize(
    "text", ["", "bmmm9v73d3tb", "bmmm9v73d3tbpp", "ammm9v73d3tbp", "zzzzzzzzzzzzz", "ｂmmm9v73d3tbp"]
)
def test_what_is_no_id_is_refused_in_words(text: str) -> None:
    with pytest.raises(ValueError, match="is no queue id"):
        parse(QueueId(text))


@pytest.mark.parametrize("worker", [-1, 256])
def test_a_worker_number_that_has_no_room_is_refused(worker: int) -> None:
    with pytest.raises(ValueError, match="from 0 to 255"):
        IdSource(worker, SetClock())


def test_before_a_moment_is_no_id_that_is_made_from_then_on() -> None:
    moment = 1_790_000_000.123
    first = IdSource(0, lambda: moment).next()
    assert before(moment) < first
    assert before(moment) > IdSource(255, lambda: moment - 0.001).next()
    assert before(0.0) == from_number(0)
