"""A certificate and its key: is this pair fit for the server?

    pair, faults = read_pair("/etc/ssl/mail.pem", "/etc/ssl/mail.key")
    faults += check_pair(pair, "mail.example.org", now)
    # '/etc/ssl/mail.key': it does not belong to the certificate in '/etc/ssl/mail.pem'; ...

A fault is fatal where TLS could not be spoken with the pair, or its key is not safe. What is merely wrong (expired, not
for the host name, a chain with gaps) is no reason to stop a server's mail: most servers that send to it do not look.

Known weakness: whether the chain ends at an authority that others trust is not judged; trust is theirs.
"""

import datetime
import ipaddress
import itertools
import os
import ssl
import stat
from collections.abc import Sequence
from typing import Final

import msgspec
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

from valija.mail.fault import Fault
from valija.tls.contexts import server_context

MAX_FILE: Final = 1024 * 1024  # octets; no chain is that long
_OTHERS: Final = stat.S_IROTH | stat.S_IWOTH


class PairFault(Fault, frozen=True):
    """What is wrong with a pair; `value` is the file's name. Fatal: the pair cannot or must not be used."""

    is_fatal: bool = True


class CertificatePair(msgspec.Struct, frozen=True):
    """A chain, the server's own certificate first, and its private key, in PEM. The names are for messages."""

    chain_pem: bytes
    key_pem: bytes
    chain_file: str = "certificate"
    key_file: str = "key"


class CertificateSummary(msgspec.Struct, frozen=True):
    """A certificate in a person's words. Times are seconds since the epoch; `sha256` is the fingerprint, in hex."""

    names: tuple[str, ...]
    issuer: str
    not_before: float
    not_after: float
    self_signed: bool
    sha256: str


def read_pair(chain_file: str, key_file: str) -> tuple[CertificatePair, list[PairFault]]:
    """Read both files. What cannot be read, or is a key that others can read, is a fault and empty in the pair."""
    faults: list[PairFault] = []
    chain_pem = _read(chain_file, "cert_file", faults)
    key_pem = _read(key_file, "key_file", faults, is_secret=True)
    return CertificatePair(chain_pem, key_pem, chain_file, key_file), faults


def check_pair(pair: CertificatePair, hostname: str, now: float, also: Sequence[str] = ()) -> list[PairFault]:
    """Return what is wrong with a pair that was read, for a server called `hostname`; nothing where it is empty.

    `also` are other names that it is to cover.
    """
    faults: list[PairFault] = []
    chain = _parse_chain(pair, faults) if pair.chain_pem else []
    key = _parse_key(pair, faults) if pair.key_pem else None
    if chain and key is not None:
        faults += _check_match(pair, chain, key)
    if faults or not chain or key is None:
        return faults
    leaf = chain[0]
    faults = _check_accepted(pair) + _check_chain(pair, chain) + _check_dates(pair, leaf, now)
    faults += [fault for name in also for fault in _check_name(pair, leaf, name)]
    return faults + _check_name(pair, leaf, hostname)


def certificate_summary(pair: CertificatePair) -> CertificateSummary:
    """Describe the server's own certificate. Raises ValueError where it cannot be parsed."""
    leaf = x509.load_pem_x509_certificates(pair.chain_pem)[0]
    return CertificateSummary(
        names=tuple(names_of(leaf)),
        issuer=leaf.issuer.rfc4514_string(),
        not_before=leaf.not_valid_before_utc.timestamp(),
        not_after=leaf.not_valid_after_utc.timestamp(),
        self_signed=_is_issued_by(leaf, leaf),
        sha256=leaf.fingerprint(hashes.SHA256()).hex(),
    )


def names_of(certificate: x509.Certificate) -> list[str]:
    """Return the host names and addresses a certificate is for. The common name does not count (RFC 9525)."""
    try:
        alternative = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        return []
    addresses = alternative.get_values_for_type(x509.IPAddress)
    return [*alternative.get_values_for_type(x509.DNSName), *(str(address) for address in addresses)]


def covers(name: str, hostname: str) -> bool:
    """Whether a name in a certificate stands for a host: `*` for exactly one whole left-most label (RFC 9525)."""
    name, hostname = name.lower().removesuffix("."), hostname.lower().removesuffix(".")
    if not name.startswith("*.") or _is_address(hostname):
        return name == hostname
    first, dot, rest = hostname.partition(".")
    return bool(first and dot) and name[2:] == rest


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _read(path: str, key: str, faults: list[PairFault], *, is_secret: bool = False) -> bytes:
    if not path:
        faults.append(PairFault(path, f"{key} is not set", f"name the file in [tls] {key}"))
        return b""
    try:
        with open(path, "rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            content = file.read(MAX_FILE)
    except OSError as error:
        faults.append(PairFault(path, f"it cannot be read: {error.strerror}", _how_to_reach(path, error)))
        return b""
    if is_secret and mode & _OTHERS:
        what = f"it is a key that others can use (mode {stat.S_IMODE(mode):04o})"
        faults.append(PairFault(path, what, f"chmod 0640 {path}"))
        return b""
    if not content.strip():
        faults.append(PairFault(path, "it is empty", f"put the {'key' if is_secret else 'certificate'} in it, in PEM"))
        return b""
    return content


def _how_to_reach(path: str, error: OSError) -> str:
    if isinstance(error, PermissionError):
        return "let the service's user read it (chgrp, chmod 0640), or start the service as root"
    if isinstance(error, FileNotFoundError):
        return "put it there, or correct the name in [tls]"
    return f"name a file, not {path}"


def _parse_chain(pair: CertificatePair, faults: list[PairFault]) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(pair.chain_pem)
    except ValueError:
        what = "there is no certificate in PEM in it"
        remedy = "it begins with -----BEGIN CERTIFICATE-----, the server's own certificate first"
        faults.append(PairFault(pair.chain_file, what, remedy))
        return []


def _parse_key(pair: CertificatePair, faults: list[PairFault]) -> PrivateKeyTypes | None:
    try:
        return serialization.load_pem_private_key(pair.key_pem, None)
    except TypeError:  # the library's word for a missing passphrase
        remedy = f"store it without one: openssl pkey -in {pair.key_file} -out NEW, mode 0640"
        faults.append(PairFault(pair.key_file, "the key is encrypted with a passphrase", remedy))
    except Exception as error:  # ValueError, UnsupportedAlgorithm, and what the library's core may add
        remedy = "it begins with -----BEGIN PRIVATE KEY-----"
        faults.append(PairFault(pair.key_file, f"there is no usable private key in PEM in it ({error})", remedy))
    return None


def _check_match(pair: CertificatePair, chain: list[x509.Certificate], key: PrivateKeyTypes) -> list[PairFault]:
    ours = _spki(key.public_key())
    if _spki(chain[0].public_key()) == ours:
        return []
    if any(_spki(other.public_key()) == ours for other in chain[1:]):
        what = "the server's own certificate is not the first in it"
        return [PairFault(pair.chain_file, what, "put it first, and behind it each certificate's issuer")]
    what = f"it does not belong to the certificate in {pair.chain_file!r}"
    return [PairFault(pair.key_file, what, "name the key and the certificate that were made together")]


def _spki(key: object) -> bytes:
    return key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)  # type: ignore[attr-defined, no-any-return]  # the union holds exchange-only keys too


def _check_accepted(pair: CertificatePair) -> list[PairFault]:
    """Ask OpenSSL itself: it refuses short keys and digests that the parser takes."""
    try:
        server_context(pair.chain_pem, pair.key_pem)
    except ssl.SSLError as error:
        what = f"OpenSSL refuses it: {(error.reason or str(error)).replace('_', ' ').lower()}"
        return [PairFault(pair.chain_file, what, "have a certificate made with a key of today's length and SHA-256")]
    return []


def _check_chain(pair: CertificatePair, chain: list[x509.Certificate]) -> list[PairFault]:
    for number, (subject, issuer) in enumerate(itertools.pairwise(chain), start=2):
        if not _is_issued_by(subject, issuer):
            what = f"its certificate number {number} did not issue the one before it"
            remedy = "order the chain: the server's own certificate first, behind each one its issuer"
            return [PairFault(pair.chain_file, what, remedy, is_fatal=False)]
    return []


def _is_issued_by(subject: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        subject.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _check_dates(pair: CertificatePair, leaf: x509.Certificate, now: float) -> list[PairFault]:
    first, last = leaf.not_valid_before_utc, leaf.not_valid_after_utc
    if now >= last.timestamp():
        what, remedy = f"the certificate expired on {_day(last)}", "renew it"
    elif now < first.timestamp():
        what, remedy = f"the certificate is not valid before {_day(first)}", "set this machine's clock, or wait"
    else:
        return []
    return [PairFault(pair.chain_file, what, remedy, is_fatal=False)]


def _day(moment: datetime.datetime) -> str:
    return moment.strftime("%Y-%m-%d %H:%M UTC")


def _check_name(pair: CertificatePair, leaf: x509.Certificate, hostname: str) -> list[PairFault]:
    names = names_of(leaf)
    if any(covers(name, hostname) for name in names):
        return []
    what = f"the certificate is for {', '.join(names[:5]) or 'no host name at all'}, not for {hostname}"
    remedy = "have one made for it, or set hostname to a name it covers"
    return [PairFault(pair.chain_file, what, remedy, is_fatal=False)]
