"""All name servers of a domain are asked for a key's record, and what each has is said in words."""

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from functools import cache
from pathlib import Path
from typing import TypeVar

import pytest

from tests.fakedns import Script
from tests.name_servers import NameServers, txt
from valija.admin.dkim_publication import Publication, look_up, look_up_all
from valija.content.dkim_key import DkimKey, dns_record, generate
from valija.content.dkim_published import zone_strings
from valija.dkim_keys import DkimKeys
from valija.dns.authorities import Authorities
from valija.dns.caching import CachingResolver
from valija.dns.options import DnsOptions
from valija.logs import LogBuffer, build_log
from valija.policy.dkim_stages import MARGIN

NAME = "new._domainkey.example.org"


@cache
def key(selector: str = "new") -> DkimKey:
    return DkimKey.load("example.org", selector, generate("rsa"))


def record(of: DkimKey) -> str:
    return txt(*zone_strings(dns_record(of)[1]))


RECORD = record(key())
T = TypeVar("T")


class World(NameServers):
    """The servers of example.org, and who asks them."""

    def look_up(self, *siblings: DkimKey) -> Publication:
        return asyncio.run(self._asked(lambda authorities: look_up(key(), siblings, authorities)))

    def look_up_all(self, keys: DkimKeys, now: float) -> list[str]:
        found = asyncio.run(self._asked(lambda authorities: look_up_all(keys, ["example.org"], authorities, now)))
        return [each.key.selector for each in found]

    async def _asked(self, ask: Callable[[Authorities], Coroutine[None, None, T]]) -> T:
        with open("/dev/null", "wb") as silence:
            log = build_log("error", "text", LogBuffer(silence.fileno()))
            resolver = CachingResolver(DnsOptions(nameservers=(self.resolver.endpoint,)), log)
            try:
                return await ask(Authorities(resolver, patience=1.0, port=self.port))
            finally:
                await resolver.close()


@pytest.fixture
def world() -> Iterator[World]:
    with World("example.org") as servers:
        yield servers


def test_a_key_is_published_when_all_name_servers_serve_it(world: World) -> None:
    world.first.publish(NAME, [RECORD])
    found = world.look_up()
    assert not found.is_complete
    assert list(found.lines()) == [
        "ns1.example.org: it serves the key",
        "ns2.example.org: there is no TXT record; publish the record that valija dkim list prints",
    ]
    world.second.publish(NAME, [RECORD])
    found = world.look_up()
    assert found.is_complete
    assert list(found.lines()) == ["ns1.example.org, ns2.example.org: it serves the key"]
    assert world.resolver.asked(NAME, "TXT") == 0  # no cache learns that it is not there yet


def test_every_address_of_a_name_server_counts(world: World) -> None:
    world.resolver.publish("example.org", ["NS ns1.example.org."])
    world.resolver.publish("ns1.example.org", ["A 127.0.0.2", "A 127.0.0.3"])
    world.first.publish(NAME, [RECORD])
    assert list(world.look_up().lines()) == [
        "ns1.example.org (127.0.0.2): it serves the key",
        "ns1.example.org (127.0.0.3): there is no TXT record; publish the record that valija dkim list prints",
    ]
    world.second.publish(NAME, [RECORD])
    assert world.look_up().is_complete


def test_addresses_that_cannot_be_looked_up_are_not_passed_over(world: World) -> None:
    world.publish(NAME, [RECORD])
    world.resolver.script("ns2.example.org", Script(rcode="SERVFAIL"))
    found = world.look_up()
    assert not found.is_complete
    assert "its addresses cannot be looked up" in "\n".join(found.lines())


def test_a_server_without_an_address_serves_nothing(world: World) -> None:
    world.publish(NAME, [RECORD])
    world.resolver.publish("ns2.example.org", [])
    assert "ns2.example.org has no address" in "\n".join(world.look_up().lines())


def test_a_record_behind_an_alias_of_the_providers(world: World) -> None:
    world.publish(NAME, ["CNAME key.provider.example."])
    world.resolver.publish("key.provider.example", [RECORD])
    assert world.look_up().is_complete


def test_a_silent_or_lame_name_server_is_none_that_serves_it(world: World) -> None:
    world.publish(NAME, [RECORD])
    world.second.script(NAME, Script(rcode="REFUSED"))
    found = world.look_up()
    assert not found.is_complete
    assert not found.is_sure
    assert "ns2.example.org: it does not answer (127.0.0.3: REFUSED" in "\n".join(found.lines())
    assert "take it out of the zone's NS records" in "\n".join(found.lines())


def test_the_dns_is_out_of_reach(world: World) -> None:
    world.resolver.default = Script(rcode="SERVFAIL")
    found = world.look_up()
    assert not found.is_complete
    assert "cannot be looked up" in found.failed


def test_a_name_that_a_form_has_made_longer_is_found(world: World) -> None:
    world.publish(f"{NAME}.example.org", [RECORD])
    assert list(world.look_up().lines())[-1] == (
        f"the record stands at {NAME}.example.org by mistake: enter new._domainkey as its name, without the domain"
    )


def test_a_record_that_still_has_the_old_key(world: World) -> None:
    world.publish(NAME, [record(key("old"))])
    (line,) = world.look_up(key("old")).lines()
    assert "it still has the key of the selector old; put the value of new in its place" in line


def test_records_that_are_needed_no_more_are_not_asked_for(world: World, tmp_path: Path) -> None:
    keys = DkimKeys(tmp_path)
    keys.create("example.org", "old", "ed25519", "retired", now=1000.0)
    keys.create("example.org", "new", "ed25519")

    assert world.look_up_all(keys, 1000.0 + MARGIN - 1) == ["new", "old"]
    assert world.look_up_all(keys, 1000.0 + MARGIN) == ["new"]
