"""The ports: free, served by the running server, or somebody else's, and then whose."""

import errno
import os
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from tests.admin.lab import config
from tests.live import LiveServer
from tests.ports import free_port
from valija.admin import check_ports as module
from valija.admin.check_ports import Holder, Running, bind_error, check_ports, find_running, holders
from valija.admin.findings import Finding
from valija.config import Config, load
from valija.mail.endpoint import Endpoint


def listening_on(*ports: int, host: str = "127.0.0.1") -> str:
    written = ", ".join(f'"{host}:{port}"' for port in ports)
    return f"[smtpd]\nlisten = [{written}]\n[submission]\nlisten = []\n[submissions]\nlisten = []\n"


def found_for(text: str, running: Running = Running()) -> list[Finding]:  # noqa: B008 - frozen
    return list(check_ports(config(text), running))


@pytest.fixture
def taken() -> Iterator[int]:
    """A port that this very process listens on."""
    with socket.create_server(("127.0.0.1", free_port())) as server:
        yield server.getsockname()[1]


def test_free_ports_share_a_finding() -> None:
    one, other = free_port(), free_port()
    (found,) = found_for(listening_on(one, other))
    assert (found.grade, found.text) == ("ok", f"smtpd 127.0.0.1:{one}, smtpd 127.0.0.1:{other}: free")


def test_a_port_is_left_free() -> None:
    port = free_port()
    assert bind_error(Endpoint("127.0.0.1", port)) == 0
    with socket.create_server(("127.0.0.1", port)):
        assert bind_error(Endpoint("127.0.0.1", port)) == errno.EADDRINUSE


def test_who_holds_a_port_is_named(taken: int) -> None:
    (found,) = found_for(listening_on(taken))
    program = Path("/proc/self/comm").read_text().strip()
    assert found.grade == "failure"
    assert found.text == f"smtpd 127.0.0.1:{taken}: {program} (process {os.getpid()}) listens there"
    assert found.remedy == "stop that one, or choose another port"


@pytest.mark.parametrize(("bound", "wanted"), [("127.0.0.1", "0.0.0.0"), ("0.0.0.0", "127.0.0.1"), ("::1", "::")])
def test_a_wildcard_is_held_too(bound: str, wanted: str) -> None:
    family = socket.AF_INET6 if ":" in bound else socket.AF_INET
    with socket.create_server((bound, free_port(bound)), family=family) as server:
        place = Endpoint(wanted, server.getsockname()[1])
        assert [holder.pid for holder in holders(place)] == [os.getpid()]
        assert bind_error(place) == errno.EADDRINUSE
        assert holders(Endpoint(wanted, free_port(bound))) == []


def test_what_only_root_could_tell(taken: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_open_sockets", lambda: iter(()))
    (found,) = found_for(listening_on(taken))
    assert (found.grade, found.text) == ("failure", f"smtpd 127.0.0.1:{taken}: another program listens there")
    assert "as root" in found.remedy
    first, second = found_for(listening_on(taken), Running(why_unknown="Permission denied"))
    assert (first.grade, first.text) == ("unknown", "whether the server runs cannot be told: Permission denied")
    assert second.grade == "unknown"
    assert "only root can tell" in second.text


def test_the_running_servers_own(taken: int) -> None:
    us = Running((os.getpid(),), frozenset({f"127.0.0.1:{taken}"}))
    (found,) = found_for(listening_on(taken), us)
    assert (found.grade, found.text) == (
        "ok",
        f"smtpd 127.0.0.1:{taken}: served by the running server (process {os.getpid()})",
    )
    (found,) = found_for(listening_on(taken), Running((os.getpid(),)))  # it does not say so, and holds it
    assert found.grade == "ok"


def test_a_child_of_the_running_server_is_it(taken: int) -> None:
    (found,) = found_for(listening_on(taken), Running((os.getppid(),)))
    assert (found.grade, "served by" in found.text) == ("ok", True)


def test_where_certificates_are_ordered(taken: int) -> None:
    def ordering(port: int) -> Config:
        off = config("[smtpd]\nlisten = []\n[submission]\nlisten = []\n[submissions]\nlisten = []\n")
        place = (Endpoint("127.0.0.1", port),)
        return replace(off, tls=replace(off.tls, certificate="acme", acme_http_listen=place))

    (found,) = check_ports(ordering(taken), Running())
    assert (found.grade, found.text[:5]) == ("failure", "acme ")
    for running in (Running(), Running((1,))):
        (found,) = check_ports(ordering(free_port()), running)
        assert (found.grade, found.text[-6:]) == ("ok", ": free")


def test_the_running_server_listens_elsewhere() -> None:
    (found,) = found_for(listening_on(free_port()), Running((os.getpid(),)))
    assert (found.grade, found.remedy) == ("warning", "restart it")


def test_an_address_of_another_machine() -> None:
    (found,) = found_for(listening_on(2525, host="203.0.113.1"))
    assert found.grade == "failure"
    assert "this machine has no such address" in found.text


@pytest.mark.parametrize(
    ("code", "host", "grade", "words"),
    [
        (errno.EACCES, "127.0.0.1", "unknown", "nobody listens there, and only root may"),
        (errno.EADDRNOTAVAIL, "[::]", "ok", "not used, as this machine has no IPv6"),
        (errno.EAFNOSUPPORT, "[::]", "ok", "not used, as this machine has no IPv6"),
        (errno.EADDRNOTAVAIL, "[2001:db8::9]", "failure", "this machine has no such address"),
        (errno.EMFILE, "127.0.0.1", "failure", "it cannot be bound (Too many open files)"),
    ],
)
def test_what_binding_may_end_with(
    code: int, host: str, grade: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "bind_error", lambda endpoint: code)
    (found,) = found_for(listening_on(free_port(), host=host))
    assert found.grade == grade
    assert words in found.text


def test_a_port_below_1024_that_somebody_holds(taken: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "bind_error", lambda endpoint: errno.EACCES)
    (found,) = found_for(listening_on(taken))
    assert found.grade == "failure"
    assert f"(process {os.getpid()})" in found.text


def test_a_server_with_many_processes_is_named_once(taken: int, monkeypatch: pytest.MonkeyPatch) -> None:
    three = [Holder(12, "master"), Holder(13, "master"), Holder(9, "other")]
    monkeypatch.setattr(module, "holders", lambda endpoint: three)
    (found,) = found_for(listening_on(taken))
    assert "master (process 12) and other (process 9) listens there" in found.text


@pytest.mark.skipif(sys.byteorder != "little", reason="written for a little-endian kernel")
def test_addresses_as_the_kernel_writes_them() -> None:
    assert module._endpoint("0100007F:0019") == Endpoint("127.0.0.1", 25)
    assert module._endpoint("00000000000000000000000001000000:024B") == Endpoint("::1", 587)
    assert module._endpoint("B80D0120000000000000000007000000:01D1") == Endpoint("2001:db8::7", 465)


def test_a_server_that_runs(live: Callable[..., LiveServer]) -> None:
    server = live()
    running = find_running(server.data_dir)
    assert running.pids[0] == server.pids()[0]
    assert set(running.pids) == set(server.pids())
    (found,) = check_ports(load(server.configuration), running)
    assert (found.grade, found.text.count("127.0.0.1:")) == ("ok", 3)
    assert found.text.endswith(f"served by the running server (process {running.pids[0]})")
    server.stop()
    assert find_running(server.data_dir) == Running()
    (found,) = check_ports(load(server.configuration), Running())
    assert (found.grade, found.text[-6:]) == ("ok", ": free")


def test_a_control_socket_that_talks_nonsense(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "control.sock"))
        server.listen()
        talking = threading.Thread(target=lambda: server.accept()[0].sendall(b"hello\n"))
        talking.start()
        assert "control.sock" in find_running(tmp_path).why_unknown
        talking.join()
