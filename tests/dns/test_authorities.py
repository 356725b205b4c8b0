"""The name servers of a zone, each asked directly: who they are, what they say, and how they fail."""

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterator
from typing import TypeVar

import pytest

from tests.fakedns import Script
from tests.name_servers import NameServers
from valija.dns.authorities import Authorities, Zone, published_everywhere
from valija.dns.caching import CachingResolver
from valija.dns.options import DnsOptions
from valija.dns.resolver import MxRecord, Status
from valija.logs import LogBuffer, build_log

T = TypeVar("T")


@pytest.fixture
def world() -> Iterator[NameServers]:
    with NameServers("example.org") as servers:
        servers.publish("example.org", ["MX 10 mail.example.org."])
        yield servers


def asked(world: NameServers, ask: Callable[[Authorities], Awaitable[T]], patience: float = 2.0) -> T:
    async def run() -> T:
        with open(os.devnull, "wb") as nothing:
            log = build_log("error", "text", LogBuffer(nothing.fileno()))
            resolver = CachingResolver(DnsOptions(nameservers=(world.resolver.endpoint,), timeout=1.0), log)
            try:
                return await ask(Authorities(resolver, patience=patience, port=world.port))
            finally:
                await resolver.close()

    return asyncio.run(run())


@pytest.mark.parametrize("name", ["example.org", "_dmarc.example.org", "a.b.c.example.org"])
def test_the_zone_of_a_name_is_the_nearest_above_with_name_servers(world: NameServers, name: str) -> None:
    found = asked(world, lambda authorities: authorities.zone_of(name))
    assert found == Zone("example.org", ("ns1.example.org", "ns2.example.org"))


def test_the_name_servers_of_where_an_alias_leads_are_not_the_names_own(world: NameServers) -> None:
    world.resolver.publish("alias.example.org", ["CNAME other.example."])
    world.resolver.publish("other.example", ["NS ns.other.example."])
    assert asked(world, lambda authorities: authorities.zone_of("alias.example.org")).apex == "example.org"


def test_a_name_in_no_zone(world: NameServers) -> None:
    assert "no zone" in asked(world, lambda authorities: authorities.zone_of("nowhere.example")).failed
    assert asked(world, lambda authorities: authorities.ask("nowhere.example", "A")) == ()


def test_name_servers_that_cannot_be_looked_up(world: NameServers) -> None:
    world.resolver.script("example.org", Script(rcode="SERVFAIL"))
    found = asked(world, lambda authorities: authorities.zone_of("example.org"))
    assert "cannot be looked up" in found.failed


def test_each_server_is_asked_past_the_caches(world: NameServers) -> None:
    world.second.publish("example.org", [])
    told = asked(world, lambda authorities: authorities.ask("example.org", "MX"))
    assert [(each.server, each.answer.records) for each in told] == [
        ("ns1.example.org", (MxRecord(10, "mail.example.org"),)),
        ("ns2.example.org", ()),
    ]
    assert world.resolver.asked("example.org", "MX") == 0


def test_a_question_is_asked_once(world: NameServers) -> None:
    async def twice(authorities: Authorities) -> None:
        await asyncio.gather(authorities.ask("example.org", "MX"), authorities.ask("Example.org.", "MX"))

    asked(world, twice)
    assert world.first.asked("example.org", "MX") == 1


@pytest.mark.parametrize(
    ("script", "words"),
    [(Script(rcode="REFUSED"), "REFUSED for example.org"), (Script(silent=True), "no answer in 0.3 s")],
)
def test_a_server_that_fails(world: NameServers, script: Script, words: str) -> None:
    world.second.script("example.org", script)
    first, second = asked(world, lambda authorities: authorities.ask("example.org", "MX"), patience=0.3)
    assert first.answer.status is Status.FOUND
    assert second.answer.status is Status.FAILED
    assert words in second.answer.detail


def test_a_server_without_an_address(world: NameServers) -> None:
    world.resolver.publish("ns2.example.org", [])
    _, second = asked(world, lambda authorities: authorities.ask("example.org", "MX"))
    assert (second.answer.status, second.answer.detail) == (Status.FAILED, "ns2.example.org has no address")


def test_a_server_is_asked_at_its_next_address_where_one_is_dead(world: NameServers) -> None:
    world.resolver.publish("ns2.example.org", ["A 127.0.0.77", "A 127.0.0.3"])
    _, second = asked(world, lambda authorities: authorities.ask("example.org", "MX"))
    assert second.answer.status is Status.FOUND


def test_an_alias_that_leads_to_others_is_followed(world: NameServers) -> None:
    for server in (world.first, world.second):
        server.publish("key._domainkey.example.org", ["CNAME key.provider.example."])
        server.script("key._domainkey.example.org", Script(bare_cname=True))
    world.resolver.publish("key.provider.example", ['TXT "v=DKIM1"'])
    told = asked(world, lambda authorities: authorities.ask("key._domainkey.example.org", "TXT"))
    assert published_everywhere(told, "v=DKIM1")
    assert not published_everywhere(told, "v=DKIM2")
    assert not published_everywhere((), "v=DKIM1")


def test_srv_records_are_read(world: NameServers) -> None:
    world.publish("_submissions._tcp.example.org", ["SRV 0 1 465 Mail.example.org."])
    told = asked(world, lambda authorities: authorities.ask("_submissions._tcp.example.org", "SRV"))
    assert published_everywhere(told, "0 1 465 mail.example.org")
