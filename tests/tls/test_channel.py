"""What logins may be bound to, and client certificates, in real handshakes."""

import contextlib
import datetime
import hashlib
import itertools
import ssl
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding

from tests.ca import CertificateAuthority, Issued, key_pem
from valija.tls.channel import TlsChannel
from valija.tls.contexts import ServerContext, server_context

HOST = "mail.example.org"
CA, USERS = CertificateAuthority(), CertificateAuthority("Users")
DEFAULT = CA.intermediate().issue(HOST)


class Pipe:
    """A client and a server that shake hands in memory."""

    def __init__(self, context: ssl.SSLContext, shows: Issued | None = None, sni: str | None = HOST) -> None:
        client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        client.check_hostname, client.verify_mode = False, ssl.CERT_NONE
        if shows:
            with on_disk(shows) as (chain, key):
                client.load_cert_chain(chain, key)
        up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.client = client.wrap_bio(down, up, server_hostname=sni)
        self.server = context.wrap_bio(up, down, server_side=True)

    def shake_hands(self) -> TlsChannel:
        """Go on until both sides are done. Raises ssl.SSLError where one of them refuses."""
        pending = {self.client, self.server}
        for side in itertools.cycle((self.client, self.server)):
            with contextlib.suppress(ssl.SSLWantReadError):
                side.do_handshake()
                pending.discard(side)
            if not pending:
                return TlsChannel(self.server)
        raise AssertionError


@contextlib.contextmanager
def on_disk(issued: Issued) -> Iterator[tuple[str, str]]:
    with tempfile.TemporaryDirectory() as folder:
        chain, key = issued.write(Path(folder))
        yield str(chain), str(key)


def self_signed(algorithm: hashes.HashAlgorithm | None) -> Issued:
    """Return a certificate signed with a hash, or by Ed25519, which has none."""
    key = ec.generate_private_key(ec.SECP256R1()) if algorithm else ed25519.Ed25519PrivateKey.generate()
    name, now = x509.Name([]), datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(now).not_valid_after(now + datetime.timedelta(days=1))
    return Issued(builder.sign(key, algorithm).public_bytes(Encoding.PEM), key_pem(key))  # type: ignore[arg-type]  # any key has a PEM


def digest(issued: Issued, name: str = "sha256") -> bytes:
    return hashlib.new(name, x509.load_pem_x509_certificate(issued.chain_pem).public_bytes(Encoding.DER)).digest()


@pytest.mark.parametrize(
    ("algorithm", "name"),
    [(hashes.SHA256(), "sha256"), (hashes.SHA384(), "sha384"), (hashes.SHA512(), "sha512"), (None, "")],
)
def test_end_point_is_a_digest_by_the_signatures_own_hash(algorithm: hashes.HashAlgorithm | None, name: str) -> None:
    issued = self_signed(algorithm)
    assert server_context(*issued).end_point == (digest(issued, name) if name else b"")


@pytest.mark.parametrize("weak", ["sha1", "md5"])
def test_weak_hashes_are_replaced_by_sha256(weak: str) -> None:
    """RFC 5929 section 4.1. OpenSSL would not serve such a certificate: the context is told of it behind its back."""
    command = ["openssl", "req", "-x509", f"-{weak}", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=x", "-keyout", "-"]
    made = subprocess.run(command, capture_output=True, timeout=30, check=True).stdout
    context = ServerContext(ssl.PROTOCOL_TLS_SERVER)
    context._chain_pem = made[made.index(b"-----BEGIN CERTIFICATE") :]
    assert context.end_point == digest(Issued(context._chain_pem, b""))


def test_channel_knows_the_certificate_that_the_client_saw() -> None:
    pipe = Pipe(server_context(*DEFAULT))
    channel = pipe.shake_hands()
    seen = pipe.client.getpeercert(binary_form=True)
    assert seen
    assert channel.binding() == hashlib.sha256(seen).digest() == digest(DEFAULT)
    assert channel.client_certificate() == b""


def with_sni() -> tuple[ServerContext, Issued]:
    """Return the default context of a server that has another certificate for other.example."""
    other = CA.issue("other.example")
    default, chosen = server_context(*DEFAULT), server_context(*other)

    def choose(connection: ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> None:
        if name == "other.example":
            connection.context = chosen

    default.sni_callback = choose
    return default, other


@pytest.mark.parametrize("asks", [False, True])
@pytest.mark.parametrize("name", [HOST, "other.example", None])
def test_channel_knows_which_of_several_certificates_it_was(name: str | None, asks: bool) -> None:
    context, other = with_sni()
    pipe = Pipe(context.asking(USERS.pem.decode()) if asks else context, sni=name)
    channel = pipe.shake_hands()
    seen = pipe.client.getpeercert(binary_form=True)
    assert seen
    assert channel.binding() == hashlib.sha256(seen).digest()
    assert channel.binding() == digest(other if name == "other.example" else DEFAULT)


@pytest.mark.parametrize("name", [HOST, "other.example"])
def test_client_certificate(name: str) -> None:
    mine = USERS.issue("user")
    context, _ = with_sni()
    channel = Pipe(context.asking(USERS.pem.decode()), mine, name).shake_hands()
    assert channel.client_certificate() == x509.load_pem_x509_certificate(mine.chain_pem).public_bytes(Encoding.DER)
    assert Pipe(context, mine, name).shake_hands().client_certificate() == b""  # where none is asked for


def test_nobody_needs_a_certificate() -> None:
    assert Pipe(server_context(*DEFAULT).asking(USERS.pem.decode())).shake_hands().client_certificate() == b""


@pytest.mark.parametrize(
    "shown",
    [CertificateAuthority("Strangers").issue("user"), USERS.issue("user", days=(-30, -1)), CA.issue("user")],
    ids=["of strangers", "expired", "of the server's own authority"],
)
def test_certificate_that_is_not_believed_ends_the_handshake(shown: Issued) -> None:
    pipe = Pipe(server_context(*DEFAULT).asking(USERS.pem.decode()), shown)
    with pytest.raises(ssl.SSLError, match=r"(?i)certificate"):
        pipe.shake_hands()


def test_asking_context_is_made_once_for_the_same_authorities() -> None:
    context = server_context(*DEFAULT)
    asking = context.asking(USERS.pem.decode())
    assert context.asking(USERS.pem.decode()) is asking
    assert context.asking(CA.pem.decode()) is not asking
    assert context.verify_mode == ssl.CERT_NONE
