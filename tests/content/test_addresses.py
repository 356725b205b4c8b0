"""Address lists, read strictly. `email` of the standard library is the oracle where it is right."""

from email.headerregistry import AddressHeader, HeaderRegistry

import pytest

from valija.content.addresses import AddressListError, addresses_of


@pytest.mark.parametrize(
    ("value", "addresses"),
    [
        (b" alice@example.org", ["alice@example.org"]),
        (b" <alice@example.org>", ["alice@example.org"]),
        (b" Alice <Alice@EXAMPLE.org>", ["Alice@example.org"]),
        (b" John Q. Public <j@example.org>", ["j@example.org"]),
        (b' "Public, John" <j@example.org>, bob@example.net', ["j@example.org", "bob@example.net"]),
        (b' "a \\" <evil@example.com>" <j@example.org>', ["j@example.org"]),
        (b" alice@example.org (work (and \\) more) <evil@example.com>)", ["alice@example.org"]),
        (b" (a) alice (b) @ (c) example.org (d)", ["alice@example.org"]),
        (b" =?utf-8?q?bob=40local=2Eexample?= <alice@example.org>", ["alice@example.org"]),
        (b' "odd user"@example.org', ['"odd user"@example.org']),
        (b' "a@b"@example.org', ['"a@b"@example.org']),
        (b" Team: a@example.org, Bob <b@example.org>;", ["a@example.org", "b@example.org"]),
        (b" undisclosed recipients:;", []),
        (b" Team: a@example.org;, c@example.org", ["a@example.org", "c@example.org"]),
        ("J\u00fcrgen M\u00fcller <jm@b\u00fccher.example>".encode(), ["jm@xn--bcher-kva.example"]),
        ("gr\u00e5@example.org".encode(), ["gr\u00e5@example.org"]),
        (b" J\xfcrgen <j@example.org>", ["j@example.org"]),
        (b" alice@[192.0.2.1]", ["alice@[192.0.2.1]"]),
        (b" Alice\r\n\t<alice@example.org>\r\n , bob@example.org", ["alice@example.org", "bob@example.org"]),
        (b" alice@example.org.", ["alice@example.org"]),
    ],
)
def test_well_formed(value: bytes, addresses: list[str]) -> None:
    assert addresses_of(value) == addresses


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b" ",
        b" <>",
        b" alice",
        b" alice@",
        b" @example.org",
        b" Alice <alice@example.org",
        b" Alice alice@example.org>",
        b" alice@example.org <bob@example.org>",
        b" <alice@example.org> bob@example.org",
        b" alice@example.org bob@example.org",
        b" <@relay.example:alice@example.org>",
        b" <alice@example.org><bob@example.org>",
        b" <alice@example.org, bob@example.org>",
        b" alice@example.org,",
        b" ,alice@example.org",
        b" alice@example.org,,bob@example.org",
        b" alice@local.example@evil.example",
        b" alice . smith@example.org",
        b" alice..smith@example.org",
        b" .alice@example.org",
        b" alice@example..org",
        b" alice@example.org..",
        b' "alice@example.org',
        b' "alice"bob@example.org',
        b" alice (never ends@example.org",
        b" alice) @example.org",
        b" al\xffice@example.org",
        b" alice@ex ample.org",
        b" alice@-.example",
        b" Team: a@example.org",
        b" Team: Inner: a@example.org;;",
        b" a@example.org; b@example.org",
        b" alice@[192.0.2.1]x",
        b" [x]@example.org",
        b" alice\\@example.org",
        b" a\0@example.org",
        b" a\n@example.org",
        b" a\r@example.org",
        b' "a\rb"@example.org',
        "a\u2028b@example.org".encode(),
        "a\u202eb@example.org".encode(),
    ],
)
def test_malformed_and_ambiguous(value: bytes) -> None:
    with pytest.raises(AddressListError):
        addresses_of(value)


@pytest.mark.parametrize(
    "hostile",
    [b"(" * 16_000, b'"' + b"\\" * 16_001, b"a," * 8000, b"a " * 8000, b"()" * 8000, b"a@b.example, " * 100_000],
)
def test_hostile_values_cost_no_more_than_their_length(hostile: bytes) -> None:
    with pytest.raises(AddressListError):
        addresses_of(hostile)


@pytest.mark.parametrize(
    "value",
    [
        "Alice <alice@example.org>",
        '"Public, John" <j@example.org>, bob@example.net',
        "alice@example.org (work)",
        "Team: a@example.org, Bob <b@example.org>;",
    ],
)
def test_the_standard_library_reads_the_same(value: str) -> None:
    header = HeaderRegistry()("From", value)
    assert isinstance(header, AddressHeader)
    assert addresses_of(value.encode()) == [address.addr_spec for address in header.addresses]
