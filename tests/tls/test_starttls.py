"""The upgrade to TLS, on both loops and both sides, against peers that do what peers do."""

import asyncio
import contextlib
import functools
import socket
import ssl
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from typing import Any, cast

import pytest
import uvloop

from tests.ca import CertificateAuthority
from valija.tls.contexts import client_context, server_context, tls_facts
from valija.tls.starttls import TlsFailed, _Gate, start_tls

CA = CertificateAuthority()
ISSUED = CA.issue("mail.example.org")
DEADLINE = 20.0

LoopFactory = Callable[[], asyncio.AbstractEventLoop]
both_loops = pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])


def run(loop: LoopFactory, work: Coroutine[Any, Any, None]) -> None:
    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(asyncio.wait_for(work, DEADLINE))


class Recorder(asyncio.Protocol):
    """A protocol that notes what it is told, and on which transport it would have answered."""

    def __init__(self) -> None:
        self.told: list[tuple[str, Any]] = []
        self.changed = asyncio.Event()
        self.transport: asyncio.Transport

    def note(self, what: str, detail: Any = None) -> None:
        self.told.append((what, detail))
        self.changed.set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop's are no subclass of it
        self.note("made")

    def data_received(self, data: bytes) -> None:
        self.note("data", (data, tls_facts(self.transport) is not None))

    def eof_received(self) -> None:
        self.note("eof")

    def pause_writing(self) -> None:
        self.note("paused")

    def resume_writing(self) -> None:
        self.note("resumed")

    def connection_lost(self, exc: Exception | None) -> None:
        self.note("lost", exc)

    def octets(self) -> bytes:
        return b"".join(detail[0] for what, detail in self.told if what == "data")

    def has(self, what: str) -> bool:
        return self.count(what) == 1

    def count(self, what: str) -> int:
        return sum(each == what for each, _ in self.told)

    async def until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            self.changed.clear()
            await self.changed.wait()


@contextlib.asynccontextmanager
async def connected() -> AsyncIterator[tuple[Recorder, socket.socket]]:
    """A protocol under test, and the plain socket that is its peer."""
    loop = asyncio.get_running_loop()
    listener = socket.create_server(("127.0.0.1", 0))
    peer = socket.create_connection(listener.getsockname())
    accepted, _ = listener.accept()
    listener.close()
    peer.settimeout(DEADLINE)
    try:
        _, recorder = await loop.create_connection(Recorder, sock=accepted)
        yield recorder, peer
        recorder.transport.abort()
        await recorder.until(lambda: recorder.count("lost") > 0)
    finally:
        with contextlib.suppress(OSError):
            peer.shutdown(socket.SHUT_RDWR)  # wakes a thread that waits on it
        peer.close()


def in_thread(work: Callable[[], Any]) -> Awaitable[Any]:
    return asyncio.get_running_loop().run_in_executor(None, work)


async def serve_tls(recorder: Recorder, timeout: float = DEADLINE) -> asyncio.Transport:
    context = server_context(*ISSUED)
    recorder.transport = await start_tls(recorder.transport, recorder, context, server_side=True, timeout=timeout)
    return recorder.transport


def client_handshake(peer: socket.socket) -> ssl.SSLSocket:
    return client_context(verify=False).wrap_socket(peer, server_hostname="mail.example.org")


def server_handshake(peer: socket.socket) -> ssl.SSLSocket:
    return server_context(*ISSUED).wrap_socket(peer, server_side=True)


@both_loops
def test_server_side_with_data_right_behind_the_handshake(loop: LoopFactory) -> None:
    async def work() -> None:
        async with connected() as (recorder, peer):

            def client() -> bytes:
                secured = client_handshake(peer)
                secured.sendall(b"EHLO client.example\r\n")
                return secured.recv(100)

            answer = in_thread(client)
            transport = await serve_tls(recorder)
            assert tls_facts(transport) is not None
            assert not recorder.count("data")
            await recorder.until(lambda: recorder.octets() == b"EHLO client.example\r\n")
            assert all(detail[1] for what, detail in recorder.told if what == "data"), "delivered on the old transport"
            transport.write(b"250 ok\r\n")
            assert await answer == b"250 ok\r\n"

    run(loop, work())


@both_loops
@pytest.mark.parametrize("burst", [1, 30])
def test_tls_from_the_first_byte(loop: LoopFactory, burst: int) -> None:
    """The ClientHello is there before the connection is accepted, and read before any task of ours has run."""

    class Implicit(Recorder):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            super().connection_made(transport)
            context = server_context(*ISSUED)
            handshake = start_tls(self.transport, self, context, server_side=True, timeout=DEADLINE)
            self.task = asyncio.ensure_future(self.greet(handshake))

        async def greet(self, handshake: Awaitable[asyncio.Transport]) -> None:
            self.transport = await handshake
            self.transport.write(b"220 hello\r\n")

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self.transport.close()

    def client(address: tuple[str, int]) -> bytes:
        secured = client_handshake(socket.create_connection(address, timeout=DEADLINE))
        greeting = secured.recv(100)
        secured.sendall(b"QUIT\r\n")
        assert secured.recv(100) == b""
        secured.close()
        return greeting

    async def work() -> None:
        made: list[Implicit] = []

        def factory() -> Implicit:
            made.append(Implicit())
            return made[-1]

        server = await asyncio.get_running_loop().create_server(factory, "127.0.0.1", 0)
        address = server.sockets[0].getsockname()
        assert (
            await asyncio.gather(*(in_thread(lambda: client(address)) for _ in range(burst)))
            == [b"220 hello\r\n"] * burst
        )
        for recorder in made:
            await recorder.until(functools.partial(recorder.has, "lost"))
            assert recorder.octets() == b"QUIT\r\n"
        server.close()

    run(loop, work())


@both_loops
def test_data_in_the_flight_that_ends_the_handshake(loop: LoopFactory) -> None:
    """The client's Finished and its first data in one segment: the earliest that data can be."""

    async def work() -> None:
        async with connected() as (recorder, peer):
            incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
            client = client_context(verify=False).wrap_bio(incoming, outgoing, server_hostname="mail.example.org")

            def handshake() -> None:
                while True:
                    try:
                        client.do_handshake()
                        break
                    except ssl.SSLWantReadError:
                        peer.sendall(outgoing.read())
                        incoming.write(peer.recv(65536))
                client.write(b"NOOP\r\n")
                client.write(b"QUIT\r\n")
                peer.sendall(outgoing.read())

            done = in_thread(handshake)
            transport = await serve_tls(recorder)
            assert transport is recorder.transport
            await recorder.until(lambda: recorder.octets() == b"NOOP\r\nQUIT\r\n")
            assert all(detail[1] for what, detail in recorder.told if what == "data")
            await done

    run(loop, work())


@both_loops
def test_last_words_of_a_peer_that_closes_at_once(loop: LoopFactory) -> None:
    async def work() -> None:
        async with connected() as (recorder, peer):

            def server() -> None:
                secured = server_handshake(peer)
                secured.sendall(b"554 no\r\n")
                with contextlib.suppress(OSError):
                    secured.unwrap()
                secured.close()

            done = in_thread(server)
            recorder.transport = await start_tls(
                recorder.transport, recorder, client_context(verify=False), server_side=False, timeout=DEADLINE
            )
            await recorder.until(lambda: recorder.octets() == b"554 no\r\n")
            await recorder.until(lambda: recorder.count("lost") == 1)
            await done

    run(loop, work())


@both_loops
def test_waits_until_the_clear_text_is_written(loop: LoopFactory) -> None:
    """uvloop#564: with clear text still in the buffer the loop's own start_tls() breaks."""
    clear = b"220 go ahead\r\n" * 400_000

    async def work() -> None:
        async with connected() as (recorder, peer):
            transport = recorder.transport
            transport.write(clear)
            assert transport.get_write_buffer_size()
            assert recorder.count("paused") == 1
            upgrade = asyncio.ensure_future(serve_tls(recorder))

            def client() -> bytes:
                left = len(clear)
                while left:
                    left -= len(peer.recv(min(left, 1 << 20)))
                secured = client_handshake(peer)
                secured.sendall(b"NOOP\r\n")
                return secured.recv(100)

            answer = in_thread(client)
            secured = await upgrade
            await recorder.until(lambda: recorder.octets() == b"NOOP\r\n")
            assert recorder.count("resumed") == 1, "the protocol would never write again"
            secured.write(b"250 ok\r\n")
            assert await answer == b"250 ok\r\n"

    run(loop, work())


@both_loops
def test_write_buffer_that_never_empties(loop: LoopFactory) -> None:
    async def work() -> None:
        async with connected() as (recorder, _):
            recorder.transport.write(b"x" * 20_000_000)
            with pytest.raises(TlsFailed, match=r"no TLS handshake within 0\.2 s"):
                await serve_tls(recorder, 0.2)
            await recorder.until(lambda: recorder.count("lost") == 1)

    run(loop, work())


@both_loops
def test_peer_leaves_while_the_buffer_drains(loop: LoopFactory) -> None:
    async def work() -> None:
        async with connected() as (recorder, peer):
            recorder.transport.write(b"x" * 20_000_000)
            upgrade = asyncio.ensure_future(serve_tls(recorder))
            await in_thread(lambda: peer.recv(100))
            peer.close()  # unread octets: a reset
            with pytest.raises(TlsFailed):
                await upgrade
            await recorder.until(lambda: recorder.count("lost") == 1)

    run(loop, work())


@both_loops
def test_client_hello_never_reaches_the_protocol(loop: LoopFactory) -> None:
    """The ClientHello is in the kernel before start_tls() is called, and stays there."""

    async def work() -> None:
        async with connected() as (recorder, peer):
            answered = threading.Event()

            def client() -> None:
                assert peer.recv(100) == b"220 ready\r\n"
                answered.set()
                client_handshake(peer).sendall(b"NOOP\r\n")

            recorder.transport.write(b"220 ready\r\n")
            done = in_thread(client)
            recorder.transport.pause_reading()
            await in_thread(answered.wait)
            await serve_tls(recorder)
            await recorder.until(lambda: recorder.octets() == b"NOOP\r\n")
            await done

    run(loop, work())


@both_loops
def test_silent_peer(loop: LoopFactory) -> None:
    async def work() -> None:
        async with connected() as (recorder, peer):
            with pytest.raises(TlsFailed, match=r"no TLS handshake within 0\.2 s"):
                await serve_tls(recorder, 0.2)
            await recorder.until(lambda: recorder.count("lost") == 1)
            assert recorder.transport.is_closing()
            assert await in_thread(lambda: _closed_by_us(peer))

    run(loop, work())


def _closed_by_us(peer: socket.socket) -> bool:
    try:
        while peer.recv(65536):
            pass
    except ConnectionResetError:
        return True
    return True


@both_loops
@pytest.mark.parametrize(
    "garbage", [b"EHLO evil\r\nMAIL FROM:<s@evil.example>\r\n", b"GET / HTTP/1.1\r\n\r\n", b"\0" * 600]
)
def test_garbage_instead_of_a_handshake(loop: LoopFactory, garbage: bytes) -> None:
    async def work() -> None:
        async with connected() as (recorder, peer):
            peer.sendall(garbage)
            with pytest.raises(TlsFailed, match=r"TLS handshake failed: [a-z ]+$"):
                await serve_tls(recorder)
            await recorder.until(lambda: recorder.count("lost") == 1)
            assert not recorder.octets(), "clear text came out as if it had been encrypted"
            assert await in_thread(lambda: _closed_by_us(peer))

    run(loop, work())


@both_loops
def test_garbage_from_a_server(loop: LoopFactory) -> None:
    async def work() -> None:
        async with connected() as (recorder, peer):
            peer.sendall(b"421 too busy\r\n")
            with pytest.raises(TlsFailed, match="TLS handshake failed"):
                await start_tls(
                    recorder.transport, recorder, client_context(verify=False), server_side=False, timeout=DEADLINE
                )
            await recorder.until(lambda: recorder.count("lost") == 1)

    run(loop, work())


@both_loops
@pytest.mark.parametrize("first", [b"", b"\x16\x03\x01"])
@pytest.mark.parametrize("reset", [False, True])
def test_peer_closes_within_the_handshake(loop: LoopFactory, first: bytes, reset: bool) -> None:
    async def work() -> None:
        async with connected() as (recorder, peer):
            upgrade = asyncio.ensure_future(serve_tls(recorder))
            peer.sendall(first)
            if reset:
                peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            peer.close()
            with pytest.raises(TlsFailed):
                await upgrade
            await recorder.until(lambda: recorder.count("lost") == 1)

    run(loop, work())


@both_loops
def test_abort_within_the_handshake_is_no_success(loop: LoopFactory) -> None:
    async def work() -> None:
        async with connected() as (recorder, _):
            clear = recorder.transport
            upgrade = asyncio.ensure_future(serve_tls(recorder))
            for _turn in range(5):
                await asyncio.sleep(0)
            clear.abort()
            with pytest.raises(TlsFailed, match="closed during"):
                await upgrade
            await recorder.until(lambda: recorder.count("lost") == 1)

    run(loop, work())


@both_loops
@pytest.mark.parametrize("turns", [1, 2, 6])
def test_cancellation_closes(loop: LoopFactory, turns: int) -> None:
    async def work() -> None:
        async with connected() as (recorder, peer):
            upgrade = asyncio.ensure_future(serve_tls(recorder))
            for _turn in range(turns):
                await asyncio.sleep(0)
            upgrade.cancel()
            with pytest.raises(asyncio.CancelledError):
                await upgrade
            await recorder.until(lambda: recorder.count("lost") == 1)
            assert await in_thread(lambda: _closed_by_us(peer))

    run(loop, work())


@both_loops
def test_connection_that_is_gone_already(loop: LoopFactory) -> None:
    async def work() -> None:
        async with connected() as (recorder, _):
            recorder.transport.abort()
            with pytest.raises(TlsFailed, match="before the TLS handshake"):
                await serve_tls(recorder)
            await recorder.until(lambda: recorder.count("lost") == 1)

    run(loop, work())


@both_loops
@pytest.mark.parametrize(
    ("trusted", "hostname", "words"),
    [
        (True, "mail.example.org", ""),
        (True, "other.example", "Hostname mismatch"),
        (False, "mail.example.org", "self-signed|unable"),
    ],
)
def test_client_side_verifies(loop: LoopFactory, tmp_path: Any, trusted: bool, hostname: str, words: str) -> None:
    authority = CA if trusted else CertificateAuthority("Stranger")
    context = client_context(verify=True, ca_file=str(authority.write_root(tmp_path / "ca.pem")))

    def server(peer: socket.socket) -> None:
        with contextlib.suppress(OSError):
            server_handshake(peer).sendall(b"220 hello\r\n")

    async def work() -> None:
        async with connected() as (recorder, peer):
            done = in_thread(lambda: server(peer))
            upgrade = start_tls(
                recorder.transport, recorder, context, server_side=False, server_hostname=hostname, timeout=DEADLINE
            )
            if words:
                with pytest.raises(TlsFailed, match=words) as caught:
                    await upgrade
                assert caught.value.is_verification
                await recorder.until(lambda: recorder.count("lost") == 1)
            else:
                recorder.transport = await upgrade
                await recorder.until(lambda: recorder.octets() == b"220 hello\r\n")
            await done

    run(loop, work())


@both_loops
def test_protocol_that_raises_on_kept_data_loses_its_connection(loop: LoopFactory) -> None:
    class Broken(Recorder):
        def data_received(self, data: bytes) -> None:
            raise RuntimeError("a fault of ours")

    async def work() -> None:
        heard: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: heard.append(context))
        async with connected() as (recorder, peer):
            recorder.__class__ = Broken

            def client() -> None:
                client_handshake(peer).sendall(b"NOOP\r\n")

            done = in_thread(client)
            await serve_tls(recorder)
            await done
            await recorder.until(lambda: recorder.count("lost") == 1)
        assert any(isinstance(context.get("exception"), RuntimeError) for context in heard)

    run(loop, work())


@both_loops
@pytest.mark.parametrize("kept", [False, True])
def test_end_that_was_on_its_way_to_the_gate_arrives(loop: LoopFactory, kept: bool) -> None:
    """The loops schedule connection_lost() for the protocol of that moment, which may be the gate still."""

    async def work() -> None:
        async with connected() as (recorder, _):
            gate = _Gate(recorder.transport, recorder)
            if kept:
                gate.data_received(b"NOOP\r\n")
            gate.open(recorder.transport)
            asyncio.get_running_loop().call_soon(gate.connection_lost, None)
            await recorder.until(lambda: recorder.count("lost") == 1)
            assert recorder.octets() == (b"NOOP\r\n" if kept else b"")

    run(loop, work())
