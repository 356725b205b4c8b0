"""HTTPS in a running server: a process beside the mail, told of changes, replaced where it dies, harmless where not."""

import asyncio
import os
import select
import signal
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest

from tests.ca import CertificateAuthority
from tests.deliver.setting import MemoryLog
from tests.fakedns import FakeDns
from tests.live import HOST, LiveServer, as_toml, message, overlay, trust_all
from tests.ports import free_port
from valija.dns.caching import CachingResolver
from valija.dns.https import Https
from valija.dns.mta_sts import StsPolicies
from valija.dns.mta_sts_file import StsFile
from valija.dns.options import DnsOptions
from valija.logs import Log
from valija.policy.mta_sts import StsPolicy
from valija.policy.mta_sts_own import policy_record

CA = CertificateAuthority()
NAMES = ("mta-sts.example.org", "autoconfig.example.org", "autodiscover.example.org")
PATH = "/.well-known/mta-sts.txt"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("certificates")
    CA.issue("mail.example.org").write(made, "host")
    CA.issue(*NAMES).write(made, "names")
    CA.write_root(made / "ca.pem")
    return made


def settings(folder: Path, port: int) -> dict[str, Any]:
    files = {"certificate": "files", "cert_file": f"{folder}/host.pem", "key_file": f"{folder}/host.key"}
    more = {"certificate": "files", "cert_file": f"{folder}/names.pem", "key_file": f"{folder}/names.key"}
    return {
        "https": {"listen": [f"{HOST}:{port}"]},
        "autoconfig": {"imap_host": "imap.example.org"},
        "tls": {**files, "certificates": [{**more, "names": list(NAMES)}]},
    }


class Served:
    """A server with HTTPS, and curl."""

    def __init__(self, server: LiveServer, folder: Path, port: int) -> None:
        self.server = server
        self.port = port
        self.pid = int(server.wait_for_log(r"HTTPS is served\s+pid=(\d+)")[1])
        self._ca = folder / "ca.pem"

    def curl(self, url: str, *options: str) -> str:
        """Return what curl gets, trusting the test's authority alone. Fails as curl does."""
        host = url.partition("/")[0]
        resolved = f"{host}:{self.port}:{HOST}"
        command = ["curl", "-sS", "--fail", "-m", "10", "--cacert", str(self._ca), "--resolve", resolved, *options]
        at_port = url.replace(host, f"https://{host}:{self.port}", 1)
        done = subprocess.run([*command, at_port], capture_output=True, text=True, check=False, timeout=30)
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture
def served(live: Callable[..., LiveServer], folder: Path) -> Served:
    port = free_port()
    return Served(live(settings(folder, port)), folder, port)


def test_what_programs_ask_for(served: Served) -> None:
    assert "mode: testing" in served.curl(f"mta-sts.example.org{PATH}")
    assert "<hostname>imap.example.org</hostname>" in served.curl("autoconfig.example.org/mail/config-v1.1.xml")
    asked = "<Autodiscover><Request><EMailAddress>alice@example.org</EMailAddress></Request></Autodiscover>"
    told = served.curl("autodiscover.example.org/autodiscover/autodiscover.xml", "--data", asked)
    assert f"<Port>{served.server.submissions}</Port>" in told
    assert "EmailTypeIMAP" in served.curl("mail.example.org/apple.mobileconfig?email=alice@example.org")
    assert served.pid in served.server.pids()


def test_a_sender_accepts_the_policy(
    served: Served, folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(folder / "ca.pem"))
    text = served.curl(f"mta-sts.example.org{PATH}")
    zone = {
        "_mta-sts.example.org": [f'TXT "{policy_record(text)}"'],
        "mta-sts.example.org": [f"A {HOST}"],
    }
    with FakeDns(zone) as dns:
        policy = asyncio.run(_sender(dns, served.port, tmp_path / "policies.sqlite3"))
    assert policy is not None
    assert (policy.mode, policy.mx, policy.max_age) == ("testing", ("mail.example.org",), 604_800)
    assert policy.matches("mail.example.org")


async def _sender(dns: FakeDns, port: int, file: Path) -> StsPolicy | None:
    log = cast("Log", MemoryLog())
    resolver = CachingResolver(DnsOptions(nameservers=(dns.endpoint,)), log)
    https = Https(resolver, port=port)
    policies = StsPolicies(resolver, StsFile(file, log), note=lambda _: None, log=log, https=https)
    try:
        return await policies.policy("example.org")
    finally:
        await policies.close()
        await resolver.close()


def test_a_process_that_dies_is_replaced_and_mail_never_notices(served: Served) -> None:
    server = served.server
    workers = set(server.pids()) - {served.pid}
    since = server.log.mark()
    os.kill(served.pid, signal.SIGKILL)
    server.wait_for_log(r"HTTPS process died\s+how=SIGKILL", since=since)
    fresh = int(server.wait_for_log(r"HTTPS is served\s+pid=(\d+)", since=since)[1])
    assert fresh != served.pid
    assert "mode: testing" in served.curl(f"mta-sts.example.org{PATH}")
    assert workers <= set(server.pids())


def test_a_reload_and_a_renewal_are_served(served: Served, folder: Path) -> None:
    server = served.server
    old = _presented(served.port, NAMES[0])
    changed = overlay(server.settings, {"mta_sts": {"mode": "enforce", "mx": ["mx2.example.org"]}})
    server.configuration.write_text(as_toml(changed))
    CA.issue(*NAMES).write(folder, "names")
    assert server.valija("reload").returncode == 0
    policy = "version: STSv1\nmode: enforce\nmx: mail.example.org\nmx: mx2.example.org\nmax_age: 604800\n"
    _until(lambda: served.curl(f"mta-sts.example.org{PATH}") == policy)
    _until(lambda: _presented(served.port, NAMES[0]) != old)


def _presented(port: int, name: str) -> bytes | None:
    with socket.create_connection((HOST, port)) as plain, trust_all().wrap_socket(plain, server_hostname=name) as tls:
        return tls.getpeercert(binary_form=True)


def _until(condition: Callable[[], bool]) -> None:
    """Wait for what the server does within some seconds, by looking: there is nothing to be woken by."""
    for _ in range(60):
        if condition():
            return
        subprocess.run(["sleep", "0.25"], check=True)
    raise AssertionError("not in time")


def test_where_it_listens_needs_a_restart(served: Served) -> None:
    server = served.server
    since = server.log.mark()
    changed = overlay(server.settings, {"https": {"listen": []}})
    server.configuration.write_text(as_toml(changed))
    assert server.valija("reload").returncode == 0
    server.wait_for_log(r'needs a restart\s+setting="\[https\] listen"', since=since)
    assert "mode: testing" in served.curl(f"mta-sts.example.org{PATH}")


def test_a_port_of_another_program_keeps_no_mail_waiting(live: Callable[..., LiveServer], folder: Path) -> None:
    port = free_port()
    with socket.create_server((HOST, port)):
        server = live(settings(folder, port))
        server.wait_for_log(r"HTTPS is not served\s+reason=.*another program uses it")
        server.add_user("alice@example.org", "secret")
        server.add_user("bob@example.org", "secret")
        server.submit("alice@example.org", "secret", "bob@example.org", message("hi", recipient="bob@example.org"))
        server.wait_for_log(r"delivered")


def test_the_process_ends_with_the_server(served: Served) -> None:
    served.server.stop()
    with pytest.raises(ProcessLookupError):
        os.kill(served.pid, 0)


def test_the_process_ends_with_a_server_that_is_killed(served: Served) -> None:
    assert served.server.process
    watched = os.pidfd_open(served.pid)
    os.kill(served.server.process.pid, signal.SIGKILL)
    ready, _, _ = select.select([watched], [], [], 10)
    os.close(watched)
    assert ready
