"""Has the peer proved who it is? Asked right after the handshake, before anything is said inside.

    context = proving_context(policy, ca_file)          # what the handshake is done with
    rejection = proof_rejection(ssl_object, policy, datetime.now(UTC))      # None: it has

An authority's word (`pkix`) is checked by OpenSSL within the handshake; the names, of which one of several will do, are
looked at here. TLSA records and fingerprints need the certificates alone.
"""

import hashlib
import ssl
from datetime import datetime

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from valija.policy.tls import TlsPolicy
from valija.policy.tlsa import UNREADABLE
from valija.tls.contexts import certificate_context, client_context
from valija.tls.dane import dane_rejection
from valija.tls.names import names_of
from valija.tls.peer_chain import peer_chain
from valija.tls.rejection import Rejection


def proving_context(policy: TlsPolicy, ca_file: str) -> ssl.SSLContext:
    """Return the context for the handshake with a host. Raises TrustUnusable."""
    if policy.proof in ("dane", "fingerprint"):
        return certificate_context()
    return client_context(verify=policy.proof == "pkix", ca_file=ca_file, check_name=False)


def proof_rejection(connection: ssl.SSLObject, policy: TlsPolicy, now: datetime) -> Rejection | None:
    """Return why the peer has not proved what the policy asks for, None where it has or nothing is asked."""
    if policy.proof == "dane":
        return dane_rejection(peer_chain(connection), policy.records, accepts=policy.accepts, now=now)
    leaf = connection.getpeercert(binary_form=True) or b"" if policy.proof else b""
    if policy.proof == "pkix":
        return _wrong_name(leaf, policy)
    if policy.proof == "fingerprint" and not set(policy.fingerprints) & set(fingerprints(leaf)):
        return Rejection("validation-failure", "its certificate has none of the configured fingerprints")
    return None


def fingerprints(leaf: bytes) -> list[bytes]:
    """Return the SHA-256 digests of a certificate in DER and of its public key."""
    found = [hashlib.sha256(leaf).digest()] if leaf else []
    try:
        key = x509.load_der_x509_certificate(leaf).public_key()
    except UNREADABLE:
        return found
    return [*found, hashlib.sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).digest()]


def _wrong_name(leaf: bytes, policy: TlsPolicy) -> Rejection | None:
    try:
        names = names_of(x509.load_der_x509_certificate(leaf))
    except UNREADABLE as error:
        return Rejection("validation-failure", f"its certificate can't be read: {error}")
    if policy.accepts(names):
        return None
    return Rejection("certificate-host-mismatch", f"its certificate is for {', '.join(names[:10]) or 'no host'}")
