"""Authentication-Results: what we write reads as it should, and nobody else speaks in our name."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from valija.content.authentication_results import (
    Result,
    authserv_id_of,
    results_field,
    verdicts_in,
    without_claims,
)
from valija.content.header import check, fields, values

US = "mx.example.net"
IDN_US = "xn--bcher-kva.example"


def field(value: str) -> bytes:
    return b"Authentication-Results: " + value.encode() + b"\r\n"


def test_the_field_names_each_method_and_what_it_looked_at() -> None:
    written = results_field(
        US,
        [
            Result("spf", "pass", (("smtp.mailfrom", "alice@example.org"),)),
            Result("dkim", "fail", (("header.d", "example.org"), ("header.b", "AbC+/9")), "the body was changed"),
            Result("dmarc", "pass", (("header.from", "example.org"),), comment="p=reject"),
        ],
    )
    assert written == (
        b"Authentication-Results: mx.example.net;\r\n"
        b"\tspf=pass smtp.mailfrom=alice@example.org;\r\n"
        b'\tdkim=fail reason="the body was changed" header.d=example.org\r\n'
        b'\theader.b="AbC+/9";\r\n'
        b"\tdmarc=pass (p=reject) header.from=example.org\r\n"
    )


def test_nothing_checked_is_said_too() -> None:
    assert results_field(US, []) == b"Authentication-Results: mx.example.net; none\r\n"


@pytest.mark.parametrize(
    "claim",
    [
        "mx.example.net; dmarc=pass",
        "MX.Example.NET; dmarc=pass",
        "mx.example.net.; dmarc=pass",
        "mx.example.net 1; dmarc=pass",
        "mx.example.net/1; dmarc=pass",
        "mx.example.net",
        "(a comment) mx.example.net; dmarc=pass",
        "(nested (comment)) mx.example.net (another); dmarc=pass",
        '("quotes mean nothing here) mx.example.net; dmarc=pass',
        "(\\) still the comment) mx.example.net; dmarc=pass",
        '"mx.example.net"; dmarc=pass',
        '"mx.exa\\mple.net"; dmarc=pass',
        "\r\n mx.example.net;\r\n\tdmarc=pass",
        "=?utf-8?q?mx.example.net?=; dmarc=pass",
        "mx.(split)example.net; dmarc=pass",
        'mx."example".net; dmarc=pass',
        "(a comment that does not end mx.example.net; dmarc=pass",
        '"mx.example.net; dmarc=pass',
        "",
    ],
)
def test_whoever_claims_to_be_us_is_not_heard(claim: str) -> None:
    kept = b"Subject: hello\r\n"
    assert without_claims(field(claim) + kept + field(claim), US) == kept


@pytest.mark.parametrize("name", ["AUTHENTICATION-RESULTS", "authentication-results", "Authentication-results"])
def test_the_case_of_the_field_does_not_matter(name: str) -> None:
    assert without_claims(name.encode() + b": mx.example.net; spf=pass\r\nTo: b\r\n", US) == b"To: b\r\n"


@pytest.mark.parametrize("claim", ["bücher.example; dmarc=pass", "BÜCHER.example; dmarc=pass", "xn--bcher-kva.example"])
def test_our_name_in_unicode_is_our_name(claim: str) -> None:
    assert without_claims(field(claim), IDN_US) == b""


@pytest.mark.parametrize(
    "other",
    ["mx.example.org; dmarc=pass", "mx.example.net.evil.example; spf=pass", "(mx.example.net) other.example; spf=pass"],
)
def test_others_may_speak_in_their_own_name(other: str) -> None:
    assert without_claims(field(other), US) == field(other)


def test_fields_that_only_sound_like_it_stay() -> None:
    header = (
        b"ARC-Authentication-Results: i=1; mx.example.net; spf=pass\r\nX-Authentication-Results: mx.example.net\r\n"
    )
    assert without_claims(header, US) == header


def test_verdicts_are_read_without_comments_and_quotes() -> None:
    value = b' other.example; spf=pass (dmarc=pass) smtp.mailfrom="a;dmarc=pass"@x; DKIM=Fail; dkim=pass; dmarc = none'
    assert verdicts_in(value) == {"spf": ["pass"], "dkim": ["fail", "pass"], "dmarc": ["none"]}


@given(st.text(max_size=80), st.text(max_size=80), st.text(max_size=80))
def test_no_value_ends_the_field_or_adds_a_verdict(value: str, reason: str, comment: str) -> None:
    results = [Result("spf", "fail", (("smtp.mailfrom", value),), reason, comment)]
    written = results_field(US, results) + b"Subject: s\r\n"
    assert check(written) is None
    assert [each.name for each in fields(written)] == [b"authentication-results", b"subject"]
    (field_value,) = values(written, b"authentication-results")
    assert authserv_id_of(field_value) == US
    assert verdicts_in(field_value) == {"spf": ["fail"]}


@given(st.binary(max_size=200))
def test_no_field_raises(value: bytes) -> None:
    header = b"Authentication-Results: " + value.replace(b"\n", b" ").replace(b"\r", b" ") + b"\r\n"
    without_claims(header, US)
    verdicts_in(value)
