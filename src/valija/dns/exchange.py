"""One question to one name server: over UDP, over TCP where the answer was too long for it (RFC 1035, RFC 7766).

    reply = await ask(make_query("example.org", "MX", wants_dnssec=True), Endpoint("127.0.0.1", 53), patience=5.0)

Each question has a socket and thus a source port of its own, and a random id: both have to be guessed by whoever
would forge an answer (RFC 5452). The socket is connected, so that other hosts' datagrams are dropped by the kernel, and
a closed port is told at once instead of after the time-out. What is no answer to the question is ignored.
"""

import asyncio
import contextlib
import socket
import struct
from typing import Final

import dns.exception
import dns.flags
import dns.message
import dns.name

from valija.dns.resolver import RecordType
from valija.mail.endpoint import Endpoint

PAYLOAD: Final = 1232  # octets: no fragments on any path (DNS flag day 2020)
RESEND_AFTER: Final = 1.0  # seconds, then twice as many

Message = dns.message.Message


class NoAnswer(Exception):
    """A name server gave no usable answer. `was_silent`: it may yet answer another try."""

    def __init__(self, reason: str, *, was_silent: bool = False) -> None:
        super().__init__(reason)
        self.was_silent = was_silent


def make_query(name: dns.name.Name, rtype: RecordType, *, wants_dnssec: bool) -> Message:
    """Return a question. With `wants_dnssec` the server is asked to say what it validated (RFC 6840 section 5.7)."""
    query = dns.message.make_query(name, rtype, use_edns=0, payload=PAYLOAD, want_dnssec=wants_dnssec)
    if wants_dnssec:
        query.flags |= dns.flags.AD
    return query


async def ask(query: Message, server: Endpoint, *, patience: float) -> Message:
    """Return the server's answer, or raise NoAnswer after at most `patience` seconds."""
    try:
        async with asyncio.timeout(patience):
            reply = await _ask_by_udp(query, server)
            return await _ask_by_tcp(query, server) if reply is None else reply
    except TimeoutError:
        raise NoAnswer(f"no answer in {patience:g} s", was_silent=True) from None
    except (OSError, EOFError) as error:
        raise NoAnswer(str(error) or "the connection ended") from None
    except dns.exception.DNSException as error:
        raise NoAnswer(f"a malformed answer: {error}") from None


async def _ask_by_udp(query: Message, server: Endpoint) -> Message | None:
    """Return the answer, None for one that was truncated."""
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[Message | None] = loop.create_future()
    connected = _connected_socket(server)
    try:
        transport, _ = await loop.create_datagram_endpoint(lambda: _Listening(query, answer), sock=connected)
    except BaseException:
        connected.close()
        raise
    try:
        return await _insist(transport, query.to_wire(), answer)
    finally:
        transport.close()


async def _insist(
    transport: asyncio.DatagramTransport, wire: bytes, answer: asyncio.Future[Message | None]
) -> Message | None:
    """Send a question, and again while there is no answer: datagrams get lost, most of all in bursts."""
    pause = RESEND_AFTER
    while True:
        transport.sendto(wire)
        done, _ = await asyncio.wait([answer], timeout=pause)
        if done:
            return answer.result()
        pause *= 2


def _connected_socket(server: Endpoint) -> socket.socket:
    connected = socket.socket(socket.AF_INET6 if server.is_ipv6 else socket.AF_INET, socket.SOCK_DGRAM)
    try:
        connected.setblocking(False)
        connected.connect((server.host, server.port))
    except BaseException:
        connected.close()
        raise
    return connected


class _Listening(asyncio.DatagramProtocol):
    """Waits for the answer to one question; a garbled or forged datagram does not end the wait."""

    def __init__(self, query: Message, answer: asyncio.Future[Message | None]) -> None:
        self._query = query
        self._answer = answer

    def datagram_received(self, data: bytes, addr: object) -> None:
        """Take a datagram."""
        if self._answer.done():
            return
        try:
            reply = dns.message.from_wire(data, raise_on_truncation=True)
        except dns.message.Truncated as truncated:
            if self._query.is_response(truncated.kwargs["message"]):
                self._answer.set_result(None)
            return
        except (dns.exception.DNSException, ValueError, struct.error):
            return
        if self._query.is_response(reply):
            self._answer.set_result(reply)

    def error_received(self, exc: Exception) -> None:
        """Hear that nobody is there."""
        if not self._answer.done():
            self._answer.set_exception(exc)


async def _ask_by_tcp(query: Message, server: Endpoint) -> Message:
    reader, writer = await asyncio.open_connection(server.host, server.port)
    try:
        writer.write(query.to_wire(prepend_length=True))
        (length,) = struct.unpack("!H", await reader.readexactly(2))
        reply = dns.message.from_wire(await reader.readexactly(length))
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
    if not query.is_response(reply):
        raise NoAnswer("an answer to another question")
    return reply
