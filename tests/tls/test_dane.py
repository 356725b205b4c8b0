"""Chains held against TLSA records: what is right passes, and each way to be wrong does not."""

import hashlib
import itertools
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from hypothesis import given
from hypothesis import strategies as st

from tests.ca import CertificateAuthority, Issued
from valija.policy.certificate_names import names_match
from valija.policy.tlsa import TlsaRecord
from valija.tls.dane import dane_rejection
from valija.tls.rejection import Rejection

HOST = "mx1.remote.example"
NOW = datetime.now(UTC)
DIGESTS: dict[int, Callable[[bytes], bytes]] = {
    0: bytes,
    1: lambda data: hashlib.sha256(data).digest(),
    2: lambda data: hashlib.sha512(data).digest(),
}
FORMS = list(itertools.product((0, 1), (0, 1, 2)))


def der(issued: Issued, *more: x509.Certificate) -> list[bytes]:
    chain = [*x509.load_pem_x509_certificates(issued.chain_pem), *more]
    return [each.public_bytes(Encoding.DER) for each in chain]


def record(usage: int, certificate: x509.Certificate | bytes, selector: int = 1, matching: int = 1) -> TlsaRecord:
    if isinstance(certificate, bytes):
        certificate = x509.load_der_x509_certificate(certificate)
    key = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    data = key if selector else certificate.public_bytes(Encoding.DER)
    return TlsaRecord(usage, selector, matching, DIGESTS[matching](data))


def verdict(chain: Sequence[bytes], *records: TlsaRecord, names: Sequence[str] = (HOST,)) -> str:
    rejection = dane_rejection(chain, records, accepts=lambda found: names_match(names, found), now=NOW)
    assert rejection is None or isinstance(rejection, Rejection)
    return rejection.result if rejection else ""


@pytest.fixture(scope="module")
def root() -> CertificateAuthority:
    return CertificateAuthority()


# DANE-EE


@pytest.mark.parametrize(("selector", "matching"), FORMS)
def test_the_peers_own_certificate_or_key(selector: int, matching: int, root: CertificateAuthority) -> None:
    right, wrong = der(root.issue(HOST)), der(root.issue(HOST))
    assert verdict(right, record(3, right[0], selector, matching)) == ""
    assert verdict(wrong, record(3, right[0], selector, matching)) == "validation-failure"
    assert verdict(wrong, record(3, right[0], selector, matching), record(3, wrong[0], selector, matching)) == ""


def test_neither_names_nor_dates_matter_to_dane_ee(root: CertificateAuthority) -> None:
    chain = der(root.issue("mx.elsewhere.example", days=(-30, -1)))
    assert verdict(chain, record(3, chain[0])) == ""
    nameless = der(root.issue(common_name="nobody"))
    assert verdict(nameless, record(3, nameless[0])) == ""


def test_a_certificate_further_up_is_not_the_peers_own(root: CertificateAuthority) -> None:
    chain = der(root.intermediate().issue(HOST))
    assert verdict(chain, record(3, chain[1])) == "validation-failure"


@pytest.mark.parametrize("chain", [[], [b""], [b"garbage"], [b"\x30\x03\x02\x01\x01"]])
def test_what_is_no_certificate(chain: list[bytes], root: CertificateAuthority) -> None:
    right = der(root.issue(HOST))[0]
    assert verdict(chain, record(3, right), record(2, root.certificate)) == "validation-failure"


def test_garbage_behind_the_certificate_changes_nothing(root: CertificateAuthority) -> None:
    right = der(root.issue(HOST), root.certificate)
    assert verdict([right[0], b"garbage", right[1]], record(2, root.certificate)) == ""
    assert verdict([right[0], b"garbage"], record(2, root.certificate)) == "certificate-not-trusted"


CHAIN = der(CertificateAuthority().issue(HOST))


@given(st.integers(0, len(CHAIN[0]) - 1), st.integers(1, 255))
def test_no_octet_of_the_certificate_can_be_another(place: int, change: int) -> None:
    forged = bytearray(CHAIN[0])
    forged[place] ^= change
    trusted = [record(usage, CHAIN[0], 0, matching) for usage in (2, 3) for matching in (0, 1, 2)]
    assert verdict([bytes(forged)], *trusted) != ""


# DANE-TA


@pytest.mark.parametrize(("selector", "matching"), FORMS)
@pytest.mark.parametrize("depth", [1, 2])
def test_an_authority_in_the_chain(selector: int, matching: int, depth: int, root: CertificateAuthority) -> None:
    middle = root.intermediate()
    chain = der(middle.issue(HOST), root.certificate)
    trusted = (middle if depth == 1 else root).certificate
    assert verdict(chain, record(2, trusted, selector, matching)) == ""
    forged = der(CertificateAuthority().intermediate().issue(HOST), root.certificate)
    assert verdict(forged, record(2, trusted, selector, matching)) == "certificate-not-trusted"


@pytest.mark.parametrize("selector", [0, 1])
def test_an_authority_that_the_record_holds_whole(selector: int, root: CertificateAuthority) -> None:
    chain = der(root.intermediate().issue(HOST))  # without the root
    assert verdict(chain, record(2, root.certificate, selector, 0)) == ""
    assert verdict(chain, record(2, root.certificate, selector, 1)) == "certificate-not-trusted"
    assert verdict(chain, record(2, CertificateAuthority().certificate, selector, 0)) == "certificate-not-trusted"


def test_names_and_dates_matter_to_dane_ta(root: CertificateAuthority) -> None:
    trusted = record(2, root.certificate)
    for names, expected in (
        ([HOST], ""),
        (["*.remote.example"], ""),
        (["mx.elsewhere.example"], "certificate-host-mismatch"),
        ([], "certificate-host-mismatch"),
    ):
        chain = der(root.issue(*names, common_name=HOST), root.certificate)
        assert verdict(chain, trusted) == expected
    for days, expected in (((-30, -1), "certificate-expired"), ((1, 30), "certificate-expired"), ((-1, 1), "")):
        assert verdict(der(root.issue(HOST, days=days), root.certificate), trusted) == expected


def test_the_leaf_is_no_authority_of_its_own(root: CertificateAuthority) -> None:
    chain = der(root.issue(HOST), root.certificate)
    assert verdict(chain, record(2, chain[0])) == "certificate-not-trusted"


def test_the_order_behind_the_leaf_does_not_matter(root: CertificateAuthority) -> None:
    leaf, *others = der(root.intermediate("A").intermediate("B").issue(HOST), root.certificate)
    for order in itertools.permutations(others):
        assert verdict([leaf, *order], record(2, root.certificate)) == ""
    assert verdict([leaf, others[0], others[2]], record(2, root.certificate)) == "certificate-not-trusted"


# Paths that are none


Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey


class Forge:
    """Makes certificates with what extensions a test wants."""

    def __init__(self, key: Key | None = None) -> None:
        self.key: Key = key or ec.generate_private_key(ec.SECP256R1())

    def sign(
        self,
        subject: str,
        *extensions: tuple[x509.ExtensionType, bool],
        issuer: str = "Root",
        key: Any = None,
        days: tuple[int, int] = (-1, 1),
    ) -> x509.Certificate:
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)]))
            .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
            .public_key((key or self.key).public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(NOW + timedelta(days=days[0]))
            .not_valid_after(NOW + timedelta(days=days[1]))
        )
        for extension, critical in extensions:
            builder = builder.add_extension(extension, critical)
        digest = None if isinstance(self.key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
        return builder.sign(self.key, digest)


def names(*hosts: str) -> tuple[x509.ExtensionType, bool]:
    return x509.SubjectAlternativeName([x509.DNSName(host) for host in hosts]), False


def authority(path_length: int | None = None) -> tuple[x509.ExtensionType, bool]:
    return x509.BasicConstraints(ca=True, path_length=path_length), True


def usage(**allowed: bool) -> tuple[x509.ExtensionType, bool]:
    fields = ["digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement"]
    fields += ["key_cert_sign", "crl_sign", "encipher_only", "decipher_only"]
    return x509.KeyUsage(**{field: allowed.get(field, False) for field in fields}), True


def as_der(*certificates: x509.Certificate) -> list[bytes]:
    return [each.public_bytes(Encoding.DER) for each in certificates]


@pytest.mark.parametrize("key", ["rsa", "ec", "ed25519"])
@pytest.mark.parametrize("bare", [False, True])
def test_every_kind_of_key(key: str, bare: bool) -> None:
    made: Key = ec.generate_private_key(ec.SECP384R1())
    if key == "rsa":
        made = rsa.generate_private_key(65537, 2048)
    elif key == "ed25519":
        made = ed25519.Ed25519PrivateKey.generate()
    forge, other = Forge(made), ec.generate_private_key(ec.SECP256R1())
    root, leaf = forge.sign("Root", authority()), forge.sign("leaf", names(HOST), key=other)
    trusted = record(2, root, 1, 0) if bare else record(2, root)
    chain = as_der(leaf) if bare else as_der(leaf, root)
    assert verdict(chain, trusted) == ""
    forged = Forge().sign("leaf", names(HOST), key=other)
    assert verdict(as_der(forged, root), trusted) == "certificate-not-trusted"


def test_only_an_authority_may_sign() -> None:
    forge, leaf_key = Forge(), ec.generate_private_key(ec.SECP256R1())
    leaf = forge.sign("leaf", names(HOST), key=leaf_key)
    for extensions, expected in (
        ([authority()], ""),
        ([], "certificate-not-trusted"),
        ([(x509.BasicConstraints(ca=False, path_length=None), True)], "certificate-not-trusted"),
        ([authority(), usage(key_cert_sign=True)], ""),
        ([authority(), usage(digital_signature=True)], "certificate-not-trusted"),
    ):
        root = forge.sign("Root", *extensions)
        assert verdict(as_der(leaf, root), record(2, root)) == expected


def test_a_customers_certificate_signs_nothing() -> None:
    """A leaf of the right authority is used as an authority itself."""
    forge, customer = Forge(), Forge()
    root = forge.sign("Root", authority())
    theirs = forge.sign("customer", names("customer.example"), key=customer.key)
    leaf = customer.sign("leaf", names(HOST), issuer="customer")
    assert verdict(as_der(leaf, theirs, root), record(2, root)) == "certificate-not-trusted"


@pytest.mark.parametrize(("path_length", "expected"), [(None, ""), (1, ""), (0, "certificate-not-trusted")])
def test_the_length_of_the_path(path_length: int | None, expected: str) -> None:
    forge, middle = Forge(), Forge()
    root = forge.sign("Root", authority(path_length))
    between = forge.sign("Middle", authority(0), key=middle.key)
    leaf = middle.sign("leaf", names(HOST), issuer="Middle")
    assert verdict(as_der(leaf, between, root), record(2, root)) == expected


@pytest.mark.parametrize("where", ["root", "middle"])
def test_an_expired_authority(where: str) -> None:
    forge, middle = Forge(), Forge()
    past = (-3, -2)
    root = forge.sign("Root", authority(), days=past if where == "root" else (-1, 1))
    between = forge.sign("Middle", authority(), key=middle.key, days=past if where == "middle" else (-1, 1))
    leaf = middle.sign("leaf", names(HOST), issuer="Middle")
    assert verdict(as_der(leaf, between, root), record(2, root)) == "certificate-expired"


@pytest.mark.parametrize(
    ("permitted", "excluded", "expected"),
    [
        (["remote.example"], None, ""),
        ([".remote.example"], None, ""),
        (["example"], None, ""),
        (["elsewhere.example"], None, "certificate-not-trusted"),
        (["mote.example"], None, "certificate-not-trusted"),
        (None, ["elsewhere.example"], ""),
        (None, ["remote.example"], "certificate-not-trusted"),
        (["example"], ["remote.example"], "certificate-not-trusted"),
    ],
)
def test_what_an_authority_may_speak_for(
    permitted: list[str] | None, excluded: list[str] | None, expected: str
) -> None:
    def trees(found: list[str] | None) -> list[x509.GeneralName] | None:
        return [x509.DNSName(each) for each in found] if found else None

    forge, key = Forge(), ec.generate_private_key(ec.SECP256R1())
    limits = x509.NameConstraints(permitted_subtrees=trees(permitted), excluded_subtrees=trees(excluded))
    root = forge.sign("Root", authority(), (limits, True))
    leaf = forge.sign("leaf", names(HOST), key=key)
    assert verdict(as_der(leaf, root), record(2, root)) == expected


def test_a_critical_extension_nobody_knows() -> None:
    forge, key = Forge(), ec.generate_private_key(ec.SECP256R1())
    strange = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.99999.1"), b"\x05\x00")
    root = forge.sign("Root", authority())
    for critical, expected in ((True, "certificate-not-trusted"), (False, "")):
        leaf = forge.sign("leaf", names(HOST), (strange, critical), key=key)
        assert verdict(as_der(leaf, root), record(2, root)) == expected


@pytest.mark.parametrize(
    ("purpose", "expected"),
    [
        (ExtendedKeyUsageOID.SERVER_AUTH, ""),
        (ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE, ""),
        (ExtendedKeyUsageOID.CLIENT_AUTH, "validation-failure"),
    ],
)
def test_a_certificate_for_something_else(purpose: x509.ObjectIdentifier, expected: str) -> None:
    forge, key = Forge(), ec.generate_private_key(ec.SECP256R1())
    root = forge.sign("Root", authority())
    leaf = forge.sign("leaf", names(HOST), (x509.ExtendedKeyUsage([purpose]), False), key=key)
    assert verdict(as_der(leaf, root), record(2, root)) == expected


def test_a_maze_of_certificates_has_an_end() -> None:
    """All of them bear one name and one key, so that each seems to have issued each."""
    forge = Forge()
    maze = [forge.sign("Root", authority()) for _ in range(9)]
    leaf = forge.sign("leaf", names(HOST))
    assert verdict(as_der(leaf, *maze), record(2, CertificateAuthority().certificate)) == "certificate-not-trusted"
    assert verdict(as_der(leaf, *maze), record(2, maze[-1], 0)) == ""


def test_both_usages_at_once(root: CertificateAuthority) -> None:
    chain = der(root.issue("mx.elsewhere.example"), root.certificate)
    assert verdict(chain, record(2, root.certificate), record(3, chain[0])) == ""
    assert verdict(chain, record(2, root.certificate), record(3, root.certificate)) == "certificate-host-mismatch"
