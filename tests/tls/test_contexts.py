"""Contexts of both sides against each other and against openssl."""

import contextlib
import os
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.ca import CertificateAuthority
from valija.mail.origin import TlsFacts
from valija.tls.contexts import TrustUnusable, client_context, server_context, tls_facts

HOST = "mail.example.org"
CA = CertificateAuthority()
ISSUED = CA.intermediate().issue(HOST)


@contextlib.contextmanager
def serving(context: ssl.SSLContext) -> Iterator[tuple[str, int]]:
    """A server that greets over TLS from the first byte, one client after the other."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            client.settimeout(10)
            with contextlib.suppress(OSError), context.wrap_socket(client, server_side=True) as secured:
                secured.sendall(b"220 hello\r\n")
                secured.recv(100)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield listener.getsockname()
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(10)


def connect(address: tuple[str, int], context: ssl.SSLContext, sni: str | None = None) -> ssl.SSLSocket:
    return context.wrap_socket(socket.create_connection(address, timeout=10), server_hostname=sni)


@pytest.mark.parametrize(
    "sni", [None, HOST, HOST + ".", HOST.upper(), "other.example", "x", "a_b.example", "xn--bcher-kva.example"]
)
def test_c055_any_sni_completes_with_the_default_certificate(sni: str | None) -> None:
    with serving(server_context(*ISSUED)) as address, connect(address, client_context(verify=False), sni) as client:
        assert client.recv(100) == b"220 hello\r\n"
        assert ssl.DER_cert_to_PEM_cert(client.getpeercert(True) or b"").encode() in ISSUED.chain_pem


@pytest.mark.parametrize("sni", ["192.0.2.1", "2001:db8::1", "bad name", "a" * 250, "\u00e9.example"])
@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_c055_names_that_python_would_not_send(sni: str, version: str) -> None:
    with serving(server_context(*ISSUED)) as (host, port):
        client = subprocess.run(
            ["openssl", "s_client", "-connect", f"{host}:{port}", "-servername", sni, version, "-ign_eof"],
            input=b"QUIT\r\n",
            capture_output=True,
            check=False,
            timeout=20,
        )
    assert b"220 hello" in client.stdout, client.stderr


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_versions_that_are_spoken(version: ssl.TLSVersion) -> None:
    context = ssl.create_default_context(cadata=CA.pem.decode())
    context.minimum_version = context.maximum_version = version
    with serving(server_context(*ISSUED)) as address, connect(address, context, HOST) as client:
        assert client.version() == version.name.replace("_", ".")
        assert client.compression() is None


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_tls_1_1_is_refused_by_both_sides() -> None:
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
    old.minimum_version, old.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
    old.set_ciphers("DEFAULT:@SECLEVEL=0")
    with serving(server_context(*ISSUED)) as address, pytest.raises(ssl.SSLError, match=r"(?i)version"):
        connect(address, old)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.minimum_version, server.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
    server.set_ciphers("DEFAULT:@SECLEVEL=0")
    server.load_verify_locations(cadata=CA.pem.decode())
    with serving(server) as address, pytest.raises(ssl.SSLError, match=r"(?i)version"):
        connect(address, client_context(verify=False))


def test_only_forward_secret_authenticated_ciphers_are_offered() -> None:
    ciphers = server_context(*ISSUED).get_ciphers()
    assert ciphers
    for cipher in ciphers:
        assert cipher["protocol"] == "TLSv1.3" or cipher["name"].startswith("ECDHE-"), cipher["name"]
        assert cipher["strength_bits"] >= 128


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_sessions_are_resumed(version: ssl.TLSVersion) -> None:
    context = ssl.create_default_context(cadata=CA.pem.decode())
    context.minimum_version = context.maximum_version = version
    with serving(server_context(*ISSUED)) as address:
        with connect(address, context, HOST) as first:
            first.recv(100)
            session = first.session
        second = context.wrap_socket(socket.create_connection(address), server_hostname=HOST, session=session)
        with second:
            assert second.session_reused


@pytest.mark.parametrize("certificate", [ISSUED, CA.issue("wrong.example"), CA.issue(HOST, days=(-9, -1))])
def test_opportunistic_takes_every_certificate(certificate: tuple[bytes, bytes]) -> None:
    with (
        serving(server_context(*certificate)) as address,
        connect(address, client_context(verify=False), HOST) as client,
    ):
        assert client.recv(100) == b"220 hello\r\n"


def test_opportunistic_takes_weak_certificates_rather_than_none() -> None:
    from cryptography.hazmat.primitives.asymmetric import rsa

    weak = CA.issue(HOST, key=rsa.generate_private_key(65537, 1024))
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.set_ciphers("DEFAULT:@SECLEVEL=0")
    server.load_cert_chain(*_on_disk(weak))
    with serving(server) as address, connect(address, client_context(verify=False)) as client:
        assert client.recv(100) == b"220 hello\r\n"


def _on_disk(pem: tuple[bytes, bytes]) -> tuple[str, str]:
    names = []
    for part in pem:
        descriptor = os.memfd_create("pem")
        os.write(descriptor, part)
        names.append(f"/proc/self/fd/{descriptor}")
    return names[0], names[1]


def test_verification(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ours, strangers = CA.write_root(tmp_path / "ca.pem"), CertificateAuthority("X").write_root(tmp_path / "x.pem")
    monkeypatch.delenv("SSL_CERT_DIR", raising=False)
    with serving(server_context(*ISSUED)) as address:
        with connect(address, client_context(verify=True, ca_file=str(ours)), HOST) as client:
            assert client.recv(100) == b"220 hello\r\n"
        with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
            connect(address, client_context(verify=True, ca_file=str(ours)), "other.example")
        with pytest.raises(ssl.SSLCertVerificationError, match="unable to get"):
            connect(address, client_context(verify=True, ca_file=str(strangers)), HOST)
        monkeypatch.setenv("SSL_CERT_FILE", str(strangers))
        with pytest.raises(ssl.SSLCertVerificationError):
            connect(address, client_context(verify=True), HOST)
        monkeypatch.setenv("SSL_CERT_FILE", str(ours))
        with connect(address, client_context(verify=True), HOST) as client:
            assert client.recv(100) == b"220 hello\r\n"


def test_client_contexts_are_shared(tmp_path: Path) -> None:
    ca_file = str(CA.write_root(tmp_path / "ca.pem"))
    assert client_context(verify=False) is client_context(verify=False)
    assert client_context(verify=True, ca_file=ca_file) is client_context(verify=True, ca_file=ca_file)


@pytest.mark.parametrize(("content", "words"), [(None, "No such file"), (b"nonsense", "no certificates in PEM")])
def test_trust_file_that_cannot_be_used(tmp_path: Path, content: bytes | None, words: str) -> None:
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(TrustUnusable, match=words) as caught:
        client_context(verify=True, ca_file=str(path))
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("broken", [(b"", b""), (ISSUED.chain_pem, b""), (b"", ISSUED.key_pem), (b"x", b"x")])
def test_server_context_never_comes_without_a_certificate(broken: tuple[bytes, bytes]) -> None:
    with pytest.raises(ssl.SSLError):
        server_context(*broken)


def test_server_context_after_privileges_were_dropped() -> None:
    """The process is no longer dumpable then, and /proc/self belongs to root."""
    pid = os.fork()
    if pid == 0:
        if os.geteuid() == 0:
            os.setresgid(65534, 65534, 65534)
            os.setresuid(65534, 65534, 65534)
        try:
            server_context(*ISSUED)
        except BaseException:
            os._exit(1)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


class _Transport:
    def __init__(self, connection: ssl.SSLSocket | None) -> None:
        self._connection = connection

    def get_extra_info(self, name: str) -> ssl.SSLSocket | None:
        return self._connection if name == "ssl_object" else None


def test_tls_facts() -> None:
    assert tls_facts(_Transport(None)) is None  # type: ignore[arg-type]  # a transport's only method that is used
    with serving(server_context(*ISSUED)) as address, connect(address, client_context(verify=False)) as client:
        assert tls_facts(_Transport(client)) == TlsFacts("TLSv1.3", "TLS_AES_256_GCM_SHA384")  # type: ignore[arg-type]  # the same
