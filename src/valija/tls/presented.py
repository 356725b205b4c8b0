"""Which certificate does a port present? Asked of the server's own ports after a renewal, as a stranger would ask.

    await presented(Endpoint("0.0.0.0", 587), "mail.example.org", starttls=True)    # SHA-256 of the certificate, in hex

It says EHLO and STARTTLS where the port speaks in clear first, shakes hands whatever the certificate is, and hangs up.
"""

import asyncio
import hashlib
from typing import Final

from valija.mail.endpoint import Endpoint
from valija.tls.contexts import client_context

PATIENCE: Final = 15.0  # seconds for all of it
_LONGEST_LINE: Final = 4096
_LOOPBACK: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 where a wildcard listener is reached


class NotAnswering(Exception):
    """The port can't be asked: that says nothing about its certificate."""


async def presented(endpoint: Endpoint, name: str, *, starttls: bool) -> str:
    """Return the fingerprint. `name` goes along as SNI. Raises NotAnswering, or ssl.SSLError for a failed handshake."""
    host = _LOOPBACK.get(endpoint.host, endpoint.host)
    context = client_context(verify=False)
    async with asyncio.timeout(PATIENCE):
        if not starttls:
            _, writer = await _connect(host, endpoint.port, ssl=context, server_hostname=name)
        else:
            reader, writer = await _connect(host, endpoint.port)
            await _ask_for_tls(reader, writer)
            await writer.start_tls(context, server_hostname=name)
    certificate = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.write(b"QUIT\r\n")
    writer.close()
    return hashlib.sha256(certificate or b"").hexdigest()


async def _connect(host: str, port: int, **tls: object) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    try:
        return await asyncio.open_connection(host, port, limit=_LONGEST_LINE, **tls)  # type: ignore[arg-type]  # TLS's own arguments, or none
    except ConnectionError as error:
        raise NotAnswering(error.strerror or str(error)) from None


async def _ask_for_tls(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    for command in (b"", b"EHLO localhost\r\n", b"STARTTLS\r\n"):
        writer.write(command)
        reply = await _reply(reader)
        if not reply.startswith(b"2"):
            raise NotAnswering(f"it says {reply[:100].decode('ascii', 'replace').strip()!r}")


async def _reply(reader: asyncio.StreamReader) -> bytes:
    """Return the last line of a reply."""
    while True:
        line = await reader.readline()
        if line[3:4] != b"-":
            return line
