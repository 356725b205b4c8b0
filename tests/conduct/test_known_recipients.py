"""The memory of whom accounts have written to: small, shared, and of a fixed size."""

from hypothesis import given
from hypothesis import strategies as st

from tests.conduct.world import ALICE, DAY, Clock
from valija.conduct.known_recipients import PAGE, KnownRecipients

SECRET = b"s" * 32
BOB = "bob@remote.example"


def table(places: int = 1 << 14, clock: Clock | None = None) -> KnownRecipients:
    known = KnownRecipients.shared(places, clock or Clock())
    known.load(SECRET, [])
    return known


def test_it_knows_whom_each_account_wrote_to() -> None:
    known = table()
    assert known.note(ALICE, [BOB, "eve@remote.example"]) == 2
    assert known.note(ALICE, [BOB, "new@remote.example"]) == 1
    assert known.strangers(ALICE, [BOB, "Bob@Remote.example", "more@remote.example"]) == 1
    assert known.strangers("carol@example.org", [BOB]) == 1, "each account has its own"


@given(st.lists(st.tuples(st.sampled_from(["a", "b"]), st.text(max_size=6)), max_size=40))
def test_it_tells_what_a_set_would_tell(pairs: list[tuple[str, str]]) -> None:
    known, told = table(), set()
    for login, address in pairs:
        assert known.strangers(login, [address]) == ((login, address.lower()) not in told)
        known.note(login, [address])
        told.add((login, address.lower()))


def test_where_it_is_full_the_ones_unused_for_longest_are_forgotten() -> None:
    clock = Clock()
    known = table(PAGE // 8, clock)
    old = [f"old{number}@remote.example" for number in range(200)]
    known.note(ALICE, old)
    clock.now += 10 * DAY
    kept = old[:50]
    known.note(ALICE, kept)
    clock.now += DAY
    known.note(ALICE, [f"new{number}@remote.example" for number in range(400)])
    assert known.strangers(ALICE, kept) / 50 < known.strangers(ALICE, old[50:]) / 150 / 2


def test_what_was_saved_is_known_again_under_the_same_secret_only() -> None:
    known = table()
    people = [f"friend{number}@remote.example" for number in range(500)]
    known.note(ALICE, people)
    pages = list(known.unsaved(most=10))
    assert len(pages) == 10
    pages += known.unsaved(most=10_000)
    assert not list(known.unsaved(most=10_000))
    assert all(len(octets) == PAGE for _, octets in pages)
    again, other = KnownRecipients.shared(1 << 14), KnownRecipients.shared(1 << 14)
    again.load(SECRET, pages)
    other.load(b"o" * 32, pages)
    assert again.strangers(ALICE, people) == 0
    assert other.strangers(ALICE, people) == 500


def test_pages_that_could_not_be_saved_are_saved_later() -> None:
    known = table()
    known.note(ALICE, [BOB])
    pages = list(known.unsaved(most=10))
    known.mark_unsaved(number for number, _ in pages)
    assert list(known.unsaved(most=10)) == pages
    known.note(ALICE, [BOB])
    assert not list(known.unsaved(most=10)), "nothing has changed"


def test_what_is_no_page_of_ours_is_left_out() -> None:
    known = table(PAGE // 8)
    known.load(SECRET, [(7, bytes(PAGE)), (-1, bytes(PAGE)), (0, b"x" * 10)])
    assert known.strangers(ALICE, [BOB]) == 1


def test_neither_account_nor_recipient_stands_in_it() -> None:
    known = table()
    known.note(ALICE, [BOB])
    ((_, octets),) = known.unsaved(most=10)
    assert b"alice" not in octets
    assert b"bob" not in octets
    assert sum(octet > 0 for octet in octets) <= 8
