"""Clients who send as fast as they can, for ever, don't keep the others waiting. A worker has one thread for all."""

import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Final

import pytest

from tests.cases.conftest import ALICE, TRUSTED, Site
from tests.cases.talk import Talk

GREEDY: Final = 5
PIECE: Final = 32 * 1024
pytestmark = pytest.mark.alone

PATIENCE: Final = 1.0  # seconds for four round trips; they took ten and more where turns were not taken


def commands(command: bytes) -> Callable[[Talk], bytes]:
    def begin(client: Talk) -> bytes:
        client.say(f"MAIL FROM:<{ALICE}>", "RCPT TO:<x@remote.example>")
        return command

    return begin


def content(octets: bytes) -> Callable[[Talk], bytes]:
    def begin(client: Talk) -> bytes:
        client.begin(ALICE, "x@remote.example")
        client.send(b"Subject: x\r\n\r\n")
        return octets

    return begin


WAYS: Final = {
    "recipients": commands(b"RCPT TO:<x@remote.example>\r\n"),
    "empty chunks": commands(b"BDAT 0\r\n"),
    "small chunks": commands(b"BDAT 2\r\n\r\n"),
    "blank lines": content(b"\r\n"),
    "dots": content(b"..\r\n"),
    "blanks": content(b" \t"),
}


@pytest.mark.parametrize("tls", [False, True], ids=["clear", "TLS"])
@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_greedy_clients(site: Site, way: Callable[[Talk], bytes], tls: bool) -> None:
    with greedy_clients(site, way, tls):
        for _ in range(5):
            began = time.monotonic()
            with site.trusted() as other:
                assert other.say("NOOP").startswith("250")
                assert other.say("QUIT").startswith("221")
            assert time.monotonic() - began < PATIENCE


@contextmanager
def greedy_clients(site: Site, way: Callable[[Talk], bytes], tls: bool) -> Iterator[None]:
    """Have clients press, from the time that all have begun."""
    end, begun = threading.Event(), threading.Barrier(GREEDY + 1, timeout=20)
    with ExitStack() as stack:
        for _ in range(GREEDY):
            client = stack.enter_context(site.alice(source=TRUSTED) if tls else site.trusted())
            line = way(client)
            thread = threading.Thread(target=press, args=(client.socket, line * (PIECE // len(line)), begun, end))
            thread.start()
            stack.callback(thread.join)
        begun.wait()
        try:
            yield
        finally:
            end.set()


def press(connection: socket.socket, octets: bytes, begun: threading.Barrier, end: threading.Event) -> None:
    """Send the same for ever, and read what is answered."""
    connection.sendall(octets)
    begun.wait()
    try:
        while not end.is_set():
            connection.sendall(octets)
            read_all(connection)
    except (BrokenPipeError, ConnectionResetError, ssl.SSLEOFError):
        return  # the content was too large


def read_all(connection: socket.socket) -> None:
    """Read what has come."""
    timeout = connection.gettimeout()
    connection.settimeout(0)
    try:
        while connection.recv(65536):
            pass
    except (BlockingIOError, ssl.SSLWantReadError):
        pass
    connection.settimeout(timeout)
