"""The server for HTTPS itself, on a real socket: good clients, and those that are slow, many, large or none at all."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, cast

import pytest

from tests.ca import CertificateAuthority
from tests.deliver.setting import MemoryLog
from tests.https.samples import site
from valija.https.pages import LARGEST_REQUEST
from valija.https.server import Server
from valija.logs import Log
from valija.tls.options import CertificateOptions
from valija.tls.pair import CertificatePair
from valija.tls.sni import static_context

CA = CertificateAuthority()
PATIENCE = 10.0
POLICY = b"GET /.well-known/mta-sts.txt HTTP/1.1\r\nHost: mta-sts.example.org\r\n\r\n"
PAIRS = [
    (CertificatePair(*CA.issue("mail.example.org")), CertificateOptions("files", ("mail.example.org",))),
    (CertificatePair(*CA.issue("mta-sts.example.org")), CertificateOptions("files", ("mta-sts.example.org",))),
]
TRUSTING = ssl.create_default_context(cadata=CA.pem.decode())


class Talk:
    """A client's connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def answer(self) -> bytes:
        """Return what the server says until it hangs up."""
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            return await asyncio.wait_for(self.reader.read(), PATIENCE)
        return b""

    async def ask(self, request: bytes) -> bytes:
        self.writer.write(request)
        answer = await self.answer()
        self.writer.close()
        return answer


class Running:
    """A server that runs, and how to reach it."""

    def __init__(self, place: tuple[str, int], log: MemoryLog) -> None:
        self.place = place
        self.log = log

    async def connect(self, name: str = "mta-sts.example.org") -> Talk:
        return Talk(*await asyncio.open_connection(*self.place, ssl=TRUSTING, server_hostname=name))


@contextlib.asynccontextmanager
async def running(**limits: Any) -> AsyncIterator[Running]:
    log = MemoryLog()
    server = Server(cast("Log", log), **limits)
    server.use(site(), static_context(PAIRS))
    listening = socket.create_server(("127.0.0.1", 0))
    task = asyncio.create_task(server.serve([listening]))
    try:
        yield Running(listening.getsockname(), log)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        listening.close()


def run(test: Callable[[Running], Awaitable[None]], **limits: Any) -> None:
    async def inside() -> None:
        async with running(**limits) as server:
            await test(server)
            assert [line for line in server.log.lines if line[0] in ("error", "exception")] == []

    asyncio.run(inside())


def test_a_policy_is_fetched_and_the_connection_is_over() -> None:
    async def test(server: Running) -> None:
        answer = await (await server.connect()).ask(POLICY)
        head, _, body = answer.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 OK\r\n")
        assert b"\r\nContent-Type: text/plain; charset=utf-8\r\n" in head + b"\r\n"
        assert b"aiohttp" not in head
        assert body == site().policy.encode()

    run(test)


def test_each_name_gets_its_certificate_and_all_others_the_default_one() -> None:
    async def test(server: Running) -> None:
        for name in ("mta-sts.example.org", "mail.example.org"):
            await (await server.connect(name)).ask(POLICY)
        with pytest.raises(ssl.SSLCertVerificationError, match="not valid for"):
            await server.connect("autoconfig.example.org")

    run(test)


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET /.well-known/mta-sts.txt HTTP/1.0\r\n\r\n", b"404"),
        (POLICY.replace(b"GET ", b"HEAD "), b"200"),
        (POLICY.replace(b"GET ", b"PUT "), b"405"),
        (POLICY.replace(b"mta-sts.example.org", b"evil.example"), b"404"),
        (POLICY.replace(b"/.well", b"/%2e%2e/%2e%2e/etc/passwd"), b"404"),
        (POLICY.replace(b"GET /", b"GET https://evil.example/"), b"200"),
        (b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 9000 + b"\r\n\r\n", b"400"),
        (b"\x00\x01\x02\r\n\r\n", b"400"),
        (b"EHLO mail.example.net\r\n\r\n", b"400"),
        (POLICY[:-2] + b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\nabc", b"400"),
    ],
)
def test_odd_requests(request_: bytes, status: bytes) -> None:
    async def test(server: Running) -> None:
        answer = await (await server.connect()).ask(request_)
        assert answer.split(b" ")[1:2] == [status]

    run(test)


def outlook(body: bytes, *fields: bytes, length: int | None = None) -> bytes:
    head = b"POST /autodiscover/autodiscover.xml HTTP/1.1\r\nHost: example.org\r\n"
    size = b"Content-Length: %d\r\n" % (len(body) if length is None else length)
    return head + size + b"".join(field + b"\r\n" for field in fields) + b"\r\n" + body


ASKED = b"<EMailAddress>alice@example.org</EMailAddress>"


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (outlook(ASKED), b"200"),
        (outlook(ASKED.rjust(LARGEST_REQUEST)), b"200"),
        (outlook(ASKED.rjust(LARGEST_REQUEST + 1)), b"413"),
        (outlook(b"x" * 20_000, length=10**12), b"413"),
        (outlook(ASKED, b"Content-Encoding: gzip"), b"200"),
        (outlook(b""), b"400"),
    ],
)
def test_bodies(request_: bytes, status: bytes) -> None:
    async def test(server: Running) -> None:
        answer = await (await server.connect()).ask(request_)
        assert answer.split(b" ")[1:2] == [status]

    run(test)


def test_a_client_that_hangs_up_in_the_middle_is_no_fault() -> None:
    async def test(server: Running) -> None:
        talk = await server.connect()
        talk.writer.write(outlook(b"half", length=100))
        await talk.writer.drain()
        talk.writer.transport.abort()
        assert await (await server.connect()).ask(POLICY)

    run(test)


def test_a_client_that_says_nothing_has_its_time_and_no_more() -> None:
    async def test(server: Running) -> None:
        talks = [await server.connect() for _ in range(3)]
        talks[1].writer.write(b"GET / HTTP/1.1\r\n")  # and nothing more
        talks[2].writer.write(outlook(b"", length=100))
        assert [await talk.answer() for talk in talks] == [b"", b"", b""]

    run(test, life=0.3)


def test_a_client_has_so_many_connections_and_no_more() -> None:
    async def test(server: Running) -> None:
        first, second = await server.connect(), await server.connect()
        with pytest.raises((ConnectionError, ssl.SSLError)):
            await server.connect()
        assert b"200" in await first.ask(POLICY)
        assert b"200" in await second.ask(POLICY)
        assert b"200" in await (await _when_there_is_room(server)).ask(POLICY)

    run(test, from_one=2)


async def _when_there_is_room(server: Running) -> Talk:
    """Return a connection: the server may hear of an end a moment later than its client."""
    async with asyncio.timeout(PATIENCE):
        while True:
            with contextlib.suppress(ConnectionError, ssl.SSLError):
                return await server.connect()


def test_the_log_tells_what_was_served_and_nothing_of_what_was_not() -> None:
    async def test(server: Running) -> None:
        await (await server.connect()).ask(POLICY)
        await (await server.connect()).ask(b"GET /x HTTP/1.1\r\nHost: y\r\n\r\n")
        await (await server.connect()).ask(b"\xff\r\n\r\n")
        told = [(level, event, values["status"]) for level, event, values in server.log.lines]
        assert told == [("info", "HTTPS request", 200), ("debug", "HTTPS request", 404)]

    run(test)


def test_a_site_is_changed_while_it_is_served() -> None:
    async def inside() -> None:
        server = Server(cast("Log", MemoryLog()))
        server.use(site(), static_context(PAIRS))
        listening = socket.create_server(("127.0.0.1", 0))
        task = asyncio.create_task(server.serve([listening]))
        here = Running(listening.getsockname(), MemoryLog())
        assert b"mode: testing" in await (await here.connect()).ask(POLICY)
        text = 'hostname = "mail.example.org"\ndomains = ["example.org"]\n[mta_sts]\nmode = "enforce"\n'
        server.use(site(text), static_context(PAIRS))
        assert b"mode: enforce" in await (await here.connect()).ask(POLICY)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        listening.close()

    asyncio.run(inside())
