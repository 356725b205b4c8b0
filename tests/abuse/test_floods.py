"""Floods of connections and commands: what one client and one network may have, and who is served meanwhile."""

from contextlib import ExitStack
from typing import Final

import pytest

from tests.abuse.world import GATEWAY, TRUSTED, World, needs_root, sources
from tests.tally import Tally

pytestmark = needs_root

SESSIONS, RATE, SHARE, WORKERS = 50, 300, 4, 2
MIB: Final = 1024  # KiB
FOR_EACH: Final = 16  # KiB of a session


def test_one_24_has_so_many_connections_at_once(world: World, tally: Tally) -> None:
    with world.measured() as cost, world.attack("silent", sources("198.18.1.{}", 40), each=10) as flood:
        served = world.honest(5)
        network = world.refusal("198.18.1.99")
    assert network == "421 4.7.0 Too many connections from 198.18.1.0/24 at once (at most 200), try again later"
    held, refused = flood.counts["220"], flood.counts["421"]
    assert SESSIONS * SHARE - WORKERS <= held <= SESSIONS * SHARE + WORKERS
    assert refused >= 200
    assert cost.kib < held * FOR_EACH + 4 * MIB
    assert cost.cpu < 2.0
    assert world.server.log.text.count("client=198.18.1.") < held + 3 * 40, "not a line for each refusal"
    tally("abuse", connections=flood.counts["connections"], refused=refused, honest_served=served)


def test_one_address_has_so_many_connections_at_once(world: World, tally: Tally) -> None:
    with world.attack("silent", ["198.18.2.7"], each=100) as flood:
        served = world.honest(3)
        refusal = world.refusal("198.18.2.7")
        with world.client("198.18.2.8") as neighbour:
            neighbour.hello()
    assert refusal == "421 4.7.0 Too many connections from 198.18.2.7 at once (at most 50), try again later"
    assert SESSIONS - WORKERS <= flood.counts["220"] <= SESSIONS + WORKERS
    tally("abuse", connections=flood.counts["connections"], refused=flood.counts["421"], honest_served=served)


def test_one_64_is_one_client_and_one_48_is_its_network(world: World, tally: Tally) -> None:
    one, other = sources("2001:db8:bad:1::{}", 80), sources("2001:db8:bad:2::{}", 40)
    with world.attack("silent", one) as flood, world.attack("silent", other) as neighbours:
        served = world.honest(3)
    assert SESSIONS - WORKERS <= flood.counts["220"] <= SESSIONS + WORKERS
    assert neighbours.counts["220"] == 40
    many = [f"2001:db8:bad:{number:x}::1" for number in range(16, 316)]
    with world.attack("silent", many) as spread:
        served += world.honest(3)
    assert SESSIONS * SHARE - WORKERS <= spread.counts["220"] <= SESSIONS * SHARE + WORKERS
    assert "Too many connections from 2001:db8:bad::/48 at once (at most 200)" in world.server.log.text
    connections = sum(each.counts["connections"] for each in (flood, neighbours, spread))
    refused = sum(each.counts["421"] for each in (flood, neighbours, spread))
    tally("abuse", connections=connections, refused=refused, honest_served=served)


def test_one_client_has_so_many_connections_within_a_minute(world: World, tally: Tally) -> None:
    with world.measured() as cost, world.attack("greet", ["198.18.3.7"], each=30) as flood:
        served = 0
        while (refusal := greeting(world, "198.18.3.7")).startswith("220"):
            served += world.honest(1)
        served += world.honest(3)
    assert refusal == "421 4.7.0 Too many connections from 198.18.3.7 within a minute (at most 300), try again later"
    assert flood.counts["220"] <= RATE + WORKERS
    assert cost.cpu < 0.5 + flood.counts["connections"] * 2e-3
    tally("abuse", connections=flood.counts["connections"], refused=flood.counts["421"], honest_served=served)


def greeting(world: World, source: str) -> str:
    with world.client(source) as client:
        return client.reply() or ""


def test_trusted_clients_have_no_limits(world: World, tally: Tally) -> None:
    with ExitStack() as stack:
        clients = [stack.enter_context(world.client(TRUSTED)) for _ in range(RATE + 20)]
        assert all((client.reply() or "").startswith("220") for client in clients)
    tally("abuse", connections=len(clients), refused=0)


def test_a_gateway_stands_for_many(world: World, tally: Tally) -> None:
    """Networks that translate addresses make all their clients look like it: one must not shut the others out."""
    connections = RATE + 20
    assert all(greeting(world, GATEWAY).startswith("220") for _ in range(connections))
    for _ in range(2):
        with world.client(GATEWAY) as client:
            client.hello()
            client.say("MAIL FROM:<list@remote.example>")
            for number in range(99):
                assert client.say(f"RCPT TO:<gone{number}@local.example>").startswith("550 5.1.1")
    assert greeting(world, GATEWAY).startswith("220")
    tally("abuse", connections=connections + 3, refused=0)


def test_a_flood_at_one_port_closes_no_other(world: World, tally: Tally) -> None:
    """An office behind one address, where one machine has gone bad."""
    office = "198.18.9.7"
    with world.attack("silent", [office], each=100) as flood:
        assert world.refusal(office).startswith("421 4.7.0")
        served = world.log_in(3, office)
    tally("abuse", connections=flood.counts["connections"], refused=flood.counts["421"], honest_served=served)


def test_neighbours_do_not_shut_out_who_brings_mail(world: World, tally: Tally) -> None:
    regular = "198.18.8.200"
    served = world.honest(1, regular)
    with world.attack("silent", sources("198.18.8.{}", 40), each=10) as flood:
        assert world.refusal("198.18.8.99").startswith("421 4.7.0 Too many connections from 198.18.8.0/24")
        served += world.honest(3, regular)
    tally("abuse", connections=flood.counts["connections"], refused=flood.counts["421"], honest_served=served)


FLOODS: Final = {"noop": "250", "rset": "250", "vrfy": "252", "unknown": "500", "mixed": "250"}
MOST_COMMANDS: Final = 102  # a hundred that move nothing, EHLO, and the one that is too many


@pytest.mark.parametrize(("number", "way"), list(enumerate(FLOODS, 10)), ids=FLOODS)
def test_commands_that_move_nothing(world: World, number: int, way: str, tally: Tally) -> None:
    with world.measured() as cost, world.attack(way, sources(f"198.18.{number}.{{}}", 10)) as flood:
        flood.until("421", 50)
        served = world.honest(4)
    sessions, commands = flood.counts["220"], sum(flood.counts[code] for code in ("250", "252", "214", "500"))
    assert flood.counts["421"] >= sessions - 10, "each session ends, but for those under way"
    assert commands <= sessions * MOST_COMMANDS
    assert cost.kib < 4 * MIB
    tally("abuse", sessions=sessions, commands=commands, honest_served=served)


CROWDS: Final = {"recipients": 20, "small_chunks": 21, "blanks": 22}


@pytest.mark.parametrize(("way", "number"), CROWDS.items(), ids=CROWDS)
def test_a_crowd_that_presses(world: World, way: str, number: int, tally: Tally) -> None:
    """They break no rule, so that they are served: one after the other, and honest clients between them."""
    crowd = [f"198.19.{other}.{number}" for other in range(50)]
    with world.measured() as cost, world.attack(way, crowd) as flood:
        served = world.honest(5)
    assert flood.counts["421"] == 0
    assert cost.kib < len(crowd) * 600
    commands = sum(flood.counts[code] for code in ("250", "452"))
    tally("abuse", sessions=len(crowd), commands=commands, honest_served=served)
