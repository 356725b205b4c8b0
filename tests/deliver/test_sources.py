"""Which address a connection leaves from, and by which name. Nothing is connected here: see test_dial."""

import asyncio
import socket
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import pytest

from tests.deliver.setting import HOSTNAME, MemoryLog, MemoryResolver
from valija.deliver.options import SmtpOptions, SourcePool
from valija.deliver.sources import KERNELS_CHOICE, Sources, SourceUnusable
from valija.dns.resolver import Resolver
from valija.logs import Log

HOST, HOST_6 = "192.0.2.20", "2001:db8::20"
THREE = ("198.51.100.5", "198.51.100.6", "198.51.100.7")
NEXT_HOPS = [f"domain{number}.example" for number in range(3000)]


def sources(
    *,
    zone: Mapping[str, Sequence[str]] | None = None,
    log: MemoryLog | None = None,
    kernels_choice: Callable[[str], str] = lambda _: "",
    **options: Any,
) -> Sources:
    resolver = cast("Resolver", MemoryResolver(zone or {}))
    log_ = cast("Log", log or MemoryLog())
    return Sources(SmtpOptions(**options), HOSTNAME, resolver, log_, kernels_choice=kernels_choice)


def pool(*addresses: str, helo_name: str = "") -> tuple[SourcePool, ...]:
    return (SourcePool("bulk", addresses, helo_name),)


# Names


@pytest.mark.parametrize(
    ("general", "of_pool", "said"),
    [
        ("", "", HOSTNAME),
        ("out.example.org", "", "out.example.org"),
        ("out.example.org", "bulk.example.org", "bulk.example.org"),
    ],
)
def test_the_name_is_the_pools_or_that_of_smtp_or_the_servers(general: str, of_pool: str, said: str) -> None:
    assert sources(helo_name=general, pools=pool(helo_name=of_pool)).helo_name("bulk") == said


def test_mail_of_no_pool_has_the_name_of_smtp() -> None:
    assert (
        sources(helo_name="out.example.org", pools=pool(helo_name="bulk.example.org")).helo_name("")
        == "out.example.org"
    )


# Addresses


def test_without_settings_the_kernel_chooses() -> None:
    assert sources().towards(HOST, pool="", next_hop="a.example") is KERNELS_CHOICE


def test_a_pool_without_addresses_leaves_it_to_the_kernel() -> None:
    named = sources(pools=pool(helo_name="bulk.example.org"), bind_addresses=("192.0.2.5",))
    assert named.towards(HOST, pool="bulk", next_hop="a.example") is KERNELS_CHOICE


def test_bind_addresses_are_for_their_family() -> None:
    bound = sources(bind_addresses=("192.0.2.5",))
    assert bound.towards(HOST, pool="", next_hop="a.example") == ["192.0.2.5"]
    assert bound.towards(HOST_6, pool="", next_hop="a.example") is KERNELS_CHOICE


def test_a_pool_has_its_addresses_and_no_others() -> None:
    bulk = sources(pools=pool("192.0.2.5"), bind_addresses=("2001:db8::5",))
    assert bulk.towards(HOST, pool="bulk", next_hop="a.example") == ["192.0.2.5"]
    assert bulk.towards(HOST_6, pool="bulk", next_hop="a.example") == []


def test_nothing_leaves_for_a_pool_that_there_is_not() -> None:
    assert sources().towards(HOST, pool="gone", next_hop="a.example") == []


async def favourites(addresses: Sequence[str]) -> dict[str, str]:
    many = sources(pools=pool(*addresses))
    return {hop: many.towards(HOST, pool="bulk", next_hop=hop)[0] for hop in NEXT_HOPS}


def test_each_next_hop_has_its_own_address_and_all_have_their_share() -> None:
    first = asyncio.run(favourites(THREE))
    assert asyncio.run(favourites(THREE[::-1])) == first, "in whatever order they are written, in every process"
    assert all(900 < number < 1100 for number in Counter(first.values()).values())


def test_a_new_address_takes_its_share_and_moves_no_other() -> None:
    before, after = asyncio.run(favourites(THREE[:2])), asyncio.run(favourites(THREE))
    moved = {hop for hop in NEXT_HOPS if before[hop] != after[hop]}
    assert {after[hop] for hop in moved} == {THREE[2]}
    assert 900 < len(moved) < 1100


def test_the_next_hop_has_the_others_too() -> None:
    async def main() -> None:
        ways = sources(pools=pool(*THREE)).towards(HOST, pool="bulk", next_hop="a.example")
        assert sorted(ways) == sorted(THREE)

    asyncio.run(main())


# Reverse names


def reverse(address: str) -> str:
    import ipaddress

    return ipaddress.ip_address(address).reverse_pointer


def named(*addresses: str) -> dict[str, list[str]]:
    zone = {reverse(address): ["PTR out.example.org"] for address in addresses}
    return zone | {"out.example.org": [f"{'AAAA' if ':' in each else 'A'} {each}" for each in addresses]}


async def settled() -> None:
    """Let look-ups in memory come to their end."""
    for _ in range(20):
        await asyncio.sleep(0)


def test_an_address_of_a_pool_without_a_reverse_name_comes_last() -> None:
    async def main() -> None:
        some = sources(pools=pool(*THREE), zone=named(THREE[0], THREE[2]))
        hops = NEXT_HOPS[:50]
        before = [some.towards(HOST, pool="bulk", next_hop=hop)[0] for hop in hops]
        assert set(before) == set(THREE), "until it is known it counts as fine"
        await settled()
        after = [some.towards(HOST, pool="bulk", next_hop=hop) for hop in hops]
        assert {ways[0] for ways in after} == {THREE[0], THREE[2]}
        assert {ways[-1] for ways in after} == {THREE[1]}

    asyncio.run(main())


def poor(some: Sources, *ways: tuple[str, Sequence[str]]) -> set[int]:
    """What is left for the last once everything is known."""

    async def main() -> set[int]:
        some.poor(ways)
        await settled()
        return some.poor(ways)

    return asyncio.run(main())


BOTH = ((HOST_6, ["2001:db8::5"]), (HOST, ["192.0.2.5"]))


@pytest.mark.parametrize(
    ("good", "last"),
    [(["192.0.2.5"], {0}), (["2001:db8::5"], {1}), (["192.0.2.5", "2001:db8::5"], set()), ([], set())],
    ids=["IPv4 has a name", "IPv6 has a name", "both", "neither"],
)
def test_the_family_without_a_reverse_name_is_left_for_the_last(good: list[str], last: set[int]) -> None:
    assert poor(sources(zone=named(*good)), *BOTH) == last


def test_what_could_not_be_looked_up_counts_as_fine() -> None:
    zone = named("192.0.2.5") | {reverse("2001:db8::5"): ["FAILED"]}
    assert poor(sources(zone=zone), *BOTH) == set()


def test_a_name_that_leads_elsewhere_is_none() -> None:
    log = MemoryLog()
    zone = named("192.0.2.5") | {reverse("2001:db8::5"): ["PTR elsewhere.example"], "elsewhere.example": ["AAAA ::9"]}
    assert poor(sources(zone=zone, log=log), *BOTH) == {0}
    [line] = log.of("source address avoided")
    assert line["reason"] == "elsewhere.example does not lead back to it"
    assert line["remedy"] == f"have your provider set its reverse name to {HOSTNAME}"


def test_the_kernels_choice_is_judged_too() -> None:
    choice = {HOST_6: "2001:db8::7", HOST: "192.0.2.7"}
    some = sources(zone=named("192.0.2.7"), kernels_choice=choice.__getitem__)
    assert poor(some, (HOST_6, KERNELS_CHOICE), (HOST, KERNELS_CHOICE)) == {0}


@pytest.mark.parametrize("ours", ["fe80::1", "fd00::7", "::1"])
def test_an_ipv6_source_that_the_internet_does_not_know_is_left_for_the_last_and_not_told_of(ours: str) -> None:
    log = MemoryLog()
    some = sources(log=log, kernels_choice={HOST_6: ours, HOST: "192.168.0.7"}.__getitem__)
    assert poor(some, (HOST_6, KERNELS_CHOICE), (HOST, KERNELS_CHOICE)) == {0}
    assert log.lines == []


def test_a_translated_ipv4_source_is_not_judged() -> None:
    some = sources(kernels_choice={HOST_6: "2001:db8::7", HOST: "10.0.0.7"}.__getitem__)
    assert poor(some, (HOST_6, KERNELS_CHOICE), (HOST, KERNELS_CHOICE)) == {0}, "another address is seen outside"


def test_a_family_without_a_route_is_no_reason_to_avoid_the_other() -> None:
    log = MemoryLog()
    some = sources(log=log, kernels_choice={HOST_6: "2001:db8::7", HOST: ""}.__getitem__)
    assert poor(some, (HOST_6, KERNELS_CHOICE), (HOST, KERNELS_CHOICE)) == set()
    assert log.lines == []


def test_the_way_to_an_inner_host_is_not_judged() -> None:
    some = sources(kernels_choice=lambda target: pytest.fail(f"asked for {target}"))
    assert poor(some, ("fd00::20", KERNELS_CHOICE), ("10.0.0.20", KERNELS_CHOICE)) == set()


# Binding


def test_the_first_address_that_can_be_bound_to_is_taken() -> None:
    log = MemoryLog()
    some = sources(log=log)
    for _ in range(2):
        with socket.socket() as opened:
            some.bind(opened, ["192.0.2.99", "127.0.0.7"])
            assert opened.getsockname()[0] == "127.0.0.7"
    [line] = log.of("source address unusable")
    assert (line["source"], line["reason"]) == ("192.0.2.99", "Cannot assign requested address")


def test_none_of_them_is_said_so() -> None:
    with socket.socket() as opened, pytest.raises(SourceUnusable, match=r"this machine can't send from 192\.0\.2\.99"):
        sources().bind(opened, ["192.0.2.99"])


def test_no_port_is_used_up_before_the_connect() -> None:
    """Thousands of connections to different hosts can share one port of ours."""
    with socket.socket() as opened:
        sources().bind(opened, ["127.0.0.7"])
        assert opened.getsockname() == ("127.0.0.7", 0)
