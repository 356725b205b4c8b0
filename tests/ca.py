"""A certificate authority in memory, for certificates that are right and for every way to be wrong.

ca = CertificateAuthority()
good = ca.issue("mail.example.org")                       # good.chain_pem, good.key_pem
old = ca.issue("mail.example.org", days=(-30, -1))        # valid from, to, in days from now
deep = ca.intermediate().issue("mail.example.org")        # chain: leaf, intermediate
ca.write_root(folder / "ca.pem")
"""

import datetime
import ipaddress
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey

_AUTHORITY_DAYS = (-3650, 3650)


class Issued(NamedTuple):
    """A chain, the leaf first, the root left out, and the leaf's key, in PEM."""

    chain_pem: bytes
    key_pem: bytes

    def write(self, folder: Path, name: str = "server") -> tuple[Path, Path]:
        """Write both files, the key for its owner alone; return their paths."""
        chain, key = folder / f"{name}.pem", folder / f"{name}.key"
        chain.write_bytes(self.chain_pem)
        key.touch(mode=0o600)
        key.write_bytes(self.key_pem)
        return chain, key


class CertificateAuthority:
    """An authority; without `parent` it is a root."""

    def __init__(self, name: str = "Root", parent: "CertificateAuthority | None" = None) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        signer = parent or self
        builder = _builder(self._name, signer._name, self._key, _AUTHORITY_DAYS)
        authority = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        self.certificate = authority.sign(signer._key, hashes.SHA256())
        # What a server sends behind the leaf: every authority but the root.
        self._above: bytes = self.pem + parent._above if parent else b""

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    def write_root(self, path: Path) -> Path:
        path.write_bytes(self.pem)
        return path

    def intermediate(self, name: str = "Intermediate") -> "CertificateAuthority":
        return CertificateAuthority(name, parent=self)

    def issue(
        self,
        *names: str,
        days: tuple[float, float] = (-1, 90),
        key: Key | None = None,
        common_name: str = "",
        extension: x509.ExtensionType | None = None,
    ) -> Issued:
        """Issue a certificate for host names, IP and mail addresses; `common_name` alone makes one without any SAN.

        `extension` is one more, such as a SAN that no honest authority would write.
        """
        key = key or ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name or names[0])])
        builder = _builder(subject, self._name, key, days)
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName([_general(name) for name in names]), False)
        if extension is not None:
            builder = builder.add_extension(extension, critical=False)
        leaf = builder.sign(self._key, hashes.SHA256())
        return Issued(leaf.public_bytes(serialization.Encoding.PEM) + self._above, key_pem(key))

    def certify(self, public_key: Any, names: Sequence[str], days: tuple[float, float] = (-1, 90)) -> bytes:
        """Return the chain, in PEM, for a key whose private half is somebody else's; it says which key signed it."""
        builder = _builder(x509.Name([]), self._name, public_key, days)
        builder = builder.add_extension(x509.SubjectAlternativeName([_general(name) for name in names]), critical=True)
        signer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        leaf = builder.add_extension(signer, critical=False).sign(self._key, hashes.SHA256())
        return leaf.public_bytes(serialization.Encoding.PEM) + self._above


def key_pem(key: Key, passphrase: bytes = b"") -> bytes:
    """Return a private key in PEM, encrypted where there is a passphrase."""
    lock = serialization.BestAvailableEncryption(passphrase) if passphrase else serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, lock)


def _general(name: str) -> x509.GeneralName:
    if "@" in name:
        return x509.RFC822Name(name)
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _builder(subject: x509.Name, issuer: x509.Name, key: Any, days: tuple[float, float]) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    first, last = (now + datetime.timedelta(days=count) for count in days)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key() if isinstance(key, Key) else key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(first)
        .not_valid_after(last)
    )
