"""Which workers hang, by the clock alone."""

from valija.watchdog import Watch


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def look(watch: Watch, clock: Clock, seconds: int) -> dict[int, float]:
    """Look once a second, as the supervisor does; return what the last look finds."""
    found: dict[int, float] = {}
    for _ in range(seconds):
        clock.now += 1.0
        found = watch.overdue()
    return found


def test_who_is_silent_for_too_long_hangs() -> None:
    clock = Clock()
    watch = Watch(30.0, clock)
    watch.expect(0)
    watch.expect(1)
    assert look(watch, clock, 30) == {}
    watch.heard(1)
    assert look(watch, clock, 1) == {0: 31.0}
    assert look(watch, clock, 1) == {0: 32.0}, "it is told until somebody acts"


def test_a_word_in_time_is_enough() -> None:
    clock = Clock()
    watch = Watch(30.0, clock)
    watch.expect(0)
    for _ in range(10):
        assert look(watch, clock, 29) == {}
        watch.heard(0)


def test_nothing_is_expected_of_who_has_ended_until_it_is_started_again() -> None:
    clock = Clock()
    watch = Watch(30.0, clock)
    watch.expect(0)
    watch.forget(0)
    watch.heard(0)  # a word that was on its way
    assert look(watch, clock, 100) == {}
    watch.expect(0)
    assert look(watch, clock, 30) == {}
    assert look(watch, clock, 1) == {0: 31.0}


def test_time_in_which_the_supervisor_was_held_up_is_nobodys_silence() -> None:
    clock = Clock()
    watch = Watch(30.0, clock)
    watch.expect(0)
    look(watch, clock, 20)
    clock.now += 3600.0  # suspended
    assert watch.overdue() == {}
    assert look(watch, clock, 9) == {}
    assert set(look(watch, clock, 3)) == {0}, "what was silent before counts still"
