"""A header after rspamd's wishes: what it asks for, and never more than fields."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from valija.content.header import check, fields
from valija.rspamd.changes import MOST_ADDED, changed_header
from valija.rspamd.reply import Addition, Opinion

HEADER = b"A: 1\r\nx-old: a\r\nSubject: hello\r\n there\r\nX-Old: b\r\nX-OLD: c\r\n"


def changed(**wishes: Any) -> bytes:
    return changed_header(HEADER, Opinion("no action", **wishes))


def test_without_wishes_it_is_the_very_same() -> None:
    assert changed() is HEADER


@pytest.mark.parametrize(
    ("place", "left"), [(0, []), (1, [b"b", b"c"]), (2, [b"a", b"c"]), (-1, [b"a", b"b"]), (9, [b"a", b"b", b"c"])]
)
def test_fields_go_by_their_place(place: int, left: list[bytes]) -> None:
    header = changed(removals=(("X-old", place),))
    assert [each.value.strip() for each in fields(header) if each.name == b"x-old"] == left


def test_each_place_is_counted_before_any_has_gone() -> None:
    header = changed(removals=(("X-Old", 1), ("X-Old", 2)))
    assert [each.value.strip() for each in fields(header) if each.name == b"x-old"] == [b"c"]
    assert b"x-old" not in changed(removals=(("X-Old", -1), ("X-Old", -2), ("X-Old", 1))).lower()


@pytest.mark.parametrize(("order", "index"), [(0, 0), (1, 0), (2, 1), (3, 2), (99, 5), (-1, 5), (-2, 4), (-99, 0)])
def test_fields_come_to_their_place(order: int, index: int) -> None:
    names = [each.name for each in fields(changed(additions=(Addition("New", "n", order),)))]
    assert names.index(b"new") == index


def test_a_seal_stands_above_what_it_seals() -> None:
    top = [Addition(name, "x", 1) for name in ("ARC-Authentication-Results", "ARC-Message-Signature", "ARC-Seal")]
    names = [each.name for each in fields(changed(additions=tuple(top)))][:3]
    assert names == [b"arc-seal", b"arc-message-signature", b"arc-authentication-results"]


def test_the_subject_changes_in_its_place() -> None:
    assert b"x-old: a\r\nSubject: *** hello\r\nX-Old" in changed(subject="*** hello")
    assert changed_header(b"A: 1\r\n", Opinion("rewrite subject", subject="s")) == b"Subject: s\r\nA: 1\r\n"


def test_what_would_be_too_much_is_left_out() -> None:
    much = tuple(Addition(f"X-{number}", "x" * 10_000) for number in range(100))
    assert len(changed(additions=much)) <= len(HEADER) + MOST_ADDED


@given(
    st.lists(st.builds(Addition, st.text(max_size=9), st.text(max_size=60), st.integers(-9, 9)), max_size=5),
    st.lists(st.tuples(st.sampled_from(["A", "X-Old", "Subject", ""]) | st.text(max_size=5), st.integers(-4, 4))),
    st.none() | st.text(max_size=60),
)
def test_nothing_but_fields_comes_of_it(
    additions: list[Addition], removals: list[tuple[str, int]], subject: str | None
) -> None:
    header = changed(additions=tuple(additions), removals=tuple(removals), subject=subject)
    assert check(header) is None
    known = {b"a", b"subject", b"x-old"} | {each.name.lower().encode() for each in additions}
    assert {each.name for each in fields(header)} <= known
