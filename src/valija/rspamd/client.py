"""Asking rspamd by HTTP (`/checkv2`).

    client = RspamdClient(RspamdOptions(url="http://127.0.0.1:11333"))
    opinion = await client.scan(facts, Message(b"Subject: hello\\r\\n\\r\\n", 31, read_body))
    await client.close()

`scan` raises RspamdAway where there is no opinion, within the options' `timeout`, TooLarge where rspamd does not want a
message of that size, and OSError where the message itself can't be read. The body of a large message goes out in
pieces as it is read. A connection is kept for the next message where rspamd keeps it open; rspamd's own workers close
it behind each answer.

Known weakness: aiohttp is slow to import, so this module is imported where it is needed, not before.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Final

import aiohttp
import msgspec

from valija.content.compose import readable
from valija.rspamd.condition import RspamdAway
from valija.rspamd.options import UNIX, RspamdOptions
from valija.rspamd.reply import NoOpinion, Opinion, read_opinion
from valija.rspamd.request import Facts, request_fields
from valija.secret_file import SecretUnusable, read_secret
from valija.tls.contexts import TrustUnusable, client_context

LONGEST_ANSWER: Final = 2 << 20  # octets; it names each host that a message links to
AT_ONCE: Final = 32  # requests
_IN_ONE_PIECE: Final = 256 * 1024  # octets
_LONGEST_WORDS: Final = 120  # characters
_HEADERS: Final = {"User-Agent": "valija"}
_OURS_TO_SAY: Final = ("Content-Type", "Accept", "Accept-Encoding")  # not aiohttp's


class TooLarge(Exception):
    """rspamd takes no message of this size."""

    def __init__(self) -> None:
        super().__init__("it takes no message of this size")


class Message(msgspec.Struct, frozen=True):
    """The octets of a message: `head` with the blank line, and the body, to be read as often as is needed."""

    head: bytes
    body_size: int
    read_body: Callable[[], Iterator[bytes]]

    @property
    def size(self) -> int:
        """All octets."""
        return len(self.head) + self.body_size


class RspamdClient:
    """A client. Made inside a running event loop."""

    def __init__(self, options: RspamdOptions) -> None:
        self._options = options
        self._room = asyncio.Semaphore(AT_ONCE)
        self._session: aiohttp.ClientSession | None = None

    async def scan(self, facts: Facts, message: Message, *, is_logged: bool = True) -> Opinion:
        """Return what rspamd says. `is_logged`: it may write that down. Raises RspamdAway, TooLarge, OSError."""
        fields = request_fields(facts)
        if not is_logged:
            fields.append(("Log", "no"))
        patience = self._options.timeout
        try:
            async with asyncio.timeout(patience), self._room:
                return read_opinion(await self._asked_twice([*fields, *self._password()], message))
        except TimeoutError:
            raise RspamdAway(f"no answer within {patience:g} s", is_silent=True) from None
        except (NoOpinion, SecretUnusable) as unusable:
            raise RspamdAway(str(unusable)) from None
        except (aiohttp.ClientError, ValueError, TrustUnusable) as error:
            raise RspamdAway(_words(error, message.size)) from None

    async def close(self) -> None:
        """Let go of the connections."""
        if self._session is not None:
            await self._session.close()

    def _password(self) -> list[tuple[str, str]]:
        file = self._options.password_file
        return [("Password", read_secret(file))] if file else []

    async def _asked_twice(self, fields: list[tuple[str, str]], message: Message) -> bytes:
        """Ask once more where a kept connection was closed meanwhile."""
        try:
            return await self._asked(fields, message)
        except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError) as error:
            if isinstance(error, aiohttp.ClientConnectorError):
                raise
        return await self._asked(fields, message)

    async def _asked(self, fields: list[tuple[str, str]], message: Message) -> bytes:
        sending = _Sending(message)
        try:
            async with self._open().post(
                _address(self._options.url),
                data=sending.data(),
                headers=[*fields, ("Content-Length", str(message.size))],
                skip_auto_headers=_OURS_TO_SAY,
                allow_redirects=False,
            ) as response:
                return await _read(response)
        except aiohttp.ClientError:
            if sending.fault is not None:
                raise sending.fault from None
            raise

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=_connector(self._options.url),
                cookie_jar=aiohttp.DummyCookieJar(),
                headers=_HEADERS,
                timeout=aiohttp.ClientTimeout(total=None),
                auto_decompress=False,
            )
        return self._session


class _Sending:
    """The octets of a message on their way out. `fault` is why they could not be read."""

    def __init__(self, message: Message) -> None:
        self._message = message
        self.fault: OSError | None = None

    def data(self) -> bytes | AsyncIterator[bytes]:
        message = self._message
        if message.size <= _IN_ONE_PIECE:
            return b"".join((message.head, *message.read_body()))
        return self._pieces()

    async def _pieces(self) -> AsyncIterator[bytes]:
        yield self._message.head
        try:
            for piece in self._message.read_body():
                yield piece
        except OSError as error:
            self.fault = error
            raise


def _connector(url: str) -> aiohttp.BaseConnector:
    if url.startswith(UNIX):
        return aiohttp.UnixConnector(url.removeprefix(UNIX), limit=AT_ONCE)
    trust: ssl.SSLContext | bool = client_context(verify=True) if url.startswith("https:") else True
    return aiohttp.TCPConnector(limit=AT_ONCE, ssl=trust)


def _address(url: str) -> str:
    return "http://localhost/checkv2" if url.startswith(UNIX) else f"{url.rstrip('/')}/checkv2"


async def _read(response: aiohttp.ClientResponse) -> bytes:
    """Return the answer's octets. Raises RspamdAway, TooLarge, ClientError."""
    if response.status == 413:
        raise TooLarge
    if response.status in (401, 403):
        raise RspamdAway("it wants another password; write the one of its worker into password_file")
    if response.status != 200:
        raise RspamdAway(f"it answers {response.status} {readable(response.reason or '', _LONGEST_WORDS)}")
    octets = bytearray()
    async for part in response.content.iter_any():
        octets += part
        if len(octets) > LONGEST_ANSWER:
            raise RspamdAway(f"its answer is longer than {LONGEST_ANSWER} octets")
    return bytes(octets)


def _words(error: BaseException, size: int) -> str:
    if isinstance(error, aiohttp.ClientConnectorError):  # its own words name an object in memory
        return f"no connection: {error.os_error.strerror or error.os_error}"
    if isinstance(error, (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError)):
        is_large = size > _IN_ONE_PIECE
        doubt = ", as it does where a message is larger than its max_message: see [rspamd] max_size" if is_large else ""
        return f"it closed the connection without an answer{doubt}"
    return readable(str(error), _LONGEST_WORDS) or type(error).__name__  # it may quote what came
