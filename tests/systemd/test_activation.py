"""Sockets that were bound before the server started: what they are for, and how mail comes in by them."""

import os
import shutil
import signal
import smtplib
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from tests.live import HOST, LiveServer, Settings, trust_all
from tests.ports import free_port
from valija.mail.endpoint import Endpoint
from valija.systemd.activation import Handed, handed_sockets, place_sockets

ACTIVATE = shutil.which("systemd-socket-activate")
LAUNCH = Path(__file__).with_name("launch.py")
ONE, OTHER = Endpoint("127.0.0.1", 25), Endpoint("127.0.0.1", 587)


# What a socket is for


def test_a_socket_is_for_the_listener_that_names_its_address() -> None:
    smtpd, submission = Handed(3, "valija.socket", ONE), Handed(4, "valija.socket", OTHER)
    placed = place_sockets([submission, smtpd], {"smtpd": [ONE], "submission": [OTHER]})
    assert placed.sockets == {("smtpd", ONE): smtpd, ("submission", OTHER): submission}
    assert placed.listen == {"smtpd": (ONE,), "submission": (OTHER,)}
    assert placed.unused == ()


def test_what_no_socket_is_there_for_is_bound_as_ever() -> None:
    placed = place_sockets([Handed(3, "x", ONE)], {"smtpd": [ONE, Endpoint("::1", 25)], "submission": [OTHER]})
    assert set(placed.sockets) == {("smtpd", ONE)}
    assert placed.listen["smtpd"] == (ONE, Endpoint("::1", 25))


def test_a_named_socket_is_where_its_role_listens() -> None:
    elsewhere = Handed(3, "smtpd", Endpoint("127.0.0.9", 2525))
    placed = place_sockets([elsewhere], {"smtpd": [ONE], "submission": [OTHER]})
    assert placed.sockets == {("smtpd", Endpoint("127.0.0.9", 2525)): elsewhere}
    assert placed.listen == {"smtpd": (Endpoint("127.0.0.9", 2525),), "submission": (OTHER,)}


def test_a_role_that_is_off_stays_off() -> None:
    named = Handed(3, "submission", OTHER)
    placed = place_sockets([named], {"smtpd": [ONE], "submission": []})
    assert placed.listen["submission"] == ()
    assert placed.unused == (named,)


def test_a_socket_for_both_families_stands_for_both_places() -> None:
    both = Handed(3, "valija.socket", Endpoint("::", 25), takes_ipv4_too=True)
    wanted = (Endpoint("0.0.0.0", 25), Endpoint("::", 25))
    placed = place_sockets([both], {"smtpd": wanted})
    assert placed.sockets == {("smtpd", each): both for each in wanted}
    assert place_sockets([Handed(3, "x", Endpoint("::", 25))], {"smtpd": wanted}).sockets.keys() == {
        ("smtpd", wanted[1])
    }


def test_a_named_socket_for_both_families_is_what_was_configured() -> None:
    both = Handed(3, "smtpd", Endpoint("::", 25), takes_ipv4_too=True)
    wanted = (Endpoint("0.0.0.0", 25), Endpoint("::", 25))
    assert place_sockets([both], {"smtpd": wanted}).listen == {"smtpd": wanted}


def test_what_is_no_tcp_socket_is_left_over() -> None:
    pipe = Handed(3, "smtpd", None)
    assert place_sockets([pipe], {"smtpd": [ONE]}).unused == (pipe,)


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"LISTEN_PID": "1", "LISTEN_FDS": "1"},
        {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "many"},
        {"LISTEN_FDS": "1"},
    ],
)
def test_sockets_for_another_process_are_not_ours(environ: dict[str, str]) -> None:
    assert handed_sockets(environ, os.getpid()) == []
    assert environ == {}


# Mail


class HandedServer(LiveServer):
    """A server whose sockets are bound by a launcher: `where` has its NAME=ADDRESS:PORT in terms of its ports."""

    def __init__(self, settings: Settings, *where: str) -> None:
        super().__init__(settings)
        ports = {"smtpd": self.smtpd, "submission": self.submission, "submissions": self.submissions}
        self.launcher = (sys.executable, LAUNCH, *(each.format(**ports) for each in where), "--")


@pytest.fixture
def servers() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def code_of(port: int, host: str = HOST) -> int:
    with smtplib.SMTP(host, port, timeout=20) as client:
        return client.ehlo("x")[0]


def test_mail_comes_in_by_sockets_that_were_passed_in(servers: ExitStack) -> None:
    sockets = ("127.0.0.1:{smtpd}", "127.0.0.1:{submission}")
    server = servers.enter_context(HandedServer({"workers": 2}, *sockets))
    server.add_user("alice@example.org", "secret")
    assert code_of(server.smtpd) == 250
    with smtplib.SMTP(HOST, server.submission) as client:
        client.starttls(context=trust_all())
        client.login("alice@example.org", "secret")
    with smtplib.SMTP_SSL(HOST, server.submissions, context=trust_all()) as client:
        assert client.ehlo("x")[0] == 250, "what was not passed in is bound"
    assert "passed in" not in server.log.text


def test_all_workers_accept_from_one_socket(servers: ExitStack) -> None:
    server = servers.enter_context(HandedServer({"workers": 2}, "127.0.0.1:{smtpd}"))
    _, first, second = server.pids()
    for stopped, other in ((first, second), (second, first)):
        os.kill(stopped, signal.SIGSTOP)
        # One that is stopped accepts nobody: whoever is greeted was greeted by the other.
        assert code_of(server.smtpd) == 250, other
        os.kill(stopped, signal.SIGCONT)


def test_a_client_that_waits_for_a_dead_worker_is_served_by_the_next(servers: ExitStack) -> None:
    server = servers.enter_context(HandedServer({"workers": 1}, "127.0.0.1:{smtpd}"))
    (worker,) = server.pids()[1:]
    os.kill(worker, signal.SIGSTOP)
    with closing(socket.create_connection((HOST, server.smtpd), 20)) as waiting:
        os.kill(worker, signal.SIGKILL)
        assert waiting.recv(100).startswith(b"220 ")


def test_a_named_socket_is_where_the_role_listens_after_all(servers: ExitStack) -> None:
    port = free_port()
    server = servers.enter_context(HandedServer({}, f"smtpd=127.0.0.1:{port}"))
    assert code_of(port) == 250
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((HOST, server.smtpd))
    server.wait_for_log(r"listening where sockets were passed in.*smtpd.*" + str(port))
    assert f"{HOST}:{port}" in server.valija("status", "--json").stdout


def test_one_socket_for_both_families_serves_both(servers: ExitStack) -> None:
    port = free_port()
    settings = {"smtpd": {"listen": [f"0.0.0.0:{port}", f"[::]:{port}"]}}
    server = servers.enter_context(HandedServer(settings, f"[::]:{port}/both"))
    assert code_of(port) == 250
    assert code_of(port, "::1") == 250
    assert "passed in" not in server.log.text


def test_sockets_for_no_listener_are_named(servers: ExitStack) -> None:
    port = free_port()
    server = servers.enter_context(HandedServer({}, f"odd=127.0.0.1:{port}", "pipe=pipe"))
    server.wait_for_log(rf"warn.*passed in is for no listener.*127.0.0.1:{port} \(odd, descriptor 3\)")
    server.wait_for_log(r"no TCP socket \(pipe, descriptor 4\)")
    assert code_of(server.smtpd) == 250
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((HOST, port))


@pytest.mark.skipif(not ACTIVATE, reason="systemd-socket-activate is not installed (apt-get install systemd)")
def test_the_real_systemd_socket_activate(servers: ExitStack) -> None:
    """It binds, waits for the first client, and becomes the server, which greets that client."""
    server = LiveServer({"workers": 2})
    assert ACTIVATE
    server.launcher = (ACTIVATE, "-l", f"{HOST}:{server.smtpd}", "--fdname=smtpd")
    greetings: list[bytes] = []
    client = threading.Thread(target=greeted, args=(server.smtpd, greetings))
    client.start()
    servers.enter_context(server)
    client.join(20)
    assert greetings
    assert greetings[0].startswith(b"220 mail.example.org")
    assert "passed in" not in server.log.text


def greeted(port: int, greetings: list[bytes]) -> None:
    end = time.monotonic() + 20
    while time.monotonic() < end:
        try:
            with closing(socket.create_connection((HOST, port), 20)) as client:
                greetings.append(client.recv(200))
                return
        except ConnectionRefusedError:
            time.sleep(0.02)  # the launcher has not bound it yet
