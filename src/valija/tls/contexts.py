"""TLS contexts for both sides, and what a finished handshake agreed on.

    context = server_context(chain_pem, key_pem)               # from memory: the files may be root's
    context = client_context(verify=True, ca_file="")          # the system's trust, or SSL_CERT_FILE
    tls_facts(transport)                                       # TlsFacts("TLSv1.3", "TLS_AES_256_GCM_SHA384")

TLS 1.2 is the least on both sides (RFC 8996). A server context answers every SNI, and none, with its one certificate:
most mail servers send none, and an `unrecognized_name` alert would cost their mail (RFC 6066 section 3 lets it go on).

    context.asking(authorities_pem)                            # the same, asking for a client's certificate

Known weaknesses: loading from memory needs `/proc`, as OpenSSL reads certificates by file name only. A context that
asks does not tell clients which authorities it means, as Python can't; and what it revoked is not looked up.
"""

import os
import ssl
from asyncio import BaseTransport
from collections.abc import Callable
from functools import cached_property, lru_cache
from typing import Any, Final

from cryptography import x509

from valija.mail.origin import TlsFacts
from valija.tls.end_point import end_point

_SERVER_CIPHERS: Final = "ECDHE+AESGCM:ECDHE+CHACHA20:ECDHE+AES:!AESCCM:!aNULL:!PSK"

# Whoever does not verify has only clear text to fall back to: weak keys of old peers are better than that (RFC 7435).
_OPPORTUNISTIC_CIPHERS: Final = "HIGH:!aNULL:!eNULL:!aDSS:!MD5:!PSK:!SRP:@SECLEVEL=1"


class TrustUnusable(ValueError):
    """The file of trusted authorities can't be used; the message names it and the remedy."""


class ServerContext(ssl.SSLContext):
    """A context for listeners that knows its certificate. Made by `server_context`."""

    _chain_pem: bytes
    _key_pem: bytes
    _asking: tuple[str, "ServerContext"] | None = None

    @cached_property
    def end_point(self) -> bytes:
        """What `tls-server-end-point` binds to, b"" where the certificate has nothing of it."""
        return end_point(x509.load_pem_x509_certificate(self._chain_pem))

    def asking(self, authorities_pem: str) -> "ServerContext":
        """Return the same context, but one that asks clients for a certificate of these authorities.

        A client may have none. One of other authorities ends the handshake. Raises ssl.SSLError for what is no PEM.
        """
        if self._asking is None or self._asking[0] != authorities_pem:
            twin = server_context(self._chain_pem, self._key_pem)
            twin.load_verify_locations(cadata=authorities_pem)
            twin.verify_mode = ssl.CERT_OPTIONAL
            self._asking = authorities_pem, twin
        twin = self._asking[1]
        if self.sni_callback is not None and twin.sni_callback is None:
            twin.sni_callback = self._choose_asking(authorities_pem)
        return twin

    def _choose_asking(self, authorities_pem: str) -> Callable[[Any, Any, ssl.SSLContext], int | None]:
        """Return what chooses by the name that a client asks for as this context does, among contexts that ask."""

        def choose(connection: ssl.SSLObject, name: Any, context: ssl.SSLContext) -> int | None:
            alert: int | None = self.sni_callback(connection, name, context) if self.sni_callback else None
            chosen = connection.context
            if isinstance(chosen, ServerContext) and chosen.verify_mode == ssl.CERT_NONE:
                connection.context = chosen.asking(authorities_pem)
            return alert

        return choose


def server_context(chain_pem: bytes, key_pem: bytes) -> ServerContext:
    """Return a context for listeners. Raises ssl.SSLError where OpenSSL refuses chain or key: see tls/pair for words.

    Its session tickets are good with every process forked after it was made.
    """
    context = ServerContext(ssl.PROTOCOL_TLS_SERVER)
    context._chain_pem, context._key_pem = chain_pem, key_pem
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE
    context.set_ciphers(_SERVER_CIPHERS)
    context.num_tickets = 1  # a mail client opens one connection at a time: the usual two cost octets for nothing
    _load_from_memory(context, chain_pem, key_pem)
    return context


def client_context(*, verify: bool, ca_file: str = "", check_name: bool = True) -> ssl.SSLContext:
    """Return the shared context for sending. Without `verify` no certificate is looked at, whatever it is.

    With it the chain and the `server_hostname` given to the handshake are checked against `ca_file`, or, where that is
    `""`, against SSL_CERT_FILE, SSL_CERT_DIR or the system's authorities. Without `check_name` whoever does the
    handshake looks at the names, because one of several will do. Raises TrustUnusable.
    """
    if not verify:
        return _opportunistic_context()
    env_file, env_folder = os.environ.get("SSL_CERT_FILE", ""), os.environ.get("SSL_CERT_DIR", "")
    return _verifying_context(ca_file, env_file, env_folder, check_name)


@lru_cache(maxsize=1)
def certificate_context() -> ssl.SSLContext:
    """Return the shared context for peers that are known by their certificate itself, which the caller looks at.

    No authority is asked, and unlike where anything is better than clear text, nothing weak is good enough.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    return context


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
def _verifying_context(ca_file: str, env_file: str, env_folder: str, check_name: bool) -> ssl.SSLContext:
    """`env_file` and `env_folder` are read by OpenSSL itself; here they tell one trust from another."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = check_name
    context.hostname_checks_common_name = False  # the subject is no place for host names (RFC 9525 section 2)
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
