"""The connection to Dovecot, where a real one can't be made to misbehave: silence, nonsense, permissions."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from tests.auth.test_dovecot_protocol import FACTS, HANDSHAKE
from valija.auth.backend import Step, Success, Unavailable
from valija.auth.dovecot import DovecotBackend
from valija.auth.dovecot_socket import why_not, why_unreachable
from valija.logs import LogBuffer, build_log

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
PLAIN = b"\0alice\0secret"


class Stub:
    """A peer on a Unix socket that does what a test says, and a backend that asks it."""

    def __init__(self, folder: Path, *serving: Serve) -> None:
        self.path = folder / "auth"
        self.log_file = folder / "log"
        self._serving = list(serving)

    async def __aenter__(self) -> "Stub":
        await self.listen()
        descriptor = os.open(self.log_file, os.O_WRONLY | os.O_CREAT)
        self._buffer = LogBuffer(descriptor)
        self.backend = DovecotBackend(str(self.path), build_log("info", "text", self._buffer), silence=0.3)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.backend.close()
        self.leave()

    async def listen(self) -> None:
        self._server = await asyncio.start_unix_server(self._serve, self.path)

    def leave(self) -> None:
        self._server.close()
        self.path.unlink(missing_ok=True)

    def log(self) -> str:
        self._buffer.flush()
        return self.log_file.read_text()

    async def ask(self) -> Step:
        exchange = self.backend.start("PLAIN", FACTS)
        assert exchange is not None
        return await asyncio.wait_for(exchange.respond(PLAIN), 20)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        serve = self._serving.pop(0) if len(self._serving) > 1 else self._serving[0]
        try:
            await serve(reader, writer)
        except ConnectionError:
            pass
        finally:
            writer.close()


async def honest(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(HANDSHAKE)
    while line := await reader.readline():
        if line.startswith(b"AUTH"):
            writer.write(b"OK\t" + line.split(b"\t")[1] + b"\tuser=alice\n")


def answering(octets: bytes) -> Serve:
    """A peer that answers every request with these octets."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(HANDSHAKE)
        while line := await reader.readline():
            if line.startswith(b"AUTH"):
                writer.write(octets)

    return serve


async def closing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(HANDSHAKE)
    while not (await reader.readline()).startswith(b"AUTH"):
        pass


@pytest.mark.parametrize(
    ("peer", "said"),
    [
        (answering(b""), "said nothing"),
        (answering(b"OK\t99\tuser=alice\n"), "no answer"),
        (answering(b"OK\t1\tuser=alice"), "no answer"),
        (answering(b"OK\tseven\n"), "nonsense"),
        (closing, "closed the connection"),
    ],
    ids=["silent", "another's number", "half a line", "nonsense", "closing"],
)
def test_what_is_no_verdict_is_unavailable_and_the_next_login_succeeds(tmp_path: Path, peer: Serve, said: str) -> None:
    async def run() -> None:
        async with Stub(tmp_path, peer, honest) as stub:
            step = await stub.ask()
            assert isinstance(step, Unavailable)
            assert said in step.detail or said in stub.log()
            if stub.backend.mechanisms() and said == "no answer":
                return  # it spoke: the connection is kept
            assert await stub.ask() == Success("alice")

    asyncio.run(run())


def test_first_login_after_its_return_succeeds(tmp_path: Path) -> None:
    async def run() -> None:
        async with Stub(tmp_path, honest) as stub:
            assert await stub.ask() == Success("alice")
            stub.leave()
            stub.backend._line.break_off("for the test")  # type: ignore[union-attr]  # it is connected
            assert isinstance(await stub.ask(), Unavailable)
            assert stub.backend.mechanisms() == ("PLAIN", "LOGIN", "SCRAM-SHA-256")  # as before
            await stub.listen()
            assert await stub.ask() == Success("alice")
            assert stub.log().count("Dovecot is away") == 1
            assert stub.log().count("Dovecot is back") == 1

    asyncio.run(run())


def test_many_logins_share_a_connection(tmp_path: Path) -> None:
    connections = 0

    async def counted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        await honest(reader, writer)

    async def run() -> None:
        async with Stub(tmp_path, counted) as stub:
            steps = await asyncio.gather(*(stub.ask() for _ in range(50)))
            assert steps == [Success("alice")] * 50

    asyncio.run(run())
    assert connections == 1


def test_somebody_else_on_the_socket_is_told_from_dovecot(tmp_path: Path) -> None:
    async def smtp(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail.example.org ESMTP\r\n")
        await reader.read()

    async def run() -> None:
        async with Stub(tmp_path, smtp) as stub:
            step = await stub.ask()
            assert isinstance(step, Unavailable)
            assert "not Dovecot's auth protocol" in step.detail

    asyncio.run(run())


def test_missing_socket_in_words(tmp_path: Path) -> None:
    mechanisms, why = why_not(str(tmp_path / "auth-client"))
    assert mechanisms == ()
    assert "there is no such socket" in why
    assert "dovecot-config" in why


def test_missing_permission_in_words(tmp_path: Path) -> None:
    words = why_unreachable(str(tmp_path / "auth-client"), PermissionError(13, "Permission denied"))
    assert "dovecot-config" in words


def test_nothing_is_begun_in_clear(tmp_path: Path) -> None:
    async def run() -> None:
        import msgspec

        async with Stub(tmp_path, honest) as stub:
            assert stub.backend.start("PLAIN", msgspec.structs.replace(FACTS, secured=False)) is None

    asyncio.run(run())
