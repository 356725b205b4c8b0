"""The bounded window: nobody takes all of it."""

from collections.abc import Iterator
from itertools import count

from hypothesis import given
from hypothesis import strategies as st

from tests.queue.samples import NOW, message
from valija.mail.job import QueueId, Route
from valija.mail.origin import Origin
from valija.queue.store import Claim, NewMessage
from valija.queue.window import Attempt, Round, Window, user_of

_serial = count()


def sent_by(user: str) -> NewMessage:
    plain = message()
    return NewMessage(plain.envelope, plain.content, Origin("submission", NOW, login=user))


def attempt(
    window: Window, hop: str, *, user: str = "alice", of: str = "", octets: int = 1, is_fresh: bool = True
) -> Attempt:
    """Return an attempt at a message of its own, or at the message named."""
    claim = Claim.fresh(QueueId(of or f"m{next(_serial)}"), sent_by(user))
    return window.attempt(claim, Route("remote", hop), octets, is_fresh=is_fresh)


def fill(window: Window, hop: str, *, user: str = "alice", of: str = "", is_fresh: bool = True) -> Iterator[Attempt]:
    """Let attempts in as long as the window lets them."""
    while window.admits(one := attempt(window, hop, user=user, of=of, is_fresh=is_fresh)):
        window.enter(one)
        yield one


def test_a_slow_next_hop_gets_a_ninth_of_the_room_for_one_user_and_a_fifth_for_all() -> None:
    window = Window(900, 10**9)
    assert len(list(fill(window, "slow.example"))) == 100
    assert len(list(fill(window, "slow.example", user="bob"))) == 45
    assert len(list(fill(window, "slower.example"))) == 84
    window = Window(900, 10**9)
    assert sum(len(list(fill(window, "slow.example", user=f"u{n}"))) for n in range(100)) == 180


def test_fifty_slow_next_hops_leave_room_for_one_more() -> None:
    window = Window(4000, 10**9)
    for number in range(50):
        assert list(fill(window, f"slow{number}.example", user=f"u{number}"))
    assert window.admits(attempt(window, "fast.example"))


def test_a_message_of_thousands_of_next_hops_gets_a_third_and_its_user_half() -> None:
    window = Window(900, 10**9)
    assert sum(len(list(fill(window, f"d{number}.example", of="mailing"))) for number in range(2000)) == 300
    assert window.admits(attempt(window, "d7.example"))
    assert window.admits(attempt(window, "d7.example", user="bob"))
    for number in range(2000):
        list(fill(window, f"d{number}.example"))
    assert not window.admits(attempt(window, "fresh.example"))
    assert window.admits(attempt(window, "fresh.example", user="bob"))


def test_ten_users_who_do_their_worst_leave_room_for_one_more() -> None:
    window = Window(4000, 10**9)
    for user in range(10):
        for number in range(2000):
            list(fill(window, f"d{number}.example", user=f"u{user}"))
    assert window.admits(attempt(window, "fresh.example"))


def test_what_comes_from_the_file_leaves_half_of_the_room_to_fresh_mail() -> None:
    window = Window(1000, 10**9)
    taken = 0
    for number in range(1000):
        taken += len(list(fill(window, f"slow{number}.example", is_fresh=False)))
    assert taken == 500
    assert window.file_room == 0
    assert window.admits(attempt(window, "fast.example"))


def test_a_message_from_the_file_leaves_room_for_others() -> None:
    window = Window(1800, 10**9)
    taken = [each for n in range(2000) for each in fill(window, f"d{n}.example", of="mailing", is_fresh=False)]
    assert len(taken) == 300
    assert [each.queue_id for each in window.full_rounds()] == ["mailing"]
    assert window.admits(attempt(window, "d7.example", is_fresh=False))
    for each in taken[:150]:
        window.leave(each)
    assert window.full_rounds() == []
    assert window.admits(attempt(window, "d7.example", of="mailing", is_fresh=False))


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


steps = st.lists(
    st.tuples(st.integers(0, 5), st.sampled_from("ab"), st.sampled_from("xyz"), st.booleans(), st.booleans())
)


@given(steps)
def test_what_left_leaves_nothing(steps: list[tuple[int, str, str, bool, bool]]) -> None:
    window = Window(8, 8)
    inside: list[Attempt] = []
    for hop, user, of, is_fresh, leaves in steps:
        if leaves and inside:
            window.leave(inside.pop(0))
        elif window.admits(one := attempt(window, f"{hop}.example", user=user, of=of, is_fresh=is_fresh)):
            window.enter(one)
            inside.append(one)
        assert len(inside) <= 8
        for name in "xyz":
            held = [each for each in inside if each.claim.queue_id == name]
            assert window.has_round(QueueId(name)) is bool(held)
            assert all(each.round.held == len(held) for each in held)
    for one in inside:
        window.leave(one)
    assert window.lanes == []
    assert window.full_rounds() == []
    assert window.file_room == 4


# --- rounds


def test_news_wait_for_the_last_of_a_round() -> None:
    window = Window(100, 10**9)
    one, other = (attempt(window, hop, of="m") for hop in ("x.example", "y.example"))
    window.enter(one)
    assert not one.round.keeps_news, "nobody else is there to wait for"
    other = attempt(window, "y.example", of="m")
    window.enter(other)
    assert one.round is other.round
    assert one.round.keeps_news
    window.leave(one)
    one.round.told_since = NOW
    assert not other.round.is_to_be_told(NOW + 899)
    assert other.round.keeps_news, "they join what is there"
    assert other.round.is_to_be_told(NOW + 900), "a single slow one does not hold them back for ever"
    window.leave(other)
    assert other.round.is_to_be_told(NOW)


def test_a_round_without_news_has_nothing_to_tell() -> None:
    assert not Round(QueueId("m")).is_to_be_told(NOW)


# --- users


def test_a_message_is_charged_to_who_brought_it() -> None:
    plain = message(reverse_path="list@example.org")
    trusted = Origin("smtpd", NOW, "192.0.2.7", rule="mynetworks 192.0.2.0/24")
    stranger = Origin("smtpd", NOW, "203.0.113.9", rule="hosted example.org")
    assert user_of(sent_by("alice@example.org")) == "alice@example.org"
    assert user_of(NewMessage(plain.envelope, plain.content, trusted)) == "192.0.2.7"
    assert user_of(NewMessage(plain.envelope, plain.content, stranger)) == "list@example.org"
