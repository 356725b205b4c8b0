"""A running server, and a world of attackers and honest clients around it, each from an address of its own.

    with attacked({"smtpd": {"timeout": "2s"}}) as world:
        with world.attack("greet", sources("198.18.7.{}", 20)) as attack:
            world.honest(5)
        attack.counts["connections"], attack.counts["421"]

The server's machine is 198.51.100.1 and 2001:db8::1, its gateway to all others 2001:db8::2. 198.18.0.0/15 and
2001:db8:bad::/48 are the attackers'; honest clients come from 203.0.113.0/24. Attackers are a process of their own
(tests/abuse/attackers), so that the clients that are measured do not wait for them within one interpreter.
"""

import json
import os
import select
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Self

import pytest

from tests.cases.conftest import ALICE, SECRETS, SITE, assert_only_lines_of_ours
from tests.cases.memory import grown
from tests.cases.talk import DEADLINE, Talk, plain
from tests.live import LiveServer, Settings, overlay
from tests.network import MISSING, Network

needs_root: Final = pytest.mark.skipif(bool(MISSING), reason=MISSING)
SERVER, SERVER6 = "198.51.100.1", "2001:db8::1"
GATEWAY: Final = "2001:db8::2"
HONEST: Final = "203.0.113.25"
TRUSTED, TRUSTED_NETWORK = "203.0.113.200", "203.0.113.192/26"
PATIENCE: Final = 1.0  # seconds, in which an honest client is through, whatever goes on
_ROUTES: Final = (
    ("world", "ip route add local 198.18.0.0/15 dev lo"),
    ("world", "ip route add local 203.0.113.0/24 dev lo"),
    ("world", "ip -6 route add local 2001:db8:bad::/48 dev lo"),
    ("server", "ip route add 198.18.0.0/15 via 198.51.100.2"),
    ("server", "ip route add 203.0.113.0/24 via 198.51.100.2"),
    ("server", "ip -6 route add 2001:db8:bad::/48 via 2001:db8::2"),
    ("server", "ip -6 route add default via 2001:db8::2"),
)
_LISTENING: Final[Settings] = {
    "hostname": "mail.local.example",
    "workers": 2,
    "smtpd": {"listen": [f"{SERVER}:25", f"[{SERVER6}]:25"], "greet_pause": "0s"},
    "submission": {"listen": [], "greet_pause": "0s"},
    "submissions": {"listen": [f"{SERVER}:465"], "greet_pause": "0s"},
}


def sources(pattern: str, count: int) -> list[str]:
    """Return addresses: `198.18.7.{}` with 1, 2, 3."""
    return [pattern.format(number) for number in range(1, count + 1)]


class Attack:
    """An attack that is under way until `stop`; `counts` are known then."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process
        self.counts: Counter[str] = Counter()

    def begun(self) -> Self:
        """Wait until every attacker has had an answer, or has been at it for a while."""
        self._expect("begun")
        return self

    def until(self, what: str, count: int) -> None:
        """Wait until something was counted so often: a reply's code, or `end`."""
        assert self._process.stdin
        self._process.stdin.write(f"until {what} {count}\n")
        self._process.stdin.flush()
        self._expect("reached")

    def _expect(self, word: str) -> None:
        assert self._process.stdout
        ready, _, _ = select.select([self._process.stdout], [], [], DEADLINE)
        assert ready, f"the attackers have not {word} within {DEADLINE} s"
        assert self._process.stdout.readline() == f"{word}\n"

    def stop(self) -> None:
        """End it, and learn what it counted."""
        out, _ = self._process.communicate("stop\n", timeout=30)
        self.counts = Counter(json.loads(out))
        assert self._process.returncode == 0


class World:
    """The server and everybody else."""

    def __init__(self, network: Network, server: LiveServer) -> None:
        self._network = network
        self.server = server

    @contextmanager
    def attack(self, way: str, addresses: Sequence[str], *, each: int = 1) -> Iterator[Attack]:
        """Attack in a way of tests/abuse/attackers, or several, on `each` connections at once from each address."""
        command = self._network.command(
            "world", sys.executable, "-m", "tests.abuse.attackers", way, str(each), *addresses
        )
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parent.parent.parent
        )
        attack = Attack(process)
        try:
            yield attack.begun()
            attack.stop()
        finally:
            if process.poll() is None:
                process.kill()
                process.communicate()

    def client(self, source: str = HONEST, *, port: int = 25) -> Talk:
        """Return a client that has heard nothing yet."""
        with self._network.inside("world"):
            return Talk(port, host=SERVER6 if ":" in source else SERVER, source=source, tls=port == 465)

    def refusal(self, source: str) -> str:
        """Return what a client hears that is turned away."""
        with self.client(source) as client:
            refusal = client.reply() or ""
            assert client.is_closed()
        return refusal

    def honest(self, times: int, source: str = HONEST, patience: float = PATIENCE) -> int:
        """Bring mail, again and again, and insist on being through in time; return how often."""
        for _ in range(times):
            took = self.bring_mail(source)
            assert took < patience, f"an honest client was through after {took:.2f} s"
        return times

    def bring_mail(self, source: str = HONEST) -> float:
        """Bring one message; return how many seconds it took."""
        began = time.monotonic()
        with self.client(source) as client:
            client.hello()
            reply = client.send_message("a@remote.example", ALICE, b"Subject: hello\r\n\r\nhello\r\n")
            assert reply.startswith("250"), reply
            assert client.say("QUIT").startswith("221")
        return time.monotonic() - began

    def log_in(self, times: int, source: str = HONEST) -> int:
        """Log in as alice, again and again, and insist on being in in time; return how often."""
        for _ in range(times):
            began = time.monotonic()
            with self.client(source, port=465) as client:
                client.hello()
                assert client.say(f"AUTH PLAIN {plain(ALICE, SECRETS[ALICE])}").startswith("235")
            took = time.monotonic() - began
            assert took < PATIENCE, f"the owner was in after {took:.2f} s"
        return times

    def clock(self) -> float:
        """Return monotonic seconds."""
        return time.monotonic()

    @contextmanager
    def measured(self) -> Iterator["Cost"]:
        """Measure what the workers spend meanwhile."""
        workers = self.server.pids()[1:]
        cost, before = Cost(), [_cpu(pid) for pid in workers]
        with grown(workers[0]) as one, grown(workers[1]) as two:
            yield cost
        cost.cpu = sum(map(_cpu, workers)) - sum(before)
        cost.kib = one.kib + two.kib


class Cost:
    """What the workers spent: `cpu` seconds, and by how many `kib` they were larger at their largest."""

    cpu = 0.0
    kib = 0


def _cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def attacked(settings: Settings) -> Iterator[World]:
    """Start a server of two workers in a world."""
    machines = {"server": [f"{SERVER}/24", f"{SERVER6}/64"], "world": ["198.51.100.2/24", "2001:db8::2/64"]}
    with Network(machines) as network:
        for machine, words in _ROUTES:
            done = network.run(machine, *words.split())
            assert done.returncode == 0, done.stderr
        with network.inside("server"):
            server = LiveServer(overlay(overlay(SITE, _LISTENING), settings))
            with server:
                server.add_user(ALICE, SECRETS[ALICE])
                yield World(network, server)
        assert_only_lines_of_ours(server)
