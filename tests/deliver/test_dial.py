"""Connections: families raced, sources chosen, and what is learnt on the way; in networks of the test's own.

The server's machine has 192.0.2.10 and 2001:db8::10, the world 192.0.2.20, .21 and 2001:db8::20, all on one cable. Who
packets for BLACK_HOLE go to is written down, and there is nobody; to NOWHERE there is no route.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import AsyncExitStack
from typing import Any

import pytest

from tests.deliver.setting import Run, Sender, both_loops, job_for, sending, states
from tests.network import MISSING, Network
from tests.scripted_sink import Script, ScriptedSink
from valija.deliver.health import SHORTEST, Health
from valija.deliver.options import SourcePool
from valija.mail.endpoint import Endpoint
from valija.mail.job import Route
from valija.mail.outcome import Outcome, State

needs_network = pytest.mark.skipif(bool(MISSING), reason=MISSING)

BLACK_HOLE, BLACK_HOLE_6 = "192.0.2.66", "2001:db8::66"
NOWHERE_6 = "2001:db8:ffff::1"
HOST, OTHER_HOST, HOST_6 = "192.0.2.20", "192.0.2.21", "2001:db8::20"
PORT = 2525
ONE_EACH = -1.0  # seconds for which a connection is used again: each message opens one
BULK = Route("remote", "remote.example", pool="bulk")


class Witness(Health):
    """Writes down in their order: who was tried, who failed, was outrun, succeeded."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[str, str]] = []

    def trying(self, endpoint: Endpoint, now: float) -> None:
        self.seen.append(("trying", endpoint.host))
        super().trying(endpoint, now)

    def failed(self, endpoint: Endpoint, now: float, why: str = "") -> None:
        self.seen.append(("failed", endpoint.host))
        super().failed(endpoint, now, why)

    def succeeded(self, endpoint: Endpoint) -> None:
        self.seen.append(("succeeded", endpoint.host))
        super().succeeded(endpoint)

    def take(self) -> list[tuple[str, str]]:
        seen, self.seen = self.seen, []
        return seen


@pytest.fixture
def network() -> Iterator[Network]:
    machines = {
        "server": ["192.0.2.10/24", "192.0.2.11/24", "192.0.2.12/24", "2001:db8::10/64"],
        "world": ["192.0.2.20/24", "192.0.2.21/24", "2001:db8::20/64"],
    }
    with Network(machines) as made:
        for address in (BLACK_HOLE, BLACK_HOLE_6):
            nobody = ("lladdr", "02:00:00:00:00:66", "dev", "eth0", "nud", "permanent")
            assert made.run("server", "ip", "neigh", "add", address, *nobody).returncode == 0
        yield made


class World:
    """The sinks of a test, in the world, and the sender, on the server's machine."""

    def __init__(self, network: Network, stack: AsyncExitStack) -> None:
        self._network = network
        self._stack = stack

    async def sink(self, address: str, script: Script | None = None) -> ScriptedSink:
        with self._network.inside("world"):
            return await self._stack.enter_async_context(ScriptedSink(script, address=address, port=PORT))

    async def sender(self, *addresses: str, zone: dict[str, list[str]] | None = None, **options: Any) -> Sender:
        """Return a sender to remote.example, whose only host has these addresses."""
        records = [f"{'AAAA' if ':' in address else 'A'} {address}" for address in addresses]
        hosts = {"remote.example": ["MX 10 mx1.remote.example"], "mx1.remote.example": records}
        return await self._stack.enter_async_context(sending(port=PORT, zone=hosts | (zone or {}), **options))


def at_server(network: Network, run: Run[None], test: Callable[[World], Coroutine[Any, Any, None]]) -> None:
    """Run a test on the server's machine."""

    async def main() -> None:
        async with AsyncExitStack() as stack:
            await test(World(network, stack))

    with network.inside("server"):
        run(main())


async def deliver(sender: Sender, route: Route | None = None) -> Outcome:
    began = time.monotonic()
    [outcome] = await sender.deliver(job_for(route=route))
    print(f"{outcome.remote_address or '-'}: {outcome.state} after {time.monotonic() - began:.3f} s")
    return outcome


# C078: IPv6 broken, IPv4 fine


@needs_network
@both_loops
def test_c078_a_black_hole_costs_a_quarter_of_a_second_once(network: Network, run: Run[None]) -> None:
    health = Witness()

    async def test(world: World) -> None:
        await world.sink(HOST)
        sender = await world.sender(BLACK_HOLE_6, HOST, health=health, connection_reuse_time_limit=ONE_EACH)
        outcome = await deliver(sender)
        assert (outcome.state, outcome.remote_address) == (State.DELIVERED, HOST)
        assert health.take() == [
            ("trying", BLACK_HOLE_6),
            ("trying", HOST),
            ("failed", BLACK_HOLE_6),
            ("succeeded", HOST),
        ]
        assert not sender.log.of("host not usable")
        assert (await deliver(sender)).remote_address == HOST
        assert health.take() == [("trying", HOST), ("succeeded", HOST)]

    at_server(network, run, test)


@needs_network
@both_loops
def test_c078_ipv6_without_a_route_costs_nothing(network: Network, run: Run[None]) -> None:
    health = Witness()

    async def test(world: World) -> None:
        await world.sink(HOST)
        sender = await world.sender(NOWHERE_6, HOST, health=health)
        assert (await deliver(sender)).state is State.DELIVERED
        assert health.take() == [("trying", NOWHERE_6), ("trying", HOST), ("succeeded", HOST)], "no fault of the host's"

    at_server(network, run, test)


@needs_network
@both_loops
def test_c078_ipv6_without_an_address_of_our_own_is_not_tried(network: Network, run: Run[None]) -> None:
    health = Witness()
    network.run("server", "ip", "address", "del", "2001:db8::10/64", "dev", "eth0")
    # What a router's advertisement leaves behind where it gives no address: a way, and a link-local source.
    assert network.run("server", "ip", "-6", "route", "add", "2001:db8::/64", "dev", "eth0").returncode == 0

    async def test(world: World) -> None:
        await world.sink(HOST)
        sender = await world.sender(BLACK_HOLE_6, HOST, health=health)
        assert (await deliver(sender)).state is State.DELIVERED
        assert health.take() == [("trying", HOST), ("succeeded", HOST)]

    at_server(network, run, test)


@needs_network
@both_loops
def test_c078_both_families_work_and_ipv6_is_used(network: Network, run: Run[None]) -> None:
    async def test(world: World) -> None:
        over_ipv4 = await world.sink(HOST)
        await world.sink(HOST_6)
        sender = await world.sender(HOST_6, HOST)
        assert (await deliver(sender)).remote_address == HOST_6
        assert over_ipv4.sessions == []

    at_server(network, run, test)


@needs_network
@both_loops
def test_c078_a_failure_names_each_address_and_why(network: Network, run: Run[None]) -> None:
    async def test(world: World) -> None:
        sender = await world.sender(NOWHERE_6, HOST, BLACK_HOLE_6, BLACK_HOLE, connect_timeout=1.0)
        [outcome] = await sender.deliver(job_for())
        assert outcome.state is State.DEFERRED
        assert outcome.reply.text == (
            f"No connection to mx1.remote.example[{NOWHERE_6}]:{PORT}: Network is unreachable; "
            f"[{HOST}]: Connection refused; [{BLACK_HOLE_6}]: no answer within 1 s; "
            f"[{BLACK_HOLE}]: no answer within 1 s"
        )

    at_server(network, run, test)


@needs_network
def test_c078_where_ipv6_leads_nowhere_ipv4_goes_first_at_new_hosts(network: Network) -> None:
    health = Witness()
    for number in (1, 2, 3, 4):
        nobody = ("lladdr", "02:00:00:00:00:66", "dev", "eth0", "nud", "permanent")
        network.run("server", "ip", "neigh", "add", f"2001:db8::bad:{number}", *nobody)

    async def test(world: World) -> None:
        await world.sink(HOST)
        zone = {f"mx{n}.example": [f"AAAA 2001:db8::bad:{n}", f"A {HOST}"] for n in (1, 2, 3, 4)}
        sender = await world.sender(HOST, zone=zone, health=health)
        for number in (1, 2, 3):
            await deliver(sender, Route("remote", f"mx{number}.example", lookup_mx=False))
        health.take()
        await deliver(sender, Route("remote", "mx4.example", lookup_mx=False))
        assert health.take() == [("trying", HOST), ("succeeded", HOST)]

    at_server(network, asyncio.run, test)


# The others in a race


def test_who_comes_second_is_closed_before_anything_is_said() -> None:
    """The connection of the loser is made, and known to the loop only when the winner's is there too."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        connect = loop.sock_connect

        async def late(sock: Any, address: Any) -> None:
            await connect(sock, address)
            if address[0] == "127.0.0.2":
                await asyncio.Event().wait()

        loop.sock_connect = late  # type: ignore[method-assign]  # the order of two connects can't be had otherwise
        zone = {
            "remote.example": ["MX 10 mx1.remote.example"],
            "mx1.remote.example": ["A 127.0.0.2", "A 127.0.0.3"],
        }
        async with (
            ScriptedSink(address="127.0.0.2") as first,
            ScriptedSink(address="127.0.0.3", port=first.port) as second,
            sending(port=first.port, zone=zone) as sender,
        ):
            assert states(await sender.deliver(job_for())) == [State.DELIVERED]
            await first.until(lambda: bool(first.sessions) and first.sessions[0].closed)
            assert first.sessions[0].commands == []
            assert len(second.messages) == 1

    asyncio.run(main())


# Addresses that failed


def refusing(*, dead: int, living: str = "127.0.0.99") -> dict[str, list[str]]:
    """A next hop whose preferred hosts are dead."""
    zone = {"remote.example": [f"MX {10 * n} mx{n}.example" for n in range(1, dead + 1)] + ["MX 99 living.example"]}
    zone |= {f"mx{n}.example": [f"A 127.0.0.{10 + n}"] for n in range(1, dead + 1)}
    return zone | {"living.example": [f"A {living}"]}


@both_loops
def test_a_living_host_behind_five_dead_ones_is_used_at_once_from_the_second_message_on(run: Run[None]) -> None:
    health = Witness()

    async def main() -> None:
        zone = refusing(dead=5)
        async with (
            ScriptedSink(address="127.0.0.99") as sink,
            sending(port=sink.port, zone=zone, health=health, connection_reuse_time_limit=ONE_EACH) as sender,
        ):
            assert states(await sender.deliver(job_for())) == [State.DEFERRED], "mx_address_limit is 5"
            assert len(sender.log.of("host not usable")) == 5
            health.take()
            assert states(await sender.deliver(job_for())) == [State.DELIVERED]
            assert health.take() == [("trying", "127.0.0.99"), ("succeeded", "127.0.0.99")]

    run(main())


@both_loops
def test_a_suspect_of_higher_preference_is_tried_again_when_its_time_is_up(run: Run[None]) -> None:
    health = Witness()

    async def main() -> None:
        zone = refusing(dead=1)
        async with (
            ScriptedSink(address="127.0.0.99") as sink,
            ScriptedSink(address="127.0.0.11", port=sink.port) as preferred,
            sending(port=sink.port, zone=zone, health=health, connection_reuse_time_limit=ONE_EACH) as sender,
        ):
            now = asyncio.get_running_loop().time()
            health.failed(Endpoint("127.0.0.11", sink.port), now)
            assert (await sender.deliver(job_for()))[0].remote_address == "127.0.0.99"
            health.succeeded(Endpoint("127.0.0.11", sink.port))
            health.failed(Endpoint("127.0.0.11", sink.port), now - SHORTEST)
            assert (await sender.deliver(job_for()))[0].remote_address == "127.0.0.11"
            assert health.snapshot(now) == []
            assert len(preferred.messages) == 1

    run(main())


def test_of_five_dead_hosts_whose_time_is_up_one_is_asked_before_the_living_one() -> None:
    health = Witness()

    async def main() -> None:
        zone = refusing(dead=5)
        async with (
            ScriptedSink(address="127.0.0.99") as sink,
            sending(port=sink.port, zone=zone, health=health, connection_reuse_time_limit=ONE_EACH) as sender,
        ):
            long_ago = asyncio.get_running_loop().time() - SHORTEST
            for number in range(11, 16):
                health.failed(Endpoint(f"127.0.0.{number}", sink.port), long_ago)
            health.take()
            assert states(await sender.deliver(job_for())) == [State.DELIVERED]
            assert health.take() == [
                ("trying", "127.0.0.11"),
                ("failed", "127.0.0.11"),
                ("trying", "127.0.0.99"),
                ("succeeded", "127.0.0.99"),
            ]

    asyncio.run(main())


@pytest.mark.parametrize("banner", ["421 4.3.2 busy", "554 5.7.1 no", "nonsense"])
def test_a_host_that_takes_no_mail_now_is_suspect(banner: str) -> None:
    health = Witness()

    async def main() -> None:
        zone = refusing(dead=1)
        async with (
            ScriptedSink({"banner": [banner]}, address="127.0.0.11") as busy,
            ScriptedSink(address="127.0.0.99", port=busy.port),
            sending(port=busy.port, zone=zone, health=health, connection_reuse_time_limit=ONE_EACH) as sender,
        ):
            for _ in range(2):
                assert (await sender.deliver(job_for()))[0].remote_address == "127.0.0.99"
            [suspect] = health.snapshot(asyncio.get_running_loop().time())
            assert suspect.endpoint == Endpoint("127.0.0.11", busy.port)
            assert banner[:3] in suspect.why
            assert len(busy.sessions) == 1

    asyncio.run(main())


# Sources


@needs_network
@both_loops
def test_a_pool_has_its_own_address_and_name(network: Network, run: Run[None]) -> None:
    pool = SourcePool("bulk", ("192.0.2.11",), "bulk.example.org")

    async def test(world: World) -> None:
        sink = await world.sink(HOST)
        sender = await world.sender(HOST, pools=(pool,))
        assert (await deliver(sender, BULK)).state is State.DELIVERED
        assert (await deliver(sender)).state is State.DELIVERED
        assert [session.client for session in sink.sessions] == ["192.0.2.11", "192.0.2.10"]
        assert [session.commands[0] for session in sink.sessions] == ["EHLO bulk.example.org", "EHLO mail.example.org"]

    at_server(network, run, test)


@needs_network
@both_loops
def test_a_pool_without_ipv6_does_not_leave_by_ipv6(network: Network, run: Run[None]) -> None:
    pool = SourcePool("bulk", ("192.0.2.11",))

    async def test(world: World) -> None:
        await world.sink(HOST_6)
        sink = await world.sink(HOST)
        sender = await world.sender(HOST_6, HOST, pools=(pool,))
        assert (await deliver(sender, BULK)).remote_address == HOST
        assert sink.sessions[0].client == "192.0.2.11"

    at_server(network, run, test)


@needs_network
def test_mail_of_a_pool_waits_where_no_family_fits(network: Network) -> None:
    pool = SourcePool("bulk", ("192.0.2.11",))

    async def test(world: World) -> None:
        sink = await world.sink(HOST_6)
        sender = await world.sender(HOST_6, pools=(pool,))
        outcome = await deliver(sender, BULK)
        assert outcome.state is State.DEFERRED
        assert "the pool bulk has no IPv6 address to leave from" in outcome.reply.text
        assert sink.sessions == []

    at_server(network, asyncio.run, test)


@needs_network
@both_loops
def test_bind_addresses_leave_the_other_family_to_the_system(network: Network, run: Run[None]) -> None:
    async def test(world: World) -> None:
        sink, sink6 = await world.sink(HOST), await world.sink(HOST_6)
        sender = await world.sender(HOST, zone={"six.example": [f"AAAA {HOST_6}"]}, bind_addresses=("192.0.2.12",))
        await deliver(sender)
        await deliver(sender, Route("remote", "six.example", lookup_mx=False))
        assert [sink.sessions[0].client, sink6.sessions[0].client] == ["192.0.2.12", "2001:db8::10"]

    at_server(network, run, test)


@needs_network
def test_an_address_that_the_machine_lost_is_told_of_once_and_others_serve(network: Network) -> None:
    pool = SourcePool("bulk", ("192.0.2.111", "192.0.2.112", "192.0.2.11"))

    async def test(world: World) -> None:
        sink = await world.sink(HOST)
        hosts = {f"mx{n}.example": [f"A {HOST}"] for n in range(8)}
        sender = await world.sender(HOST, zone=hosts, pools=(pool,))
        for name in hosts:
            assert (await deliver(sender, Route("remote", name, lookup_mx=False, pool="bulk"))).state is State.DELIVERED
        assert {session.client for session in sink.sessions} == {"192.0.2.11"}
        told = [line["source"] for line in sender.log.of("source address unusable")]
        assert sorted(told) == ["192.0.2.111", "192.0.2.112"]

    at_server(network, asyncio.run, test)


@needs_network
def test_mail_waits_where_no_source_is_left_and_no_other_is_taken(network: Network) -> None:
    health = Witness()

    async def test(world: World) -> None:
        sink = await world.sink(HOST)
        sender = await world.sender(HOST, bind_addresses=("192.0.2.111",), health=health)
        outcome = await deliver(sender)
        assert (outcome.state, sink.sessions) == (State.DEFERRED, [])
        assert "this machine can't send from 192.0.2.111" in outcome.reply.text
        assert health.snapshot(0.0) == [], "no fault of the host's"

    at_server(network, asyncio.run, test)


# Reverse names


def reverse_zone(*named: str) -> dict[str, list[str]]:
    """Reverse names of the server's machine that lead back, for these addresses."""
    ours = {"192.0.2.10": "10.2.0.192.in-addr.arpa", "2001:db8::10": "0.1" + ".0" * 22 + ".8.b.d.0.1.0.0.2.ip6.arpa"}
    zone = {ours[address]: ["PTR mail.example.org"] for address in named}
    return zone | {"mail.example.org": [f"{'AAAA' if ':' in each else 'A'} {each}" for each in ours]}


async def deliver_until_known(sender: Sender, asked: Sequence[str]) -> None:
    """Deliver once, and see that the source addresses' names are known afterwards."""
    await deliver(sender)
    async with asyncio.timeout(5):
        while not {(name, "PTR") for name in asked} <= set(sender.resolver.asked):
            await asyncio.sleep(0)
        for _ in range(10):  # the answers are there at once
            await asyncio.sleep(0)


BOTH = ["10.2.0.192.in-addr.arpa", "0.1" + ".0" * 22 + ".8.b.d.0.1.0.0.2.ip6.arpa"]


@needs_network
@both_loops
def test_an_ipv6_source_without_a_reverse_name_is_avoided(network: Network, run: Run[None]) -> None:
    async def test(world: World) -> None:
        await world.sink(HOST_6)
        await world.sink(HOST)
        zone = reverse_zone("192.0.2.10")
        sender = await world.sender(HOST_6, HOST, zone=zone, connection_reuse_time_limit=ONE_EACH)
        await deliver_until_known(sender, BOTH)
        for _ in range(3):
            assert (await deliver(sender)).remote_address == HOST
        [line] = sender.log.of("source address avoided")
        assert line == {
            "source": "2001:db8::10",
            "instead": "192.0.2.10",
            "reason": "it has no reverse name",
            "remedy": "have your provider set its reverse name to mail.example.org",
        }

    at_server(network, run, test)


@needs_network
def test_it_is_used_all_the_same_where_nothing_else_gives_a_connection(network: Network) -> None:
    async def test(world: World) -> None:
        await world.sink(HOST_6)
        sender = await world.sender(HOST_6, HOST, zone=reverse_zone("192.0.2.10"), connection_reuse_time_limit=ONE_EACH)
        await deliver_until_known(sender, BOTH)
        assert (await deliver(sender)).remote_address == HOST_6, "HOST refuses"

    at_server(network, asyncio.run, test)


@needs_network
@pytest.mark.parametrize("named", [(), ("192.0.2.10", "2001:db8::10")], ids=["neither", "both"])
def test_where_both_are_alike_ipv6_goes_first(network: Network, named: tuple[str, ...]) -> None:
    async def test(world: World) -> None:
        await world.sink(HOST_6)
        await world.sink(HOST)
        sender = await world.sender(HOST_6, HOST, zone=reverse_zone(*named), connection_reuse_time_limit=ONE_EACH)
        await deliver_until_known(sender, BOTH)
        assert (await deliver(sender)).remote_address == HOST_6
        assert sender.log.of("source address avoided") == []

    at_server(network, asyncio.run, test)


@needs_network
def test_a_relayhost_does_not_care_for_reverse_names(network: Network) -> None:
    async def test(world: World) -> None:
        await world.sink(HOST_6)
        await world.sink(HOST)
        sender = await world.sender(HOST_6, HOST, zone=reverse_zone("192.0.2.10"), connection_reuse_time_limit=ONE_EACH)
        await deliver_until_known(sender, BOTH)
        route = Route("remote", "mx1.remote.example", lookup_mx=False, is_relayhost=True)
        assert (await deliver(sender, route)).remote_address == HOST_6

    at_server(network, asyncio.run, test)
