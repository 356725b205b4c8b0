"""Tokens and client certificates by curl and msmtp, the issuer being a real HTTP server."""

import base64
import shutil
import smtplib
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.ca import CertificateAuthority
from tests.issuer import AUDIENCE, CLIENT, Issuer
from tests.live import HOST, LiveServer, service_user, trust_all

pytestmark = pytest.mark.interop

DEADLINE: Final = 20.0
ALICE: Final = "alice@example.org"
MESSAGE: Final = b"From: alice@example.org\r\nSubject: x\r\n\r\nx\r\n"


@pytest.fixture(scope="module")
def issuer() -> Iterator[Issuer]:
    with Issuer() as issuer:
        yield issuer


@pytest.fixture(scope="module")
def server(issuer: Issuer) -> Iterator[LiveServer]:
    sasl = {"oauth_issuer": issuer.url, "oauth_audience": AUDIENCE, "oauth_jwks_url": issuer.jwks_url}
    with LiveServer({"sasl": sasl}) as server:
        server.add_user(ALICE, "x")
        yield server


def sends(*command: str) -> subprocess.CompletedProcess[bytes]:
    if not shutil.which(command[0]):
        pytest.skip(f"{command[0]} is not installed")
    return subprocess.run(command, input=MESSAGE, capture_output=True, timeout=DEADLINE, check=False)


def curl(server: LiveServer, *login: str, at_once: bool = False) -> subprocess.CompletedProcess[bytes]:
    scheme, port = ("smtps", server.submissions) if at_once else ("smtp", server.submission)
    where = ["--silent", "--show-error", "--verbose", "--insecure", "--ssl-reqd", "--url", f"{scheme}://{HOST}:{port}"]
    return sends("curl", *where, *login, "--mail-from", ALICE, "--mail-rcpt", ALICE, "--upload-file", "-")


def msmtp(server: LiveServer, *login: str) -> subprocess.CompletedProcess[bytes]:
    where = [f"--host={HOST}", f"--port={server.submission}", "--tls=on", "--tls-certcheck=off", "--debug"]
    return sends("msmtp", *where, *login, f"--from={ALICE}", ALICE)


def offered(server: LiveServer, context: ssl.SSLContext) -> tuple[smtplib.SMTP, list[str]]:
    client = smtplib.SMTP(HOST, server.submission, timeout=DEADLINE)
    client.starttls(context=context)
    client.ehlo()
    return client, str(client.esmtp_features["auth"]).split()


# Tokens


@pytest.mark.parametrize("at_once", [False, True], ids=["587", "465"])
def test_curl(server: LiveServer, issuer: Issuer, at_once: bool) -> None:
    login = ["--user", ALICE, "--oauth2-bearer"]  # with one it takes OAUTHBEARER, whatever else is offered
    done = curl(server, *login, issuer.token(), at_once=at_once)
    assert done.returncode == 0, done.stderr
    assert b"> AUTH OAUTHBEARER" in done.stderr
    done = curl(server, *login, issuer.token(aud="other"), at_once=at_once)
    assert done.returncode == 67, done.stderr  # login denied


@pytest.mark.parametrize("method", ["oauthbearer", "xoauth2"])
def test_msmtp(server: LiveServer, issuer: Issuer, method: str, tmp_path: Path) -> None:
    for token, status in ((issuer.token(), 0), (issuer.token(exp=1), 77)):
        secret = tmp_path / "token"
        secret.write_text(token)
        done = msmtp(server, f"--auth={method}", f"--user={ALICE}", f"--passwordeval=cat {secret}")
        assert done.returncode == status, done.stdout + done.stderr
        assert f"--> AUTH {method.upper()}".encode() in done.stdout


def test_refusal_is_a_challenge_and_the_session_goes_on(server: LiveServer, issuer: Issuer) -> None:
    client, mechanisms = offered(server, trust_all())
    with client:
        assert mechanisms[-2:] == ["OAUTHBEARER", "XOAUTH2"]
        bad = base64.b64encode(f"n,a={ALICE},\x01auth=Bearer {issuer.token(aud='x')}\x01\x01".encode()).decode()
        code, said = client.docmd("AUTH OAUTHBEARER", bad)
        assert code == 334
        assert base64.b64decode(said).startswith(b'{"status":"invalid_token"')
        assert client.docmd("AQ==")[0] == 535
        server.wait_for_log(r"token refused.*somebody else")
        assert client.docmd("AUTH OAUTHBEARER", base64.b64encode(b"nonsense").decode())[0] == 501
        good = base64.b64encode(f"n,,\x01auth=Bearer {issuer.token()}\x01\x01".encode()).decode()
        assert client.docmd("AUTH OAUTHBEARER", good)[0] == 235
        assert client.mail(ALICE)[0] == 250


def test_c046_token_of_eight_kilobytes(server: LiveServer, issuer: Issuer) -> None:
    token = issuer.token(groups=["a group with a long name"] * 240)
    response = base64.b64encode(f"n,a={ALICE},\x01auth=Bearer {token}\x01\x01".encode()).decode()
    assert 11_000 < len(response) <= 12_288
    for inline in (True, False):
        client, _ = offered(server, trust_all())
        with client:
            if inline:
                assert client.docmd("AUTH OAUTHBEARER", response)[0] == 235
            else:
                assert client.docmd("AUTH OAUTHBEARER")[0] == 334
                assert client.docmd(response)[0] == 235


def test_issuer_away_is_454_and_back_again() -> None:
    with Issuer() as issuer:
        sasl = {"oauth_introspection_url": issuer.introspection_url, "oauth_client_id": CLIENT[0]}
        with LiveServer({"sasl": {**sasl, "oauth_client_secret_file": "secret"}}) as server:
            secret = server.folder / "secret"
            secret.write_text(CLIENT[1])
            secret.chmod(0o600)
            if service_user() == "nobody":
                shutil.chown(secret, "nobody")
            server.add_user(ALICE, "x")
            token = issuer.opaque("opaque")
            response = base64.b64encode(f"user={ALICE}\x01auth=Bearer {token}\x01\x01".encode()).decode()
            client, _ = offered(server, trust_all())
            with client:
                issuer.status = 503
                assert client.docmd("AUTH XOAUTH2", response)[0] == 454
                server.wait_for_log(r"login unavailable.*503")
                issuer.status = 200
                assert client.docmd("AUTH XOAUTH2", response)[0] == 235


# Client certificates


USERS: Final = CertificateAuthority("Users")
BOB: Final = "bob@example.org"


@pytest.fixture(scope="module")
def external() -> Iterator[LiveServer]:
    server = LiveServer({"sasl": {"external_ca_file": "users.pem"}})
    USERS.write_root(server.folder / "users.pem").chmod(0o644)
    with server:
        for address in (ALICE, BOB):
            server.add_user(address, "x")
        yield server


def shows(folder: Path, *names: str, authority: CertificateAuthority = USERS) -> ssl.SSLContext:
    """Return a client's context with a certificate for these names."""
    context = trust_all()
    context.load_cert_chain(*authority.issue(*names).write(folder, "client"))
    return context


def external_login(server: LiveServer, context: ssl.SSLContext, authzid: str = "") -> int:
    client, mechanisms = offered(server, context)
    with client:
        assert "EXTERNAL" in mechanisms
        return client.docmd("AUTH EXTERNAL", base64.b64encode(authzid.encode()).decode() or "=")[0]


def test_external(external: LiveServer, tmp_path: Path) -> None:
    assert external_login(external, shows(tmp_path, ALICE)) == 235
    assert external_login(external, shows(tmp_path, ALICE, BOB), BOB) == 235
    assert external_login(external, shows(tmp_path, ALICE, BOB)) == 535
    assert external_login(external, shows(tmp_path, ALICE), BOB) == 535
    assert external_login(external, shows(tmp_path, "nobody@example.org")) == 535


def test_external_when_a_session_is_resumed(external: LiveServer, tmp_path: Path) -> None:
    context = shows(tmp_path, ALICE)
    session, resumed = None, []
    for _ in range(3):
        with smtplib.SMTP(HOST, external.submission, timeout=DEADLINE) as client:
            client.ehlo()
            client.docmd("STARTTLS")
            assert client.sock is not None
            client.sock = context.wrap_socket(client.sock, session=session)
            client.file = None
            client.ehlo()
            session = client.sock.session
            resumed.append(client.sock.session_reused)
            assert client.docmd("AUTH EXTERNAL =")[0] == 235
    assert resumed[0] is False
    assert True in resumed


def test_external_is_not_offered_without_a_certificate(external: LiveServer) -> None:
    client, mechanisms = offered(external, trust_all())
    with client:
        assert "EXTERNAL" not in mechanisms
        assert "PLAIN" in mechanisms
        assert client.docmd("AUTH EXTERNAL =")[0] == 504
        client.login(ALICE, "x")


def test_external_by_a_stranger_ends_the_handshake(external: LiveServer, tmp_path: Path) -> None:
    strangers = CertificateAuthority("Strangers")
    with pytest.raises((OSError, smtplib.SMTPException)):
        offered(external, shows(tmp_path, ALICE, authority=strangers))
    external.wait_for_log(r"TLS failed: .*certificate")


def test_nobody_is_asked_for_a_certificate_on_smtpd(external: LiveServer, tmp_path: Path) -> None:
    with smtplib.SMTP(HOST, external.smtpd, timeout=DEADLINE) as client:
        client.starttls(context=shows(tmp_path, ALICE, authority=CertificateAuthority("Strangers")))
        client.ehlo()
        assert "auth" not in client.esmtp_features


def test_external_by_curl(external: LiveServer, tmp_path: Path) -> None:
    chain, key = USERS.issue(ALICE).write(tmp_path, "curl")
    login = ["--cert", str(chain), "--key", str(key), "--user", f"{ALICE}:", "--login-options", "AUTH=EXTERNAL"]
    for at_once in (False, True):
        done = curl(external, *login, at_once=at_once)
        assert done.returncode == 0, done.stderr
        assert b"> AUTH EXTERNAL" in done.stderr


def test_external_by_msmtp(external: LiveServer, tmp_path: Path) -> None:
    chain, key = USERS.issue(ALICE).write(tmp_path, "msmtp")
    login = [f"--tls-cert-file={chain}", f"--tls-key-file={key}", "--auth=external", f"--user={ALICE}"]
    done = msmtp(external, *login)
    assert done.returncode == 0, done.stdout + done.stderr
    assert b"--> AUTH EXTERNAL" in done.stdout
