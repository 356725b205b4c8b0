"""The demonstration's next hop: mail arrives whole, in clear and encrypted."""

import asyncio
import smtplib
import ssl

import pytest

from tests.ca import CertificateAuthority
from valija.demo.sink import HOST, Caught, Sink
from valija.tls.contexts import server_context

CONTENT = b"Subject: dots\r\n\r\n.first\r\n..second\r\n"


def _catch(*, encrypt: bool) -> list[Caught]:
    """Send two messages over one connection; return what was caught."""
    authority = CertificateAuthority()
    issued = authority.issue(HOST)
    caught: list[Caught] = []

    def send(port: int) -> None:
        with smtplib.SMTP(HOST, port, timeout=10) as client:
            if encrypt:
                client.starttls(context=ssl.create_default_context(cadata=authority.pem.decode()))
            client.sendmail("a@example.org", ["b@example.net", "c@example.net"], CONTENT)
            client.sendmail("a@example.org", ["d@example.net"], CONTENT)

    async def serve() -> None:
        sink = await Sink.open(caught.append, server_context(issued.chain_pem, issued.key_pem))
        await asyncio.to_thread(send, sink.port)
        sink.close()

    asyncio.run(serve())
    return caught


@pytest.mark.parametrize(("encrypt", "version"), [(False, ""), (True, "TLSv1.3")])
def test_catches(encrypt: bool, version: str) -> None:
    assert _catch(encrypt=encrypt) == [
        Caught("a@example.org", ("b@example.net", "c@example.net"), CONTENT, version),
        Caught("a@example.org", ("d@example.net",), CONTENT, version),
    ]


def test_a_client_without_tls_afterwards_ends_alone() -> None:
    """A handshake that fails takes its own connection down; the next client is served."""
    issued = CertificateAuthority().issue(HOST)
    caught: list[Caught] = []

    async def serve() -> None:
        sink = await Sink.open(caught.append, server_context(issued.chain_pem, issued.key_pem))
        reader, writer = await asyncio.open_connection(HOST, sink.port)
        await reader.readline()
        writer.write(b"EHLO x\r\nSTARTTLS\r\n")
        while not (await reader.readline()).startswith(b"220"):
            pass
        writer.write(b"this is no handshake\r\n")
        assert await asyncio.wait_for(reader.read(), 10) is not None
        writer.close()
        await asyncio.to_thread(_send_one, sink.port)
        sink.close()

    asyncio.run(serve())
    assert len(caught) == 1


def _send_one(port: int) -> None:
    with smtplib.SMTP(HOST, port, timeout=10) as client:
        client.sendmail("a@example.org", ["b@example.net"], CONTENT)
