"""What `tls-server-end-point` binds a login to: a digest of the server's certificate (RFC 5929 section 4.1).

end_point(leaf)            # b"..." on both sides of the connection, b"" where the certificate has none
end_point_of(der)          # the same for a certificate in DER, as a client has it
peer_end_point(transport)  # the same for the server at the other end of a connection
"""

import ssl
from asyncio import BaseTransport

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization

from valija.policy.tlsa import UNREADABLE


def end_point(leaf: x509.Certificate) -> bytes:
    """Return the digest by the hash of the certificate's own signature; Ed25519 has none."""
    try:
        algorithm = leaf.signature_hash_algorithm
    except UnsupportedAlgorithm:
        algorithm = None
    if algorithm is None:
        return b""
    is_weak = isinstance(algorithm, hashes.MD5 | hashes.SHA1)
    digest = hashes.Hash(hashes.SHA256() if is_weak else algorithm)
    digest.update(leaf.public_bytes(serialization.Encoding.DER))
    return digest.finalize()


def peer_end_point(transport: BaseTransport) -> bytes:
    """Return the digest for the certificate of a connection's server, b"" in clear. It need not have been verified."""
    connection = transport.get_extra_info("ssl_object")
    der = connection.getpeercert(binary_form=True) if isinstance(connection, ssl.SSLObject | ssl.SSLSocket) else None
    return end_point_of(der) if der else b""


def end_point_of(der: bytes) -> bytes:
    """Return the digest for a certificate in DER, b"" for what is none."""
    try:
        return end_point(x509.load_der_x509_certificate(der))
    except UNREADABLE:
        return b""
