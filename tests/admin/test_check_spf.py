"""What SPF records say of our addresses, what breaks them, and what depends on who sends."""

from ipaddress import ip_address

import pytest

from tests.admin.lab import look_up
from tests.fakedns import Script
from valija.admin.check_spf import Verdict, evaluate, suggestion

ZONE = {
    "mail.example.org": ["A 192.0.2.7", "AAAA 2001:db8::7"],
    "mx.example.net": ["A 192.0.2.50"],
    "mxed.example": ["MX 10 mail.example.org.", "MX 20 mx.example.net."],
    "included.example": ['TXT "v=spf1 ip4:192.0.2.7 -all"'],
    "refusing.example": ['TXT "v=spf1 -all"'],
    "broken.example": ['TXT "v=spf1 ip4:nonsense -all"'],
    "plain.example": ['TXT "something else"'],
    "loop.example": ['TXT "v=spf1 include:loop.example -all"'],
    "7.2.0.192.in-addr.arpa": ["PTR mail.example.org."],
    "7.listed.example": ["A 127.0.0.2"],
    "192.0.2.7.listed.example": ["A 127.0.0.2"],
    "many.example": [f"MX 10 h{number}.example." for number in range(11)],
}


def verdict(record: str, address: str = "192.0.2.7", more: dict[str, list[str]] | None = None) -> Verdict:
    zone = ZONE | (more or {}) | {"d.example": [f'TXT "{record}"']}
    return look_up(zone, lambda resolver: evaluate("d.example", ip_address(address), resolver))


@pytest.mark.parametrize(
    ("record", "address", "result"),
    [
        ("v=spf1 ip4:192.0.2.7 -all", "192.0.2.7", "pass"),
        ("v=spf1 ip4:192.0.2.0/28 -all", "192.0.2.15", "pass"),
        ("v=spf1 ip4:192.0.2.0/28 -all", "192.0.2.16", "fail"),
        ("v=spf1 ip4:192.0.2.0/28 ~all", "192.0.2.16", "softfail"),
        ("v=spf1 ip4:192.0.2.0/28 ?all", "192.0.2.16", "neutral"),
        ("v=spf1 ip4:192.0.2.0/28", "192.0.2.16", "neutral"),
        ("v=spf1 ip4:192.0.2.0/28 -all", "2001:db8::7", "fail"),
        ("v=spf1 ip6:2001:db8::/32 -all", "2001:db8::7", "pass"),
        ("v=spf1 -ip4:192.0.2.7 +all", "192.0.2.7", "fail"),
        ("V=SPF1 IP4:192.0.2.7 -ALL", "192.0.2.7", "pass"),
        ("v=spf1 a:mail.example.org -all", "192.0.2.7", "pass"),
        ("v=spf1 a:mail.example.org -all", "2001:db8::7", "pass"),
        ("v=spf1 a:mail.example.org/24 -all", "192.0.2.99", "pass"),
        ("v=spf1 a:mail.example.org/24//64 -all", "2001:db8::1:2", "pass"),
        ("v=spf1 a:mail.example.org//64 -all", "192.0.2.99", "fail"),
        ("v=spf1 mx:mxed.example -all", "192.0.2.50", "pass"),
        ("v=spf1 mx:mxed.example -all", "192.0.2.51", "fail"),
        ("v=spf1 include:included.example ~all", "192.0.2.7", "pass"),
        ("v=spf1 include:refusing.example ~all", "192.0.2.7", "softfail"),
        ("v=spf1 redirect=included.example", "192.0.2.7", "pass"),
        ("v=spf1 redirect=included.example", "192.0.2.8", "fail"),
        ("v=spf1 ?all redirect=included.example", "192.0.2.7", "neutral"),
        ("v=spf1 exists:%{i}.listed.example -all", "192.0.2.7", "pass"),
        ("v=spf1 exists:%{i}.listed.example -all", "192.0.2.8", "fail"),
        ("v=spf1 ptr:example.org -all", "192.0.2.7", "pass"),
        ("v=spf1 ptr:xample.org -all", "192.0.2.7", "fail"),
        ("v=spf1 unknown=value exp=why.example ip4:192.0.2.7 -all", "192.0.2.7", "pass"),
        ("v=spf1", "192.0.2.7", "neutral"),
    ],
)
def test_what_a_record_says(record: str, address: str, result: str) -> None:
    assert verdict(record, address).result == result


@pytest.mark.parametrize(
    ("record", "words"),
    [
        ("v=spf1 ip4:nonsense -all", "'ip4:nonsense' names no address"),
        ("v=spf1 ip4:2001:db8::1 -all", "names no IPv4 address"),
        ("v=spf1 ip4 -all", "names no address"),
        ("v=spf1 ip:192.0.2.7 -all", "'ip:192.0.2.7' is no mechanism"),
        ("v=spf1 192.0.2.7 -all", "'192.0.2.7' is no mechanism"),
        ("v=spf1 a/33 -all", "'a/33' has a prefix that is too long"),
        ("v=spf1 include -all", "'include' names no domain"),
        ("v=spf1 include: -all", "'include:' names no domain"),
        ("v=spf1 all:example.org", "may have nothing behind it"),
        ("v=spf1 redirect=a.example redirect=b.example", "redirect= stands twice"),
        ("v=spf1 include:broken.example -all", "broken.example: 'ip4:nonsense' names no address"),
        ("v=spf1 include:plain.example -all", "include:plain.example: plain.example has no SPF record"),
        ("v=spf1 redirect=plain.example", "plain.example has no SPF record"),
        ("v=spf1 include:loop.example -all", "it takes more than 10 look-ups"),
        ("v=spf1 mx:many.example -all", "leads to more than 10 hosts"),
        ("v=spf1 a:x1.example a:x2.example a:x3.example -all", "more than 2 of its look-ups find nothing"),
        ("v=spf1 " + "a:mail.example.org " * 11 + "-all", "it takes more than 10 look-ups"),
    ],
)
def test_what_is_wrong_with_a_record(record: str, words: str) -> None:
    found = verdict(record, "198.51.100.1")
    assert found.result == "permerror"
    assert words in found.why


def test_ten_look_ups_are_enough_for_a_record_that_takes_ten() -> None:
    assert verdict("v=spf1 " + "a:mail.example.org " * 10 + "-all", "198.51.100.1").result == "fail"


def test_a_domain_without_a_record_and_one_with_two() -> None:
    address = ip_address("192.0.2.7")
    assert look_up(ZONE, lambda dns: evaluate("plain.example", address, dns)).result == "none"
    two = {"two.example": ['TXT "v=spf1 -all"', 'TXT "v=spf1 +all"', 'TXT "v=spf10 all"']}
    found = look_up(two, lambda dns: evaluate("two.example", address, dns))
    assert found == Verdict("permerror", "two.example has 2 SPF records instead of one")


def test_what_depends_on_the_sender_is_not_known() -> None:
    assert verdict("v=spf1 include:%{l}.example.org -all").result == "unknown"
    assert verdict("v=spf1 ip4:192.0.2.7 include:%{l}.example.org -all").result == "pass"


@pytest.mark.parametrize("mechanism", ["a", "include", "mx", "exists"])
def test_a_look_up_that_fails_is_transient(mechanism: str) -> None:
    zone = ZONE | {"d.example": [f'TXT "v=spf1 {mechanism}:slow.example -all"']}
    scripts = {"slow.example": Script(rcode="SERVFAIL")}
    assert look_up(zone, lambda dns: evaluate("d.example", ip_address("192.0.2.7"), dns), scripts).result == "temperror"


def test_the_record_that_is_suggested_lets_the_addresses_send() -> None:
    addresses = [ip_address("192.0.2.200"), ip_address("2001:db8::99")]
    written = suggestion(addresses)
    assert written == "v=spf1 mx ip4:192.0.2.200 ip6:2001:db8::99 -all"
    for address in addresses:
        assert verdict(written, str(address), {"d.example": []}).result == "pass"
