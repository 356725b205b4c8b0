"""The real Dovecot judges logins: its own list of users, the system's through PAM; stopped, silent, started again."""

import base64
import shutil
import smtplib
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.ca import CertificateAuthority
from tests.dovecot import MISSING, LiveDovecot
from tests.interop.test_clients import NAME
from tests.live import HOST, LiveServer, message, service_user, trust_all
from tests.sink import CatchingSink
from tests.system_user import SystemUser

pytestmark = [pytest.mark.interop, pytest.mark.skipif(bool(MISSING), reason=MISSING)]

DEADLINE: Final = 20.0


def log_in(server: LiveServer, user: str, password: str) -> smtplib.SMTP:
    client = smtplib.SMTP(HOST, server.submission, timeout=DEADLINE)
    client.starttls(context=trust_all())
    client.ehlo()
    client.login(user, password)
    return client


def code_of(server: LiveServer, user: str, password: str) -> int:
    """Return the reply code of an AUTH PLAIN, whether EHLO listed it or not."""
    with smtplib.SMTP(HOST, server.submission, timeout=DEADLINE) as client:
        client.starttls(context=trust_all())
        client.ehlo()
        response = base64.b64encode(f"\0{user}\0{password}".encode()).decode()
        return client.docmd("AUTH PLAIN", response)[0]


@pytest.fixture(scope="module")
def dovecot() -> Iterator[LiveDovecot]:
    with LiveDovecot({"alice": "secret", "bob@example.org": "geheim", "empty": ""}) as dovecot:
        yield dovecot


@pytest.fixture(scope="module")
def server(dovecot: LiveDovecot) -> Iterator[LiveServer]:
    with LiveServer({"sasl": {"type": "dovecot", "path": dovecot.socket}}) as server:
        yield server


def test_mechanisms_are_dovecots_but_the_unsafe(server: LiveServer) -> None:
    with smtplib.SMTP(HOST, server.submission, timeout=DEADLINE) as client:
        client.ehlo()
        assert "auth" not in client.esmtp_features
        client.starttls(context=trust_all())
        client.ehlo()
        assert client.esmtp_features["auth"].split() == ["PLAIN", "LOGIN", "SCRAM-SHA-1", "SCRAM-SHA-256"]


def test_right_and_wrong(server: LiveServer) -> None:
    assert code_of(server, "alice", "secret") == 235
    assert code_of(server, "ALICE", "secret") == 235
    assert code_of(server, "alice", "wrong") == 535
    assert code_of(server, "nobody-of-that-name", "secret") == 535


def test_login_without_a_domain_is_that_local_part_in_hosted_domains(server: LiveServer) -> None:
    with log_in(server, "alice", "secret") as client:
        assert client.mail("alice@example.org")[0] == 250
        client.rset()
        assert client.mail("bob@example.org")[0] == 550


def test_login_with_a_domain_is_that_address(server: LiveServer) -> None:
    with log_in(server, "bob@example.org", "geheim") as client:
        assert client.mail("bob@example.org")[0] == 250
        client.rset()
        assert client.mail("alice@example.org")[0] == 550


def test_system_users_have_mail_and_others_do_not(server: LiveServer) -> None:
    with smtplib.SMTP(HOST, server.smtpd, timeout=DEADLINE) as client:
        client.ehlo()
        client.mail("someone@example.net")
        assert client.rcpt("daemon@example.org")[0] == 250
        assert client.rcpt("Daemon+cron@example.org")[0] == 250
        assert client.rcpt("nobody-of-that-name@example.org")[0] == 550


@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-256", "SCRAM-SHA-1", "LOGIN"])
def test_msmtp_logs_in_with(server: LiveServer, mechanism: str) -> None:
    if not shutil.which("msmtp"):
        pytest.skip("msmtp is not installed")
    command = ["msmtp", f"--host={HOST}", f"--port={server.submission}", "--tls=on", "--tls-starttls=on"]
    command += ["--tls-certcheck=off", f"--auth={mechanism.lower()}", "--user=alice", "--passwordeval=echo secret"]
    command += ["--from=alice@example.org", "daemon@example.org"]
    done = subprocess.run(command, input=b"Subject: x\n\nx\n", capture_output=True, timeout=DEADLINE, check=False)
    assert done.returncode == 0, done.stderr.decode()


def test_stopped_restarted_and_silent() -> None:
    with (
        LiveDovecot({"alice": "secret"}) as dovecot,
        LiveServer({"sasl": {"type": "dovecot", "path": dovecot.socket}}) as server,
    ):
        assert code_of(server, "alice", "secret") == 235
        dovecot.stop()
        assert code_of(server, "alice", "secret") == 454
        server.wait_for_log(r"Dovecot is away.*auth-client")
        dovecot.start()
        assert code_of(server, "alice", "secret") == 235
        server.wait_for_log(r"Dovecot is back")
        dovecot.pause()
        assert code_of(server, "alice", "secret") == 454
        dovecot.go_on()
        assert code_of(server, "alice", "secret") == 235


def test_server_starts_without_dovecot_and_finds_it_later() -> None:
    with LiveDovecot({"alice": "secret"}) as dovecot:
        dovecot.stop()
        with LiveServer({"sasl": {"type": "dovecot", "path": dovecot.socket}}) as server:
            assert code_of(server, "alice", "secret") == 454
            done = server.valija("check", "--json")
            assert done.returncode == 1
            assert "Dovecot can't be asked" in done.stdout
            dovecot.start()
            assert code_of(server, "alice", "secret") == 235
            assert "judged by Dovecot" in server.valija("check", "--json").stdout


@pytest.mark.skipif(service_user() == "root", reason="the service's user can't read this checkout")
def test_socket_that_is_not_ours_to_use_is_named_with_its_owner_and_mode() -> None:
    with (
        LiveDovecot({"alice": "secret"}, mode="0600") as dovecot,
        LiveServer({"sasl": {"type": "dovecot", "path": dovecot.socket}}) as server,
    ):
        assert code_of(server, "alice", "secret") == 454
        server.wait_for_log(r"auth-client: user nobody may not write to \S+auth-client, which is root:root 0600")
        assert "which is root:root 0600" in server.valija("check", "--json").stdout


@pytest.fixture(scope="module")
def system_user() -> Iterator[SystemUser]:
    with SystemUser() as user:
        yield user


@pytest.mark.parametrize("client", ["curl", "swaks", "msmtp"])
@pytest.mark.parametrize("tls_at_once", [False, True], ids=["587", "465"])
def test_system_user_submits_with_the_system_password(
    system_user: SystemUser, client: str, tls_at_once: bool, tmp_path: Path
) -> None:
    if not shutil.which(client):
        pytest.skip(f"{client} is not installed")
    with (
        LiveDovecot(pam=system_user.pam_service) as dovecot,
        CatchingSink(CertificateAuthority().issue("sink.example").write(tmp_path, "sink")) as sink,
        LiveServer(
            {"sasl": {"type": "dovecot", "path": dovecot.socket}, "smtp": {"relayhost": sink.relayhost}}
        ) as server,
    ):
        port = server.submissions if tls_at_once else server.submission
        content = message("from a system user", f"{system_user.name}@example.org").as_bytes()
        command = _command(client, port, tls_at_once, system_user)
        done = subprocess.run(command, input=content, capture_output=True, timeout=DEADLINE, check=False)
        assert done.returncode == 0, done.stdout.decode() + done.stderr.decode()
        assert sink.wait_for(1)[0].field("Subject") == "from a system user"
        assert code_of(server, system_user.name, "wrong") == 535


def _command(client: str, port: int, tls_at_once: bool, user: SystemUser) -> list[str]:
    sender, recipient = f"{user.name}@example.org", "bob@example.net"
    if client == "curl":
        where = f"{'smtps' if tls_at_once else 'smtp'}://{HOST}:{port}/{NAME}"
        who = ["--user", f"{user.name}:{user.password}", "--mail-from", sender, "--mail-rcpt", recipient]
        return ["curl", "--silent", "--show-error", "--insecure", "--ssl-reqd", "--url", where, *who, "-T", "-"]
    if client == "swaks":
        tls = "--tls-on-connect" if tls_at_once else "--tls"
        who = ["--auth", "PLAIN", "--auth-user", user.name, "--auth-password", user.password]
        return ["swaks", "--server", f"{HOST}:{port}", tls, *who, "--from", sender, "--to", recipient, "--data", "-"]
    tls = f"--tls-starttls={'off' if tls_at_once else 'on'}"
    who = [f"--user={user.name}", f"--passwordeval=echo {user.password}", f"--from={sender}", recipient]
    return ["msmtp", f"--host={HOST}", f"--port={port}", "--tls=on", tls, "--tls-certcheck=off", "--auth=plain", *who]
