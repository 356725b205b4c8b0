"""What a service manager hears from the server: sent to a real socket, by the parts and by the whole program."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.live import LiveServer
from tests.systemd.listening_manager import Manager
from valija.systemd.notify import ServiceManager

Live = Callable[..., LiveServer]


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    made = Manager(f"@valija-test-{os.getpid()}-{tmp_path.name}")
    yield made
    made.socket.close()


def test_words_are_those_of_sd_notify(manager: Manager) -> None:
    environ = {"NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": "8000000", "WATCHDOG_PID": "7"}
    speaking = ServiceManager.from_environment(environ, 7)
    assert environ == {}
    assert speaking.watchdog == 8.0
    speaking.ready("mail.example.org serves\nMAINPID=1")
    assert manager.hear() == {"READY": "1", "STATUS": "mail.example.org serves MAINPID=1"}
    speaking.reloading(1_234_567)
    assert manager.hear() == {"RELOADING": "1", "MONOTONIC_USEC": "1234", "STATUS": "reloading"}
    speaking.stopping()
    assert manager.hear()["STOPPING"] == "1"


def test_a_socket_may_have_a_path(tmp_path: Path) -> None:
    manager = Manager(str(tmp_path / "notify"))
    ServiceManager(manager.address).status("well")
    assert manager.hear() == {"STATUS": "well"}
    manager.socket.close()


def test_the_watchdog_hears_as_often_as_it_wants_and_no_more(manager: Manager) -> None:
    speaking = ServiceManager(manager.address, watchdog=8.0)
    for now in (100.0, 101.0, 101.9, 102.0, 103.9, 104.0):
        speaking.alive(now)
    speaking.stopping()
    told: list[str] = []
    while not told or "STOPPING" not in told[-1]:
        told.append(manager.socket.recv(4096).decode())
    assert told.count("WATCHDOG=1") == 3


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"NOTIFY_SOCKET": "/nowhere/at/all"},
        {"NOTIFY_SOCKET": "vsock:2:1234"},
        {"NOTIFY_SOCKET": "relative", "WATCHDOG_USEC": "1000000"},
    ],
)
def test_nobody_to_speak_to_is_no_fault(environ: dict[str, str]) -> None:
    speaking = ServiceManager.from_environment(environ, 1)
    speaking.ready("x")
    speaking.alive(1.0)
    assert environ == {}


@pytest.mark.parametrize(
    "environ",
    [
        {"WATCHDOG_USEC": "1000000"},
        {"NOTIFY_SOCKET": "@x", "WATCHDOG_USEC": "1000000", "WATCHDOG_PID": "1"},
        {"NOTIFY_SOCKET": "@x", "WATCHDOG_USEC": "often"},
        {"NOTIFY_SOCKET": "@x"},
    ],
)
def test_a_watchdog_that_is_not_ours_hears_nothing(environ: dict[str, str]) -> None:
    assert ServiceManager.from_environment(environ, 7).watchdog == 0.0


def test_a_manager_that_does_not_read_holds_nobody_up(manager: Manager) -> None:
    speaking = ServiceManager(manager.address)
    started = time.monotonic()
    for _ in range(2000):
        speaking.status("well")
    assert time.monotonic() - started < 5


def test_the_server_says_when_it_serves_reloads_and_ends(
    live: Live, manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", manager.address)
    monkeypatch.setenv("WATCHDOG_USEC", "2000000")
    server = live({"workers": 2})
    assert manager.hear() == {"READY": "1", "STATUS": "mail.example.org serves, workers: 2"}
    manager.hear_watchdog()
    assert server.process
    before = time.monotonic_ns() // 1000
    server.process.send_signal(signal.SIGHUP)
    reloading = manager.hear()
    assert reloading["RELOADING"] == "1"
    assert before <= int(reloading["MONOTONIC_USEC"]) <= time.monotonic_ns() // 1000
    assert manager.hear()["READY"] == "1"
    server.configuration.write_text("bogus = 1\n")
    server.process.send_signal(signal.SIGHUP)
    assert manager.hear()["RELOADING"] == "1"
    refused = manager.hear()
    assert refused["READY"] == "1"
    assert "reload refused" in refused["STATUS"]
    assert "bogus" in refused["STATUS"]
    server.stop()
    assert manager.hear()["STOPPING"] == "1"


def test_the_watchdog_is_told_nothing_while_the_supervisor_hangs(
    live: Live, manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", manager.address)
    monkeypatch.setenv("WATCHDOG_USEC", "1000000")
    server = live()
    manager.hear_watchdog()
    supervisor, worker = server.pids()
    os.kill(supervisor, signal.SIGSTOP)
    manager.wait_for_silence(2.0)
    os.kill(supervisor, signal.SIGCONT)
    manager.hear_watchdog()
    assert server.pids() == [supervisor, worker], "the workers are not blamed for it"
