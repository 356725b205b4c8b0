"""All name servers of a domain are asked for a key's record, and what each has is said in words."""

import asyncio
import contextlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.fakedns import FakeDns, Script
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


def quoted(value: str) -> str:
    return "TXT " + " ".join(f'"{piece}"' for piece in zone_strings(value))


RECORD = quoted(dns_record(key())[1])


class World:
    """Two name servers of example.org on one port, and a resolver that knows them."""

    def __init__(self, first: FakeDns, second: FakeDns, resolver: FakeDns) -> None:
        self.first, self.second, self.resolver = first, second, resolver

    def look_up(self, *siblings: DkimKey) -> Publication:
        return asyncio.run(self._look_up(siblings))

    async def _look_up(self, siblings: tuple[DkimKey, ...]) -> Publication:
        with open("/dev/null", "wb") as silence:
            options = DnsOptions(nameservers=(self.resolver.endpoint,))
            resolver = CachingResolver(options, build_log("error", "text", LogBuffer(silence.fileno())))
            try:
                return await look_up(key(), siblings, self.authorities(resolver))
            finally:
                await resolver.close()

    def authorities(self, resolver: CachingResolver) -> Authorities:
        return Authorities(resolver, patience=1.0, port=self.first.port)


@pytest.fixture
def world() -> Iterator[World]:
    zone = {
        "example.org": ["NS ns1.example.org.", "NS ns2.example.org."],
        "ns1.example.org": ["A 127.0.0.2"],
        "ns2.example.org": ["A 127.0.0.3"],
    }
    with contextlib.ExitStack() as stack:
        first = stack.enter_context(FakeDns({"example.org": ["TXT x"]}, host="127.0.0.2"))
        second = stack.enter_context(FakeDns({"example.org": ["TXT x"]}, host="127.0.0.3", port=first.port))
        yield World(first, second, stack.enter_context(FakeDns(zone)))


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


def test_a_silent_or_lame_name_server_is_none_that_serves_it(world: World) -> None:
    for server in (world.first, world.second):
        server.publish(NAME, [RECORD])
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
    for server in (world.first, world.second):
        server.publish(f"{NAME}.example.org", [RECORD])
    assert list(world.look_up().lines())[-1] == (
        f"the record stands at {NAME}.example.org by mistake: enter new._domainkey as its name, without the domain"
    )


def test_a_record_that_still_has_the_old_key(world: World) -> None:
    for server in (world.first, world.second):
        server.publish(NAME, [quoted(dns_record(key("old"))[1])])
    (line,) = world.look_up(key("old")).lines()
    assert "it still has the key of the selector old; put the value of new in its place" in line


def test_records_that_are_needed_no_more_are_not_asked_for(world: World, tmp_path: Path) -> None:
    keys = DkimKeys(tmp_path)
    keys.create("example.org", "old", "ed25519", "retired", now=1000.0)
    keys.create("example.org", "new", "ed25519")

    async def found(now: float) -> list[str]:
        with open("/dev/null", "wb") as silence:
            options = DnsOptions(nameservers=(world.resolver.endpoint,))
            resolver = CachingResolver(options, build_log("error", "text", LogBuffer(silence.fileno())))
            listed = await look_up_all(keys, ["example.org"], world.authorities(resolver), now)
            await resolver.close()
            return [each.key.selector for each in listed]

    assert asyncio.run(found(1000.0 + MARGIN - 1)) == ["new", "old"]
    assert asyncio.run(found(1000.0 + MARGIN)) == ["new"]
