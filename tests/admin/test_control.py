"""The control socket: questions, answers, refusals, and what a dead server leaves behind."""

import asyncio
import os
import socket
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from valija.admin.control import Arguments, ControlError, ControlServer, Handler, NotRunning, poke, request
from valija.admin.status import Status, WorkerStatus
from valija.logs import LogBuffer, build_log

LOG = build_log("error", "text", LogBuffer(os.open(os.devnull, os.O_WRONLY)))


async def echo(arguments: Arguments) -> object:
    return dict(arguments)


async def refuse(arguments: Arguments) -> object:
    raise ControlError("the new configuration has faults")


async def fail(arguments: Arguments) -> object:
    raise ZeroDivisionError


async def status(arguments: Arguments) -> object:
    return Status("0.1.0", 7, 1.5, "mail.example.org", {"smtpd": ["[::]:25"]}, [WorkerStatus(0, 8, 2.5)])


HANDLERS: dict[str, Handler] = {"echo": echo, "refuse": refuse, "fail": fail, "status": status}


def with_server(path: Path, act: Callable[[], object]) -> object:
    """Run `act` in a thread while a server listens."""

    async def run() -> object:
        server = ControlServer(path, HANDLERS, LOG)
        await server.start()
        try:
            return await asyncio.wait_for(asyncio.to_thread(act), 20)
        finally:
            await server.close()

    return asyncio.run(run())


def test_a_command_gets_its_result(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    assert with_server(path, lambda: request(path, "echo", word="ñ", number=3)) == {"word": "ñ", "number": 3}


def test_the_status_travels_whole(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    answer = with_server(path, lambda: request(path, "status"))
    assert isinstance(answer, dict)
    assert answer["workers"][0]["pid"] == 8
    assert answer["listening"] == {"smtpd": ["[::]:25"]}


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("refuse", "the new configuration has faults"),
        ("fail", "fail failed; the server's log tells why"),
        ("dance", "unknown command 'dance'; known: echo, fail, refuse, status"),
    ],
)
def test_a_refusal_comes_in_words(tmp_path: Path, command: str, words: str) -> None:
    path = tmp_path / "control.sock"

    def act() -> None:
        with pytest.raises(ControlError, match=words):
            request(path, command)

    with_server(path, act)


def test_only_the_owner_may_open_it(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    mode = with_server(path, lambda: stat.S_IMODE(path.stat().st_mode))
    assert mode == 0o600
    assert list(tmp_path.iterdir()) == []


def test_a_dead_servers_socket_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    left = socket.socket(socket.AF_UNIX)
    left.bind(str(path))
    left.close()
    with pytest.raises(NotRunning):
        request(path, "echo")
    assert with_server(path, lambda: request(path, "echo")) == {}


def test_without_a_server_a_request_says_so_and_a_poke_nothing(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    with pytest.raises(NotRunning):
        request(path, "status")
    poke(path, "queue-changed")


def test_a_long_path_works(tmp_path: Path) -> None:
    folder = tmp_path / ("d" * 120)
    folder.mkdir()
    path = folder / "control.sock"
    assert with_server(path, lambda: request(path, "echo", x=1)) == {"x": 1}


@pytest.mark.parametrize("line", [b"", b"\n", b"nonsense\n", b"[]\n", b'{"command": 1}\n', b"x" * 3_000_000])
def test_garbage_does_not_harm_the_server(tmp_path: Path, line: bytes) -> None:
    path = tmp_path / "control.sock"

    def act() -> object:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(10)
            connection.connect(str(path))
            try:
                connection.sendall(line)
                connection.shutdown(socket.SHUT_WR)
                while connection.recv(65536):
                    pass
            except OSError:
                pass
        return request(path, "echo", fine=True)

    assert with_server(path, act) == {"fine": True}


def test_a_silent_server_is_given_up(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(path))
        silent.listen()
        with pytest.raises(ControlError, match="no answer within"):
            request(path, "status", timeout=0.1)


def test_an_answer_without_sense_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"

    async def nonsense(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"no json\n")
        writer.close()

    async def run() -> None:
        async with await asyncio.start_unix_server(nonsense, str(path)):
            with pytest.raises(ControlError):
                await asyncio.to_thread(request, path, "status")

    asyncio.run(run())


@pytest.mark.parametrize(
    "line", [b'{"command":"\xcc"}\n', b'{"command":"echo","arguments":{"a":' + b"[" * 2000 + b"\n", b"\n"]
)
def test_what_is_no_request_is_told_so(tmp_path: Path, line: bytes) -> None:
    def ask() -> bytes:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(10)
            connection.connect(str(tmp_path / "control.sock"))
            connection.sendall(line)
            return connection.recv(4096)

    answer = with_server(tmp_path / "control.sock", ask)
    assert isinstance(answer, bytes)
    assert answer.startswith(b'{"ok":false,"error":"not a request: ')
