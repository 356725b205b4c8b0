"""TLSA records: what they say, and which of them count."""

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.ca import CertificateAuthority
from valija.policy.tlsa import TlsaRecord, read_tlsa, usable

AUTHORITY = CertificateAuthority().certificate
CERTIFICATE = AUTHORITY.public_bytes(Encoding.DER)
KEY = AUTHORITY.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def named(value: int | bytes) -> str:
    """The key is another in each run, and a test's name is not."""
    made = {CERTIFICATE: "certificate", KEY: "key"}
    return made.get(value, f"{len(value)} octets") if isinstance(value, bytes) else str(value)


def test_a_record_is_read_and_written() -> None:
    text = f"3 1 1 {'6a' * 32}"
    assert read_tlsa(text) == TlsaRecord(3, 1, 1, b"\x6a" * 32)
    assert str(read_tlsa(text)) == text
    assert read_tlsa("3 1 1 ab cd") == TlsaRecord(3, 1, 1, b"\xab\xcd")


@pytest.mark.parametrize("text", ["", "3 1", "3 1 x ab", "3 1 1 abc", "3 1 1 zz"])
def test_what_is_no_record(text: str) -> None:
    with pytest.raises(ValueError, match=r"values to unpack|invalid literal|hexadecimal"):
        read_tlsa(text)


@pytest.mark.parametrize("usage", [2, 3])
@pytest.mark.parametrize(
    ("selector", "matching", "data"),
    [(0, 0, CERTIFICATE), (1, 0, KEY), (0, 1, bytes(32)), (1, 1, bytes(32)), (0, 2, bytes(64)), (1, 2, bytes(64))],
    ids=named,
)
def test_every_selector_and_digest_can_be_used(usage: int, selector: int, matching: int, data: bytes) -> None:
    assert TlsaRecord(usage, selector, matching, data).is_usable


@pytest.mark.parametrize(
    ("usage", "selector", "matching", "data"),
    [
        (0, 1, 1, bytes(32)),  # PKIX-TA
        (1, 1, 1, bytes(32)),  # PKIX-EE
        (4, 1, 1, bytes(32)),
        (3, 2, 1, bytes(32)),
        (3, 1, 3, bytes(32)),
        (3, 1, 1, bytes(31)),
        (3, 1, 1, bytes(64)),
        (3, 1, 2, bytes(32)),
        (3, 0, 0, KEY),
        (3, 1, 0, CERTIFICATE),
        (2, 0, 0, b""),
        (2, 1, 0, b"garbage"),
        (255, 255, 255, b""),
    ],
    ids=named,
)
def test_what_cannot_be_used(usage: int, selector: int, matching: int, data: bytes) -> None:
    assert not TlsaRecord(usage, selector, matching, data).is_usable


def test_of_several_digests_the_strongest_counts() -> None:
    weak, strong = TlsaRecord(3, 1, 1, bytes(32)), TlsaRecord(3, 1, 2, bytes(64))
    other = TlsaRecord(2, 1, 1, bytes(32))
    whole = TlsaRecord(3, 1, 0, KEY)
    broken = TlsaRecord(3, 1, 2, b"x")
    assert usable([weak, strong, other, whole]) == (strong, other, whole)
    assert usable([weak, broken]) == (weak,)
    assert usable([broken]) == ()
