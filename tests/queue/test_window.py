"""The bounded window: nobody takes all of it."""

from collections.abc import Iterator

from hypothesis import given
from hypothesis import strategies as st

from tests.queue.samples import message
from valija.mail.job import QueueId, Route
from valija.queue.store import Claim
from valija.queue.window import Attempt, Window

CLAIM = Claim.fresh(QueueId("bmmm9v73d3tbp"), message())


def attempt(window: Window, hop: str, *, octets: int = 1, is_fresh: bool = True) -> Attempt:
    return Attempt(CLAIM, window.lane(Route("remote", hop)), octets, is_fresh=is_fresh)


def fill(window: Window, hop: str, *, is_fresh: bool = True) -> Iterator[Attempt]:
    """Let attempts in as long as the window lets them."""
    while window.admits(one := attempt(window, hop, is_fresh=is_fresh)):
        window.enter(one)
        yield one


def test_a_slow_next_hop_gets_a_ninth_of_the_room() -> None:
    window = Window(900, 10**9)
    assert len(list(fill(window, "slow.example"))) == 100
    assert len(list(fill(window, "slower.example"))) == 89


def test_fifty_slow_next_hops_leave_room_for_one_more() -> None:
    window = Window(4000, 10**9)
    for number in range(50):
        assert list(fill(window, f"slow{number}.example"))
    assert window.admits(attempt(window, "fast.example"))


def test_what_comes_from_the_file_leaves_half_of_the_room_to_fresh_mail() -> None:
    window = Window(1000, 10**9)
    taken = 0
    for number in range(1000):
        taken += len(list(fill(window, f"slow{number}.example", is_fresh=False)))
    assert taken == 500
    assert window.file_room == 0
    assert window.admits(attempt(window, "fast.example"))


def test_fresh_mail_does_not_lock_out_what_comes_from_the_file() -> None:
    window = Window(1000, 10**9)
    for number in range(2000):
        list(fill(window, f"fresh{number}.example"))
    assert window.admits(attempt(window, "old.example", is_fresh=False))


def test_contents_are_bounded_too() -> None:
    window = Window(1000, 1000)
    large = attempt(window, "x.example", octets=5000)
    assert window.admits(large)
    window.enter(large)
    assert not window.admits(attempt(window, "y.example"))
    window.leave(large)
    assert window.admits(attempt(window, "y.example"))


def test_contents_from_the_file_are_bounded_too() -> None:
    window = Window(1000, 1000)
    window.enter(attempt(window, "x.example", octets=500, is_fresh=False))
    assert not window.admits(attempt(window, "y.example", is_fresh=False))
    assert window.admits(attempt(window, "y.example"))


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans(), st.booleans())))
def test_what_left_leaves_nothing(steps: list[tuple[int, bool, bool]]) -> None:
    window = Window(8, 8)
    inside: list[Attempt] = []
    for hop, is_fresh, leaves in steps:
        if leaves and inside:
            window.leave(inside.pop(0))
        elif window.admits(one := attempt(window, f"{hop}.example", is_fresh=is_fresh)):
            window.enter(one)
            inside.append(one)
        assert len(inside) <= 8
    for one in inside:
        window.leave(one)
    assert window.lanes == []
    assert window.file_room == 4
