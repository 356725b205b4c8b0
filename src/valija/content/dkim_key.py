"""Keys for DKIM: from PEM, made anew, and as the DNS record that publishes them (RFC 6376 section 3.6.1, RFC 8463).

    key = DkimKey.load("example.org", "2025a", pem)
    dns_record(key)     # ("2025a._domainkey.example.org", "v=DKIM1; k=rsa; p=MIIB...")

The value of an RSA record is longer than one character-string of the DNS may be: whoever prints it for a zone
file cuts it into pieces of at most 255 octets.
"""

import base64
from typing import Literal

import msgspec
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

Kind = Literal["rsa", "ed25519"]

MIN_RSA_BITS = 1024  # RFC 8301 section 3.2: fewer are never used
RSA_BITS = 2048


class KeyProblem(ValueError):
    """A key that cannot be used; the message says why and what to do. It never quotes the key."""


class DkimKey(msgspec.Struct, frozen=True):
    """A private key and the name under which its public half stands in the DNS."""

    domain: str
    selector: str
    private: RSAPrivateKey | Ed25519PrivateKey

    @property
    def kind(self) -> Kind:
        """`rsa` or `ed25519`, as the record's k= tag has it."""
        return "rsa" if isinstance(self.private, RSAPrivateKey) else "ed25519"

    @classmethod
    def load(cls, domain: str, selector: str, pem: bytes) -> "DkimKey":
        """Return the key in a PEM text. Raises KeyProblem."""
        private = _private_key(pem)
        if isinstance(private, RSAPrivateKey):
            if private.key_size < MIN_RSA_BITS:
                raise KeyProblem(f"an RSA key of {private.key_size} bits is too weak: make one of {RSA_BITS} bits")
            return cls(domain, selector, private)
        if isinstance(private, Ed25519PrivateKey):
            return cls(domain, selector, private)
        raise KeyProblem("neither an RSA nor an Ed25519 key: DKIM knows no other kind")


def _private_key(pem: bytes) -> object:
    if b"PUBLIC KEY" in pem and b"PRIVATE KEY" not in pem:
        raise KeyProblem("a public key: the private one is needed to sign")
    if b"PRIVATE KEY" not in pem:
        raise KeyProblem("no private key in PEM form")
    try:
        return load_pem_private_key(pem, password=None)
    except TypeError:
        raise KeyProblem("the key is encrypted: store it without a passphrase, readable by the service only") from None
    except (ValueError, UnsupportedAlgorithm):
        raise KeyProblem("the private key is damaged or of an unknown kind") from None


def generate(kind: Kind) -> bytes:
    """Return a new private key as PKCS#8 PEM. Randomness comes from the cryptographic library."""
    private = generate_private_key(65537, RSA_BITS) if kind == "rsa" else Ed25519PrivateKey.generate()
    return private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def dns_record(key: DkimKey) -> tuple[str, str]:
    """Return name and value of the TXT record that publishes a key."""
    public = key.private.public_key()
    if key.kind == "rsa":
        octets = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    else:
        octets = public.public_bytes(Encoding.Raw, PublicFormat.Raw)
    published = base64.b64encode(octets).decode("ascii")
    return f"{key.selector}._domainkey.{key.domain}", f"v=DKIM1; k={key.kind}; p={published}"
