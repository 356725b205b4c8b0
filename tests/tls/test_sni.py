"""Several certificates: which one a client gets, and what stays when one of them changes (RFC 6066, 9525)."""

import os
import socket
import ssl
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import structlog

from tests.ca import CertificateAuthority
from tests.tls.test_acme_files import pair_of
from valija.tls.acme_files import AcmeFiles
from valija.tls.certificates import CertificateFaults
from valija.tls.options import CertificateOptions, TlsOptions
from valija.tls.pair import CertificatePair, certificate_summary
from valija.tls.sni import Certificates

CA = CertificateAuthority()
HOST = "mail.example.org"
LOG = structlog.wrap_logger(None, processors=[lambda *_: (_ for _ in ()).throw(structlog.DropEvent)])


def certificates(folder: Path, *others: CertificateOptions, main: str = "self-signed") -> Certificates:
    options = TlsOptions(certificate=main, certificates=others)  # type: ignore[arg-type]  # one of the sources
    made = Certificates(options, HOST, folder, LOG, time.time)
    made.load()
    return made


def from_files(folder: Path, *names: str, file: str = "") -> CertificateOptions:
    chain, key = CA.issue(*names).write(folder, file or names[0].replace("*", "_"))
    return CertificateOptions("files", names, str(chain), str(key))


def shown(context: ssl.SSLContext, name: str | None) -> list[str]:
    """Return the names in the certificate that a client gets which asks for `name`."""
    ours, theirs = socket.socketpair()
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname, client.verify_mode = False, ssl.CERT_NONE
    with ThreadPoolExecutor() as pool, ours, theirs:
        server = pool.submit(context.wrap_socket, ours, server_side=True)
        with client.wrap_socket(theirs, server_hostname=name) as connection:
            server.result().close()
            pem = ssl.DER_cert_to_PEM_cert(connection.getpeercert(True) or b"").encode()
    return list(certificate_summary(CertificatePair(pem, b"")).names)


@pytest.fixture
def three(tmp_path: Path) -> Certificates:
    """A default certificate, one for two names, and one with a wildcard that the second overlaps."""
    return certificates(
        tmp_path,
        from_files(tmp_path, "mail.example.net", "smtp.example.net"),
        from_files(tmp_path, "*.example.net", "Example.NET"),
    )


@pytest.mark.parametrize(
    ("name", "names"),
    [
        (HOST, [HOST]),
        ("mail.example.net", ["mail.example.net", "smtp.example.net"]),
        ("SMTP.Example.Net", ["mail.example.net", "smtp.example.net"]),
        ("other.example.net", ["*.example.net", "Example.NET"]),
        ("example.net", ["*.example.net", "Example.NET"]),
        ("deep.other.example.net", [HOST]),
    ],
)
def test_each_name_gets_its_certificate(three: Certificates, name: str, names: list[str]) -> None:
    assert shown(three.context, name) == names


@pytest.mark.parametrize("name", [None, "other.example", "localhost", "127.0.0.1", "::1", "xn--mnchen-3ya.example"])
def test_c055_all_else_gets_the_default_one(three: Certificates, name: str | None) -> None:
    assert shown(three.context, name) == [HOST]


@pytest.mark.parametrize(
    "name", ["mail.example.net.", "", ".", "*.example.net", "..", "a" * 300, "\x00", "mäil.example"]
)
def test_c055_odd_names_end_no_handshake(three: Certificates, name: str) -> None:
    """Python's client does not send these; what OpenSSL passes on is asked for by the callback itself."""

    class Connection:
        context = three.context

    connection = Connection()
    three._choose(connection, name, three.context)  # type: ignore[arg-type]  # all that it uses of a connection
    assert isinstance(connection.context, ssl.SSLContext)
    assert (connection.context is three.context) == (name not in ("mail.example.net.", "*.example.net"))


def test_one_certificate_costs_no_callback(tmp_path: Path) -> None:
    assert certificates(tmp_path).context.sni_callback is None
    assert certificates(tmp_path, from_files(tmp_path, "mail.example.net")).context.sni_callback is not None


def test_the_default_one_wins_a_name_that_two_have(tmp_path: Path) -> None:
    both = certificates(tmp_path, from_files(tmp_path, HOST, "mail.example.net"))
    assert shown(both.context, HOST) == [HOST]
    assert shown(both.context, "mail.example.net") == [HOST, "mail.example.net"]


def test_a_name_that_is_written_comes_before_one_that_merely_stands_in_a_certificate(tmp_path: Path) -> None:
    wide, key = CA.issue(HOST, "mail.example.net").write(tmp_path, "wide")
    options = TlsOptions(
        certificate="files",
        cert_file=str(wide),
        key_file=str(key),
        certificates=(from_files(tmp_path, "mail.example.net"),),
    )
    both = Certificates(options, HOST, tmp_path, LOG, time.time)
    both.load()
    assert shown(both.context, "mail.example.net") == ["mail.example.net"]
    assert shown(both.context, HOST) == [HOST, "mail.example.net"]


def _renew(folder: Path, *names: str) -> None:
    from_files(folder, *names)
    for path in folder.glob(f"{names[0]}.*"):
        os.utime(path, (time.time() - 60,) * 2)


def test_c115_any_of_them_is_renewed(three: Certificates, tmp_path: Path) -> None:
    before = three.fingerprints()
    assert three.refresh() is False
    _renew(tmp_path, "mail.example.net", "smtp.example.net", "new.example.com")
    assert three.refresh() is True
    after = three.fingerprints()
    assert [old == new for old, new in zip(before, after, strict=True)] == [True, False, True]
    assert "new.example.com" in shown(three.context, "new.example.com")


def test_c115_a_broken_one_keeps_the_old_and_its_neighbours(three: Certificates, tmp_path: Path) -> None:
    before = three.fingerprints()
    (tmp_path / "mail.example.net.key").write_bytes(b"nonsense")
    assert three.refresh() is False
    assert three.fingerprints() == before
    assert shown(three.context, "mail.example.net")[0] == "mail.example.net"


def test_c114_a_pair_that_cannot_be_used_names_its_table(tmp_path: Path) -> None:
    broken = from_files(tmp_path, "mail.example.net")
    Path(broken.key_file).write_bytes(CA.issue(HOST).key_pem)
    with pytest.raises(CertificateFaults, match=r"\[\[tls.certificates\]\] #1 key_file = "):
        certificates(tmp_path, broken)


def test_self_signed_ones_do_not_share_a_file(tmp_path: Path) -> None:
    other = CertificateOptions("self-signed", ("mail.example.net", "smtp.example.net"))
    both = certificates(tmp_path, other)
    assert shown(both.context, "smtp.example.net") == ["mail.example.net", "smtp.example.net"]
    assert shown(both.context, None) == [HOST]
    assert certificates(tmp_path, other).fingerprints() == both.fingerprints()


# From an authority


@pytest.fixture
def issue(tmp_path: Path) -> Callable[..., AcmeFiles]:
    def put(*names: str, **how: tuple[float, float]) -> AcmeFiles:
        files = AcmeFiles.of(tmp_path, TlsOptions().acme_directory, names[0])
        files.stage(pair_of(CA.issue(*names, **how)))  # type: ignore[arg-type]  # the days alone
        files.promote()
        return files

    return put


def is_self_signed(certificates: Certificates) -> bool:
    return certificate_summary(certificates.pairs[0]).self_signed


def test_a_self_signed_one_stands_in_until_the_first_is_issued(tmp_path: Path, issue: Callable[..., AcmeFiles]) -> None:
    running = certificates(tmp_path, main="acme")
    assert is_self_signed(running)
    assert running.refresh() is False
    issue(HOST)
    assert running.refresh() is True
    assert not is_self_signed(running)
    assert not is_self_signed(certificates(tmp_path, main="acme"))


def test_what_is_not_there_any_more_serves_on(tmp_path: Path, issue: Callable[..., AcmeFiles]) -> None:
    files = issue(HOST)
    running = certificates(tmp_path, main="acme")
    files.current.unlink()
    assert running.refresh() is False
    assert not is_self_signed(running)


def test_the_first_one_is_taken_back(tmp_path: Path, issue: Callable[..., AcmeFiles]) -> None:
    files = issue(HOST)
    running = certificates(tmp_path, main="acme")
    files.roll_back()
    assert running.refresh() is True
    assert is_self_signed(running)


@pytest.mark.parametrize("damage", [b"", b"nonsense", CA.issue(HOST).key_pem, CA.issue(HOST).chain_pem])
def test_a_damaged_one_does_not_stop_the_start(tmp_path: Path, issue: Callable[..., AcmeFiles], damage: bytes) -> None:
    files = issue(HOST)
    running = certificates(tmp_path, main="acme")
    files.current.write_bytes(damage)
    assert running.refresh() is False
    assert not is_self_signed(running), "and not the running server"
    assert is_self_signed(certificates(tmp_path, main="acme"))


def test_an_expired_one_is_still_the_better_one(tmp_path: Path, issue: Callable[..., AcmeFiles]) -> None:
    issue(HOST, days=(-90, -1))
    running = certificates(tmp_path, main="acme")
    assert not is_self_signed(running)
    issue(HOST)
    assert running.refresh() is True
