"""Keys: what is taken, what is refused and in which words."""

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from valija.content.dkim_key import DkimKey, KeyProblem, Kind, dns_record, generate


@pytest.mark.parametrize("kind", ["rsa", "ed25519"])
def test_a_generated_key_can_be_loaded_and_published(kind: Kind) -> None:
    key = DkimKey.load("example.org", "2025a", generate(kind))
    assert key.kind == kind
    name, value = dns_record(key)
    assert name == "2025a._domainkey.example.org"
    assert value.startswith(f"v=DKIM1; k={kind}; p=")


def test_a_new_rsa_key_has_2048_bits() -> None:
    key = DkimKey.load("example.org", "2025a", generate("rsa"))
    assert isinstance(key.private, rsa.RSAPrivateKey)
    assert key.private.key_size == 2048


def _pem(private: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey, passphrase: bytes = b"") -> bytes:
    encryption = BestAvailableEncryption(passphrase) if passphrase else NoEncryption()
    return private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)


SOME_RSA = rsa.generate_private_key(65537, 2048)


@pytest.mark.parametrize(
    ("pem", "words"),
    [
        (b"", "no private key in PEM form"),
        (b"\x00\x01", "no private key in PEM form"),
        (_pem(SOME_RSA, b"secret"), "encrypted"),
        (SOME_RSA.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo), "a public key"),
        (_pem(SOME_RSA)[:200] + b"\n-----END PRIVATE KEY-----\n", "damaged"),
        (b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "damaged"),
        (_pem(ec.generate_private_key(ec.SECP256R1())), "neither an RSA nor an Ed25519"),
    ],
)
def test_an_unusable_key_is_refused_with_the_reason(pem: bytes, words: str) -> None:
    with pytest.raises(KeyProblem, match=words) as caught:
        DkimKey.load("example.org", "2025a", pem)
    assert "BEGIN" not in str(caught.value)


WEAK = b"""-----BEGIN RSA PRIVATE KEY-----
MIIBygIBAAJhALMSg0M5SpMbB9FfN2Pli2BZt7vgyTQ+1CQcqB4RURW5tRtvv2s0
ZTC5EP8e6EI9zmEDXOwIb12B7qNlRPaBvqTgETT538kfwm5hs3DAd/6pgm832vO1
PGCGfXTf3GSaAQIDAQABAmASYXkVwmC0PtcLl7Fw0JQA3NSuNUGR2k0eM87R30cq
arh7S3ojf+pPGP/0n/CJNBy57P/kllzBc0Hcj/bVJ/6yCxAx6vVVBJ6u5M+Oqr8k
yqPHmlw3XzFa9fQx5d4VpkECMQDk5dKgvdEN4v8s945Q0f/chI3r1VvvOmP64e9U
F3TUZKNDnb+yyYPIYgoiBF4T8+kCMQDIRms36VXSflkS4brd5rQC7yjUCivKmXWb
g8hk4M8fZLPak4ebqvX43jGlNROznlkCMAwRLaR5vU6tG+TD/EW4fHOkrVK0gc8/
1cuBI7vcLLWRxKWo6FVFmGP0/zHB5y/IGQIxAIssFDnoVhFOZ8utPVQSi6k2VOL0
pnXFqmqFa25eotAoBKuxtZzBcuicT1eEyMobEQIwIdrriDOJD1QymM8hwZeTISh5
1/rBj5Znb66QQP75f/XqNqzyzRbJYsMFznPl/yq7
-----END RSA PRIVATE KEY-----
"""


def test_a_weak_key_is_refused() -> None:
    with pytest.raises(KeyProblem, match="an RSA key of 768 bits is too weak: make one of 2048 bits"):
        DkimKey.load("example.org", "2025a", WEAK)
