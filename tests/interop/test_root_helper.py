"""The root helper on the running server: the system's users by PAM, and what only root may read, read again."""

import os
import secrets
import signal
import smtplib
import ssl
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.ca import CertificateAuthority
from tests.interop.test_dovecot import code_of, log_in
from tests.live import HOST, VALIJA, LiveServer, service_user
from tests.system_user import NO_USERS, SystemUser
from valija.warden.start import NAME

pytestmark = [
    pytest.mark.interop,
    pytest.mark.skipif(bool(NO_USERS), reason=NO_USERS),
    pytest.mark.drops_privileges,
]

DEADLINE: Final = 20.0  # seconds
PASSWORDS_DELAY: Final = 0.9  # seconds that PAM, at random, wants a wrong password held back at least


@pytest.fixture(scope="module")
def user() -> Iterator[SystemUser]:
    with SystemUser() as user:
        yield user


@pytest.fixture(scope="module")
def server(user: SystemUser) -> Iterator[LiveServer]:
    with LiveServer({"sasl": {"type": "pam", "pam_service": user.pam_service}, "workers": 2}) as server:
        yield server


def status_of(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def helper_of(server: LiveServer) -> int:
    (pid,) = [pid for pid in server.pids() if status_of(pid)["Name"] == NAME]
    return pid


def test_right_and_wrong(server: LiveServer, user: SystemUser) -> None:
    assert code_of(server, user.name, user.password) == 235
    assert code_of(server, f"{user.name}@example.org", user.password) == 235
    assert code_of(server, f"{user.name}@elsewhere.example", user.password) == 535
    assert code_of(server, user.name, "wrong") == 535
    assert code_of(server, user.name, "") == 535
    assert code_of(server, "no-such-user-here", "wrong") == 535
    assert code_of(server, "root", "toor") == 535


def test_a_user_sends_as_their_own_address_alone(server: LiveServer, user: SystemUser) -> None:
    with log_in(server, user.name, user.password) as client:
        assert client.mail("root@example.org")[0] == 550
        assert client.mail(f"{user.name}@example.org")[0] == 250


def test_swaks_submits_with_the_system_password(server: LiveServer, user: SystemUser) -> None:
    command = ["swaks", "--server", f"{HOST}:{server.submission}", "--tls", "--auth", "LOGIN", "--auth-user", user.name]
    command += ["--auth-password", user.password, "--from", f"{user.name}@example.org", "--to", "daemon@example.org"]
    done = subprocess.run(command, capture_output=True, timeout=DEADLINE, check=False)
    assert done.returncode == 0, done.stdout.decode()


def test_an_account_that_has_expired_is_refused(server: LiveServer) -> None:
    with SystemUser() as expired:
        Path("/etc/pam.d", expired.pam_service).unlink()
        subprocess.run(["usermod", "--expiredate", "1970-01-02", expired.name], check=True)
        assert code_of(server, expired.name, expired.password) == 535
        server.wait_for_log(f"PAM lets nobody in.*{expired.name}.*expired")


def test_slow_answers_hold_up_nobody() -> None:
    with SystemUser(slow=True) as user:
        settings = {"sasl": {"type": "pam", "pam_service": user.pam_service}}
        with LiveServer(settings) as server:
            slow: list[float] = []

            def fail() -> None:
                began = time.monotonic()
                assert code_of(server, user.name, secrets.token_hex(4)) == 535
                slow.append(time.monotonic() - began)

            threads = [threading.Thread(target=fail) for _ in range(4)]
            for thread in threads:
                thread.start()
            began = time.monotonic()
            assert code_of(server, user.name, user.password) == 235
            quick = time.monotonic() - began
            for thread in threads:
                thread.join(DEADLINE)
            assert len(slow) == 4
            assert min(slow) > PASSWORDS_DELAY > quick


def test_the_helper_holds_no_socket_of_the_servers_ports(server: LiveServer) -> None:
    kinds = [os.readlink(entry) for entry in Path(f"/proc/{helper_of(server)}/fd").iterdir()]
    inodes = {kind.removeprefix("socket:[").removesuffix("]") for kind in kinds if kind.startswith("socket:")}
    listening = {
        line.split()[9] for line in Path("/proc/net/tcp").read_text().splitlines()[1:] if line.split()[3] == "0A"
    }
    assert not inodes & listening


def test_signals_that_reach_the_whole_group_leave_it_alone(server: LiveServer, user: SystemUser) -> None:
    helper = helper_of(server)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        os.kill(helper, number)
    assert code_of(server, user.name, user.password) == 235


def test_killed_it_is_missed_in_words_and_nobody_is_told_a_wrong_password(user: SystemUser) -> None:
    with LiveServer({"sasl": {"type": "pam", "pam_service": user.pam_service}}) as server:
        os.kill(helper_of(server), signal.SIGKILL)
        server.wait_for_log(r"the root helper is gone.*restart valija")
        assert code_of(server, user.name, "another") == 454


def test_the_helper_ends_with_the_server(user: SystemUser) -> None:
    with LiveServer({"sasl": {"type": "pam", "pam_service": user.pam_service}}) as server:
        helper = helper_of(server)
        server.kill()
        deadline = time.monotonic() + DEADLINE
        while Path(f"/proc/{helper}").exists() and status_of(helper)["State"][0] != "Z":
            assert time.monotonic() < deadline
            time.sleep(0.02)


@pytest.mark.skipif(service_user() == "root", reason="the service's user can't read this checkout")
def test_a_key_that_only_root_may_read_is_taken_up_when_it_is_renewed() -> None:
    authority = CertificateAuthority()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)  # 0700, as certbot's
        first, second = (authority.issue("mail.example.org") for _ in range(2))
        chain, key = first.write(folder, "live")
        key.chmod(0o600)
        files = {"certificate": "files", "cert_file": str(chain), "key_file": str(key)}
        with LiveServer({"tls": files}) as server:
            assert presented(server) == first.chain_pem
            chain.write_bytes(second.chain_pem)  # the moment in which chain and key do not match yet
            server.wait_for_log("certificate not renewed, the one in use stays")
            assert presented(server) == first.chain_pem
            key.write_bytes(second.key_pem)
            server.wait_for_log("certificate renewed")
            assert presented(server) == second.chain_pem
            assert server.valija("reload").returncode == 0
            assert presented(server) == second.chain_pem


def presented(server: LiveServer) -> bytes:
    """Return the certificate that the submission port shows, in PEM."""
    with smtplib.SMTP(HOST, server.submission, timeout=DEADLINE) as client:
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        client.starttls(context=context)
        assert isinstance(client.sock, ssl.SSLSocket)
        shown = client.sock.getpeercert(binary_form=True)
        assert shown
        return ssl.DER_cert_to_PEM_cert(shown).encode()


def test_a_reload_cannot_begin_with_pam(user: SystemUser) -> None:
    with LiveServer({}) as server:
        server.add_user("alice@example.org", "secret")
        written = server.configuration.read_text()
        server.configuration.write_text(f'{written}\n[sasl]\ntype = "pam"\npam_service = "{user.pam_service}"\n')
        refused = server.valija("reload")
        assert refused.returncode == 1
        assert "restart valija as root" in refused.stderr
        assert code_of(server, "alice@example.org", "secret") == 235


def test_check_names_the_service_that_is_missing() -> None:
    with LiveServer({}) as server:
        written = server.configuration.read_text()
        server.configuration.write_text(f'{written}\n[sasl]\ntype = "pam"\npam_service = "no-such-service"\n')
        told = server.valija("check", "--offline")
        assert told.returncode == 1
        assert "PAM has no service 'no-such-service'" in told.stdout


def test_pam_without_root_is_refused_in_words() -> None:
    settings = (
        'user = "nobody"\n[sasl]\ntype = "pam"\n[smtpd]\nlisten=[]\n[submission]\nlisten=[]\n[submissions]\nlisten=[]\n'
    )
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        configuration = Path(name) / "valija.toml"
        configuration.write_text(settings)
        configuration.chmod(0o644)
        done = subprocess.run(
            [str(VALIJA), "serve", "-c", str(configuration)],
            user="nobody",
            env={"PATH": "/usr/bin:/bin", "HOME": name},
            capture_output=True,
            text=True,
            timeout=DEADLINE,
            check=False,
        )
        assert done.returncode == 1
        assert "start valija as root" in done.stderr
