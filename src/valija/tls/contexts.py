"""TLS contexts for both sides, and what a finished handshake agreed on.

    context = server_context(chain_pem, key_pem)               # from memory: the files may be root's
    context = client_context(verify=True, ca_file="")          # the system's trust, or SSL_CERT_FILE
    tls_facts(transport)                                       # TlsFacts("TLSv1.3", "TLS_AES_256_GCM_SHA384")

TLS 1.2 is the least on both sides (RFC 8996). A server context answers every SNI, and none, with its one certificate:
most mail servers send none, and an `unrecognized_name` alert would cost their mail (RFC 6066 section 3 lets it go on).

Known weakness: loading from memory needs `/proc`, as OpenSSL reads certificates by file name only.
"""

import os
import ssl
from asyncio import BaseTransport
from functools import lru_cache
from typing import Final

from valija.mail.origin import TlsFacts

_SERVER_CIPHERS: Final = "ECDHE+AESGCM:ECDHE+CHACHA20:ECDHE+AES:!AESCCM:!aNULL:!PSK"

# Whoever does not verify has only clear text to fall back to: weak keys of old peers are better than that (RFC 7435).
_OPPORTUNISTIC_CIPHERS: Final = "HIGH:!aNULL:!eNULL:!aDSS:!MD5:!PSK:!SRP:@SECLEVEL=1"


class TrustUnusable(ValueError):
    """The file of trusted authorities can't be used; the message names it and the remedy."""


def server_context(chain_pem: bytes, key_pem: bytes) -> ssl.SSLContext:
    """Return a context for listeners. Raises ssl.SSLError where OpenSSL refuses chain or key: see tls/pair for words.

    Its session tickets are good with every process forked after it was made.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE
    context.set_ciphers(_SERVER_CIPHERS)
    context.num_tickets = 1  # a mail client opens one connection at a time: the usual two cost octets for nothing
    _load_from_memory(context, chain_pem, key_pem)
    return context


def client_context(*, verify: bool, ca_file: str = "") -> ssl.SSLContext:
    """Return the shared context for sending. Without `verify` no certificate is looked at, whatever it is.

    With it the chain and the `server_hostname` given to the handshake are checked against `ca_file`, or, where that is
    `""`, against SSL_CERT_FILE, SSL_CERT_DIR or the system's authorities. Raises TrustUnusable.
    """
    if not verify:
        return _opportunistic_context()
    return _verifying_context(ca_file, os.environ.get("SSL_CERT_FILE", ""), os.environ.get("SSL_CERT_DIR", ""))


def tls_facts(transport: BaseTransport) -> TlsFacts | None:
    """Return what the handshake agreed on; None for a connection in clear."""
    connection = transport.get_extra_info("ssl_object")
    if connection is None:
        return None
    cipher = connection.cipher()
    return TlsFacts(connection.version() or "", cipher[0] if cipher else "")


@lru_cache(maxsize=1)
def _opportunistic_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    context.set_ciphers(_OPPORTUNISTIC_CIPHERS)
    return context


@lru_cache(maxsize=8)
def _verifying_context(ca_file: str, env_file: str, env_folder: str) -> ssl.SSLContext:
    """`env_file` and `env_folder` are read by OpenSSL itself; here they tell one trust from another."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    try:
        if ca_file:
            context.load_verify_locations(ca_file)
        else:
            context.load_default_certs()
    except OSError as error:  # ssl.SSLError too
        what = "no certificates in PEM in it" if isinstance(error, ssl.SSLError) else error.strerror
        raise TrustUnusable(f"{ca_file}: {what}; name a readable file of trusted certificates in PEM") from None
    return context


def _load_from_memory(context: ssl.SSLContext, chain_pem: bytes, key_pem: bytes) -> None:
    chain, key = _memory_file(chain_pem), _memory_file(key_pem)
    try:
        context.load_cert_chain(f"/proc/self/fd/{chain}", f"/proc/self/fd/{key}", password=_no_passphrase)
    finally:
        os.close(chain)
        os.close(key)


def _memory_file(content: bytes) -> int:
    """Return a descriptor of a nameless file, gone when it is closed."""
    descriptor = os.memfd_create("pem", os.MFD_CLOEXEC)
    with open(descriptor, "wb", closefd=False) as file:
        file.write(content)
    return descriptor


def _no_passphrase() -> str:
    """OpenSSL would ask on the terminal for the passphrase of an encrypted key, and wait for ever."""
    return ""
