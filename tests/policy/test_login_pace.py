"""The pace of logins, purely: who is slowed, who is refused, and who never is."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from valija.policy.login_pace import (
    AT_ONCE,
    LONGEST_DELAY,
    Guesses,
    PaceLimits,
    SharedByMany,
    familiar_pace,
    network_of,
    stranger_pace,
)
from valija.policy.networks import Networks

LIMITS = PaceLimits()
COUNTS = st.integers(0, 100_000)


@pytest.mark.parametrize(
    ("guesses", "delay"), [(0, 0.0), (3, 0.0), (4, 1.0), (5, 2.0), (6, LONGEST_DELAY), (9, LONGEST_DELAY)]
)
def test_strangers_are_slowed_behind_a_third_of_the_limit(guesses: int, delay: float) -> None:
    assert stranger_pace(Guesses(guesses, guesses), LIMITS).delay == delay


@given(login=COUNTS, network=COUNTS, limit=st.integers(1, 10_000), repeated=st.booleans())
def test_strangers_are_refused_at_either_limit_and_only_there(
    login: int, network: int, limit: int, repeated: bool
) -> None:
    pace = stranger_pace(Guesses(login, network), PaceLimits(limit), repeated=repeated)
    assert pace.refused is (login >= limit or network >= 3 * limit)
    assert 0 <= pace.delay <= LONGEST_DELAY
    assert not (pace.refused and pace.delay), "a refusal keeps nobody waiting"


@given(guesses=COUNTS, limit=st.integers(1, 10_000))
def test_familiar_clients_are_never_refused(guesses: int, limit: int) -> None:
    pace = familiar_pace(guesses, PaceLimits(limit))
    assert not pace.refused
    assert pace.delay <= LONGEST_DELAY
    assert guesses > limit or pace == AT_ONCE


@given(guesses=COUNTS)
def test_more_guesses_never_make_it_faster(guesses: int) -> None:
    for now, then in (
        (stranger_pace(Guesses(guesses, 0), LIMITS), stranger_pace(Guesses(guesses + 1, 0), LIMITS)),
        (familiar_pace(guesses, LIMITS), familiar_pace(guesses + 1, LIMITS)),
    ):
        assert (now.refused, now.delay) <= (then.refused, then.delay)


def test_a_repeated_guess_is_slow_but_not_refused_for_itself() -> None:
    assert stranger_pace(Guesses(0, 0), LIMITS, repeated=True).delay == LONGEST_DELAY


@pytest.mark.parametrize(
    ("client", "home", "customer"),
    [
        ("192.0.2.77", "192.0.2.0/24", "192.0.2.0/24"),
        ("::ffff:192.0.2.77", "192.0.2.0/24", "192.0.2.0/24"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64", "2001:db8:1::/48"),
        ("fe80::1%eth0", "fe80::/64", "fe80::/48"),
        ("", "", ""),
        ("local", "local", "local"),
    ],
)
def test_networks(client: str, home: str, customer: str) -> None:
    assert network_of(client) == home
    assert network_of(client, "customer") == customer


@pytest.mark.parametrize(
    ("client", "shared"),
    [
        ("127.0.0.9", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("10.1.2.3", True),  # in mynetworks
        ("172.17.0.1", True),  # a gateway
        ("::ffff:172.17.0.1", True),
        ("172.17.0.2", False),
        ("203.0.113.5", False),
        ("", False),
    ],
)
def test_who_may_stand_for_many(client: str, shared: bool) -> None:
    networks, faults = Networks.parse(["10.1.2.0/24"])
    assert not faults
    assert SharedByMany(networks, ["172.17.0.1"]).covers(client) is shared
