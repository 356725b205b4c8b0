"""Ordinary clients submit on 587 (STARTTLS) and 465 (TLS at once), verify the certificate, log in; the mail arrives."""

import shutil
import smtplib
import ssl
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

import pytest

from tests.ca import CertificateAuthority
from tests.live import HOST, LiveServer, message
from tests.sink import CatchingSink

pytestmark = pytest.mark.interop

USER: Final = "alice@example.org"
PASSWORD: Final = "correct horse $battery 'staple'"
RECIPIENT: Final = "bob@example.net"
NAME: Final = "mail.example.org"


class Place(NamedTuple):
    """Where to submit, and what to trust there."""

    port: int
    tls_at_once: bool
    root: Path


class Setting(NamedTuple):
    server: LiveServer
    sink: CatchingSink
    root: Path


@pytest.fixture(scope="module")
def setting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Setting]:
    folder = tmp_path_factory.mktemp("certificates")
    authority = CertificateAuthority()
    root = authority.write_root(folder / "root.pem")
    chain, key = authority.issue(NAME, HOST).write(folder, "server")
    files = {"certificate": "files", "cert_file": str(chain), "key_file": str(key)}
    with (
        CatchingSink(authority.issue("sink.example").write(folder, "sink")) as sink,
        LiveServer({"tls": files, "smtp": {"relayhost": sink.relayhost}}) as server,
    ):
        server.add_user(USER, PASSWORD)
        yield Setting(server, sink, root)


def _run(*command: str, text: bytes = b"") -> None:
    if not shutil.which(command[0]):
        pytest.skip(f"{command[0]} is not installed")
    done = subprocess.run(command, input=text, capture_output=True, timeout=30, check=False)
    assert done.returncode == 0, done.stdout.decode() + done.stderr.decode()


def _curl(place: Place, content: bytes) -> None:
    scheme = "smtps" if place.tls_at_once else "smtp"
    where = ["--url", f"{scheme}://{NAME}:{place.port}", "--resolve", f"{NAME}:{place.port}:{HOST}"]
    tls = ["--ssl-reqd", "--cacert", str(place.root)]
    mail = ["--mail-from", USER, "--mail-rcpt", RECIPIENT, "--upload-file", "-"]
    _run("curl", "--silent", "--show-error", *where, *tls, "--user", f"{USER}:{PASSWORD}", *mail, text=content)


def _swaks(place: Place, content: bytes) -> None:
    tls = ["--tls-on-connect" if place.tls_at_once else "--tls", "--tls-verify"]
    trust = ["--tls-ca-path", str(place.root)]
    login = ["--auth", "PLAIN", "--auth-user", USER, "--auth-password", PASSWORD]
    mail = ["--from", USER, "--to", RECIPIENT, "--data", "-"]
    _run("swaks", "--server", HOST, "--port", str(place.port), *tls, *trust, *login, *mail, text=content)


def _msmtp(place: Place, content: bytes) -> None:
    starttls = "off" if place.tls_at_once else "on"
    tls = ["--tls=on", f"--tls-starttls={starttls}", f"--tls-trust-file={place.root}"]
    quoted = PASSWORD.replace("'", "'\\''")
    login = ["--auth=login", f"--user={USER}", f"--passwordeval=printf %s '{quoted}'"]
    _run(
        "msmtp", f"--host={HOST}", f"--port={place.port}", *tls, *login, f"--from={USER}", RECIPIENT, text=content
    )  # fmt: skip


def _smtplib(place: Place, content: bytes) -> None:
    context = ssl.create_default_context(cafile=place.root)
    if place.tls_at_once:
        client: smtplib.SMTP = smtplib.SMTP_SSL(HOST, place.port, timeout=30, context=context)
    else:
        client = smtplib.SMTP(HOST, place.port, timeout=30)
        client.starttls(context=context)
    with client:
        client.login(USER, PASSWORD)
        client.sendmail(USER, [RECIPIENT], content)


@pytest.mark.parametrize("listener", ["submission", "submissions"])
@pytest.mark.parametrize("send", [_curl, _swaks, _msmtp, _smtplib], ids=lambda send: send.__name__[1:])
def test_submits(setting: Setting, send: Callable[[Place, bytes], None], listener: str) -> None:
    server, sink, root = setting
    before = len(sink.caught)
    place = Place(getattr(server, listener), listener == "submissions", root)
    subject = f"{send.__name__} on {listener}"
    send(place, message(subject, USER, RECIPIENT).as_bytes())
    caught = sink.wait_for(before + 1)[before]
    assert (caught.reverse_path, caught.recipients) == (USER, (RECIPIENT,))
    assert caught.field("Subject") == subject
    assert caught.content.rstrip().endswith(b"\r\n\r\nHello.")
    assert "with ESMTPSA" in caught.field("Received")
    assert caught.tls == "TLSv1.3"
