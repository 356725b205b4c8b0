"""SPF records and macros: the examples of RFC 7208 (section 7.4), and what strangers may write."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from valija.policy.spf_record import SpfFault, as_name, expand, parse_record

VALUES = {
    "s": "strong-bad@email.example.com",
    "l": "strong-bad",
    "o": "email.example.com",
    "d": "email.example.com",
    "i": "192.0.2.3",
    "h": "mx.example.org",
    "p": "mx.example.org",
    "v": "in-addr",
    "c": "192.0.2.3",
    "r": "receiver.example",
    "t": "0",
}


@pytest.mark.parametrize(
    ("text", "expanded"),
    [
        ("%{s}", "strong-bad@email.example.com"),
        ("%{d4}", "email.example.com"),
        ("%{d2}", "example.com"),
        ("%{d1}", "com"),
        ("%{dr}", "com.example.email"),
        ("%{d2r}", "example.email"),
        ("%{l-}", "strong.bad"),
        ("%{lr-}", "bad.strong"),
        ("%{l1r-}", "strong"),
        ("%{ir}.%{v}._spf.%{d2}", "3.2.0.192.in-addr._spf.example.com"),
        ("%{lr-}.lp.%{ir}.%{v}._spf.%{d2}", "bad.strong.lp.3.2.0.192.in-addr._spf.example.com"),
        ("%{d2}.trusted-domains.example.net", "example.com.trusted-domains.example.net"),
        ("%{S}", "strong-bad%40email.example.com"),
        ("a%%b%_c%-d", "a%b c%20d"),
    ],
)
def test_macros(text: str, expanded: str) -> None:
    assert expand(text, VALUES) == expanded


def test_a_name_that_is_too_long_loses_labels_on_the_left() -> None:
    assert as_name("Example.ORG.") == "example.org"
    long = ".".join(["x" * 60] * 6)
    assert as_name(long) == ".".join(["x" * 60] * 4)


def test_a_macro_of_very_many_digits_is_a_macro() -> None:
    record = parse_record(f"v=spf1 exists:%{{d{'9' * 5000}}}.example -all")
    assert expand(record.directives[0].target, VALUES) == f"{VALUES['d']}.example"
    with pytest.raises(SpfFault, match="no part at all"):
        parse_record(f"v=spf1 exists:%{{d{'0' * 5000}}}.example -all")


def test_the_letters_and_digits_of_macros_are_ascii() -> None:
    for macro in ("%{\u017f}", "%{d\u0663}"):  # in Unicode the first is a small s, the second a three
        with pytest.raises(SpfFault, match="malformed macro"):
            expand(macro, VALUES, explains=True)


@given(st.text(max_size=120))
def test_no_record_raises_but_as_it_says(text: str) -> None:
    for written in (text, f"v=spf1 {text}", f"v=spf1 a:{text}", f"v=spf1 exists:%{{{text}}}"):
        try:
            record = parse_record(written)
            for directive in record.directives:
                expand(directive.target, VALUES)
        except SpfFault:
            continue


@given(st.text(max_size=60))
def test_no_explanation_raises_but_as_it_says(text: str) -> None:
    try:
        expand(text, VALUES, explains=True)
    except SpfFault:
        return
