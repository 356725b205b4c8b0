"""MTA-STS as text: records, policies, host names (RFC 8461)."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from valija.policy.mta_sts import MAX_AGE, MAX_MX, MAX_SIZE, StsFault, StsPolicy, parse_policy, policy_id

GOOD = "version: STSv1\nmode: enforce\nmx: mx1.example.net\nmx: *.example.com\nmax_age: 604800\n"


# The record


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        ("v=STSv1; id=20160831085700Z;", "20160831085700Z"),
        ("v=STSv1;id=a", "a"),
        ("v=STSv1 ;\tid=a ; ", "a"),
        ("v=STSv1; more=yes; id=a; x-y.z_1=!~", "a"),
        ("v=STSv1; id=first; id=second", "first"),
        ("v=STSv1; id=" + "x" * 32, "x" * 32),
        ("v=STSv1; id=" + "x" * 33, None),
        ("v=STSv1; id=", None),
        ("v=STSv1; id=a-b", None),
        ("v=STSv1;", None),
        ("v=STSv1", None),
        ("v=STSv2; id=a", None),
        ("v=stsv1; id=a", None),
        ("id=a; v=STSv1", None),
        (" v=STSv1; id=a", None),
        ("v=STSv1; id=a; ; x=y", None),
        ("v=STSv1; id=a; rubbish", None),
        ("v=STSv1; id=a; x=b c", None),
        ("v=STSv1; id=a; x=ñ", None),
    ],
)
def test_record(record: str, expected: str | None) -> None:
    assert policy_id([record]) == expected


def test_there_is_exactly_one_record_of_this_version() -> None:
    other, one = "v=spf1 -all", "v=STSv1; id=a"
    assert policy_id([]) is None
    assert policy_id([other]) is None
    assert policy_id([other, one]) == "a"
    assert policy_id([one, one]) is None
    assert policy_id(["v=STSv1; rubbish", one]) is None


@given(st.lists(st.text(), max_size=3))
def test_no_record_raises(records: list[str]) -> None:
    policy_id(records)
    policy_id([f"v=STSv1; {record}" for record in records])


# The policy


def test_policy() -> None:
    policy = parse_policy(GOOD.encode())
    assert policy == StsPolicy("enforce", ("mx1.example.net", "*.example.com"), 604800, GOOD)
    assert policy.lines == (
        "version: STSv1",
        "mode: enforce",
        "mx: mx1.example.net",
        "mx: *.example.com",
        "max_age: 604800",
    )


@pytest.mark.parametrize(
    ("written", "as_good_as"),
    [
        (GOOD.replace("\n", "\r\n"), GOOD),
        (GOOD.rstrip("\n"), GOOD),
        (GOOD.replace("\n", " \t\n"), GOOD),
        (GOOD.replace(": ", ":"), GOOD),
        (GOOD.replace(": ", ":\t  "), GOOD),
        (GOOD + "\n\n", GOOD),
        (GOOD + "Version: 9\nnew_field: what ever: ñ 漢\n", GOOD),
        (GOOD + "mode: none\nversion: STSv2\nmax_age: rubbish\n", GOOD),
        (GOOD + "mx: mx1.example.net\n", GOOD),
        (GOOD.replace("mx1.example.net", "MX1.Example.NET."), GOOD),
        ("max_age: 604800\nmx: mx1.example.net\nmx: *.example.com\nmode: enforce\nversion: STSv1", GOOD),
    ],
)
def test_what_is_as_good(written: str, as_good_as: str) -> None:
    found, wanted = parse_policy(written.encode()), parse_policy(as_good_as.encode())
    assert (found.mode, found.mx, found.max_age) == (wanted.mode, wanted.mx, wanted.max_age)


@pytest.mark.parametrize(
    ("octets", "complaint"),
    [
        (b"", "no version"),
        (b"\xff" + GOOD.encode(), "UTF-8"),
        (GOOD.replace("STSv1", "STSv2").encode(), "version is not STSv1"),
        (GOOD.replace("STSv1", "stsv1").encode(), "version is not STSv1"),
        (GOOD.replace("mode: enforce\n", "").encode(), "no mode"),
        (GOOD.replace("enforce", "Enforce").encode(), "mode is none that there is: 'Enforce'"),
        (GOOD.replace("max_age: 604800\n", "").encode(), "no max_age"),
        (GOOD.replace("604800", "-1").encode(), "no number"),
        (GOOD.replace("604800", "1e3").encode(), "no number"),
        (GOOD.replace("604800", "٣").encode(), "no number"),
        (GOOD.replace("604800", "1" * 11).encode(), "no number"),
        (b"version: STSv1\nmode: testing\nmax_age: 1\n", "names no mx"),
        (GOOD.replace("mx1.example.net", "").encode(), "no host name"),
        (GOOD.replace("mx1.example.net", "*").encode(), "no host name"),
        (GOOD.replace("mx1.example.net", "mx.*.example.net").encode(), "no host name"),
        (GOOD.replace("mx1.example.net", "*.*.net").encode(), "no host name"),
        (GOOD.replace("mx1.example.net", "[192.0.2.1]").encode(), "no host name"),
        (GOOD.replace("mx1.example.net", "a, b").encode(), "no host name"),
        (b"<!DOCTYPE html>\n" + GOOD.encode(), "a line is no field"),
        (GOOD.encode() + b"rubbish\n", "a line is no field: 'rubbish'"),
        (GOOD.replace("\n", "\r").encode(), "version is not STSv1"),
        (GOOD.encode() + b"x: " + b"y" * MAX_SIZE, "longer"),
        (GOOD.encode() + b"mx: a.example\n" * MAX_MX, "more than"),
    ],
)
def test_what_is_no_policy(octets: bytes, complaint: str) -> None:
    with pytest.raises(StsFault, match=complaint):
        parse_policy(octets)


def test_a_policy_that_says_none_needs_no_mx() -> None:
    assert parse_policy(b"version: STSv1\nmode: none\nmax_age: 0\n") == StsPolicy(
        "none", (), 0, "version: STSv1\nmode: none\nmax_age: 0\n"
    )


def test_no_policy_is_good_for_more_than_a_year() -> None:
    assert parse_policy(GOOD.replace("604800", "9999999999").encode()).max_age == MAX_AGE


@given(st.binary(max_size=300))
def test_no_octets_raise_anything_but_the_fault(octets: bytes) -> None:
    with contextlib.suppress(StsFault):
        parse_policy(octets)
    with contextlib.suppress(StsFault):
        parse_policy(GOOD.encode() + octets)


@given(st.lists(st.sampled_from([*GOOD.splitlines(), "mode: none", "x: y", "", " ", "mx: *", ":", "mx"]), max_size=12))
def test_any_lines_make_a_sound_policy_or_none(lines: list[str]) -> None:
    try:
        policy = parse_policy("\r\n".join(lines).encode())
    except StsFault:
        return
    assert policy.mx or policy.mode == "none"
    assert 0 <= policy.max_age <= MAX_AGE
    assert parse_policy(policy.text.encode()) == policy


# Host names


@pytest.mark.parametrize(
    ("host", "is_named"),
    [
        ("mx1.example.net", True),
        ("mx2.example.net", False),
        ("mail.example.com", True),
        ("example.com", False),
        ("a.mail.example.com", False),
        ("mailexample.com", False),
        ("", False),
        ("com", False),
        ("xn--bcher-kva.example", True),
    ],
)
def test_hosts(host: str, is_named: bool) -> None:
    policy = parse_policy((GOOD + "mx: BÜCHER.example\n").encode())
    assert policy.matches(host) is is_named
