"""Asking web servers of others, by our own resolver: for policies (RFC 8461) and reports (RFC 8460).

    https = Https(resolver)
    page = await https.get("https://mta-sts.example.net/.well-known/mta-sts.txt", limit=65536, patience=60.0)
    page.status, page.media_type, page.body
    status = await https.post("https://reports.example.net/tls", body, "application/tlsrpt+gzip", patience=60.0)

The certificate must be one of the system's authorities (or SSL_CERT_FILE's), for a DNS name that it holds; no redirect
is followed; nothing is kept of one request for the next. What does not come about is HttpsFailed, with words for a log.

`port` is for tests: the one that URLs without a port mean. Known weakness: aiohttp is slow to import, so this module is
imported where it is needed, not before.
"""

import asyncio
import socket
import ssl
from collections.abc import Callable, Mapping
from typing import Final

import aiohttp
import msgspec
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.helpers import is_ip_address
from yarl import URL

from valija.dns.mx import find_addresses
from valija.dns.resolver import Resolver
from valija.tls.contexts import TrustUnusable, client_context

PORT: Final = 443
_AT_ONCE: Final = 16  # requests
_HEADERS: Final = {"User-Agent": "valija", "Accept-Encoding": "identity"}  # a compressed answer could be a bomb


class HttpsFailed(Exception):
    """A request got no answer; the text says why. `is_certificate`: because the server's is not to be trusted."""

    def __init__(self, reason: str, *, is_certificate: bool = False) -> None:
        super().__init__(reason)
        self.is_certificate = is_certificate


class Page(msgspec.Struct, frozen=True):
    """An answer: its status, its media type without parameters, in lower case, and its octets."""

    status: int
    media_type: str
    body: bytes


class _Request(msgspec.Struct, frozen=True):
    """What is asked. Of the answer's body no more than `limit` octets are taken, for 0 it is not read."""

    method: str
    url: str
    headers: Mapping[str, str] = {}
    body: bytes | None = None
    limit: int = 0


class Https:
    """A client. `may_reach` judges the addresses that a name leads to; the others are not connected to."""

    def __init__(
        self, resolver: Resolver, *, may_reach: Callable[[str], bool] = lambda _: True, port: int = PORT
    ) -> None:
        self._resolver = resolver
        self._may_reach = may_reach
        self._port = port
        self._room = asyncio.Semaphore(_AT_ONCE)

    async def get(self, url: str, *, limit: int, patience: float) -> Page:
        """Return what lies at a URL, of at most `limit` octets, within `patience` seconds. Raises HttpsFailed."""
        return await self._ask(_Request("GET", url, limit=limit), patience)

    async def post(self, url: str, body: bytes, media_type: str, *, patience: float) -> int:
        """Hand `body` over and return the status. Raises HttpsFailed."""
        page = await self._ask(_Request("POST", url, {"Content-Type": media_type}, body), patience)
        return page.status

    async def _ask(self, request: "_Request", patience: float) -> Page:
        try:
            async with asyncio.timeout(patience), self._room:
                return await self._fetch(request, self._target(request.url))
        except TimeoutError:
            raise HttpsFailed(f"no answer within {patience:g} s") from None
        except ssl.SSLCertVerificationError as error:
            raise HttpsFailed(f"its certificate is not to be trusted: {_words(error)}", is_certificate=True) from None
        except (aiohttp.ClientError, OSError, ValueError, TrustUnusable) as error:
            raise HttpsFailed(_words(error)) from None

    def _target(self, url: str) -> URL:
        """Return where to ask. Raises ValueError for what is no address of a server that TLS is spoken with."""
        target = URL(url)
        if target.scheme != "https" or not target.host:
            raise ValueError(f"{url} is not an https address")
        if is_ip_address(target.host) and not self._may_reach(target.host):
            raise ValueError(f"{target.host} is no address that may be asked")
        if self._port != PORT and target.explicit_port is None:
            target = target.with_port(self._port)
        return target.with_user(None)

    async def _fetch(self, request: "_Request", target: URL) -> Page:
        connector = aiohttp.TCPConnector(resolver=_ByOurs(self._resolver, self._may_reach), force_close=True)
        async with (
            aiohttp.ClientSession(
                connector=connector, cookie_jar=aiohttp.DummyCookieJar(), headers=_HEADERS, auto_decompress=False
            ) as session,
            session.request(
                request.method,
                target,
                data=request.body,
                headers=request.headers,
                ssl=client_context(verify=True),
                allow_redirects=False,
            ) as response,
        ):
            octets = await _read(response, request.limit) if request.limit else b""
            return Page(response.status, response.content_type.lower(), octets)


async def _read(response: aiohttp.ClientResponse, limit: int) -> bytes:
    octets = b""
    async for part in response.content.iter_any():
        octets += part
        if len(octets) > limit:
            raise ValueError(f"its answer is longer than {limit} octets")
    return octets


class _ByOurs(AbstractResolver):
    """How aiohttp finds addresses: by the name servers that the rest of this server asks."""

    def __init__(self, resolver: Resolver, may_reach: Callable[[str], bool]) -> None:
        self._resolver = resolver
        self._may_reach = may_reach

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        found = await find_addresses(self._resolver, host)
        usable = [address for address in found.addresses if self._may_reach(address)]
        if not usable:
            why = "its address look-up failed" if found.failed else "it has no address that may be asked"
            raise OSError(f"{host}: {why}")
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=socket.IPPROTO_TCP,
                flags=socket.AI_NUMERICHOST,
            )
            for address in usable
        ]

    async def close(self) -> None:
        """Leave the resolver to its owner."""


def _words(error: BaseException) -> str:
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return _words(error.certificate_error)
    if isinstance(error, ssl.SSLCertVerificationError):
        return error.verify_message or str(error)
    if isinstance(error, aiohttp.ClientConnectorError):  # its own words name an object in memory
        return str(error.os_error)
    return str(error) or type(error).__name__
