"""The chore that makes successors, has them sign once the world can have them, and watches old keys."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.here import Here
from tests.fakedns import Script
from tests.name_servers import NameServers, txt
from valija.config import load
from valija.content.dkim_key import dns_record
from valija.content.dkim_published import zone_strings
from valija.dkim_keys import DkimKeys
from valija.dkim_rotation import DkimRotation
from valija.logs import LogBuffer, build_log
from valija.policy.dkim_stages import MARGIN

DAY = 86_400.0
START = 1764072000.0


class World:
    """A domain, its keys, its name servers, and a server's first worker at a time of the test's choice."""

    def __init__(self, folder: Path, servers: NameServers, rotate: str) -> None:
        more = f'[dkim]\nrotate = "{rotate}"\n[dns]\nnameservers = ["{servers.resolver.nameserver}"]\n'
        self.here = Here(folder, more=more)
        self.servers = servers
        self.now = START
        self.keys = DkimKeys(self.here.data_dir / "dkim")
        self._log_path = folder / "log"

    def look(self) -> str:
        """Have the chore look once; return what it logged."""
        before = len(self._log_path.read_bytes()) if self._log_path.exists() else 0
        with self._log_path.open("ab") as file:
            buffer = LogBuffer(file.fileno())
            log = build_log("info", "text", buffer)
            rotation = DkimRotation(self.keys, log, clock=lambda: self.now, port=self.servers.port)
            rotation.use(load(self.here.configuration))
            asyncio.run(rotation.look())
            buffer.flush()
        return self._log_path.read_bytes()[before:].decode()

    def waiting(self) -> list[str]:
        return [name for name, each in self.keys.stages("example.org").items() if each.stage == "waiting"]

    def signing(self) -> list[str]:
        return [key.selector for key in self.keys.for_domain("example.org")]

    def publish(self, selector: str) -> None:
        (key,) = (key for key in self.keys.list("example.org") if key.selector == selector)
        name, value = dns_record(key)
        self.servers.publish(name, [txt(*zone_strings(value))])


@pytest.fixture
def servers() -> Iterator[NameServers]:
    with NameServers("example.org") as servers:
        yield servers


@pytest.fixture
def world(tmp_path: Path, servers: NameServers) -> World:
    world = World(tmp_path, servers, "90d")
    world.keys.create("example.org", "old", "ed25519", "retired", now=START)
    world.keys.create("example.org", "first", "ed25519", "waiting", now=START)
    world.publish("first")
    assert "DKIM key signs" in world.look()
    return world


def test_a_key_gets_a_successor_in_time_that_signs_once_all_can_have_it(world: World) -> None:
    world.now = START + 90 * DAY - 1
    assert "DKIM key made" not in world.look()
    world.now = START + 90 * DAY
    log = world.look()
    (successor,) = world.waiting()
    assert world.signing() == ["first"]
    assert "DKIM key waits for its record" in log
    assert f"name={successor}._domainkey.example.org" in log
    assert "there is no TXT record" in log

    world.servers.first.publish(f"{successor}._domainkey.example.org", ["TXT x"])
    world.now += 3600
    world.look()
    assert (world.signing(), world.waiting()) == (["first"], [successor])  # one of two, and only one successor
    world.publish(successor)
    world.servers.second.script(f"{successor}._domainkey.example.org", Script(rcode="SERVFAIL"))
    world.look()
    assert world.signing() == ["first"]
    world.servers.second.script(f"{successor}._domainkey.example.org", Script())
    log = world.look()
    assert f"DKIM key signs  domain=example.org selector={successor} kind=ed25519" in log
    assert world.signing() == [successor]
    assert world.keys.stages("example.org")["first"].stage == "retired"


def test_a_record_that_is_needed_no_more_is_told(world: World) -> None:
    world.now = START + MARGIN - 1
    assert "needed no more" not in world.look()
    world.now = START + MARGIN
    log = world.look()
    assert "DKIM record needed no more" in log
    assert "name=old._domainkey.example.org" in log


def test_without_the_setting_nothing_is_made_or_asked(tmp_path: Path, servers: NameServers) -> None:
    world = World(tmp_path, servers, "0s")
    world.keys.create("example.org", "a", "ed25519")
    world.keys.create("example.org", "b", "ed25519", "waiting", now=START)
    world.publish("b")
    world.now = START + 1000 * DAY
    assert world.look() == ""
    assert world.signing() == ["a"]
    assert servers.resolver.questions == []
