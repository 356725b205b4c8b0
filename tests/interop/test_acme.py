"""The real pebble as Let's Encrypt: certificates ordered, renewed while mail flows, renewals that break (RFC 8555)."""

import contextlib
import hashlib
import json
import os
import smtplib
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

import pytest
from cryptography import x509

from tests.acme_stub import AcmeStub
from tests.fakedns import FakeDns
from tests.live import HOST, LiveServer, message, service_user, trust_all
from tests.pebble import MISSING, LivePebble
from tests.reachable import let_all_in
from tests.sink import CatchingSink
from tests.updates import UpdatedDns

pytestmark = [pytest.mark.interop, pytest.mark.skipif(bool(MISSING), reason=MISSING)]

NAME: Final = "mail.example.org"
OTHER: Final = "mail.example.net"
ALICE, SECRET, BOB = "alice@example.org", "correct horse", "bob@example.net"
DEADLINE: Final = 30.0
ISSUED: Final = r"certificate issued"


@pytest.fixture(scope="module")
def pebble() -> Iterator[LivePebble]:
    with LivePebble(refused_nonces=20) as pebble:
        yield pebble


def acme(authority: LivePebble | AcmeStub, **more: Any) -> dict[str, Any]:
    if isinstance(authority, AcmeStub):
        own = {"acme_directory": authority.directory, "acme_ca_file": authority.ca_file}
        return {"certificate": "acme", "acme_challenge": "dns-01", "acme_dns_hook": "/bin/true", **own, **more}
    return {"certificate": "acme", **authority.settings, **more}


def shown(raw: socket.socket, name: str | None) -> tuple[set[str], str]:
    """Shake hands; return the names in the certificate that is presented, and its fingerprint."""
    with raw, trust_all().wrap_socket(raw, server_hostname=name) as client:
        der = client.getpeercert(binary_form=True) or b""
    names = x509.load_der_x509_certificate(der).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return set(names.get_values_for_type(x509.DNSName)), hashlib.sha256(der).hexdigest()


def serving(server: LiveServer, name: str | None = NAME) -> tuple[set[str], str]:
    return shown(socket.create_connection((HOST, server.submissions), DEADLINE), name)


def behind_starttls(port: int, name: str | None) -> set[str]:
    client = smtplib.SMTP(HOST, port, timeout=DEADLINE)
    client.ehlo()
    assert client.docmd("STARTTLS")[0] == 220
    assert client.sock
    return shown(client.sock, name)[0]


def renew(server: LiveServer, *options: str) -> list[dict[str, Any]]:
    done = server.valija("certificate", "renew", "--json", *options)
    told: list[dict[str, Any]] = json.loads(done.stdout)
    assert done.returncode == any(each["outcome"] == "failed" for each in told), done.stderr
    return told


def listed(server: LiveServer) -> list[dict[str, Any]]:
    done = server.valija("certificate", "list", "--json")
    assert done.returncode == 0, done.stderr
    certificates: list[dict[str, Any]] = json.loads(done.stdout)
    return certificates


def nobody_listens(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex((HOST, port)) != 0


# Ordering


@pytest.mark.parametrize("challenge", ["http-01", "tls-alpn-01"])
def test_a_certificate_that_pebbles_root_vouches_for(pebble: LivePebble, tmp_path: Path, challenge: str) -> None:
    settings = acme(pebble, acme_challenge=challenge, names=["smtp.example.org"], acme_email="postmaster@example.org")
    with LiveServer({"tls": settings, "workers": 2}) as server:
        server.wait_for_log(ISSUED)
        assert serving(server)[0] == {NAME, "smtp.example.org"}
        root = tmp_path / "root.pem"
        root.write_bytes(pebble.root_pem())
        trusting = ssl.create_default_context(cafile=str(root))
        for name in (NAME, "smtp.example.org"):
            with socket.create_connection((HOST, server.submissions), DEADLINE) as raw:
                trusting.wrap_socket(raw, server_hostname=name).close()
        assert nobody_listens(pebble.http_port)
        assert nobody_listens(pebble.tls_port)


def test_webroot_of_another_web_server(pebble: LivePebble, tmp_path_factory: pytest.TempPathFactory) -> None:
    root = tmp_path_factory.mktemp("www")
    let_all_in(root.parent)
    root.chmod(0o777)
    served = ThreadingHTTPServer((HOST, pebble.http_port), partial(SimpleHTTPRequestHandler, directory=str(root)))
    threading.Thread(target=served.serve_forever, args=(0.02,), daemon=True).start()
    try:
        with LiveServer({"tls": acme(pebble, acme_webroot=str(root))}) as server:
            server.wait_for_log(ISSUED)
            assert serving(server)[0] == {NAME}
            assert list((root / ".well-known" / "acme-challenge").iterdir()) == []
    finally:
        served.shutdown()
        served.server_close()


def test_webroot_that_cannot_be_written(pebble: LivePebble, tmp_path: Path) -> None:
    (tmp_path / ".well-known").write_text("a file in the way")
    with LiveServer({"tls": acme(pebble, acme_webroot=str(tmp_path))}) as server:
        server.wait_for_log(rf"certificate not issued .*acme_webroot = .*{tmp_path.name}")


_HOOK = """#!{python}
import json, sys, urllib.request
action, domain, record, value = sys.argv[1:]
url = "{url}/" + ("set-txt" if action == "present" else "clear-txt")
body = {{"host": record + ".", "value": value}}
urllib.request.urlopen(urllib.request.Request(url, json.dumps(body).encode()), timeout=10)
open("{notes}", "a").write(f"{{action}} {{domain}} {{record}}\\n")
"""


def test_dns_by_a_hook(pebble: LivePebble) -> None:
    with LiveServer({"tls": acme(pebble, certificate="self-signed")}) as server:
        notes, hook = server.folder / "notes", server.folder / "hook"
        notes.touch()
        notes.chmod(0o666)
        hook.write_text(_HOOK.format(python="/usr/bin/env python3", url=pebble.dns_management, notes=notes))
        hook.chmod(0o755)
        before = server.configuration.read_text()
        text = before.replace('"self-signed"', f'"acme"\nacme_challenge = "dns-01"\nacme_dns_hook = "{hook}"')
        server.configuration.write_text(text)
        assert server.valija("reload").returncode == 0, "a reload is enough where no port is needed"
        server.wait_for_log(ISSUED)
        assert serving(server)[0] == {NAME}
        record = f"{NAME} _acme-challenge.{NAME}"
        assert notes.read_text().splitlines() == [f"present {record}", f"cleanup {record}"]


def test_wildcard_by_signed_updates() -> None:
    """The wildcard and its own domain are proven at one name, with two values."""
    with FakeDns({"example.org": ["A 127.0.0.1"]}) as dns, UpdatedDns(dns, "example.org") as updated:
        with LivePebble(dns=dns.nameserver) as pebble:
            key = updated.key_file(pebble.folder)
            settings = acme(
                pebble,
                names=["*.example.org", "example.org"],
                acme_challenge="dns-01",
                acme_dns_server=updated.endpoint,
                acme_dns_key_file=key,
            )
            with LiveServer({"tls": settings}) as server:
                server.wait_for_log(ISSUED)
                assert serving(server)[0] == {NAME, "*.example.org", "example.org"}
        assert {name for _, name, _ in updated.changes} == {"_acme-challenge.example.org", f"_acme-challenge.{NAME}"}
        assert not any("_acme-challenge" in name for name in dns.zone)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may bind a port below 1024")
@pytest.mark.drops_privileges
def test_a_low_port_is_bound_by_root_and_used_by_nobody() -> None:
    port = next(port for port in range(601, 1000) if nobody_listens(port))
    with LivePebble(http_port=port) as pebble, LiveServer({"tls": acme(pebble)}) as server:
        assert service_user() == "nobody"
        server.wait_for_log(ISSUED)
        assert renew(server, "--force")[0]["outcome"] == "renewed", "the port is there for the second one too"
        for path in (server.data_dir / "tls").rglob("*"):
            assert path.owner() == "nobody"
            assert path.stat().st_mode & 0o077 == 0


def test_a_port_that_another_program_has_stops_no_mail(pebble: LivePebble) -> None:
    with socket.create_server((HOST, pebble.http_port)), LiveServer({"tls": acme(pebble)}) as server:
        server.wait_for_log(r"certificates cannot be ordered .*acme_http_listen")
        server.wait_for_log(r"certificate not issued .*bound at the start")
        server.add_user(ALICE, SECRET)
        server.submit(ALICE, SECRET, ALICE, message("hello"))


# Renewing


def test_a_restart_orders_nothing(pebble: LivePebble) -> None:
    with LiveServer({"tls": acme(pebble)}) as server:
        server.wait_for_log(ISSUED)
        first = serving(server)
        orders = server.log.text.count("ordering a certificate")
        for _ in range(2):
            server.stop()
            server.start()
            assert serving(server) == first
        assert renew(server) == [{"names": [NAME], "outcome": "not due", "reason": ""}]
        assert server.log.text.count("ordering a certificate") == orders


def test_c115_renewed_while_mail_flows(pebble: LivePebble) -> None:
    """Sessions that are open keep their certificate and their transaction; mail goes on without a break."""
    with CatchingSink() as sink:
        settings = {"tls": acme(pebble), "smtp": {"relayhost": sink.relayhost}, "workers": 2}
        with LiveServer(settings) as server, contextlib.ExitStack() as open_sessions:
            server.wait_for_log(ISSUED)
            server.add_user(ALICE, SECRET)
            before = serving(server)[1]
            halfway = [open_sessions.enter_context(half_a_transaction(server)) for _ in range(4)]
            done, failures, sent = threading.Event(), list[str](), list[int]()
            senders = [threading.Thread(target=send_on, args=(server, done, failures, sent)) for _ in range(2)]
            for sender in senders:
                sender.start()
            for _ in range(2):
                assert renew(server, "--force") == [{"names": [NAME], "outcome": "renewed", "reason": ""}]
            for client in halfway:
                client.send(b"the rest\r\n.\r\n")
                assert client.getreply()[0] == 250
                assert client.noop()[0] == 250
            done.set()
            for sender in senders:
                sender.join(DEADLINE)
            assert failures == []
            assert sent
            assert {serving(server)[1] for _ in range(8)} == {listed(server)[0]["sha256"]}, "in both workers"
            assert serving(server)[1] != before
            sink.wait_for(len(sent) + len(halfway))


@contextlib.contextmanager
def half_a_transaction(server: LiveServer) -> Iterator[smtplib.SMTP]:
    """A session in the middle of its content."""
    with smtplib.SMTP(HOST, server.submission, timeout=DEADLINE) as client:
        client.starttls(context=trust_all())
        client.login(ALICE, SECRET)
        client.mail(ALICE)
        client.rcpt(BOB)
        assert client.docmd("DATA")[0] == 354
        client.send(b"From: alice@example.org\r\nSubject: half\r\n\r\nthe first part\r\n")
        yield client


def send_on(server: LiveServer, done: threading.Event, failures: list[str], sent: list[int]) -> None:
    while not done.is_set():
        try:
            server.submit(ALICE, SECRET, BOB, message("hello"))
            sent.append(1)
        except (OSError, smtplib.SMTPException) as error:
            failures.append(repr(error))


# What breaks


def test_c115_a_challenge_that_fails_leaves_the_old_one(pebble: LivePebble) -> None:
    with LiveServer({"tls": acme(pebble)}) as server:
        server.wait_for_log(ISSUED)
        before = serving(server)
        pebble.resolve(NAME, "127.0.0.99")
        try:
            told = renew(server, "--force")[0]
        finally:
            pebble.resolve(NAME)
        assert told["outcome"] == "failed"
        assert f"{NAME}: http-01 failed" in told["reason"]
        assert serving(server) == before
        server.wait_for_log(r"warn .*certificate not renewed .*days_left=\d+")
        status = listed(server)[0]
        assert (status["failures"], status["last_error"]) == (1, told["reason"])
        assert status["next_attempt"]
        assert told["reason"] in server.valija("status").stdout
        assert "came to nothing" in server.valija("check").stdout
        assert renew(server)[0]["outcome"] == "renewed", "what failed is tried again when asked for"
        assert listed(server)[0]["failures"] == 0


def test_c115_an_authority_that_is_away_at_the_first_start() -> None:
    """Mail is taken at once, with a self-signed certificate; the real one comes when the authority is back."""
    with LivePebble() as pebble:
        pebble.stop()
        with LiveServer({"tls": acme(pebble)}) as server:
            server.add_user(ALICE, SECRET)
            server.submit(ALICE, SECRET, ALICE, message("hello"))
            server.wait_for_log(r"error .*certificate not issued .*cannot be used.*next_attempt=")
            assert listed(server)[0]["self_signed"]
            before = serving(server)
            pebble.start()
            assert renew(server)[0]["outcome"] == "renewed"
            assert serving(server) != before
            assert not listed(server)[0]["self_signed"]
            # It comes back without its accounts, and with another root.
            pebble.stop()
            pebble.start()
            assert renew(server, "--force")[0]["outcome"] == "renewed"


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ({"names": ("other.example",)}, "not for mail.example.org"),
        ({"foreign_key": True}, "does not belong"),
    ],
)
def test_c115_a_certificate_that_is_not_fit_never_serves(fault: dict[str, Any], words: str) -> None:
    with AcmeStub() as authority, LiveServer({"tls": acme(authority)}) as server:
        server.wait_for_log(ISSUED)
        before = serving(server)
        for key, value in fault.items():
            setattr(authority, key, value)
        told = renew(server, "--force")[0]
        assert told["outcome"] == "failed"
        assert words in told["reason"]
        assert serving(server) == before


def test_limits_are_respected_by_the_server_itself() -> None:
    with (
        AcmeStub(problem="rateLimited", retry_after="7200") as authority,
        LiveServer({"tls": acme(authority)}) as server,
    ):
        server.wait_for_log(r"certificate not issued .*rateLimited: not today")
        authority.problem = ""
        server.stop()
        server.start()
        server.valija("reload")
        status = listed(server)[0]
        assert status["self_signed"]
        assert authority.orders == [], "nothing is ordered before two hours are over, whatever restarts"
        assert renew(server)[0]["outcome"] == "renewed", "but when a person says so"


def test_the_authoritys_word_for_when_to_renew_is_obeyed() -> None:
    """A window in the past: it wants the certificate replaced now (RFC 9773), and is told which one it was."""
    with AcmeStub() as authority:
        authority.window = (1.0, 2.0)
        with LiveServer({"tls": acme(authority)}) as server:
            since = server.log.mark()
            server.wait_for_log(ISSUED)
            first = serving(server)
            server.log.wait_for(r"renewal planned .*at=1970", DEADLINE, since)
            authority.window = (4e9, 4e9 + 1)
            server.log.wait_for(r"certificate issued(?!.*" + first[1] + ")", DEADLINE, since)
            assert authority.orders[1].replaces == authority.asked[0]


def test_an_order_that_runs_is_ended_by_a_stop(pebble: LivePebble) -> None:
    """What it published is taken away, and nothing of it is left running."""
    with LiveServer({"tls": acme(pebble, certificate="self-signed")}) as server:
        notes, hook = server.folder / "notes", server.folder / "hook"
        notes.touch()
        notes.chmod(0o666)
        hook.write_text(f"#!/bin/sh\necho $1 $$ >>{notes}\n[ $1 = cleanup ] || exec sleep 600\n")
        hook.chmod(0o755)
        text = server.configuration.read_text()
        more = f'"acme"\nacme_challenge = "dns-01"\nacme_dns_hook = "{hook}"'
        server.configuration.write_text(text.replace('"self-signed"', more))
        server.valija("reload")
        server.wait_for_log("ordering a certificate")
        wait_until(lambda: notes.read_text().startswith("present"))
        before = time.monotonic()
        server.stop()
        assert time.monotonic() - before < 5
        first, last = (line.split() for line in notes.read_text().splitlines())
        assert (first[0], last[0]) == ("present", "cleanup")
        assert not Path(f"/proc/{first[1]}").exists()


def wait_until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + DEADLINE
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.02)


# Several certificates


def test_c055_several_certificates_chosen_by_sni(pebble: LivePebble) -> None:
    more = [{"certificate": "acme", "names": [OTHER, "smtp.example.net"]}]
    with LiveServer({"tls": acme(pebble, certificates=more)}) as server:
        server.wait_for_log(rf"{ISSUED} .*{NAME}")
        server.wait_for_log(rf"{ISSUED} .*{OTHER}")
        assert [each["wanted"] for each in listed(server)] == [[NAME], [OTHER, "smtp.example.net"]]
        for name in (NAME, None, "other.example", "127.0.0.1"):
            assert serving(server, name)[0] == {NAME}
            assert behind_starttls(server.smtpd, name) == behind_starttls(server.submission, name) == {NAME}
        for name in (OTHER, "SMTP.example.net"):
            assert serving(server, name)[0] == {OTHER, "smtp.example.net"}
            assert behind_starttls(server.smtpd, name) == {OTHER, "smtp.example.net"}
