"""Clients that send next to nothing, for as long as they can: each deadline is one of the whole, not of an octet."""

from contextlib import ExitStack
from typing import Final

from tests.abuse.world import World, needs_root, sources
from tests.cases.conftest import ALICE
from tests.tally import Tally

pytestmark = needs_root

DRIPS: Final = ("silent", "drip", "drip_content", "drip_chunks", "drip_handshake")
GREET_PAUSE: Final = 0.5
EACH: Final = 20
FOR_EACH: Final = 150  # KiB: the handshake has OpenSSL's state


def test_no_drip_holds_a_session_open(impatient_world: World, tally: Tally) -> None:
    world = impatient_world
    world.honest(1, patience=2.0)  # the first time it waits for its greeting
    with world.measured() as cost, ExitStack() as stack:
        begun = world.server.log.mark()
        attacks = [
            stack.enter_context(world.attack(way, sources(f"198.18.{30 + number}.{{}}", EACH)))
            for number, way in enumerate(DRIPS)
        ]
        served = world.honest(5)
        for number in range(len(DRIPS)):
            for host in range(1, EACH + 1):
                pattern = rf" session .*client=198\.18\.{30 + number}\.{host} .*ended=.?timeout"
                world.server.wait_for_log(pattern, since=begun)
    assert cost.kib < len(DRIPS) * EACH * FOR_EACH
    assert cost.cpu < 2.0
    assert all(attack.counts["250"] < 1000 for attack in attacks)
    sessions = sum(attack.counts["connections"] for attack in attacks)
    tally("abuse", sessions=sessions, honest_served=served)


def test_who_speaks_before_the_greeting_is_out(impatient_world: World, tally: Tally) -> None:
    world = impatient_world
    begun = world.server.log.mark()
    with world.measured() as cost, world.attack("early", sources("198.18.40.{}", 30)) as flood:
        served = world.honest(5)
        with world.client("198.18.41.1") as client:
            client.send(b"EHLO bot.example\r\nMAIL FROM:<>\r\n")
            assert client.reply() == "554 5.5.0 Spoke before the banner"
            assert client.is_closed()
    world.server.wait_for_log(r"client=198\.18\.41\.1 .*Spoke before the banner", since=begun)
    assert flood.counts["554"] >= 30
    assert flood.counts["220"] == flood.counts["250"] == 0
    assert cost.kib < 4096
    tally("abuse", spoke_early=flood.counts["554"], honest_served=served)


def test_who_brought_mail_does_not_wait_again(impatient_world: World) -> None:
    source = "203.0.113.77"
    assert wait(impatient_world, source) >= GREET_PAUSE
    assert wait(impatient_world, source) >= GREET_PAUSE, "it has only looked in"
    with impatient_world.client(source) as client:
        client.hello()
        assert client.send_message("a@remote.example", ALICE, b"Subject: x\r\n\r\nx\r\n").startswith("250")
    for _ in range(4):  # by either worker
        assert wait(impatient_world, source) < GREET_PAUSE
    assert wait(impatient_world, "203.0.113.201") < GREET_PAUSE, "it is trusted"


def wait(world: World, source: str) -> float:
    """Return how long a client waited for its greeting."""
    began = world.clock()
    with world.client(source) as client:
        assert (client.reply() or "").startswith("220")
    return world.clock() - began
