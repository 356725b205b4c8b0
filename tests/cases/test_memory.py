"""Memory that is bounded whatever is sent: measured on a worker's resident memory, as the kernel counts it.

`pytest tests/cases/test_memory.py -rP` prints the figures.
"""

import re
import resource
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Final

import pytest

from tests.cases.conftest import ALICE, TRUSTED, Site
from tests.cases.memory import grown, resident
from tests.cases.talk import DEADLINE, Talk
from tests.live import HOST, Settings
from tests.ports import free_port

CROWD: Final = 100
KIB: Final = 1024
MIB: Final = 1024 * 1024


@pytest.fixture(scope="module", autouse=True)
def many_descriptors() -> Iterator[None]:
    """Let this process, and so the server, have enough connections."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(before[0], min(before[1], 8192)), before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


@contextmanager
def crowd(make: Callable[[], Talk], size: int) -> Iterator[list[Talk]]:
    """Return many clients, and let them hang up in the end."""
    with ExitStack() as stack:
        yield [stack.enter_context(make()) for _ in range(size)]


def tell(what: str, kib: float, sessions: int) -> None:
    print(f"{what}: {kib / sessions:.1f} KiB for each of {sessions} sessions, {kib / KIB:.1f} MiB together")


# Many large contents at once: none of them is ended, so that nothing is queued and little of the disk is used

CONTENTS: Final = {  # and the KiB that a session may cost; the transport may take as much again inside TLS
    "a header without an end": (b"Subject: x\r\nX-Large: " + b"y" * (250 * KIB), 400),
    "a body that still fits in memory": (b"Subject: x\r\n\r\n" + b"y" * (250 * KIB), 400),
    "a large body": (b"Subject: x\r\n\r\n" + (b"y" * 998 + b"\r\n") * (5 * KIB), 400),
    "a large line": (b"Subject: x\r\n\r\n" + b"y" * (5 * MIB), 400),
    "a refused body": (b"Subject: x\r\n\r\n\n" + b"\0" * (5 * MIB), 50),
}


@pytest.mark.parametrize(("content", "bound"), CONTENTS.values(), ids=CONTENTS)
def test_many_contents_at_once(fresh_site: Site, content: bytes, bound: int) -> None:
    growth = measure_contents(fresh_site, fresh_site.trusted, content)
    tell("content", growth, CROWD)
    assert growth < CROWD * bound


@pytest.mark.parametrize(("content", "bound"), CONTENTS.values(), ids=CONTENTS)
def test_many_contents_at_once_inside_tls(fresh_site: Site, content: bytes, bound: int) -> None:
    growth = measure_contents(fresh_site, lambda: fresh_site.alice(source=TRUSTED), content)
    tell("content inside TLS", growth, CROWD)
    assert growth < CROWD * (bound + 700)


def measure_contents(site: Site, client: Callable[[], Talk], content: bytes) -> int:
    """Return by how many KiB the worker grows while many clients send a content at once."""
    with crowd(client, CROWD) as clients:
        for each in clients:
            each.begin(ALICE, "x@remote.example")
        with grown(site.worker) as growth:
            for start in range(0, len(content), 512 * KIB):
                for each in clients:
                    each.send(content[start : start + 512 * KIB])
            clients[-1].settle()
    return growth.kib


def test_a_content_in_pieces_of_two_octets(site: Site) -> None:
    with site.trusted() as client:
        client.begin(ALICE, "x@remote.example")
        client.send(b"Subject: x\r\n\r\n")
        with grown(site.worker) as growth:
            for _ in range(60_000):
                client.socket.send(b"yy")
                spin(10e-6)  # so that the server reads them one by one
            client.settle()
    tell("120 kB in pieces", growth.kib, 1)
    assert growth.kib < KIB


def spin(seconds: float) -> None:
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass


# Sessions that do nothing


@pytest.mark.parametrize(("tls", "size", "bound"), [(False, 2000, 12), (True, 400, 100)], ids=["clear", "TLS"])
def test_idle_sessions(sites: Callable[[Settings], Site], tls: bool, size: int, bound: int) -> None:
    site = sites({})

    def idle() -> Talk:
        return Talk(site.server.submissions if tls else site.server.smtpd, source=TRUSTED, tls=tls)

    with crowd(idle, 50) as clients:  # what the first sessions load is not theirs
        for client in clients:
            client.hello()
    before = resident(site.worker)
    with crowd(idle, size) as clients:
        for client in clients:
            client.hello()
        kib = resident(site.worker) - before
        assert clients[0].say("NOOP").startswith("250")
    tell("idle", kib, size)
    assert kib < size * bound


# Clients that don't read their replies

FLOODS: Final = {
    "NOOP": b"NOOP\r\n",
    "recipients beyond the limit": b"RCPT TO:<x@remote.example>\r\n",
    "empty chunks": b"BDAT 0\r\n",
    "EHLO": b"EHLO x\r\n",
    "errors": b"FOO\r\n",
}


@pytest.mark.parametrize("tls", [False, True], ids=["clear", "TLS"])
@pytest.mark.parametrize("command", FLOODS.values(), ids=FLOODS)
def test_a_client_that_reads_no_replies(site: Site, command: bytes, tls: bool) -> None:
    with site.alice() if tls else site.trusted() as client, grown(site.worker) as growth:
        assert client.say(f"MAIL FROM:<{ALICE}>", "RCPT TO:<x@remote.example>").startswith("250")
        sent = flood(client.socket, command * 1000, 1000)
        began = time.monotonic()
        client.settle()
        assert time.monotonic() - began < 5, "others are served"
    print(f"{sent / MIB:.1f} MiB could be sent")
    tell("no replies read", growth.kib, 1)
    assert growth.kib < 12 * KIB


def flood(connection: socket.socket, octets: bytes, times: int) -> int:
    """Send without reading until all is sent, the peer has closed or takes nothing for a while; return how much."""
    connection.settimeout(0.5)
    sent = 0
    try:
        for _ in range(times):
            connection.sendall(octets)
            sent += len(octets)
    except OSError:
        pass
    connection.settimeout(DEADLINE)
    return sent


# A next hop that takes its time


class SlowSink:
    """Takes one message, and stops reading in its midst until it is told to go on."""

    def __init__(self) -> None:
        self.port = free_port()
        self._listening = socket.create_server((HOST, self.port))
        self._listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * KIB)
        self.begun, self.go_on, self.ended = threading.Event(), threading.Event(), threading.Event()
        self.octets = 0
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        connection, _ = self._listening.accept()
        with connection, connection.makefile("rwb") as talk:

            def say(text: bytes) -> None:
                talk.write(text + b"\r\n")
                talk.flush()

            say(b"220 slow.example")
            while not talk.readline().startswith(b"DATA"):
                say(b"250 ok")
            say(b"354 go ahead")
            while (line := talk.readline()) != b".\r\n":
                self.octets += len(line)
                if self.octets > MIB and not self.begun.is_set():
                    self.begun.set()
                    self.go_on.wait(60)
            say(b"250 taken")
            self.ended.set()

    def close(self) -> None:
        self._listening.close()


def test_a_slow_next_hop_does_not_fill_the_memory(sites: Callable[[Settings], Site]) -> None:
    sink = SlowSink()
    site = sites({"smtp": {"relayhost": f"[{HOST}]:{sink.port}"}})
    body = (b"y" * 998 + b"\r\n") * (40 * KIB)
    with site.trusted() as client, grown(site.worker) as growth:
        reply = client.send_message("a@remote.example", "x@remote.example", b"Subject: large\r\n\r\n" + body)
        assert sink.begun.wait(30)
        for _ in range(20):  # the server has turns enough to read on, if it were to
            site.delivered(
                client.send_message("a@remote.example", "postmaster@local.example", b"Subject: x\r\n\r\nx\r\n")
            )
        sink.go_on.set()
        assert sink.ended.wait(30)
    site.server.wait_for_log(rf"attempt .*queue_id={re.escape(reply.rpartition(' ')[2])} .*outcome=delivered")
    sink.close()
    assert sink.octets > len(body)
    tell("40 MiB in and out", growth.kib, 1)
    assert growth.kib < 20 * KIB
