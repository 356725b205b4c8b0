"""Which certificate a port presents, asked as a stranger asks: in clear first, or by TLS at once."""

import asyncio
import hashlib
import ssl
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest

from tests.ca import CertificateAuthority, Issued
from valija.mail.endpoint import Endpoint
from valija.tls.contexts import server_context
from valija.tls.presented import NotAnswering, presented

HOST = "mail.example.org"
ISSUED = CertificateAuthority().issue(HOST)
PRINT = hashlib.sha256(ssl.PEM_cert_to_DER_cert(ISSUED.chain_pem.decode())).hexdigest()

Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Any]


@asynccontextmanager
async def port(talk: Talk, context: ssl.SSLContext | None = None) -> Any:
    server = await asyncio.start_server(talk, "127.0.0.1", 0, ssl=context)
    try:
        yield Endpoint("127.0.0.1", server.sockets[0].getsockname()[1])
    finally:
        server.close()


def context_of(issued: Issued) -> ssl.SSLContext:
    return server_context(issued.chain_pem, issued.key_pem)


def ask(opened: AbstractAsyncContextManager[Endpoint], *, starttls: bool) -> str:
    async def main() -> str:
        async with opened as endpoint:
            return await presented(endpoint, HOST, starttls=starttls)

    return asyncio.run(main())


async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()
    writer.close()


def replies(*lines: bytes, then_tls: bool = False) -> Talk:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for line in lines:
            writer.write(line)
            await reader.readline()
        if then_tls:
            writer.write(b"220 go ahead\r\n")
            await writer.start_tls(context_of(ISSUED))
            await reader.read()
        writer.close()

    return talk


def test_tls_at_once() -> None:
    assert ask(port(silent, context_of(ISSUED)), starttls=False) == PRINT


def test_starttls() -> None:
    talk = replies(b"220-mail\r\n220 ESMTP\r\n", b"250-mail\r\n250-SIZE\r\n250 STARTTLS\r\n", then_tls=True)
    assert ask(port(talk), starttls=True) == PRINT


@pytest.mark.parametrize(
    "talk",
    [
        replies(b"421 too many\r\n"),
        replies(b"220 mail\r\n", b"502 no\r\n"),
        replies(b"220 m\r\n", b"250 m\r\n", b"454 no\r\n"),
        replies(),
    ],
)
def test_a_port_that_says_no_tells_nothing(talk: Talk) -> None:
    with pytest.raises(NotAnswering):
        ask(port(talk), starttls=True)


def test_nobody_there() -> None:
    with pytest.raises(NotAnswering, match="failed"):
        asyncio.run(presented(Endpoint("127.0.0.1", 9), HOST, starttls=False))


def test_a_handshake_that_fails_is_a_verdict() -> None:
    async def not_tls(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"500 this is no TLS\r\n")
        writer.close()

    with pytest.raises(ssl.SSLError):
        ask(port(not_tls), starttls=False)
