"""TLSA records: which certificates and keys a host may show (RFC 6698, RFC 7671, for SMTP RFC 7672).

    record = read_tlsa("3 1 1 6a1f...")         # TlsaRecord(3, 1, 1, b"\\x6a\\x1f...")
    usable(records)                             # those that a peer is verified by, () where none can be used

Usable are DANE-TA(2) and DANE-EE(3) only: the PKIX usages ask for authorities that mail servers don't agree on (RFC
7672 section 3.1.3). A selector or matching type that nobody knows yet, and data that can match nothing, make a record
unusable too; that there are records says all the same that the host speaks TLS (RFC 7672 section 2.2).
"""

from collections.abc import Iterable, Sequence
from typing import Final

import msgspec
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_der_public_key

DANE_TA: Final = 2
DANE_EE: Final = 3
WHOLE_CERTIFICATE: Final = 0  # selectors
PUBLIC_KEY: Final = 1
FULL: Final = 0  # matching types
SHA256: Final = 1
SHA512: Final = 2

MAX_RECORDS: Final = 30  # that are looked at; more are some attack

UNREADABLE: Final = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    x509.InvalidVersion,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
)
"""What reading somebody's certificate or key may raise: the library's errors have no ancestor of their own."""

_DIGEST_SIZES: Final = {SHA256: 32, SHA512: 64}  # octets


class TlsaRecord(msgspec.Struct, frozen=True, gc=False):
    """One record; `data` is a digest, or with matching type 0 the certificate or key itself in DER."""

    usage: int
    selector: int
    matching_type: int
    data: bytes

    def __str__(self) -> str:
        return f"{self.usage} {self.selector} {self.matching_type} {self.data.hex()}"

    @property
    def is_usable(self) -> bool:
        """Whether a mail server can be verified by it."""
        if self.usage not in (DANE_TA, DANE_EE) or self.selector not in (WHOLE_CERTIFICATE, PUBLIC_KEY):
            return False
        if self.matching_type == FULL:
            return _is_whole(self.selector, self.data)
        return len(self.data) == _DIGEST_SIZES.get(self.matching_type)


class TlsaAnswer(msgspec.Struct, frozen=True, gc=False):
    """What DNSSEC vouches for at a host's TLSA name.

    `base_domain` is the name they were found below, which the peer is told as SNI (RFC 7672 section 2.2.3). `failed`
    says in words why it is not known whether there are records.
    """

    base_domain: str = ""
    records: tuple[TlsaRecord, ...] = ()
    failed: str = ""


NO_TLSA: Final = TlsaAnswer()


def read_tlsa(text: str) -> TlsaRecord:
    """Read `usage selector matching-type hexadecimal`. Raises ValueError."""
    usage, selector, matching_type, *data = text.split(maxsplit=3)
    return TlsaRecord(int(usage), int(selector), int(matching_type), bytes.fromhex("".join(data)))


def usable(records: Iterable[TlsaRecord]) -> tuple[TlsaRecord, ...]:
    """Return the records that count: the usable ones, and of several digests the strongest (RFC 7671 section 9)."""
    those = [record for record in records if record.is_usable]
    return tuple(record for record in those if record.matching_type in (FULL, _strongest(those, record)))


def _strongest(records: Sequence[TlsaRecord], like: TlsaRecord) -> int:
    return max(
        record.matching_type for record in records if (record.usage, record.selector) == (like.usage, like.selector)
    )


def _is_whole(selector: int, data: bytes) -> bool:
    """Whether the data is a certificate, or a key, that can be read."""
    try:
        if selector == WHOLE_CERTIFICATE:
            x509.load_der_x509_certificate(data)
        else:
            load_der_public_key(data)
    except UNREADABLE:
        return False
    return True
