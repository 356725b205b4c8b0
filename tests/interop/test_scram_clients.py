"""SCRAM by clients of other hands: msmtp (libgsasl) without, scramp with channel binding, by SNI too."""

import base64
import hashlib
import shutil
import smtplib
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from scramp import ScramClient, ScramException  # type: ignore[import-untyped]  # it has no types

from tests.live import HOST, LiveServer, trust_all

pytestmark = pytest.mark.interop

DEADLINE: Final = 20.0
ALICE: Final = "alice@example.org"
PASSWORD: Final = "s3cret, with = and t\u00e9st"
NAMES: Final = ("mail.example.org", "smtp.example.net")


@pytest.fixture(scope="module")
def server() -> Iterator[LiveServer]:
    with LiveServer({"domains": ["example.org"], "workers": 2}) as server:
        server.add_user(ALICE, PASSWORD)
        yield server


def secured(server: LiveServer) -> smtplib.SMTP:
    client = smtplib.SMTP(HOST, server.submission, timeout=DEADLINE)
    client.starttls(context=trust_all())
    client.ehlo()
    return client


def offered(client: smtplib.SMTP) -> list[str]:
    return str(client.esmtp_features["auth"]).split()


def log_in(client: smtplib.SMTP, password: str, binding: bytes = b"", login: str = ALICE) -> int:
    """Log in by SCRAM; return the code of the last reply. Raises ScramException where the server proves nothing."""
    mechanism = "SCRAM-SHA-256-PLUS" if binding else "SCRAM-SHA-256"
    bound = ("tls-server-end-point", binding) if binding else None
    scram = ScramClient([mechanism], login, password, channel_binding=bound)
    code, said = client.docmd("AUTH", f"{mechanism} {_base64(scram.get_client_first())}")
    if code != 334:
        return code
    scram.set_server_first(base64.b64decode(said).decode())
    code, said = client.docmd(_base64(scram.get_client_final()))
    if code != 334:
        return code
    scram.set_server_final(base64.b64decode(said).decode())
    return client.docmd("")[0]


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def end_point(client: smtplib.SMTP) -> bytes:
    assert isinstance(client.sock, ssl.SSLSocket)
    return hashlib.sha256(client.sock.getpeercert(binary_form=True) or b"").digest()


def test_offered_inside_tls_only(server: LiveServer) -> None:
    with smtplib.SMTP(HOST, server.submission, timeout=DEADLINE) as client:
        client.ehlo()
        assert "auth" not in client.esmtp_features
        assert client.docmd("AUTH SCRAM-SHA-256", _base64(f"n,,n={ALICE},r=x"))[0] == 538
    with secured(server) as client:
        assert offered(client) == ["PLAIN", "LOGIN", "SCRAM-SHA-256-PLUS", "SCRAM-SHA-256"]


@pytest.mark.parametrize("at_once", [False, True], ids=["587", "465"])
def test_with_channel_binding(server: LiveServer, at_once: bool) -> None:
    if at_once:
        client: smtplib.SMTP = smtplib.SMTP_SSL(HOST, server.submissions, timeout=DEADLINE, context=trust_all())
        client.ehlo()
    else:
        client = secured(server)
    with client:
        assert log_in(client, PASSWORD, end_point(client)) == 235
        assert client.mail(ALICE)[0] == 250


def test_wrong_passwords_wrong_users_wrong_bindings(server: LiveServer) -> None:
    with secured(server) as client:
        assert log_in(client, "wrong") == 535
        assert log_in(client, PASSWORD, login="nobody@example.org") == 535
        assert log_in(client, PASSWORD, b"of another certificate") == 535
        assert client.docmd("AUTH SCRAM-SHA-256", _base64(f"y,,n={ALICE},r=x"))[0] == 535
        assert client.docmd("AUTH SCRAM-SHA-256", _base64("nonsense"))[0] == 501
        assert log_in(client, PASSWORD) == 235


def test_c040_cancelled_at_each_step(server: LiveServer) -> None:
    with secured(server) as client:
        for said in ([], [_base64(f"n,,n={ALICE},r=x")]):
            assert client.docmd("AUTH SCRAM-SHA-256")[0] == 334
            for line in said:
                assert client.docmd(line)[0] == 334
            assert client.docmd("*")[0] == 501
        assert log_in(client, PASSWORD) == 235


def test_server_that_does_not_know_the_password_is_found_out(server: LiveServer) -> None:
    """What the 334 before the 235 is for: the client verifies the server."""
    scram = ScramClient(["SCRAM-SHA-256"], ALICE, PASSWORD)
    with secured(server) as client:
        _, said = client.docmd("AUTH", f"SCRAM-SHA-256 {_base64(scram.get_client_first())}")
        scram.set_server_first(base64.b64decode(said).decode())
        _, said = client.docmd(_base64(scram.get_client_final()))
        forged = base64.b64decode(said).replace(b"v=", b"v=AAAA")
        with pytest.raises(ScramException):
            scram.set_server_final(forged[:-4].decode())
        assert client.docmd("*")[0] == 501


def test_certificate_of_each_name_is_what_a_login_is_bound_to() -> None:
    with LiveServer({}) as server:
        server.stop()
        text = server.configuration.read_text() + f'\n[[tls.certificates]]\nnames = ["{NAMES[1]}"]\n'
        server.configuration.write_text(text)
        server.start()
        server.add_user(ALICE, PASSWORD)
        seen = set()
        for name in NAMES:
            with smtplib.SMTP(HOST, server.submission, timeout=DEADLINE) as client:
                client._host = name  # type: ignore[attr-defined]  # what smtplib sends as SNI
                client.starttls(context=trust_all())
                client.ehlo()
                seen.add(end_point(client))
                assert log_in(client, PASSWORD, end_point(client)) == 235
        assert len(seen) == 2


def test_without_channel_binding_by_configuration() -> None:
    with LiveServer({"sasl": {"scram_channel_binding": False}}) as server:
        server.add_user(ALICE, PASSWORD)
        with secured(server) as client:
            assert offered(client) == ["PLAIN", "LOGIN", "SCRAM-SHA-256"]
            assert log_in(client, PASSWORD, end_point(client)) == 504
            assert log_in(client, PASSWORD) == 235


@pytest.mark.parametrize("password", [PASSWORD, "wrong"])
def test_msmtp(server: LiveServer, password: str, tmp_path: Path) -> None:
    if not shutil.which("msmtp"):
        pytest.skip("msmtp is not installed")
    secret = tmp_path / "password"
    secret.write_text(password)
    command = ["msmtp", f"--host={HOST}", f"--port={server.submission}", "--tls=on", "--tls-certcheck=off", "--debug"]
    command += ["--auth=scram-sha-256", f"--user={ALICE}", f"--passwordeval=cat {secret}", f"--from={ALICE}", ALICE]
    done = subprocess.run(command, input=b"Subject: x\n\nx\n", capture_output=True, timeout=DEADLINE, check=False)
    assert done.returncode == (0 if password == PASSWORD else 77), done.stdout + done.stderr
    assert b"--> AUTH SCRAM-SHA-256" in done.stdout
