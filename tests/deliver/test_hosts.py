"""From a route to targets: order, limits, ourselves, and what is permanent."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import cast

import pytest

from tests.deliver.setting import MemoryResolver, free_port, job_for, sending, states
from tests.scripted_sink import ScriptedSink
from valija.deliver.errand import Failure, Target
from valija.deliver.hosts import Surroundings, find_way
from valija.deliver.options import SmtpOptions
from valija.dns.resolver import Resolver
from valija.mail.job import Route
from valija.mail.outcome import State

REMOTE = Route("remote", "remote.example")


def targets_of(
    zone: Mapping[str, Sequence[str]], route: Route = REMOTE, own: Sequence[tuple[str, int]] = ()
) -> list[Target] | Failure:
    ask = Surroundings(
        cast("Resolver", MemoryResolver(zone)),
        lambda hosts: None,
        lambda name: name == "mail.example.org",
        lambda address, port: (address, port) in own,
    )
    way = asyncio.run(find_way(route, ask, SmtpOptions()))
    return way if isinstance(way, Failure) else way.targets


def test_hosts_by_preference_and_families_by_turns() -> None:
    zone = {
        "remote.example": ["MX 20 b.example", "MX 10 a.example"],
        "a.example": ["A 192.0.2.1", "A 192.0.2.2", "AAAA 2001:db8::1"],
        "b.example": ["A 192.0.2.3"],
    }
    assert targets_of(zone) == [
        Target("a.example", "2001:db8::1", 25),
        Target("a.example", "192.0.2.1", 25),
        Target("b.example", "192.0.2.3", 25),
    ]


def test_a_host_with_many_addresses_is_tried_at_five() -> None:
    zone = {"remote.example": [f"A 192.0.2.{n}" for n in range(1, 30)]}
    targets = targets_of(zone)
    assert isinstance(targets, list)
    assert len(targets) == 5


@pytest.mark.parametrize("host", ["192.0.2.9", "2001:db8::9"])
def test_a_relayhost_by_address_is_taken_at_its_word(host: str) -> None:
    assert targets_of({}, Route("remote", host, 587, lookup_mx=False)) == [Target(host, host, 587)]


def test_ourselves_by_address_ends_the_list() -> None:
    zone = {
        "remote.example": ["MX 10 a.example", "MX 20 us.example", "MX 20 equal.example", "MX 30 behind.example"],
        "a.example": ["A 192.0.2.1"],
        "us.example": ["A 192.0.2.2"],
        "equal.example": ["A 192.0.2.3"],
        "behind.example": ["A 192.0.2.4"],
    }
    assert targets_of(zone, own=[("192.0.2.2", 25)]) == [Target("a.example", "192.0.2.1", 25)]


def test_a_domain_that_leads_only_here_is_bounced_not_looped() -> None:
    zone = {"remote.example": ["MX 10 us.example"], "us.example": ["A 192.0.2.2"]}
    failure = targets_of(zone, own=[("192.0.2.2", 25)])
    assert isinstance(failure, Failure)
    assert failure.permanent
    assert failure.reply.enhanced == "5.4.6"
    assert failure.reply.text == "Mail for remote.example loops back to myself"


def test_a_relayhost_that_is_ourselves_or_has_no_address_never_bounces() -> None:
    route = Route("remote", "relay.example", 0, lookup_mx=False)
    for zone, own in (({"relay.example": ["A 192.0.2.2"]}, [("192.0.2.2", 25)]), ({}, [])):
        failure = targets_of(zone, route, own)
        assert isinstance(failure, Failure)
        assert not failure.permanent
        assert failure.reply.is_transient


@pytest.mark.parametrize("records", [{}, {"relay.example": ["MX 0 ."]}, {"relay.example": ["TXT x"]}])
def test_a_mistake_in_the_relayhost_bounces_nobodys_mail(records: Mapping[str, Sequence[str]]) -> None:
    failure = targets_of(records, Route("remote", "relay.example", is_relayhost=True))
    assert isinstance(failure, Failure)
    assert not failure.permanent
    assert str(failure.reply).startswith("451 4.4.4 The relayhost relay.example can't be used: ")


@pytest.mark.parametrize(
    ("zone", "permanent", "enhanced"),
    [
        ({}, True, "5.1.2"),
        ({"remote.example": ["MX 0 ."]}, True, "5.1.10"),
        ({"remote.example": ["FAILED"]}, False, "4.4.3"),
        ({"remote.example": ["MX 10 a.example"], "a.example": ["FAILED"]}, False, "4.4.3"),
        ({"remote.example": ["MX 10 a.example"]}, False, "4.4.4"),
        ({"remote.example": ["TXT x"]}, True, "5.4.4"),
        ({"remote.example": ["MX 10 a.example"], "a.example": ["A 0.0.0.0"]}, True, "5.1.2"),
        ({"remote.example": ["MX 10 a.example"], "a.example": ["A 0.0.0.0", "AAAA ::"]}, True, "5.1.2"),
        ({"remote.example": ["A 0.0.0.0"]}, True, "5.4.4"),
        ({"remote.example": ["MX 10 a.example"], "a.example": ["A 169.254.1.1"]}, False, "4.4.4"),
        (
            {"remote.example": ["MX 10 a.example", "MX 20 b.example"], "a.example": ["A 0.0.0.0"]},
            False,
            "4.4.4",
        ),
        (
            {
                "remote.example": ["MX 10 a.example", "MX 20 b.example"],
                "a.example": ["AAAA ::"],
                "b.example": ["FAILED"],
            },
            False,
            "4.4.3",
        ),
    ],
)
def test_what_the_dns_says_decides(zone: Mapping[str, Sequence[str]], permanent: bool, enhanced: str) -> None:
    failure = targets_of(zone)
    assert isinstance(failure, Failure)
    assert (failure.permanent, failure.reply.enhanced) == (permanent, enhanced)


def test_an_unspecified_address_does_not_keep_mail_from_the_next_host() -> None:
    zone = {
        "remote.example": ["MX 10 a.example", "MX 20 b.example"],
        "a.example": ["A 0.0.0.0"],
        "b.example": ["A 192.0.2.1"],
    }
    assert targets_of(zone) == [Target("b.example", "192.0.2.1", 25)]


def test_c075_null_mx_bounces_at_once_without_a_connection() -> None:
    async def main() -> None:
        zone = {"remote.example": ["MX 0 .", "A 127.0.0.1"]}
        async with ScriptedSink() as sink, sending(port=sink.port, zone=zone) as sender:
            [outcome] = await sender.deliver(job_for())
            assert (outcome.state, str(outcome.reply)[:11]) == (State.FAILED, "556 5.1.10 ")
            assert not sink.sessions
            assert ("", "A") not in sender.resolver.asked

    asyncio.run(main())


def test_c075_null_mx_among_others_is_ignored() -> None:
    async def main() -> None:
        zone = {"remote.example": ["MX 0 .", "MX 10 real.example"], "real.example": ["A 127.0.0.1"]}
        async with ScriptedSink() as sink, sending(port=sink.port, zone=zone) as sender:
            assert states(await sender.deliver(job_for())) == [State.DELIVERED]
            assert ("", "A") not in sender.resolver.asked

    asyncio.run(main())


def test_an_own_listener_is_never_connected_to() -> None:
    async def main() -> None:
        async with ScriptedSink() as sink, sending(port=sink.port, own_listeners=[("127.0.0.1", sink.port)]) as sender:
            [outcome] = await sender.deliver(job_for())
            assert (outcome.state, outcome.reply.enhanced) == (State.FAILED, "5.4.6")
            assert not sink.sessions

    asyncio.run(main())


def test_hosts_are_tried_in_their_order() -> None:
    port = free_port("127.0.0.2")
    zone = {
        "remote.example": ["MX 30 c.example", "MX 10 a.example", "MX 20 b.example"],
        "a.example": ["A 127.0.0.2"],  # nobody listens there
        "b.example": ["A 127.0.0.3"],
        "c.example": ["A 127.0.0.4"],
    }

    async def main() -> None:
        async with (
            ScriptedSink(port=port, address="127.0.0.3") as second,
            ScriptedSink(port=port, address="127.0.0.4") as third,
            sending(port=port, zone=zone) as sender,
        ):
            [outcome] = await sender.deliver(job_for())
            assert outcome.remote == "b.example"
            assert (len(second.sessions), len(third.sessions)) == (1, 0)

    asyncio.run(main())
