"""Certificates and keys: those of certbot, renewed under a running server, with its moment of a chain without its key.

certbot's `live/NAME` holds links into `archive/NAME`, and turns them one after the other; deploy hooks run later still.
"""

import contextlib
import shutil
import smtplib
import socket
import ssl
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.ca import CertificateAuthority, Issued
from tests.live import HOST, LiveServer, message, service_user, trust_all
from tests.sink import CatchingSink

NAME: Final = "mail.example.org"
ALICE, SECRET, BOB = "alice@example.org", "correct horse", "bob@example.net"
DEADLINE: Final = 20.0
CA = CertificateAuthority().intermediate()


class Certbot:
    """The folders that certbot keeps, and what a renewal does to them."""

    def __init__(self, folder: Path) -> None:
        self._live, self._archive = folder / "live" / NAME, folder / "archive" / NAME
        for each in (folder, self._live.parent, self._archive.parent, self._live, self._archive):
            each.mkdir(mode=0o755, parents=True, exist_ok=True)
        self._count = 0
        self.write()
        self.turn("fullchain")
        self.turn("privkey")

    @property
    def settings(self) -> dict[str, str]:
        chain, key = self._live / "fullchain.pem", self._live / "privkey.pem"
        return {"certificate": "files", "cert_file": str(chain), "key_file": str(key)}

    def write(self, broken: bytes = b"") -> Issued:
        """Put the next pair into the archive, its chain broken on request."""
        self._count += 1
        issued = CA.issue(NAME)
        for kind, content in (("fullchain", broken or issued.chain_pem), ("privkey", issued.key_pem)):
            path = self._archive / f"{kind}{self._count}.pem"
            path.touch(0o600)
            path.write_bytes(content)
            shutil.chown(path, user=service_user())
        return issued

    def turn(self, kind: str) -> None:
        """Have one link lead to the newest file."""
        fresh = self._live / f"{kind}.new"
        fresh.symlink_to(Path("..", "..", "archive", NAME, f"{kind}{self._count}.pem"))
        fresh.replace(self._live / f"{kind}.pem")


@pytest.fixture
def certbot() -> Iterator[Certbot]:
    folder = Path(tempfile.mkdtemp(dir="/tmp"))
    folder.chmod(0o755)
    yield Certbot(folder)
    shutil.rmtree(folder)


def presented(server: LiveServer) -> bytes:
    """Return the certificate, in PEM, that `submissions` shows."""
    return ssl.get_server_certificate((HOST, server.submissions), timeout=DEADLINE).encode()


def log_in(server: LiveServer) -> smtplib.SMTP:
    client = smtplib.SMTP(HOST, server.submission, timeout=DEADLINE)
    client.starttls(context=trust_all())
    client.login(ALICE, SECRET)
    return client


def test_c115_chain_first_key_later_under_load(certbot: Certbot) -> None:
    with CatchingSink() as sink:
        settings = {"tls": certbot.settings, "smtp": {"relayhost": sink.relayhost}, "workers": 2}
        with LiveServer(settings) as server, sending(server) as counted:
            first = presented(server)
            session = log_in(server)
            renewed = certbot.write()
            certbot.turn("fullchain")
            server.wait_for_log(r"certificate not renewed, the one in use stays .*does not belong")
            assert {presented(server) for _ in range(8)} == {first}
            certbot.turn("privkey")
            wait_until_only(server, renewed)
            session.sendmail(ALICE, [BOB], message("the session goes on").as_bytes())
            session.quit()
        sink.wait_for(len(counted) + 1)


def test_c115_a_broken_new_file_keeps_the_old_one(certbot: Certbot) -> None:
    with LiveServer({"tls": certbot.settings}) as server:
        first = presented(server)
        certbot.write(broken=b"-----BEGIN CERTIFICATE-----\nhalf a f")
        certbot.turn("fullchain")
        certbot.turn("privkey")
        server.wait_for_log(r"certificate not renewed, the one in use stays .*fullchain\.pem")
        assert presented(server) == first
        repaired = certbot.write()
        certbot.turn("fullchain")
        certbot.turn("privkey")
        wait_until_only(server, repaired)


def wait_until_only(server: LiveServer, issued: Issued) -> None:
    """Wait until eight connections in a row are shown the new certificate: no worker is left behind."""
    end, in_a_row = time.monotonic() + DEADLINE, 0
    while in_a_row < 8:
        assert time.monotonic() < end, f"the new certificate is not shown after {DEADLINE} s"
        in_a_row = in_a_row + 1 if issued.chain_pem.startswith(presented(server)) else 0


@contextlib.contextmanager
def sending(server: LiveServer) -> Iterator[list[int]]:
    """Submit mail all the while, each in a session of its own; none may fail."""
    server.add_user(ALICE, SECRET)
    done, sent, failures = threading.Event(), list[int](), list[str]()

    def send() -> None:
        while not done.wait(0.05):
            try:
                server.submit(ALICE, SECRET, BOB, message("on the way"))
                sent.append(1)
            except (OSError, smtplib.SMTPException) as error:
                failures.append(repr(error))

    sender = threading.Thread(target=send)
    sender.start()
    try:
        yield sent
    finally:
        done.set()
        sender.join(DEADLINE)
    assert failures == []
    assert sent


@pytest.fixture(scope="module")
def server() -> Iterator[LiveServer]:
    with LiveServer({}) as server:
        yield server


@pytest.mark.parametrize("name", [None, "other.example", "mail.local.example", "MAIL.EXAMPLE.ORG", "192.0.2.1"])
def test_c055_any_name_completes_the_handshake_on_each_port(server: LiveServer, name: str | None) -> None:
    for port in (server.smtpd, server.submission):
        client = smtplib.SMTP(HOST, port, timeout=DEADLINE)
        client.ehlo()
        assert client.docmd("STARTTLS")[0] == 220
        assert client.sock
        assert completes(client.sock, name)
    assert completes(socket.create_connection((HOST, server.submissions), DEADLINE), name)


def completes(raw: socket.socket, name: str | None) -> bool:
    with raw, trust_all().wrap_socket(raw, server_hostname=name) as secured:
        return bool(secured.getpeercert(binary_form=True))
