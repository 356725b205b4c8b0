"""Descriptors and memory run out, workers are killed for memory, DNS is dead: at worst it takes longer."""

import os
import re
import signal
import socket
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Final

import pytest

from tests.crash.accounting import listed, send, wait_until_empty
from tests.crash.load import CrashSink, Load, settle_up
from tests.fakedns import FakeDns, Script
from tests.live import HOST, LiveServer, message, overlay
from tests.ports import free_port
from tests.sink import CatchingSink
from tests.tally import Tally

SENDER: Final = "alice@example.net"
SETTINGS: Final = {"mynetworks": ["127.0.0.1/32"]}
TICKS: Final = os.sysconf("SC_CLK_TCK")


def cpu_seconds(server: LiveServer) -> float:
    """Return what the server's processes have used of the processors."""
    stats = [Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split() for pid in server.pids()]
    return sum(int(stat[11]) + int(stat[12]) for stat in stats) / TICKS


class SmallServer(LiveServer):
    """A server that may have only so much of something: `prlimit`'s option."""

    def __init__(self, limit: str, settings: dict[str, object]) -> None:
        super().__init__(settings)
        self.launcher = ("prlimit", limit)


def test_more_connections_than_descriptors(sink: CatchingSink, tally: Tally) -> None:
    settings = overlay(SETTINGS, {"smtp": {"relayhost": sink.relayhost}})
    flood = 300
    with SmallServer("--nofile=200:200", settings) as server, ExitStack() as connections:
        for _ in range(flood):
            stranger = connections.enter_context(socket.socket())
            stranger.settimeout(0.2)
            with suppress(OSError):
                stranger.connect((HOST, server.smtpd))
        before, began = cpu_seconds(server), time.monotonic()
        with socket.socket() as idle:  # the flood holds its connections for a second, and nothing is asked meanwhile
            idle.settimeout(1.0)
            idle.bind((HOST, 0))
            with suppress(TimeoutError):
                idle.listen()
                idle.accept()
        busy = (cpu_seconds(server) - before) / (time.monotonic() - began)
        assert busy < 0.5, "a server without descriptors runs in circles"
        connections.close()
        send(server.smtpd, SENDER, "bob@remote.example", message("honest", SENDER).as_bytes())
        sink.wait_for(1)
        wait_until_empty(server)
        assert "worker died" not in server.log.text
    tally("faults", sessions=flood, accepted=1, delivered=1, crashed=0, lost=0)


def test_workers_that_are_killed_for_memory(tally: Tally) -> None:
    with (
        CrashSink() as sink,
        LiveServer(overlay(SETTINGS, {"workers": 2, "smtp": {"relayhost": sink.relayhost}})) as server,
    ):
        load = Load(server.smtpd)
        for kill in range(2):
            load.wait_for(20 * (kill + 1))
            since = server.log.mark()
            os.kill(server.pids()[1 + kill], signal.SIGKILL)
            server.wait_for_log("queue opened", since=since)
        load.end()
        account = settle_up(server, sink, load)
    account.assert_sound()
    tally("crash", kills=2, accepted=account.accepted, delivered=account.delivered, lost=len(account.lost))


def test_a_message_needs_no_memory_of_its_size(sink: CatchingSink, tally: Tally) -> None:
    """21 MB pass through a worker that may have 12 MiB more than it had for a small one."""
    settings = overlay(SETTINGS, {"smtp": {"relayhost": sink.relayhost}})
    mail = message("memory", SENDER, "bob@remote.example")
    with LiveServer(settings) as server:
        send(server.smtpd, SENDER, "first@remote.example", mail.as_bytes())
        sink.wait_for(1)
        usual = _address_space(server)
    mail.set_content(("x" * 70 + "\n") * 300_000)
    with SmallServer(f"--as={usual + 12 * 1024 * 1024}", settings) as server:
        send(server.smtpd, SENDER, "bob@remote.example", mail.as_bytes())
        sink.wait_for(2)
        wait_until_empty(server)
        assert "worker died" not in server.log.text
    tally("faults", accepted=2, delivered=2, crashed=0, lost=0)


def _address_space(server: LiveServer) -> int:
    """Return the most that the worker had, in octets."""
    peak = re.search(r"VmPeak:\s+(\d+) kB", Path(f"/proc/{server.pids()[-1]}/status").read_text())
    assert peak
    return int(peak[1]) * 1024


@pytest.mark.soak  # what is known of a name that cannot be resolved is kept for five seconds
@pytest.mark.parametrize("rcode", ["SERVFAIL", "REFUSED"])
def test_dns_that_is_dead_defers_and_what_waits_leaves_when_it_is_back(rcode: str, tally: Tally) -> None:
    sink = CatchingSink(address="127.0.0.2")
    zone = {"remote.example": ["MX 10 mx.remote.example."], "mx.remote.example": ["A 127.0.0.2"]}
    with sink, FakeDns(zone) as dns:
        dns.script("remote.example", Script(rcode=rcode))
        settings = {
            "smtp": {"port": sink.port},
            "dns": {"nameservers": [dns.nameserver]},
            "queue": {"minimal_backoff_time": "6s"},
        }
        with LiveServer(overlay(SETTINGS, settings)) as server:
            send(server.smtpd, SENDER, "bob@remote.example", message("dns", SENDER).as_bytes())
            server.wait_for_log(r"attempt .*outcome=deferred .*reply=\"4\d\d 4\.4\.3")
            server.wait_for_log("deferred  queue_id")
            assert [each.reverse_path for each in listed(server)] == [SENDER]
            dns.script("remote.example", Script())
            sink.wait_for(1)
            wait_until_empty(server)
    tally("faults", accepted=1, delivered=1, bounced=0, lost=0)


def test_a_dead_name_server_defers(tally: Tally) -> None:
    settings = {"dns": {"nameservers": [f"{HOST}:{free_port()}"]}}  # where nobody answers
    with LiveServer(overlay(SETTINGS, settings)) as server:
        send(server.smtpd, SENDER, "bob@remote.example", message("dns", SENDER).as_bytes())
        server.wait_for_log(r"attempt .*outcome=deferred .*reply=\"4\d\d 4\.4\.3")
        server.wait_for_log("deferred  queue_id")
        assert [each.reverse_path for each in listed(server)] == [SENDER]
    tally("faults", accepted=1, queued=1, bounced=0, lost=0)
