"""What each port of the running server agrees to in a handshake, and what it refuses whoever asks for it."""

import re
import shutil
import smtplib
import socket
import ssl
import subprocess
from collections.abc import Iterator

import pytest

from tests.live import HOST, LiveServer
from tests.ports import free_port
from tests.tally import Tally

ROLES = ("smtpd", "submission", "submissions", "https")
# By the names of openssl-ciphers(1): without a certificate, without encryption, broken, and without forward secrecy.
WEAK = (
    "aNULL",
    "eNULL",
    "EXPORT",
    "LOW",
    "RC4",
    "3DES",
    "MD5",
    "PSK",
    "SRP",
    "kRSA",
    "DHE",
    "ADH",
    "SEED",
    "IDEA",
    "CAMELLIA",
)
SERVED = ("ECDHE+AESGCM", "ECDHE+CHACHA20", "ECDHE+AES")

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


class Ports:
    """The server's ports, each spoken to in its own way."""

    def __init__(self, server: LiveServer, https: int) -> None:
        self.by_role = {
            "smtpd": server.smtpd,
            "submission": server.submission,
            "submissions": server.submissions,
            "https": https,
        }

    def handshake(self, role: str, context: ssl.SSLContext, session: ssl.SSLSession | None = None) -> ssl.SSLSocket:
        """Return the connection inside TLS. Raises OSError, ssl.SSLError."""
        port = self.by_role[role]
        if role in ("submissions", "https"):
            return context.wrap_socket(socket.create_connection((HOST, port), 10), session=session)
        client = smtplib.SMTP(HOST, port, timeout=10)
        client.ehlo()
        assert client.docmd("STARTTLS")[0] == 220
        plain, client.sock = client.sock, None
        assert plain
        return context.wrap_socket(plain, session=session)


@pytest.fixture(scope="module")
def ports() -> Iterator[Ports]:
    https = free_port()
    settings = {"https": {"listen": [f"{HOST}:{https}"]}, "autoconfig": {"imap_host": "imap.example.org"}}
    with LiveServer({**settings, "mynetworks": ["127.0.0.1/32"]}) as server:
        server.wait_for_log("HTTPS is served")
        yield Ports(server, https)


def asking(
    ciphers: str = "ALL", least: ssl.TLSVersion = ssl.TLSVersion.TLSv1_2, most: ssl.TLSVersion = ssl.TLSVersion.TLSv1_2
) -> ssl.SSLContext:
    """Return a client that would take anything."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.minimum_version, context.maximum_version = least, most
    context.options &= ~ssl.OP_NO_COMPRESSION
    context.set_ciphers(f"{ciphers}:@SECLEVEL=0")
    return context


@pytest.mark.parametrize("role", ROLES)
def test_nothing_below_tls_1_2(ports: Ports, role: str) -> None:
    old = asking(least=ssl.TLSVersion.TLSv1, most=ssl.TLSVersion.TLSv1_1)
    with pytest.raises((ssl.SSLError, ConnectionError)):
        ports.handshake(role, old)
    ports.handshake(role, asking()).close()


@pytest.mark.parametrize("role", ROLES)
def test_no_weak_cipher_and_no_compression(ports: Ports, role: str, tally: Tally) -> None:
    refused = 0
    for weak in WEAK:
        try:
            context = asking(weak)
        except ssl.SSLError:
            continue  # this machine's OpenSSL has forgotten it itself
        with pytest.raises((ssl.SSLError, ConnectionError)):
            ports.handshake(role, context)
        refused += 1
    assert refused >= 5
    for good in SERVED:
        with ports.handshake(role, asking(good)) as inside:
            agreed = inside.cipher()
            assert agreed
            assert agreed[0].startswith("ECDHE-")
            assert inside.compression() is None
    tally("files", weak_ciphers_refused=refused)


@pytest.mark.parametrize("role", ROLES)
def test_a_session_goes_on_by_its_ticket_in_either_version(ports: Ports, role: str) -> None:
    context = asking(most=ssl.TLSVersion.TLSv1_2)
    with ports.handshake(role, context) as first:
        session = first.session
    assert session
    assert session.has_ticket
    assert session.ticket_lifetime_hint <= 7200
    with ports.handshake(role, context, session) as second:
        assert second.session_reused
    with ports.handshake(role, asking(most=ssl.TLSVersion.TLSv1_3)) as newest:
        assert newest.version() == "TLSv1.3"


@pytest.mark.skipif(not shutil.which("openssl"), reason="openssl is not installed")
@pytest.mark.parametrize("role", ROLES)
def test_no_client_renegotiates_or_sends_early_data(ports: Ports, role: str) -> None:
    starttls = ["-starttls", "smtp"] if role in ("smtpd", "submission") else []
    command = ["openssl", "s_client", "-connect", f"{HOST}:{ports.by_role[role]}", *starttls]
    asked = subprocess.run([*command, "-tls1_2"], input="R\n", capture_output=True, text=True, timeout=20, check=False)
    assert "RENEGOTIATING" in asked.stderr
    assert "no renegotiation" in asked.stderr
    newest = subprocess.run([*command, "-tls1_3"], input="", capture_output=True, text=True, timeout=20, check=False)
    assert "Early data was not sent" in newest.stdout
    assert not re.search(r"Max Early Data: [1-9]", newest.stdout)
