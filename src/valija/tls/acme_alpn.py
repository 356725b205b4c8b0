"""The server's own answer on port 443: a certificate that holds the proof, for whoever asks by `acme-tls/1` (RFC 8737).

    with answer_tls(sockets, {"mail.example.org": "TOKEN.THUMBPRINT"}):
        ...

It listens while an order runs. The authority names the host by SNI, looks at the certificate and hangs up; nothing is
ever said inside the connection.
"""

import asyncio
import contextlib
import datetime
import hashlib
import ssl
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from cryptography import x509
from cryptography.x509.oid import ObjectIdentifier

from valija.tls.acme_listener import listening
from valija.tls.contexts import server_context
from valija.tls.pair import CertificatePair
from valija.tls.self_signed import signed_by_itself

PROTOCOL: Final = "acme-tls/1"
IDENTIFIER: Final = ObjectIdentifier("1.3.6.1.5.5.7.1.31")  # id-pe-acmeIdentifier
_OCTET_STRING_OF_32: Final = b"\x04\x20"
_LIFETIME: Final = datetime.timedelta(days=1)


@contextlib.contextmanager
def answer_tls(descriptors: Sequence[int], authorizations: Mapping[str, str]) -> Iterator[None]:
    """Show each name's proof in a certificate."""
    contexts = {name: _context(name, text) for name, text in authorizations.items()}
    first = next(iter(contexts.values()))

    def choose(connection: ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> int | None:
        chosen = contexts.get((name or "").lower())
        if chosen is None:
            return ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME
        connection.context = chosen
        return None

    first.sni_callback = choose
    with listening(descriptors, _hang_up, first):
        yield


async def _hang_up(_: asyncio.StreamReader, __: asyncio.StreamWriter) -> None:
    """Say nothing: the handshake told all."""


def _context(name: str, authorization: str) -> ssl.SSLContext:
    pair = challenge_pair(name, authorization)
    context = server_context(pair.chain_pem, pair.key_pem)
    context.set_alpn_protocols([PROTOCOL])
    return context


def challenge_pair(name: str, authorization: str) -> CertificatePair:
    """Return a pair that proves `name`: self-signed, with the proof's digest in a critical extension."""
    now = datetime.datetime.now(datetime.UTC)
    digest = hashlib.sha256(authorization.encode("ascii")).digest()
    proof = x509.UnrecognizedExtension(IDENTIFIER, _OCTET_STRING_OF_32 + digest)
    return signed_by_itself([name], now - _LIFETIME, now + _LIFETIME, (proof, True))
