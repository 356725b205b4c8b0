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
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID, ObjectIdentifier

from valija.tls.acme_listener import listening
from valija.tls.contexts import server_context

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
    context = server_context(*challenge_pair(name, authorization))
    context.set_alpn_protocols([PROTOCOL])
    return context


def challenge_pair(name: str, authorization: str) -> tuple[bytes, bytes]:
    """Return certificate and key, in PEM, that prove `name`: self-signed, with the digest in a critical extension."""
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.datetime.now(datetime.UTC)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name[:64])])
    digest = hashlib.sha256(authorization.encode("ascii")).digest()
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _LIFETIME)
        .not_valid_after(now + _LIFETIME)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.UnrecognizedExtension(IDENTIFIER, _OCTET_STRING_OF_32 + digest), critical=True)
        .sign(key, hashes.SHA256())
    )
    key_pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return certificate.public_bytes(serialization.Encoding.PEM), key_pem
