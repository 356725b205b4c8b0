"""What a login is bound to is the same on both sides."""

import hashlib
import ssl

from tests.ca import CertificateAuthority
from valija.tls.end_point import end_point_of


def test_a_certificate_by_the_hash_of_its_signature() -> None:
    der = ssl.PEM_cert_to_DER_cert(
        CertificateAuthority().issue("mail.example.org").chain_pem.decode().split("-----END")[0]
        + "-----END CERTIFICATE-----\n"
    )
    assert end_point_of(der) == hashlib.sha256(der).digest()


def test_what_has_none() -> None:
    assert end_point_of(b"") == end_point_of(b"no certificate") == b""
