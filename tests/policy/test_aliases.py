"""Where aliases lead: circles, chains, copies, whole domains, and the addresses that always exist."""

from collections.abc import Mapping, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from valija.mail.address import mailbox_key, split
from valija.policy.aliases import MOST_ALIASES, Book, TooManyAliases, ends

MAILBOXES = ("ann@a.example", "bob@a.example", "carol@b.example")
HOSTED = ("a.example", "b.example")


def book(aliases: Mapping[str, Sequence[str]], mailboxes: Sequence[str] = MAILBOXES, delimiter: str = "+") -> Book:
    return Book(
        lambda key: aliases.get(key, ()),
        lambda address: mailbox_key(address, delimiter) in mailboxes,
        HOSTED,
        delimiter,
    )


def where(address: str, aliases: Mapping[str, Sequence[str]]) -> list[str]:
    return list(ends(address, book(aliases)))


@pytest.mark.parametrize(
    ("address", "aliases", "expected"),
    [
        ("Ann+x@a.example", {}, ["Ann+x@a.example"]),
        ("nobody@a.example", {}, []),
        ("ann@elsewhere.example", {}, ["ann@elsewhere.example"]),
        (
            "Sales+x@a.example",
            {"sales@a.example": ["ann@a.example", "x@else.example"]},
            ["ann@a.example", "x@else.example"],
        ),
        ("s@a.example", {"s@a.example": ["t@b.example"], "t@b.example": ["ann@a.example"]}, ["ann@a.example"]),
        ("s@a.example", {"s@a.example": ["gone@a.example", "ann@a.example"]}, ["ann@a.example"]),
        ("s@a.example", {"s@a.example": ["gone@a.example"]}, []),
        ("s@a.example", {"s@a.example": ["t@a.example"], "t@a.example": ["s@a.example"]}, []),
        (
            "s@a.example",
            {"s@a.example": ["t@a.example"], "t@a.example": ["s@a.example", "ann@a.example"]},
            ["ann@a.example"],
        ),
        # A mailbox that is forwarded, with and without a copy.
        ("ann@a.example", {"ann@a.example": ["x@else.example"]}, ["x@else.example"]),
        ("ann@a.example", {"ann@a.example": ["Ann@a.example", "x@else.example"]}, ["Ann@a.example", "x@else.example"]),
        ("s@a.example", {"s@a.example": ["s@a.example", "x@else.example"]}, ["x@else.example"]),
        (
            "s@a.example",
            {
                "s@a.example": ["t@a.example", "u@a.example"],
                "t@a.example": ["ann@a.example"],
                "u@a.example": ["ann@a.example"],
            },
            ["ann@a.example"],
        ),
    ],
)  # fmt: skip
def test_aliases(address: str, aliases: Mapping[str, Sequence[str]], expected: list[str]) -> None:
    assert where(address, aliases) == expected


CATCH_ALL = {"@a.example": ["bob@a.example", "x@else.example"], "sales@a.example": ["ann@a.example"]}


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("anything@a.example", ["bob@a.example", "x@else.example"]),
        ("sales+x@a.example", ["ann@a.example"]),
        ("ann@a.example", ["ann@a.example"]),
        ("postmaster@a.example", ["bob@a.example", "x@else.example"]),
        ("abuse@a.example", ["bob@a.example", "x@else.example"]),
        ("anything@b.example", []),
    ],
)
def test_the_alias_of_a_domain_is_for_what_is_nothing_else(address: str, expected: list[str]) -> None:
    assert where(address, CATCH_ALL) == expected


ANOTHER_NAME = {
    "@a.example": ["@b.example"],
    "info@b.example": ["x@else.example"],
    "ann@a.example": ["carol@b.example"],
}


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("Carol+x@a.example", ["Carol+x@b.example"]),
        ("info@a.example", ["x@else.example"]),
        ("nobody@a.example", []),  # as it is at b.example: refused at RCPT, never bounced later
        ("bob@a.example", ["bob@a.example"]),
        ("ann@a.example", ["carol@b.example"]),
        ("postmaster@a.example", ["postmaster@b.example"]),
        ("abuse@a.example", ["postmaster@b.example"]),
    ],
)
def test_a_domain_that_is_another_name_of_a_domain(address: str, expected: list[str]) -> None:
    assert where(address, ANOTHER_NAME) == expected


def test_domains_that_name_each_other_have_nobody_more() -> None:
    circle = {"@a.example": ["@b.example"], "@b.example": ["@a.example"]}
    assert where("nobody@a.example", circle) == []
    assert where("carol@a.example", circle) == ["carol@b.example"]


@pytest.mark.parametrize("name", ["postmaster", "Postmaster", "abuse", "ABUSE", '"abuse"'])
def test_who_is_always_there(name: str) -> None:
    [end] = where(f"{name}@a.example", {})
    assert mailbox_key(end) == "postmaster@a.example"


def test_an_alias_of_postmaster_is_that_of_abuse_too() -> None:
    aliases = {"postmaster@a.example": ["ann@a.example"]}
    assert where("abuse@a.example", aliases) == ["ann@a.example"]
    assert where("abuse@a.example", {**aliases, "abuse@a.example": ["bob@a.example"]}) == ["bob@a.example"]


def test_another_delimiter_and_none() -> None:
    aliases = {"sales@a.example": ["ann@a.example"], "sales+x@a.example": ["bob@a.example"]}
    assert list(ends("sales-x@a.example", book(aliases, delimiter="-"))) == ["ann@a.example"]
    assert list(ends("sales+x@a.example", book(aliases, delimiter="-"))) == ["bob@a.example"]
    assert list(ends("sales+y@a.example", book(aliases, delimiter=""))) == []


def test_a_chain_has_an_end_somewhere() -> None:
    chain = {f"l{number}@a.example": [f"l{number + 1}@a.example"] for number in range(MOST_ALIASES - 1)}
    chain[f"l{MOST_ALIASES - 1}@a.example"] = ["ann@a.example"]
    assert where("l0@a.example", chain) == ["ann@a.example"]
    chain["first@a.example"] = ["l0@a.example"]
    with pytest.raises(TooManyAliases, match=r"l999@a\.example"):
        where("first@a.example", chain)


places = (*HOSTED, "else.example")
names = st.sampled_from([f"{local}@{domain}" for local in ("ann", "b", "c", "d") for domain in places])
domain_names = st.sampled_from([f"@{domain}" for domain in HOSTED])


@given(
    st.dictionaries(names, st.lists(names, min_size=1, max_size=4), max_size=8),
    st.dictionaries(domain_names, st.lists(names | domain_names, min_size=1, max_size=3), max_size=2),
    names,
)
def test_every_maze_has_its_ends(aliases: dict[str, list[str]], of_domains: dict[str, list[str]], address: str) -> None:
    found = list(ends(address, book({**aliases, **of_domains})))
    assert len(set(found)) == len(found)
    for end in found:
        assert split(end)[1] not in HOSTED or end in MAILBOXES, "whoever is named can be delivered to"
