"""Asking the issuer of tokens, over HTTP.

    http = IssuerHttp(ca_file="")
    await http.get("https://id.example.org/jwks.json")
    await http.post("https://id.example.org/introspect", {"token": "..."}, client=("valija", "secret"))

Both return the octets of a 200's body. All else (no connection, another status, redirects, a body that does not end) is
IssuerAway, with a text for the log, in which no token stands. A request has a connection of its own: they are few, as
the answers are kept.
"""

import asyncio
import base64
import ssl
from collections.abc import Mapping
from typing import Final
from urllib.parse import quote_plus

import aiohttp

from valija.tls.contexts import client_context

PATIENCE: Final = 5.0  # seconds; a login's answer is due within 9
LONGEST_BODY: Final = 1 << 20  # octets
_LONGEST_COMPLAINT: Final = 4096  # octets
_AT_ONCE: Final = 32  # requests


class IssuerAway(Exception):
    """The issuer can't be asked now, or answers what makes no sense; the text says who and why.

    `body` is the beginning of an answer that is none, as it came.
    """

    def __init__(self, text: str, body: bytes = b"") -> None:
        super().__init__(text)
        self.body = body


class IssuerHttp:
    """A client. `ca_file` is what certificates are verified by, `""`: the system's authorities."""

    def __init__(self, ca_file: str = "", patience: float = PATIENCE) -> None:
        self._ca_file = ca_file
        self._patience = patience
        self._room = asyncio.Semaphore(_AT_ONCE)

    async def get(self, url: str) -> bytes:
        """Return what lies at a URL. Raises IssuerAway."""
        return await self._ask("GET", url, None, {})

    async def post(self, url: str, form: Mapping[str, str], client: tuple[str, str] | None) -> bytes:
        """Return the answer to a form; `client` is a name and its secret. Raises IssuerAway."""
        return await self._ask("POST", url, form, {"Authorization": _basic(*client)} if client else {})

    async def _ask(self, method: str, url: str, form: Mapping[str, str] | None, headers: Mapping[str, str]) -> bytes:
        try:
            async with asyncio.timeout(self._patience), self._room:
                return await self._fetch(method, url, form, {"Accept": "application/json", **headers})
        except TimeoutError:
            raise IssuerAway(f"{url}: no answer within {self._patience:g} s") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:  # ValueError: a file of authorities that is none
            raise IssuerAway(f"{url}: {type(error).__name__}: {error}") from None

    async def _fetch(self, method: str, url: str, form: Mapping[str, str] | None, headers: Mapping[str, str]) -> bytes:
        async with (
            aiohttp.ClientSession(headers=headers) as session,
            session.request(method, url, data=form, ssl=self._trust(url), allow_redirects=False) as response,
        ):
            if response.status != 200:
                said = await response.content.read(_LONGEST_COMPLAINT)
                raise IssuerAway(f"{url}: it answers {response.status} {response.reason}", said)
            body = b""
            async for part in response.content.iter_any():
                body += part
                if len(body) > LONGEST_BODY:
                    raise IssuerAway(f"{url}: its answer is longer than {LONGEST_BODY} octets")
            return body

    def _trust(self, url: str) -> ssl.SSLContext | bool:
        return client_context(verify=True, ca_file=self._ca_file) if url.startswith("https:") else True


def _basic(name: str, secret: str) -> str:
    """Return how a client shows who it is (RFC 6749 section 2.3.1)."""
    return "Basic " + base64.b64encode(f"{quote_plus(name)}:{quote_plus(secret)}".encode()).decode()
