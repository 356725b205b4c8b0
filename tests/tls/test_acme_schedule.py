"""When to renew, when to try again, how loudly to complain (RFC 9773)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from valija.tls.acme_schedule import DAY, FailureKind, ask_again, loudness, pause_after, renewal_time

NOW = 1_800_000_000.0
chances = st.floats(0, 1)
KINDS: list[FailureKind] = ["unreachable", "challenge", "rate-limited", "refused", "unfit", "ours"]


@pytest.mark.parametrize(("days", "left"), [(90, 30), (45, 15), (398, 132.7), (10, 5), (6, 3)])
def test_by_its_own_lifetime(days: float, left: float) -> None:
    end = NOW + days * DAY
    assert end - renewal_time(NOW, end, None, 0.0) == pytest.approx(left * DAY, rel=0.01)


def test_not_all_in_one_hour() -> None:
    end = NOW + 90 * DAY
    spread = renewal_time(NOW, end, None, 1.0) - renewal_time(NOW, end, None, 0.0)
    assert spread == pytest.approx(3 * DAY)


@given(st.floats(NOW, NOW + 89 * DAY), st.floats(0, 30 * DAY), chances)
def test_the_authoritys_window_is_obeyed(start: float, length: float, chance: float) -> None:
    end = NOW + 90 * DAY
    at = renewal_time(NOW, end, (start, start + length), chance)
    assert start <= at <= start + length or at == end - 9 * DAY


def test_a_window_that_is_over_means_now() -> None:
    assert renewal_time(NOW - DAY, NOW + 89 * DAY, (NOW - 9, NOW - 1), 0.5) < NOW


@pytest.mark.parametrize("window", [(NOW + 91 * DAY, NOW + 92 * DAY), (NOW + 89.9 * DAY, NOW + 200 * DAY)])
def test_a_window_that_would_let_it_end_is_not_waited_for(window: tuple[float, float]) -> None:
    assert renewal_time(NOW, NOW + 90 * DAY, window, 1.0) <= NOW + 81 * DAY


def test_a_window_the_wrong_way_round() -> None:
    assert renewal_time(NOW, NOW + 90 * DAY, (NOW + 50 * DAY, NOW + 40 * DAY), 0.5) == NOW + 50 * DAY


@pytest.mark.parametrize(("told", "seconds"), [(0, 60), (21_600, 21_600), (30 * DAY, DAY)])
def test_how_soon_the_window_is_asked_for_again(told: float, seconds: float) -> None:
    assert ask_again(NOW, told) == NOW + seconds


@given(st.integers(1, 10_000), st.sampled_from(KINDS), chances)
def test_pauses_grow_and_end_growing(failures: int, kind: FailureKind, chance: float) -> None:
    pause = pause_after(failures, kind, 0.0, chance)
    assert 48 <= pause <= 1.21 * DAY
    assert pause_after(failures + 1, kind, 0.0, chance) >= pause


def test_fewer_failed_proofs_in_an_hour_than_authorities_count() -> None:
    """Let's Encrypt allows five an hour."""
    at, attempts = 0.0, 1
    while at < 3600:
        at += pause_after(attempts, "challenge", 0.0, 0.0)
        attempts += 1
    assert attempts - 1 <= 5


def test_what_the_authority_asks_for_is_kept_to() -> None:
    assert pause_after(1, "rate-limited", 2 * DAY, 0.5) == 2 * DAY
    assert pause_after(1, "unreachable", 1e9, 0.5) == 7 * DAY, "but it cannot stop renewals for good"


def test_a_short_lived_certificate_is_tried_often_enough() -> None:
    assert pause_after(50, "challenge", 0.0, 1.0, lifetime=6 * DAY) < 0.4 * DAY


def test_louder_towards_the_end() -> None:
    end = NOW + 90 * DAY
    told = [loudness(NOW, end, end - left * DAY) for left in (30, 16, 14, 1, 0, -5)]
    assert told == ["warning", "warning", "error", "error", "critical", "critical"]
