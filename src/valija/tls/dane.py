"""Is a peer's chain one that its TLSA records allow? (RFC 7671, for SMTP RFC 7672 section 3)

    rejection = dane_rejection(chain, records, accepts=policy.accepts, now=datetime.now(UTC))
    # None: authenticated; else why not

- DANE-EE(3): the peer's own certificate, or its key, is in a record. Names and dates don't matter (section 3.1.1).
- DANE-TA(2): the certificate leads, signature by signature, to an authority in a record, which the peer sent along or
  the record holds whole, a bare key too. Names and dates are checked, and that each authority is one (section 3.1.2).

A record that can't be used is passed over; with none that can, nothing is accepted: see policy/tls.
"""

import contextlib
import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key

from valija.policy.tls_report import ResultType
from valija.policy.tlsa import DANE_EE, DANE_TA, FULL, SHA256, SHA512, UNREADABLE, WHOLE_CERTIFICATE, TlsaRecord
from valija.tls.issuers import Anchors, Broken, check_path, is_for_servers
from valija.tls.names import names_of
from valija.tls.rejection import Rejection

_DIGESTS: Final[dict[int, Callable[[bytes], bytes]]] = {
    FULL: bytes,
    SHA256: lambda data: hashlib.sha256(data).digest(),
    SHA512: lambda data: hashlib.sha512(data).digest(),
}


def dane_rejection(
    chain: Sequence[bytes],
    records: Sequence[TlsaRecord],
    *,
    accepts: Callable[[Sequence[str]], bool],
    now: datetime,
) -> Rejection | None:
    """Return why a chain in DER, the peer's own certificate first, is not accepted; None where it is.

    `accepts` tells whether one of a certificate's names is meant.
    """
    if not chain:
        return Rejection("validation-failure", "it showed no certificate")
    try:
        leaf = x509.load_der_x509_certificate(chain[0])
        if any(matches(record, leaf) for record in records if record.usage == DANE_EE):
            return None
        authorities = [record for record in records if record.usage == DANE_TA]
        if not authorities:
            return Rejection("validation-failure", "its certificate matches none of its TLSA records")
        return _by_authority(leaf, list(_readable(chain[1:])), authorities, accepts, now)
    except UNREADABLE as error:
        return Rejection("validation-failure", f"its certificate can't be read: {error}")


def _readable(chain: Iterable[bytes]) -> Iterator[x509.Certificate]:
    """Yield the certificates that can be read: what a server sends along for nothing is no reason to refuse it."""
    for each in chain:
        with contextlib.suppress(*UNREADABLE):
            yield x509.load_der_x509_certificate(each)


def matches(record: TlsaRecord, certificate: x509.Certificate) -> bool:
    """Whether a record is about a certificate, or its key."""
    digest = _DIGESTS.get(record.matching_type)
    return digest is not None and digest(_selected(record, certificate)) == record.data


def _selected(record: TlsaRecord, certificate: x509.Certificate) -> bytes:
    if record.selector == WHOLE_CERTIFICATE:
        return certificate.public_bytes(Encoding.DER)
    return certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _by_authority(
    leaf: x509.Certificate,
    others: Sequence[x509.Certificate],
    records: Sequence[TlsaRecord],
    accepts: Callable[[Sequence[str]], bool],
    now: datetime,
) -> Rejection | None:
    whole = [record for record in records if record.matching_type == FULL]
    certificates = [x509.load_der_x509_certificate(each.data) for each in whole if each.selector == WHOLE_CERTIFICATE]
    keys = [load_der_public_key(each.data) for each in whole if each.selector != WHOLE_CERTIFICATE]
    pool = [*others, *certificates]
    trusted = [each for each in pool if any(matches(record, each) for record in records)]
    try:
        check_path(leaf, pool, Anchors(trusted, keys), now)
    except Broken as broken:
        return Rejection(_RESULTS[broken.is_expired], str(broken))
    names = names_of(leaf)
    if not is_for_servers(leaf):
        return Rejection("validation-failure", "its certificate is not one for servers")
    if not accepts(names):
        return Rejection("certificate-host-mismatch", f"its certificate is for {', '.join(names) or 'no host'}")
    return None


_RESULTS: Final[dict[bool, ResultType]] = {True: "certificate-expired", False: "certificate-not-trusted"}
