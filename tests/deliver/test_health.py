"""What is remembered of addresses that failed, by a clock of the test's own."""

from hypothesis import given
from hypothesis import strategies as st

from valija.deliver.health import LONGEST, OUTRUN_IN_A_ROW, PROBE_TIME, SHORTEST, Condition, Health, Suspect, suspicion
from valija.mail.endpoint import Endpoint

HOST = Endpoint("192.0.2.1", 25)
OTHER = Endpoint("192.0.2.2", 25)


def ipv6(number: int) -> Endpoint:
    return Endpoint(f"2001:db8::{number:x}", 25)


def test_who_never_failed_is_usable() -> None:
    assert Health().usable(HOST, 0.0)


def test_a_failure_makes_suspect_for_a_while() -> None:
    health = Health()
    health.failed(HOST, 100.0)
    assert not health.usable(HOST, 100.0)
    assert not health.usable(HOST, 100.0 + SHORTEST - 0.1)
    assert health.usable(HOST, 100.0 + SHORTEST)
    assert health.condition(HOST, 100.0 + SHORTEST) is Condition.UNPROVEN
    assert health.condition(OTHER, 100.0) is Condition.GOOD


def test_another_port_of_the_address_is_another_server() -> None:
    health = Health()
    health.failed(HOST, 0.0)
    assert health.usable(Endpoint(HOST.host, 587), 0.0)


def test_the_time_doubles_up_to_the_longest() -> None:
    health = Health()
    now, times = 0.0, []
    for _ in range(9):
        health.failed(HOST, now)
        [suspect] = health.snapshot(now)
        times.append(suspect.wait)
        now += suspect.wait
    assert times == [30, 60, 120, 240, 480, 960, LONGEST, LONGEST, LONGEST]


@given(st.integers(1, 10_000))
def test_suspicion_has_its_limits(failures: int) -> None:
    assert SHORTEST <= suspicion(failures) <= LONGEST


def test_twenty_connections_that_fail_together_are_one_failure() -> None:
    health = Health()
    for _ in range(20):
        health.failed(HOST, 5.0)
    assert health.snapshot(5.0) == [Suspect(HOST, 1, SHORTEST, "")]


def test_success_forgets_it_all() -> None:
    health = Health()
    health.failed(HOST, 0.0)
    health.failed(HOST, SHORTEST)
    health.succeeded(HOST)
    assert health.usable(HOST, SHORTEST)
    assert health.snapshot(SHORTEST) == []
    health.failed(HOST, SHORTEST)
    assert health.snapshot(SHORTEST)[0].failures == 1


def test_when_the_time_is_up_one_connection_finds_out() -> None:
    health = Health()
    health.failed(HOST, 0.0)
    assert health.usable(HOST, SHORTEST)
    health.trying(HOST, SHORTEST)
    assert not health.usable(HOST, SHORTEST + 1)
    health.failed(HOST, SHORTEST + 10, "silent")
    assert health.snapshot(SHORTEST + 10) == [Suspect(HOST, 2, 2 * SHORTEST, "silent")]


def test_who_was_to_find_out_and_never_tells_does_not_bar_the_others_for_ever() -> None:
    health = Health()
    health.failed(HOST, 0.0)
    health.trying(HOST, SHORTEST)
    assert health.usable(HOST, SHORTEST + PROBE_TIME)


def test_a_try_at_a_suspect_before_its_time_changes_nothing() -> None:
    health = Health()
    health.failed(HOST, 0.0)
    health.trying(HOST, 1.0)
    assert health.usable(HOST, SHORTEST)


def test_what_happened_long_ago_does_not_count() -> None:
    health = Health()
    health.failed(HOST, 0.0)
    later = SHORTEST + LONGEST + 1
    health.failed(HOST, later)
    assert health.snapshot(later)[0].failures == 1


@given(st.lists(st.integers(0, 40), max_size=200))
def test_the_memory_is_bounded_and_keeps_the_latest(failing: list[int]) -> None:
    health = Health(most=5)
    for now, number in enumerate(failing):
        health.failed(ipv6(number), float(now))
    kept = [suspect.endpoint for suspect in health.snapshot(0.0)]
    latest = list(dict.fromkeys(ipv6(number) for number in reversed(failing)))[:5]
    assert kept == latest[::-1]


# IPv6 as a whole


def outrun(health: Health, numbers: range, now: float) -> None:
    for number in numbers:
        health.outrun(ipv6(number), now, HOST)


def test_ipv6_goes_first_until_it_was_silent_for_several_hosts_in_a_row() -> None:
    health = Health()
    outrun(health, range(OUTRUN_IN_A_ROW - 1), 0.0)
    assert health.prefers_ipv6(0.0)
    outrun(health, range(90, 91), 0.0)
    assert not health.prefers_ipv6(0.0)
    assert health.prefers_ipv6(SHORTEST)


def test_one_silent_host_is_not_the_whole_family() -> None:
    health = Health()
    for round_ in range(10):
        health.outrun(ipv6(1), round_ * LONGEST * 3, HOST)
    assert health.prefers_ipv6(LONGEST * 27)


def test_a_host_that_answers_by_ipv6_clears_the_family() -> None:
    health = Health()
    outrun(health, range(OUTRUN_IN_A_ROW), 0.0)
    health.succeeded(ipv6(77))
    assert health.prefers_ipv6(0.0)


def test_a_family_that_stays_silent_is_asked_less_and_less() -> None:
    health = Health()
    outrun(health, range(OUTRUN_IN_A_ROW), 0.0)
    outrun(health, range(1), SHORTEST)
    assert not health.prefers_ipv6(SHORTEST + 2 * SHORTEST - 1)
    assert health.prefers_ipv6(SHORTEST + 2 * SHORTEST)


def test_ipv4_that_is_outrun_says_nothing_about_ipv6() -> None:
    health = Health()
    for number in range(9):
        health.outrun(Endpoint(f"192.0.2.{number}", 25), 0.0, ipv6(1))
    assert health.prefers_ipv6(0.0)
    assert len(health.snapshot(0.0)) == 9
