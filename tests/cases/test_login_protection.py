"""Guessing passwords at a running server of two workers, from networks of a world of its own.

The server's machine is 198.18.0.1; strangers come from 198.18.N.5, a network for each N; alice lives in 198.19.0.0/24.
"""

import os
import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Final

import pytest

from tests.cases.conftest import ALICE, BOB, SECRETS, SITE, assert_only_lines_of_ours
from tests.cases.talk import Talk, plain
from tests.live import LiveServer, overlay
from tests.network import MISSING, Network
from tests.tally import Tally

pytestmark = pytest.mark.skipif(bool(MISSING), reason=MISSING)

SERVER: Final = "198.18.0.1"
HOME, NEXT_DOOR, CAFE = "198.19.0.7", "198.19.0.8", "198.19.9.9"
BOTS: Final = [f"198.18.{number}.5" for number in range(1, 61)]
LIMIT: Final = 10
WORKERS: Final = 2
THROTTLED: Final = "454 4.7.0 Too many failed logins, try again later"


class World:
    """The server, and a machine that has every other address."""

    def __init__(self, network: Network, server: LiveServer) -> None:
        self.network = network
        self.server = server

    def client(self, source: str) -> Talk:
        """Return a client from an address, inside TLS and greeted."""
        with self.network.inside("world"):
            client = Talk(465, host=SERVER, source=source, tls=True)
        client.hello()
        return client

    def log_in(self, source: str, login: str = ALICE, password: str = "") -> str:
        """Log in on a connection of its own; return the reply. Without a password: with the right one."""
        with self.client(source) as client:
            return client.say(auth(login, password or SECRETS[login]))

    def log_in_at_once(self, sources: list[str], logins: list[tuple[str, str]]) -> list[str]:
        """Log in on many connections, all waiting for their replies together."""
        with ExitStack() as stack:
            clients = [stack.enter_context(self.client(source)) for source in sources]
            for client, (login, password) in zip(clients, logins, strict=True):
                client.send(f"{auth(login, password)}\r\n".encode())
            return [client.reply() or "" for client in clients]

    def spray(self, tag: str) -> Counter[str]:
        """Guess at alice's password once from each bot; return how often each code was the answer."""
        guesses = [(ALICE, f"{tag} {number}") for number in range(len(BOTS))]
        replies = self.log_in_at_once(BOTS, guesses)
        assert all(reply.startswith(("535", THROTTLED)) for reply in replies)
        return Counter(reply[:3] for reply in replies)


def auth(login: str, password: str) -> str:
    return f"AUTH PLAIN {plain(login, password)}"


@pytest.fixture
def world() -> Iterator[World]:
    everyone = [f"{address}/15" for address in (HOME, NEXT_DOOR, CAFE, *BOTS)]
    listeners = {
        "smtpd": {"listen": []},
        "submission": {"listen": [], "greet_pause": "0s"},
        "submissions": {"listen": [f"{SERVER}:465"], "greet_pause": "0s"},
    }
    with Network({"server": [f"{SERVER}/15"], "world": everyone}) as network, network.inside("server"):
        server = LiveServer(overlay(SITE, {"workers": WORKERS, **listeners}))
        with server:
            for address, password in SECRETS.items():
                server.add_user(address, password)
            yield World(network, server)
        assert_only_lines_of_ours(server)


def test_a_spray_is_stopped_and_the_owner_gets_in(world: World, tally: Tally) -> None:
    assert world.log_in(HOME).startswith("235")
    codes = world.spray("first")
    assert LIMIT <= codes["535"] < LIMIT + WORKERS, "two workers may let the last one through at the same moment"
    assert codes["454"] == len(BOTS) - codes["535"]
    assert world.spray("second") == {"454": len(BOTS)}

    at_home = world.log_in_at_once([HOME, NEXT_DOOR] * 8, [(ALICE, SECRETS[ALICE])] * 16)
    assert [reply[:3] for reply in at_home] == ["235"] * 16, "in either worker"
    assert world.log_in(CAFE).startswith(THROTTLED), "not even looked at, so nobody learns that it is right"
    assert world.log_in(CAFE, BOB).startswith("235")

    log = world.server.log.text
    assert log.count("login throttled") == len(BOTS) + 1, "once for each network"
    assert "first" not in log
    assert SECRETS[ALICE] not in log
    tally("abuse", guesses=2 * len(BOTS), networks=len(BOTS), verified=codes["535"], honest_served=len(at_home) + 2)


def test_what_was_counted_outlives_a_worker_and_who_is_known_outlives_the_server(world: World) -> None:
    assert world.log_in(HOME).startswith("235")
    world.spray("first")
    for worker in world.server.pids()[1:]:
        since = world.server.log.mark()
        os.kill(worker, signal.SIGKILL)
        world.server.wait_for_log(r"worker died", since=since)
    assert world.log_in(CAFE).startswith(THROTTLED)
    assert world.log_in(HOME).startswith("235")

    world.server.stop()
    with world.network.inside("server"):
        world.server.start()
    world.spray("after the restart")
    assert world.log_in(CAFE).startswith(THROTTLED)
    assert world.log_in(HOME).startswith("235")


def test_one_network_at_many_users(world: World) -> None:
    assert world.log_in(CAFE, BOB).startswith("235")
    logins = [(f"user{number}@local.example", "123456") for number in range(60)]
    codes = Counter(reply[:3] for reply in world.log_in_at_once([CAFE] * 45, logins[:45]))
    assert 3 * LIMIT <= codes["535"] < 3 * LIMIT + WORKERS
    assert world.log_in(CAFE).startswith(THROTTLED)
    assert world.log_in(CAFE, BOB).startswith("235"), "he has been there before"
    assert world.log_in(HOME).startswith("235")


def test_a_connection_ends_after_ten_failures_and_the_owner_comes_again(world: World) -> None:
    assert world.log_in(HOME).startswith("235")
    with world.client(HOME) as client:
        for number in range(LIMIT - 1):
            assert client.say(auth(ALICE, f"wrong {number}")).startswith("535")
        assert client.say(auth(ALICE, "wrong for the tenth time")).startswith("421 4.7.0")
        assert client.is_closed()
    assert world.log_in(HOME).startswith("235")


def test_a_forgotten_program_locks_nobody_out(world: World) -> None:
    """The phone has the old password, in a network where alice never was; then she types the new one."""
    replies = world.log_in_at_once([CAFE] * 15, [(ALICE, "the old one")] * 15)
    assert all(reply.startswith(("535", "454")) for reply in replies)
    assert world.log_in(CAFE, password="the old one").startswith("535")
    assert world.log_in(CAFE).startswith("235")


def test_loopback_is_never_refused(world: World) -> None:
    since = world.server.log.mark()
    settings = world.server.configuration.read_text().replace(f'"{SERVER}:465"', f'"{SERVER}:465", "127.0.0.1:465"')
    assert '"127.0.0.1:465"' in settings
    world.server.stop()
    world.server.configuration.write_text(settings)
    with world.network.inside("server"):
        world.server.start()
        world.server.wait_for_log("ready", since=since)
        for number in range(3 * LIMIT):
            with Talk(465, tls=True) as client:
                client.hello()
                assert client.say(auth(f"user{number}@local.example", "x")).startswith("535")
        for number in range(LIMIT):
            with Talk(465, tls=True) as client:
                client.hello()
                assert client.say(auth(ALICE, f"wrong {number}")).startswith("535")
        with Talk(465, tls=True) as client:
            client.hello()
            assert client.say(auth(ALICE, SECRETS[ALICE])).startswith("235")
