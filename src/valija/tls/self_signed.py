"""A certificate of the server's own making, so that mail is encrypted from the first start on.

    chain_pem, key_pem = make_self_signed("mail.example.org", now)

It names nobody that others trust: servers that send here encrypt with it all the same, while mail programs ask their
user once. It lives long, because each renewal would make them ask again.
"""

import datetime
import ipaddress
from collections.abc import Sequence
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from valija.tls.pair import CertificatePair

LIFETIME: Final = datetime.timedelta(days=3650)
_CLOCK_SKEW: Final = datetime.timedelta(days=1)
_MAX_COMMON_NAME: Final = 64  # RFC 5280, ub-common-name


def make_self_signed(hostname: str, now: float, also: Sequence[str] = ()) -> CertificatePair:
    """Return a new pair for a host name or address: ECDSA on P-256, valid for ten years from a day ago.

    `also` are other names it is for.
    """
    start = datetime.datetime.fromtimestamp(now, datetime.UTC)
    ends = x509.BasicConstraints(ca=False, path_length=None), True
    purpose = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), False
    return signed_by_itself((hostname, *also), start - _CLOCK_SKEW, start + LIFETIME, ends, purpose)


def signed_by_itself(
    names: Sequence[str],
    first: datetime.datetime,
    last: datetime.datetime,
    *extensions: tuple[x509.ExtensionType, bool],
) -> CertificatePair:
    """Return a new pair for `names`, ECDSA on P-256, with more extensions, each with whether it is critical."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0][:_MAX_COMMON_NAME])])
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(first)
        .not_valid_after(last)
        .add_extension(x509.SubjectAlternativeName([_general_name(name) for name in names]), critical=False)
    )
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical)
    key_pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return CertificatePair(builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM), key_pem)


def _general_name(hostname: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(hostname.strip("[]")))
    except ValueError:
        return x509.DNSName(hostname)
