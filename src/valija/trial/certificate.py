"""What a server's certificate is worth to somebody who connects to `name`.

    verdict = judge(connection, "mail.example.org", ca_file="", now=time.time())
    verdict.is_good, verdict.reason
    str(verdict)           # "mail.example.org, issued by R11, valid until 2027-02-01: verified"

The chain is verified by OpenSSL in a handshake of its own, between two ends in memory that have the server's chain: a
handshake that verifies tells one fault only, and breaks the connection that is to be looked at.
"""

import ssl
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

import msgspec
from cryptography import x509
from cryptography.x509 import verification
from cryptography.x509.oid import NameOID

from valija.tls.contexts import client_context
from valija.tls.pair import covers, names_of

_SOON: Final = 14 * 86400.0  # seconds before its end that a certificate is worth a word


class CertificateVerdict(msgspec.Struct, frozen=True):
    """A certificate in words. `reason` says why it is not good, `""` where it is. Times in seconds since the epoch."""

    names: tuple[str, ...]
    issuer: str
    not_before: float
    not_after: float
    reason: str = ""

    @property
    def is_good(self) -> bool:
        """Whether whoever verifies would go on."""
        return not self.reason

    def ends_soon(self, now: float) -> bool:
        """Whether it ought to have been renewed."""
        return 0 <= self.not_after - now < _SOON

    def __str__(self) -> str:
        until = datetime.fromtimestamp(self.not_after, UTC).date()
        what = f"{', '.join(self.names) or 'no name'}, issued by {self.issuer}, valid until {until}"
        return f"{what}: {self.reason or 'verified'}"


def judge(chain: Sequence[bytes], name: str, *, ca_file: str, now: float) -> CertificateVerdict:
    """Judge a chain, DER, the server's own certificate first; `ca_file` "" is the system's trust."""
    try:
        leaf = x509.load_der_x509_certificate(chain[0])
    except (IndexError, ValueError) as error:
        return CertificateVerdict((), "?", 0.0, 0.0, f"it can't be read: {error}")
    verdict = CertificateVerdict(
        tuple(names_of(leaf)),
        _common_name(leaf.issuer),
        leaf.not_valid_before_utc.timestamp(),
        leaf.not_valid_after_utc.timestamp(),
    )
    return msgspec.structs.replace(verdict, reason=_fault(verdict, leaf, chain, name, ca_file, now))


def _fault(
    verdict: CertificateVerdict, leaf: x509.Certificate, chain: Sequence[bytes], name: str, ca_file: str, now: float
) -> str:
    if now >= verdict.not_after:
        return f"it expired on {datetime.fromtimestamp(verdict.not_after, UTC).date()}"
    if now < verdict.not_before:
        return f"it is not valid before {datetime.fromtimestamp(verdict.not_before, UTC).date()}"
    if not any(covers(each, name) for each in verdict.names):
        return f"it is not for {name}"
    if leaf.issuer == leaf.subject:
        return "it is self-signed"
    return _chain_fault(leaf, chain, ca_file, now)


def _chain_fault(leaf: x509.Certificate, chain: Sequence[bytes], ca_file: str, now: float) -> str:
    trusted = [x509.load_der_x509_certificate(each) for each in client_context(verify=True, ca_file=ca_file).get_ca_certs(True)]
    if not trusted:
        return "no authority is trusted here"
    builder = verification.PolicyBuilder().store(verification.Store(trusted)).time(datetime.fromtimestamp(now, UTC))
    try:
        between = [x509.load_der_x509_certificate(each) for each in chain[1:]]
        builder.build_client_verifier().verify(leaf, between)
    except (verification.VerificationError, ValueError) as error:
        return f"no chain to a trusted authority ({error})"
    return ""


def _common_name(name: x509.Name) -> str:
    found = name.get_attributes_for_oid(NameOID.COMMON_NAME) or name.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)
    return str(found[0].value) if found else name.rfc4514_string()
