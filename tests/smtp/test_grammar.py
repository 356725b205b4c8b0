"""The grammar of command arguments."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from valija.smtp import grammar
from valija.smtp.grammar import PathFault, SyntaxFault


@pytest.mark.parametrize(
    ("text", "address", "rest"),
    [
        ("<>", "", ""),
        ("<> SIZE=1", "", " SIZE=1"),
        (" \t<a@b.example>", "a@b.example", ""),
        ("<A.b+c@B.EXAMPLE>", "A.b+c@b.example", ""),
        ("<a@b.example.>", "a@b.example", ""),
        ("<a@b.example>x", "a@b.example", "x"),
        ('<"a b"@b.example>', '"a b"@b.example', ""),
        ('<""@b.example>', '""@b.example', ""),
        ('<"a@b"@b.example>', '"a@b"@b.example', ""),
        ('<"<>"@b.example>', '"<>"@b.example', ""),
        (r'<"a\"b\\"@b.example>', r'"a\"b\\"@b.example', ""),
        ("<a%b@c.example>", "a%b@c.example", ""),
        ("<c!a@b.example>", "c!a@b.example", ""),
        ("<a@[192.0.2.1]>", "a@[192.0.2.1]", ""),
        ("<a@[ipv6:2001:DB8:0::1]>", "a@[IPv6:2001:db8::1]", ""),
        ("<a@[IPv6:::1]>", "a@[IPv6:::1]", ""),
        ("<é@bücher.example>", "é@xn--bcher-kva.example", ""),
        ("<a@localhost>", "a@localhost", ""),
    ],
)
def test_path(text: str, address: str, rest: str) -> None:
    assert grammar.path(text) == (address, rest)


@pytest.mark.parametrize(
    "text",
    [
        "a@b.example",
        "<a>",
        "<a@>",
        "<@b.example>",
        "<@relay.example:a@b.example>",
        "<@relay.example,@other.example:a@b.example>",
        "<a@b@c.example>",
        "<a@b.example@>",
        "<a b@c.example>",
        "<a..b@c.example>",
        "<.a@c.example>",
        "<a.@c.example>",
        '<"a"b@c.example>',
        '<"a@c.example>',
        '<"a\tb"@c.example>',
        "<a@b..example>",
        "<a@b.example..>",
        "<a@.>",
        "<a@-b.example>",
        "<a@b.example",
        "<a@[192.0.2.256]>",
        "<a@[192.0.2]>",
        "<a@[IPv6:fe80::1%eth0]>",
        "<a@[IPv6:]>",
        "<a@[]>",
        "<a@[b.example]>",
        "< a@b.example>",
        "<a@b.example >",
        "<" + "a" * 250 + "@b.example>",
        "<" + "é" * 130 + "@b.example>",
        "",
        "<",
    ],
)
def test_not_a_path(text: str) -> None:
    with pytest.raises(PathFault):
        grammar.path(text)


@pytest.mark.parametrize("char", ["\x85", "\x9b", "\u2028", "\u2029", "\udcff"])
def test_what_ends_lines_elsewhere_is_in_no_path(char: str) -> None:
    for text in (f"<a{char}b@x.example>", f'<"a{char}b"@x.example>', f"<a@x{char}.example>"):
        with pytest.raises(PathFault):
            grammar.path(text)


def test_a_long_signed_local_part_is_a_path() -> None:
    local = "SRS0=" + "x" * 100
    assert grammar.path(f"<{local}@b.example>") == (f"{local}@b.example", "")


@pytest.mark.parametrize("text", ["<postmaster>", " <PostMaster>"])
def test_bare_postmaster(text: str) -> None:
    assert grammar.forward_path(text) == ("postmaster", "")
    with pytest.raises(PathFault):
        grammar.path(text)


def test_the_null_path_receives_nothing() -> None:
    with pytest.raises(PathFault):
        grammar.forward_path("<>")


def test_parameters() -> None:
    assert grammar.parameters(" size=1 \t SMTPUTF8  x-y=<a>") == {"SIZE": "1", "SMTPUTF8": "", "X-Y": "<a>"}


@pytest.mark.parametrize("text", ["SIZE=1", " SIZE=", " =1", " A=1 a=2", " A=b=c", " -A", " A_B", " SIZE=٣", " é=1"])
def test_not_parameters(text: str) -> None:
    with pytest.raises(SyntaxFault):
        grammar.parameters(text)


@pytest.mark.parametrize("text", ["", "+5", "-1", "1_0", " 1", "٣", "0x1", "1" * 21, "²"])
def test_not_a_number(text: str) -> None:
    with pytest.raises(SyntaxFault):
        grammar.number(text)


def test_numbers_have_twenty_digits_at_most() -> None:
    assert grammar.number("0" * 19 + "7") == 7


@pytest.mark.parametrize("text", ["abc", "a+2Bb", "+20", "+7E", "!,-<>~"])
def test_xtext_stays_encoded(text: str) -> None:
    assert grammar.xtext(text, 100) == text


@pytest.mark.parametrize(
    "text", ["", "a+2b", "a=b", "a+", "a+2", "a b", "a+00b", "+0A", "+0D", "+1B", "+7F", "+80", "é"]
)
def test_c028_not_xtext(text: str) -> None:
    with pytest.raises(SyntaxFault):
        grammar.xtext(text, 100)


def test_xtext_has_a_length() -> None:
    with pytest.raises(SyntaxFault):
        grammar.xtext("a" * 101, 100)


@pytest.mark.parametrize(
    ("text", "smtputf8"),
    [("rfc822;a+2Bb@c.example", False), (r"utf-8;\x{E9}@c.example", False), ("utf-8;é@c.example", True)],
)
def test_original_recipient(text: str, smtputf8: bool) -> None:
    assert grammar.original_recipient(text, smtputf8=smtputf8) == text


@pytest.mark.parametrize(
    ("text", "smtputf8"),
    [
        ("rfc822", True),
        ("rfc822;", True),
        (";a@b", True),
        ("rfc822;a=b", True),
        ("rfc822;é@c.example", True),
        ("utf-8;é@c.example", False),
        ("utf-8;é+0A@c.example", True),
        ("rfc822;" + "a" * 500, False),
    ],
)
def test_not_an_original_recipient(text: str, smtputf8: bool) -> None:
    with pytest.raises(SyntaxFault):
        grammar.original_recipient(text, smtputf8=smtputf8)


@given(st.text(alphabet=st.characters(min_codepoint=32), max_size=80))
def test_any_text_is_a_path_or_a_fault(text: str) -> None:
    try:
        address, rest = grammar.path(f"<{text}>")
    except PathFault:
        return
    domain = address.rpartition("@")[2]
    assert domain.isascii()
    assert not rest or ">" in text
    assert address == "" or grammar.path(f"<{address}>")[0] == address
