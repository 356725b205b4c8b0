"""Reverse names that lead back."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Never, cast

import pytest

from tests.deliver.setting import MemoryResolver
from valija.dns.resolver import Resolver
from valija.dns.reverse import ReverseName, confirmed_name, find_reverse_name

V4, V6 = "192.0.2.7", "2001:db8::7"
PTR4 = "7.2.0.192.in-addr.arpa"
PTR6 = "7" + ".0" * 23 + ".8.b.d.0.1.0.0.2.ip6.arpa"


def find(address: str, zone: Mapping[str, Sequence[str]]) -> ReverseName:
    return asyncio.run(find_reverse_name(cast("Resolver", MemoryResolver(zone)), address))


@pytest.mark.parametrize(
    ("address", "zone"),
    [
        (V4, {PTR4: ["PTR mail.example.org"], "mail.example.org": [f"A {V4}"]}),
        (V6, {PTR6: ["PTR mail.example.org"], "mail.example.org": ["AAAA 2001:DB8:0::7"]}),
        (V4, {PTR4: ["PTR old.example.org", "PTR mail.example.org"], "mail.example.org": ["A 192.0.2.1", f"A {V4}"]}),
        (
            V4,
            {PTR4: ["PTR a.example", "PTR mail.example.org"], "a.example": ["FAILED"], "mail.example.org": [f"A {V4}"]},
        ),
    ],
    ids=["IPv4", "IPv6 in another spelling", "one of two", "though another cannot be looked up"],
)
def test_a_name_that_leads_back_is_confirmed(address: str, zone: dict[str, list[str]]) -> None:
    found = find(address, zone)
    assert (found.confirmed, found.failed, found.is_missing) == ("mail.example.org", "", False)


@pytest.mark.parametrize(
    ("zone", "names"),
    [
        ({}, ()),
        ({PTR4: ["PTR mail.example.org"]}, ("mail.example.org",)),
        ({PTR4: ["PTR mail.example.org"], "mail.example.org": ["A 192.0.2.8"]}, ("mail.example.org",)),
    ],
    ids=["no name", "of a host that is not", "of another"],
)
def test_a_name_that_does_not_lead_back_is_missing(zone: dict[str, list[str]], names: tuple[str, ...]) -> None:
    found = find(V4, zone)
    assert (found.is_missing, found.names, found.failed) == (True, names, "")


@pytest.mark.parametrize(
    "zone",
    [{PTR4: ["FAILED"]}, {PTR4: ["PTR mail.example.org"], "mail.example.org": ["FAILED"]}],
    ids=["the name", "the way back"],
)
def test_what_cannot_be_looked_up_is_not_missing(zone: dict[str, list[str]]) -> None:
    found = find(V4, zone)
    assert (found.is_missing, found.confirmed, found.failed) == (False, "", "SERVFAIL")


class Silent:
    """A name server that says nothing."""

    async def lookup(self, name: str, rtype: str) -> Never:
        await asyncio.Event().wait()
        raise AssertionError


def test_the_name_alone_is_waited_for_no_longer_than_is_wanted() -> None:
    zone = {PTR4: ["PTR mail.example.org"], "mail.example.org": [f"A {V4}"]}
    assert asyncio.run(confirmed_name(cast("Resolver", MemoryResolver(zone)), V4, 5.0)) == "mail.example.org"
    assert asyncio.run(confirmed_name(cast("Resolver", MemoryResolver({})), V4, 5.0)) == ""
    assert asyncio.run(confirmed_name(cast("Resolver", Silent()), V4, 0.01)) == ""
