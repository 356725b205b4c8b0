"""The connection to Dovecot, where a real one can't be made to misbehave: silence, nonsense, permissions."""

import asyncio
import base64
import errno
import itertools
import os
import re
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from tests.auth.test_dovecot_protocol import FACTS, HANDSHAKE, ready
from valija.auth.backend import Challenge, ConnectionFacts, Malformed, Step, Success, Unavailable, Wrong
from valija.auth.dovecot import DovecotBackend
from valija.auth.dovecot_protocol import LONGEST_RESPONSE
from valija.auth.dovecot_socket import Obstacle, mechanisms_at, unreachable
from valija.logs import LogBuffer, build_log

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
PLAIN = b"\0alice\0secret"


class Stub:
    """A peer on a Unix socket that does what a test says, and a backend that asks it."""

    def __init__(self, folder: Path, *serving: Serve, silence: float = 0.3) -> None:
        self.heard: list[bytes] = []  # the lines of all connections
        self._silence = silence
        self.path = folder / "auth"
        self.log_file = folder / "log"
        self._serving = list(serving)

    async def __aenter__(self) -> "Stub":
        await self.listen()
        descriptor = os.open(self.log_file, os.O_WRONLY | os.O_CREAT)
        self._buffer = LogBuffer(descriptor)
        self.backend = DovecotBackend(str(self.path), build_log("info", "text", self._buffer), silence=self._silence)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.backend.close()
        self.leave()

    async def listen(self) -> None:
        self.server = await asyncio.start_unix_server(self._serve, self.path)

    def leave(self) -> None:
        self.server.close()
        self.path.unlink(missing_ok=True)

    def log(self) -> str:
        self._buffer.flush()
        return self.log_file.read_text()

    async def ask(self) -> Step:
        exchange = self.backend.start("PLAIN", FACTS)
        assert exchange is not None
        return await asyncio.wait_for(exchange.respond(PLAIN), 20)

    async def hears(self, word: bytes) -> None:
        """Wait for a line that begins with a word."""
        async with asyncio.timeout(20):
            while not any(line.startswith(word) for line in self.heard):
                await asyncio.sleep(0.01)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        serve = self._serving.pop(0) if len(self._serving) > 1 else self._serving[0]
        try:
            await serve(_Overheard(reader, self.heard), writer)
        except ConnectionError:
            pass
        finally:
            writer.close()


class _Overheard(asyncio.StreamReader):
    """Notes the lines that are read from another reader."""

    def __init__(self, reader: asyncio.StreamReader, heard: list[bytes]) -> None:
        super().__init__()
        self._reader = reader
        self._heard = heard

    async def readline(self) -> bytes:
        line = await self._reader.readline()
        self._heard.append(line)
        return line

    async def read(self, n: int = -1) -> bytes:
        return await self._reader.read(n)


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


async def prompting(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Ask for the name, and wait."""
    writer.write(HANDSHAKE)
    while line := await reader.readline():
        if line.startswith(b"AUTH"):
            writer.write(b"CONT\t" + line.split(b"\t")[1] + b"\t" + base64.b64encode(b"Username:") + b"\n")


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
    found = mechanisms_at(str(tmp_path / "auth-client"))
    assert isinstance(found, Obstacle)
    assert "there is no such socket" in found.reason
    assert "dovecot-config" in found.remedy


@pytest.mark.parametrize(
    ("barred", "need", "remedy"),
    [("auth-client", "write to", "dovecot-config"), ("private", "enter", "another folder")],
)
def test_missing_permission_in_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, barred: str, need: str, remedy: str
) -> None:
    folder = tmp_path / "private"
    folder.mkdir(0o700)
    (folder / "auth-client").touch(0o600)
    monkeypatch.setattr(os, "access", lambda path, mode, **_: path.name != barred)  # root may do everything
    found = unreachable(str(folder / "auth-client"), PermissionError(errno.EACCES, "Permission denied"))
    mode = "0700" if barred == "private" else "0600"
    assert re.search(rf"user \S+ may not {need} \S+/{barred}, which is \S+:\S+ {mode}$", found.reason)
    assert remedy in found.remedy


def test_what_is_no_socket_in_words(tmp_path: Path) -> None:
    (tmp_path / "auth").touch()
    found = mechanisms_at(str(tmp_path / "auth"))
    assert isinstance(found, Obstacle)
    assert "that is no socket" in found.reason


def test_missing_folder_is_named(tmp_path: Path) -> None:
    found = mechanisms_at(str(tmp_path / "dovecot" / "auth"))
    assert isinstance(found, Obstacle)
    assert f"there is no folder {tmp_path}/dovecot" in found.reason


def test_mechanism_that_was_not_offered_after_all_is_not_begun(tmp_path: Path) -> None:
    """While Dovecot is away every mechanism may be asked for; ANONYMOUS must not come through with its return."""

    async def run() -> None:
        async with Stub(tmp_path, honest) as stub:
            stub.leave()
            exchange = stub.backend.start("ANONYMOUS", FACTS)
            assert exchange is not None
            asked = asyncio.create_task(exchange.respond(b"guest"))
            await stub.listen()
            assert isinstance(await asyncio.wait_for(asked, 20), Unavailable)
            assert await stub.ask() == Success("alice")
            assert stub.backend.start("ANONYMOUS", FACTS) is None
            assert not any(b"ANONYMOUS" in line for line in stub.heard)

    asyncio.run(run())


@pytest.mark.parametrize(
    ("mechanism", "response", "step"),
    [
        ("PLAIN", b"alice\0secret", Malformed()),
        ("PLAIN", b"", Malformed()),
        ("PLAIN", b"\0alice\0", Wrong("alice")),
        ("PLAIN", b"\0ali\tce\0secret", Malformed()),
        ("PLAIN", b"\0alice\0" + b"x" * LONGEST_RESPONSE, Wrong()),
        ("SCRAM-SHA-256", b"x" * (LONGEST_RESPONSE + 1), Wrong()),
    ],
)
def test_dovecot_is_not_asked_about(tmp_path: Path, mechanism: str, response: bytes, step: Step) -> None:
    async def run() -> None:
        async with Stub(tmp_path, honest) as stub:
            assert await stub.backend.connected(20)
            exchange = stub.backend.start(mechanism, FACTS)
            assert exchange is not None
            assert await exchange.respond(response) == step
            assert await stub.ask() == Success("alice")
            assert sum(line.startswith(b"AUTH") for line in stub.heard) == 1

    asyncio.run(run())


def test_longest_line_is_one_that_dovecot_takes() -> None:
    link = ready()
    address = "fe80:1234:5678:9abc:def0:1234:5678:9abc%enp0s31f6"
    facts = ConnectionFacts(True, address, 65535, address, 65535)
    link._last = 1 << 30
    assert len(link.begin("SCRAM-SHA-512-PLUS", facts, b"x" * LONGEST_RESPONSE)[1]) < 8192


def test_peer_that_always_hangs_up_is_not_asked_all_the_time(tmp_path: Path) -> None:
    greeted: list[float] = []

    async def fleeting(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        greeted.append(asyncio.get_running_loop().time())
        writer.write(HANDSHAKE)
        await writer.drain()

    async def run() -> None:
        async with Stub(tmp_path, fleeting):
            while len(greeted) < 4:
                await asyncio.sleep(0.01)

    asyncio.run(asyncio.wait_for(run(), 20))
    first, second, third, fourth = (later - earlier for earlier, later in itertools.pairwise([*greeted, greeted[-1]]))
    assert fourth == 0
    assert 0.09 < first < second < third, "the pauses grow"


def test_former_dovecot_that_lives_on_is_not_asked(tmp_path: Path) -> None:
    """Its auth process stays, for the clients it has, when the master is gone, and may never answer."""

    async def former(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(HANDSHAKE)
        await reader.read()

    async def run() -> None:
        async with Stub(tmp_path, former, honest) as stub:
            assert await stub.backend.connected(20)
            before = stub.server
            stub.path.unlink()
            await stub.listen()
            assert await stub.ask() == Success("alice")
            before.close()

    asyncio.run(run())


def test_closed_backend_says_so_at_once(tmp_path: Path) -> None:
    async def run() -> None:
        async with Stub(tmp_path, answering(b""), silence=60) as stub:
            asked = asyncio.create_task(stub.ask())
            await stub.hears(b"AUTH")
            stub.backend.close()
            assert isinstance(await asyncio.wait_for(asked, 20), Unavailable)
            assert isinstance(await asyncio.wait_for(stub.ask(), 20), Unavailable)

    asyncio.run(run())


def test_client_that_goes_away_leaves_nothing_behind(tmp_path: Path) -> None:
    async def run() -> None:
        async with Stub(tmp_path, prompting) as stub:
            exchange = stub.backend.start("LOGIN", FACTS)
            assert exchange is not None
            assert await exchange.respond(None) == Challenge(b"Username:")
            exchange.cancel()
            await stub.hears(b"CANCEL")
            line = await stub.backend.line()
            assert line.link.open_requests == 0

    asyncio.run(run())


def test_exchange_under_way_when_the_connection_dies_is_unavailable(tmp_path: Path) -> None:
    async def run() -> None:
        async with Stub(tmp_path, prompting, honest) as stub:
            exchange = stub.backend.start("LOGIN", FACTS)
            assert exchange is not None
            assert await exchange.respond(None) == Challenge(b"Username:")
            (await stub.backend.line()).break_off("for the test")
            assert isinstance(await exchange.respond(b"alice"), Unavailable)
            assert await stub.ask() == Success("alice")

    asyncio.run(run())


def test_nothing_is_begun_in_clear(tmp_path: Path) -> None:
    async def run() -> None:
        import msgspec

        async with Stub(tmp_path, honest) as stub:
            assert stub.backend.start("PLAIN", msgspec.structs.replace(FACTS, secured=False)) is None

    asyncio.run(run())
