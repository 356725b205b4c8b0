"""The control socket, `data_dir/control.sock`: how commands speak to the running server.

One JSON line asks, one JSON line answers, and the connection ends:

    {"command": "status"}            ->  {"ok": true, "result": {...}}
    {"command": "dance"}             ->  {"ok": false, "error": "unknown command 'dance'; known: ..."}

    server = ControlServer(folder / "control.sock", {"status": status}, log)
    await server.start(); ...; await server.close()

    request(folder / "control.sock", "status")    # in a command, without asyncio

The socket is the service's user's alone (0600): who can open it may do what the service may.
"""

import asyncio
import contextlib
import os
import socket
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from pathlib import Path
from typing import Final

import msgspec

from valija.logs import Log
from valija.mail.unreadable import UNREADABLE

SOCKET_NAME: Final = "control.sock"  # in data_dir
MAX_LINE: Final = 1 << 20  # octets of a request or an answer
_PATIENCE: Final = 10.0  # seconds a client may take to ask
_MAX_SOCKET_PATH: Final = 100  # octets; the system's limit is 108 with the end mark

Arguments = Mapping[str, object]
Handler = Callable[[Arguments], Awaitable[object]]


class NotRunning(Exception):
    """No server listens on the control socket."""


class ControlError(Exception):
    """The server said no, or nothing that makes sense; the message is for people."""


class Request(msgspec.Struct, frozen=True):
    """What a client asks for."""

    command: str
    arguments: dict[str, object] = {}


class Answer(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the server says: a result, or why not."""

    ok: bool
    result: object = None
    error: str = ""


class ControlServer:
    """Answers commands by the handlers it was given, each by its command's name."""

    def __init__(self, path: Path, handlers: Mapping[str, Handler], log: Log) -> None:
        self._path = path
        self._handlers = handlers
        self._log = log
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Listen, in place of whatever a dead server left behind. Raises OSError."""
        listening = _bind(self._path)
        self._server = await asyncio.start_unix_server(self._serve, sock=listening, limit=MAX_LINE)

    async def close(self) -> None:
        """Stop listening and remove the socket."""
        if self._server is not None:
            self._server.close()
            self._path.unlink(missing_ok=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, TimeoutError, ValueError, asyncio.IncompleteReadError):
            line = await asyncio.wait_for(reader.readline(), _PATIENCE)
            writer.write(msgspec.json.encode(await self._answer(line)) + b"\n")
            await asyncio.wait_for(writer.drain(), _PATIENCE)
        writer.close()

    async def _answer(self, line: bytes) -> Answer:
        try:
            request = msgspec.json.decode(line, type=Request)
        except UNREADABLE as error:
            return Answer(False, error=f"not a request: {error}")
        handler = self._handlers.get(request.command)
        if handler is None:
            known = ", ".join(sorted(self._handlers))
            return Answer(False, error=f"unknown command {request.command!r}; known: {known}")
        try:
            return Answer(True, msgspec.to_builtins(await handler(request.arguments)))
        except ControlError as error:
            return Answer(False, error=str(error))
        except Exception:
            self._log.exception("control command failed", command=request.command)
            return Answer(False, error=f"{request.command} failed; the server's log tells why")


def request(path: Path, command: str, *, timeout: float = 10.0, **arguments: object) -> object:
    """Ask the running server. Raises NotRunning, or ControlError with its words."""
    line = msgspec.json.encode(Request(command, arguments)) + b"\n"
    try:
        answer = msgspec.json.decode(_exchange(path, line, timeout), type=Answer)
    except (FileNotFoundError, ConnectionRefusedError):
        raise NotRunning from None
    except TimeoutError:
        raise ControlError(f"the server gave no answer within {timeout:g} s") from None
    except (OSError, *UNREADABLE) as error:
        raise ControlError(f"the control socket {path}: {error}") from None
    if not answer.ok:
        raise ControlError(answer.error)
    return answer.result


def poke(path: Path, command: str, **arguments: object) -> bool:
    """Tell the running server something it can do without for a while, or for good; no server is no fault.

    False where nobody heard it.
    """
    try:
        request(path, command, timeout=2.0, **arguments)
    except (NotRunning, ControlError):
        return False
    return True


def _exchange(path: Path, line: bytes, timeout: float) -> bytes:
    deadline = time.monotonic() + timeout
    received = bytearray()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection, _short_path(path) as short:
        connection.settimeout(timeout)
        connection.connect(short)
        connection.sendall(line)
        while not received.endswith(b"\n") and len(received) <= MAX_LINE:
            connection.settimeout(max(deadline - time.monotonic(), 0.001))
            if not (data := connection.recv(65536)):
                break
            received += data
    return bytes(received)


def _bind(path: Path) -> socket.socket:
    # Bound under another name and moved into place, so that nobody meets it with wider modes.
    fresh = path.with_name(f"{path.name}.{os.getpid()}")
    fresh.unlink(missing_ok=True)
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with _short_path(fresh) as short:
            listening.bind(short)
        fresh.chmod(0o600)
        fresh.rename(path)
    except OSError:
        listening.close()
        raise
    return listening


@contextlib.contextmanager
def _short_path(path: Path) -> Iterator[str]:
    """Yield a spelling of `path` that fits into a socket address, by its folder's descriptor where it is long."""
    if len(os.fsencode(path)) <= _MAX_SOCKET_PATH:
        yield str(path)
        return
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)
