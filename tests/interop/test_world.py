"""Each rung of the way out, against real servers: it holds, and it refuses who sits in the middle."""

from collections.abc import Iterator

import pytest

from tests.interop import world as small_world
from tests.interop.world import World
from tests.unbound import Zone

pytestmark = [pytest.mark.interop, pytest.mark.skipif(bool(small_world.MISSING), reason=small_world.MISSING)]


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with World() as world:
        yield world


def test_may_reaches_a_server_whose_tls_is_broken_in_clear(world: World) -> None:
    since = world.ana.server.log.mark()
    world.ana.submit("bob@plain.example")
    world.ana.server.wait_for_log(r"attempt .*outcome=delivered next_hop=plain\.example .*tls=none", since=since)
    assert b"hello" in world.opensmtpd.wait_for_mail()


HELD: list[tuple[str, str, str]] = [
    # domain, who receives, what the attempt's line says of the way
    ("dane.example", "postfix", "tls=verified"),
    ("sts.example", "exim", "tls=verified"),
    ("encrypt.example", "postfix", "tls=encrypted"),
    ("verify.example", "postfix", "tls=verified"),
    ("secure.example", "postfix", "tls=verified"),
    ("fingerprint.example", "postfix", "tls=verified"),
    ("dane-only.example", "postfix", "tls=verified"),
]


@pytest.mark.parametrize(("domain", "receiver", "way"), HELD)
def test_each_rung_holds(world: World, domain: str, receiver: str, way: str) -> None:
    delivered(world, domain, way)


@pytest.mark.parametrize(("domain", "receiver", "way"), [rung for rung in HELD if rung[0] != "encrypt.example"])
def test_each_rung_refuses_a_wrong_certificate(world: World, domain: str, receiver: str, way: str) -> None:
    with world.attack(receiver, certificate=world.mallory) as attacker:
        deferred(world, domain, r"4\.7\.5")
        assert attacker.sessions
        assert not attacker.messages
    comes_through(world, domain, way)


@pytest.mark.parametrize(("domain", "receiver", "way"), HELD)
def test_each_rung_refuses_stripped_starttls(world: World, domain: str, receiver: str, way: str) -> None:
    with world.attack(receiver, certificate=None) as attacker:
        deferred(world, domain, r"4\.7\.4")
        assert attacker.sessions
        assert not attacker.messages
    comes_through(world, domain, way)


def test_a_forged_mx_in_a_signed_domain_is_seen_through(world: World) -> None:
    with world.attack("mallory", certificate=world.certificate_of_mallory) as attacker:
        deferred(world, "bogus.example", r"4\.4\.3")
        assert not attacker.sessions


def test_a_forged_mx_leads_nobody_away_from_an_mta_sts_policy(world: World) -> None:
    delivered(world, "sts.example", "tls=verified")  # from now on the policy is known, beyond a restart too
    real = world.zones()["sts.example"]
    with world.attack("mallory", certificate=world.certificate_of_mallory) as attacker:
        forge(world, sts_example=Zone("@ MX 5 mx.mallory.example.", *real.records[1:]))
        deferred(world, "sts.example", r"4\.7\.")
        assert not attacker.sessions
    forge(world, sts_example=real)
    comes_through(world, "sts.example", "tls=verified")


def forge(world: World, **zones: Zone) -> None:
    """Change the DNS, and have valija forget what it was told before."""
    world.ana.server.stop()
    world.ana.change(**zones)
    world.ana.server.start()


def delivered(world: World, domain: str, way: str) -> None:
    since = world.ana.server.log.mark()
    world.ana.submit(f"bob@{domain}")
    world.ana.server.wait_for_log(rf"attempt .*outcome=delivered next_hop={domain} .*{way}", since=since)


def deferred(world: World, domain: str, code: str) -> None:
    since = world.ana.server.log.mark()
    world.ana.submit(f"bob@{domain}")
    world.ana.server.wait_for_log(rf"attempt .*outcome=deferred next_hop={domain} .*{code}", since=since)


def comes_through(world: World, domain: str, way: str) -> None:
    """What was deferred leaves once nobody is in the way."""
    since = world.ana.server.log.mark()
    world.ana.server.valija("queue", "retry", "--all")
    world.ana.server.wait_for_log(rf"attempt .*outcome=delivered next_hop={domain} .*{way}", since=since)
