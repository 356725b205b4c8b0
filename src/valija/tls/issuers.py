"""Does a certificate lead to an authority that is trusted? The path of RFC 5280 section 6, as far as DANE needs it.

    check_path(leaf, pool, Anchors([authority], keys=[]), now)      # raises Broken, with the reason

Checked for each certificate on the way, the authority that is trusted included: dates, that the issuer signed it and
may sign (basic constraints, path length, key usage), and DNS name constraints. A critical extension of another kind
breaks the path. What was revoked is not looked up.

The system's own authorities are not of this: with them OpenSSL verifies in the handshake.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, padding, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID

from valija.tls.names import names_of

_UNDERSTOOD: Final = (
    x509.BasicConstraints,
    x509.KeyUsage,
    x509.ExtendedKeyUsage,
    x509.SubjectAlternativeName,
    x509.NameConstraints,
)


class Broken(ValueError):
    """There is no path; the text says why. `is_expired`: a date is over, or not yet there."""

    def __init__(self, text: str, *, is_expired: bool = False) -> None:
        super().__init__(text)
        self.is_expired = is_expired


@dataclass(frozen=True, slots=True)
class Anchors:
    """What is trusted: certificates, and bare public keys."""

    certificates: Sequence[x509.Certificate]
    keys: Sequence[Any]


def check_path(leaf: x509.Certificate, pool: Sequence[x509.Certificate], anchors: Anchors, now: datetime) -> None:
    """Find a way from a certificate through others to what is trusted. Raises Broken; ValueError for what is garbled.

    Each certificate of the pool is passed once, so that a peer can't make us search for long.
    """
    names = names_of(leaf)
    unseen = list(pool)
    ends: list[Broken] = []
    ways: list[tuple[x509.Certificate, int]] = [(leaf, 0)]
    while ways:
        certificate, authorities = ways.pop()
        try:
            _check_itself(certificate, now)
            if authorities and certificate in anchors.certificates:
                return
            if any(_is_signed_by(certificate, key) for key in anchors.keys):
                return
        except Broken as broken:
            ends.append(broken)
            continue
        issuers = [each for each in unseen if _issued(each, certificate) and _may_issue(each, authorities, names)]
        unseen = [each for each in unseen if each not in issuers]
        ways += [(each, authorities + 1) for each in issuers]
    raise ends[-1] if ends else Broken("its certificate leads to no authority in its TLSA records")


def is_for_servers(leaf: x509.Certificate) -> bool:
    """Whether its owner may use it as a server."""
    try:
        usage = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return True
    return not {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE}.isdisjoint(usage)


def _check_itself(certificate: x509.Certificate, now: datetime) -> None:
    if now > certificate.not_valid_after_utc:
        raise Broken(f"a certificate of its chain expired at {certificate.not_valid_after_utc:%F %T}Z", is_expired=True)
    if now < certificate.not_valid_before_utc:
        valid = f"{certificate.not_valid_before_utc:%F %T}Z"
        raise Broken(f"a certificate of its chain is not valid before {valid}", is_expired=True)
    for extension in certificate.extensions:
        if extension.critical and not isinstance(extension.value, _UNDERSTOOD):
            raise Broken(f"a certificate of its chain has a critical extension nobody here knows: {extension.oid}")


def _issued(issuer: x509.Certificate, certificate: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


def _may_issue(issuer: x509.Certificate, authorities_below: int, names: Sequence[str]) -> bool:
    """Whether a certificate is an authority's that may be so far from the leaf, and may speak for its names."""
    constraints = _value(issuer, x509.BasicConstraints)
    if constraints is None or not constraints.ca:
        return False
    if constraints.path_length is not None and constraints.path_length < authorities_below:
        return False
    usage = _value(issuer, x509.KeyUsage)
    if usage is not None and not usage.key_cert_sign:
        return False
    limits = _value(issuer, x509.NameConstraints)
    return limits is None or all(_is_within(name, limits) for name in names)


def _value(certificate: x509.Certificate, kind: Any) -> Any:
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None


def _is_within(name: str, limits: x509.NameConstraints) -> bool:
    """Whether constraints on DNS names allow a name (RFC 5280 section 4.2.1.10)."""
    permitted = [each.value for each in limits.permitted_subtrees or () if isinstance(each, x509.DNSName)]
    excluded = [each.value for each in limits.excluded_subtrees or () if isinstance(each, x509.DNSName)]
    if permitted and not any(_is_below(name, each) for each in permitted):
        return False
    return not any(_is_below(name, each) for each in excluded)


def _is_below(name: str, subtree: str) -> bool:
    name, subtree = name.lower(), subtree.lower().removeprefix(".")
    return not subtree or name == subtree or name.endswith(f".{subtree}")


def _is_signed_by(certificate: x509.Certificate, key: Any) -> bool:
    signature, signed, digest = (
        certificate.signature,
        certificate.tbs_certificate_bytes,
        certificate.signature_hash_algorithm,
    )
    try:
        if isinstance(key, rsa.RSAPublicKey):
            scheme = certificate.signature_algorithm_parameters
            assert isinstance(scheme, padding.PKCS1v15 | padding.PSS)
            assert digest is not None
            key.verify(signature, signed, scheme, digest)
        elif isinstance(key, ec.EllipticCurvePublicKey):
            assert digest is not None
            key.verify(signature, signed, ec.ECDSA(digest))
        elif isinstance(key, ed25519.Ed25519PublicKey | ed448.Ed448PublicKey):
            key.verify(signature, signed)
        else:
            return False
    except (AssertionError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True
