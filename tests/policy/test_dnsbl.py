"""Names and answers of block lists."""

import pytest

from valija.policy.dnsbl import query_name, read_answer, shown_zone


def test_addresses_are_asked_for_in_reverse() -> None:
    assert query_name("192.0.2.99", "bl.example") == "99.2.0.192.bl.example"
    assert query_name("2001:db8::7", "bl.example") == "7." + "0." * 23 + "8.b.d.0.1.0.0.2.bl.example"


@pytest.mark.parametrize(
    ("addresses", "codes", "fault"),
    [
        ([], (), ""),
        (["127.0.0.4", "127.0.0.2", "127.0.0.4"], ("127.0.0.2", "127.0.0.4"), ""),
        (["127.0.0.1"], (), ""),
        (["127.255.255.252"], (), "misspelt"),
        (["127.0.0.2", "127.255.255.254"], (), "a public one"),
        (["127.255.255.200"], (), "it says so"),
        (["192.0.2.1"], (), "which no list does"),
    ],
)
def test_what_an_answer_means(addresses: list[str], codes: tuple[str, ...], fault: str) -> None:
    listing = read_answer(addresses)
    assert listing.codes == codes
    assert bool(listing.fault) == bool(fault)
    assert fault in listing.fault


def test_a_key_in_a_name_is_not_shown() -> None:
    assert shown_zone("abcdefghij0123456789abcdef.zen.dq.example.net") == "zen.dq.example.net"
    assert shown_zone("zen.example.org") == "zen.example.org"
