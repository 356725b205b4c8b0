"""When does the use of an account look stolen? The simulated attack is stopped in time, honest use never."""

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from valija.policy.misuse import FEWEST, Bouncing, Sending, facts_of, judge_bouncing, judge_sending

NOW = 1_790_000_000.0
NETWORKS = 50
PER_NETWORK = 20
AT_MOST = 30  # messages of an attack that may go through


@dataclass
class Account:
    """Foreign mail of one account as it comes, judged at each message."""

    busiest: int = 0
    is_new: bool = False
    rows: list[tuple[float, str, int]] = field(default_factory=list)

    def send(self, at: float, network: str, strangers: int) -> str | None:
        self.rows.append((at, network, strangers))
        lately = [row for row in self.rows if row[0] > at - 3600][-300:]
        return judge_sending(facts_of(lately, at, busiest=self.busiest, is_new=self.is_new))

    def stopped_after(self, messages: list[tuple[float, str, int]]) -> int | None:
        """Return how many messages went through before the account was frozen, None where it never was."""
        return next((count for count, message in enumerate(messages) if self.send(*message)), None)


def network(number: int) -> str:
    return f"10.0.{number}.0/24"


ATTACK = [number for number in range(NETWORKS) for _ in range(PER_NETWORK)]


@given(
    st.one_of(st.just(ATTACK), st.just(ATTACK[::PER_NETWORK] * PER_NETWORK), st.permutations(ATTACK)),
    st.floats(0.001, 3600 / len(ATTACK)),
    st.integers(0, 50),
    st.booleans(),
    st.integers(0, 100),
)
def test_an_attack_from_many_networks_is_always_stopped(
    order: list[int], pause: float, strangers: int, is_new: bool, busiest: int
) -> None:
    """In any order of the networks, to strangers or to people the account knows, within a second or an hour."""
    messages = [(NOW + place * pause, network(number), strangers) for place, number in enumerate(order)]
    count = Account(busiest=busiest, is_new=is_new).stopped_after(messages)
    assert count is not None
    assert FEWEST <= count + 1 <= AT_MOST


@given(
    st.lists(
        st.tuples(st.floats(0, 4000), st.integers(0, 100).map(network), st.integers(0, 1000)), max_size=FEWEST - 1
    ),
    st.integers(0, 10_000),
    st.booleans(),
)
def test_a_few_messages_never_freeze(messages: list[tuple[float, str, int]], busiest: int, is_new: bool) -> None:
    account = Account(busiest=busiest, is_new=is_new)
    assert account.stopped_after(sorted((NOW + at, net, count) for at, net, count in messages)) is None


@given(
    st.integers(0, 8_000),
    st.floats(0.001, 60),
    st.booleans(),
)
def test_a_traveller_s_mailing_to_people_who_know_them_never_freezes(count: int, pause: float, is_new: bool) -> None:
    """However fast it goes, from one place, by IPv4 and IPv6 in turns."""
    there = ("192.0.2.0/24", "2001:db8:1:2::/64")
    messages = [(NOW + place * pause, there[place % 2], 0) for place in range(min(count, 400))]
    assert Account(is_new=is_new).stopped_after(messages) is None


def test_a_traveller_writes_to_new_people_too() -> None:
    messages = [(NOW + place * 180, network(place // 40), place % 2) for place in range(80)]
    assert Account().stopped_after(messages) is None


def test_a_single_thief_in_one_place_is_stopped() -> None:
    messages = [(NOW + place * 20, network(1), 1) for place in range(1000)]
    assert Account().stopped_after(messages) == 24


def test_a_thief_with_many_recipients_a_message_is_stopped_earlier() -> None:
    messages = [(NOW + place * 20, network(1), 50) for place in range(1000)]
    assert Account().stopped_after(messages) == FEWEST - 1


def test_who_often_writes_to_new_people_may_do_so_elsewhere() -> None:
    messages = [(NOW + place * 36, network(1), 1) for place in range(100)]
    assert Account(busiest=400).stopped_after(messages) == 99
    assert Account(busiest=404).stopped_after(messages) is None
    machine = [(NOW + place, network(1), 1) for place in range(1000)]
    assert Account(busiest=10**6).stopped_after(machine) == 249


def test_a_new_account_s_first_day() -> None:
    """Everybody is new to it: from the office and a telephone, and no faster than hands are."""
    messages = [(NOW + place * 60, network(1), 1) for place in range(300)]
    assert Account(is_new=True).stopped_after(messages) is None


@pytest.mark.parametrize(
    ("facts", "stolen"),
    [
        (Bouncing(refused=29, ended=29, first_time=5000), False),
        (Bouncing(refused=30, ended=100, first_time=101), True),
        (Bouncing(refused=30, ended=101, first_time=101), False),
        (Bouncing(refused=500, ended=5000, first_time=5000), False),  # an old mailing list
        (Bouncing(refused=2000, ended=5000, first_time=50), False),  # people it has written to before
        (Bouncing(refused=2000, ended=5000, first_time=5000, busiest=2500), False),
        (Bouncing(refused=2000, ended=5000, first_time=5001, busiest=2500), True),
    ],
)
def test_bounces(facts: Bouncing, stolen: bool) -> None:
    assert bool(judge_bouncing(facts)) is stolen


@given(st.builds(Bouncing, *[st.integers(0, 29), *[st.integers(0, 10_000)] * 3]))
def test_few_bounces_never_freeze(facts: Bouncing) -> None:
    assert judge_bouncing(facts) is None


def test_the_words_say_what_was_seen() -> None:
    assert judge_sending(Sending(networks=9, messages=20)) == (
        "mail from 9 networks where it never was before, within an hour"
    )
    strange = judge_sending(Sending(networks=1, messages=25, strange=25, strangers=60))
    assert strange is not None
    assert strange.startswith("25 messages to people it never wrote to (60), from 1 network where")
    assert "within ten minutes" in (judge_sending(Sending(lately_messages=25, lately_networks=2)) or "")
