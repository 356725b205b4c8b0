"""The whole server as processes: its start, its refusals, reload, the death of workers, and its stop."""

import contextlib
import json
import os
import shutil
import signal
import smtplib
import socket
import sqlite3
import ssl
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.live import HOST, VALIJA, LiveServer, Settings, as_toml, message, overlay, service_user, trust_all
from tests.ports import free_port
from tests.sink import CatchingSink

Live = Callable[..., LiveServer]
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, whose privileges are to be dropped")


def reply_of(client: smtplib.SMTP, command: str) -> int:
    return client.docmd(command)[0]


def is_accepting(port: int) -> bool:
    try:
        socket.create_connection((HOST, port), 10).close()
    except ConnectionError:
        return False
    return True


def rewrite(server: LiveServer, old: str, new: str) -> None:
    text = server.configuration.read_text()
    assert old in text
    server.configuration.write_text(text.replace(old, new))


def test_a_worker_that_dies_is_replaced_and_no_waiting_client_is_lost(live: Live) -> None:
    server = live({"workers": 1})
    (worker,) = server.pids()[1:]
    os.kill(worker, signal.SIGSTOP)  # it accepts nobody: clients wait in the socket's backlog
    waiting = [socket.create_connection((HOST, server.smtpd), 10) for _ in range(5)]
    os.kill(worker, signal.SIGKILL)
    for each in waiting:
        assert each.recv(100).startswith(b"220 "), "the next worker serves who waited"
        each.close()
    server.wait_for_log(r"worker died.*SIGKILL")
    assert server.pids()[1:] != [worker]


def test_fewer_workers_take_over_what_the_others_left(live: Live, sink: CatchingSink) -> None:
    nowhere = free_port()
    server = live({"workers": 3, "smtp": {"relayhost": f"[{HOST}]:{nowhere}"}})
    for number in range(12):
        with smtplib.SMTP(HOST, server.smtpd) as client:
            client.sendmail("a@remote.example", [f"b{number}@remote.example"], b"Subject: x\r\n\r\nhello\r\n")
    server.stop()
    assert len(server.queue()) == 12
    rewrite(server, "workers = 3", "workers = 1")
    rewrite(server, f"[{HOST}]:{nowhere}", sink.relayhost)
    server.start()
    assert server.valija("queue", "retry", "--all").returncode == 0
    sink.wait_for(12)
    server.wait_for_log("queue adopted.*worker-2")
    server.wait_for_log("queue adopted.*worker-1")
    assert server.valija("queue", "retry", "--all").returncode == 0
    assert {each for mail in sink.caught for each in mail.recipients} == {f"b{n}@remote.example" for n in range(12)}


def test_when_the_supervisor_is_killed_the_workers_leave(live: Live) -> None:
    server = live({"workers": 2})
    workers = server.pids()[1:]
    os.kill(server.pids()[0], signal.SIGKILL)
    end = time.monotonic() + 20
    while any(Path(f"/proc/{pid}").exists() for pid in workers):
        assert time.monotonic() < end, "a worker outlives its supervisor"
        time.sleep(0.02)
    assert server.process
    server.process.wait()
    server.start()
    server.stop()


def test_reload_takes_up_a_sound_configuration_and_drops_no_session(live: Live) -> None:
    server = live({"mynetworks": []})
    with smtplib.SMTP(HOST, server.smtpd) as before:
        before.ehlo("x")
        rewrite(server, '"example.org"', '"example.org", "fresh.example"')
        assert server.valija("reload").returncode == 0
        server.wait_for_log("reloaded")
        assert reply_of(before, "NOOP") == 250

        def new_domain_is_hosted() -> bool:
            with smtplib.SMTP(HOST, server.smtpd) as after:
                after.ehlo("x")
                after.mail("a@remote.example")
                return after.rcpt("postmaster@fresh.example")[0] == 250

        end = time.monotonic() + 10
        while not new_domain_is_hosted():
            assert time.monotonic() < end


def pair_at(path: str) -> Settings:
    return {"tls": {"certificate": "files", "cert_file": path, "key_file": path}}


FAULTS: tuple[tuple[Settings, str], ...] = (  # what is written, and what is named
    ({"smtpd": {"bogus": "x"}}, "[smtpd] bogus"),
    ({"workers": "many"}, "workers"),
    ({"domains": ["a b"]}, "domains"),
    ({"mynetworks": ["0.0.0.0/0"]}, "mynetworks"),
    ({"smtpd": {"listen": [""]}}, "[smtpd] listen"),
    (pair_at("/nowhere/cert.pem"), "/nowhere/cert.pem"),
    (pair_at("/etc/hostname"), "/etc/hostname"),
)


def test_c118_reload_keeps_the_old_configuration_on_any_fault(live: Live) -> None:
    server = live()
    written = [(as_toml(overlay(server.settings, fault)), named) for fault, named in FAULTS]
    assert server.process
    with smtplib.SMTP(HOST, server.smtpd) as before:
        before.ehlo("x")
        for text, named in (*written, ("not toml at all", "line 1")):
            since = server.log.mark()
            server.configuration.write_text(text)
            refused = server.valija("reload")
            assert (refused.returncode, named in refused.stderr) == (1, True), refused.stderr
            server.process.send_signal(signal.SIGHUP)
            server.wait_for_log("reload refused, the configuration in force stays", since=since)
            assert reply_of(before, "NOOP") == 250, "who is there already notices nothing"
        with smtplib.SMTP(HOST, server.smtpd) as client:
            assert client.ehlo("x")[0] == 250


def test_a_worker_that_dies_after_a_reload_does_not_bring_back_the_old_configuration(live: Live) -> None:
    server = live({"mynetworks": ["127.0.0.0/8"]})
    rewrite(server, '["127.0.0.0/8"]', "[]")
    assert server.valija("reload").returncode == 0
    os.kill(server.pids()[1], signal.SIGKILL)
    server.wait_for_log(r"worker died")
    with smtplib.SMTP(HOST, server.smtpd) as client:
        client.ehlo("x")
        client.mail("a@remote.example")
        assert client.rcpt("b@remote.example")[0] == 554


def test_the_status_is_that_of_the_configuration_in_force(live: Live) -> None:
    server = live()
    rewrite(server, '"mail.example.org"', '"renamed.example.org"')
    assert server.valija("reload").returncode == 0
    status = json.loads(server.valija("status", "--json").stdout)
    assert status["hostname"] == "renamed.example.org"
    assert status["listening"]["smtpd"] == [f"{HOST}:{server.smtpd}"]


@as_root
@pytest.mark.drops_privileges
def test_a_configuration_that_only_root_can_read_is_read_again(live: Live) -> None:
    server = live()
    server.stop()
    server.configuration.chmod(0o600)
    server.start()
    written = server.configuration.read_text()
    server.configuration.write_text(written.replace('["example.org"]', '["example.org", "added.example"]'))
    assert server.valija("reload").returncode == 0
    with smtplib.SMTP(HOST, server.smtpd, timeout=20) as client:
        client.ehlo()
        client.mail("someone@example.net")
        assert client.rcpt("postmaster@added.example")[0] == 250
    server.configuration.write_text("nonsense = 1\n")
    refused = server.valija("reload")
    assert refused.returncode == 1
    assert "there is no such setting" in refused.stderr


@as_root
@pytest.mark.drops_privileges
def test_authorities_that_only_root_can_read_are_refused(live: Live) -> None:
    from tests.ca import CertificateAuthority

    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        Path(name).chmod(0o755)
        trusted = CertificateAuthority().write_root(Path(name) / "ca.pem")
        server = live({"smtp": {"tls_ca_file": str(trusted)}})
        server.stop()
        trusted.chmod(0o600)
        refused = server.valija("serve")
        assert refused.returncode == 1
        assert (
            f'valija: [smtp] tls_ca_file = "{trusted}": {trusted} cannot be read (Permission denied); '
            in refused.stderr
        )


def test_c115_a_worker_that_dies_after_a_renewal_does_not_bring_back_the_old_certificate(live: Live) -> None:
    from tests.ca import CertificateAuthority

    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        folder = Path(name)
        folder.chmod(0o755)
        authority = CertificateAuthority()
        chain, key = authority.issue("mail.example.org").write(folder)
        shutil.chown(key, user=service_user())
        tls = {"certificate": "files", "cert_file": str(chain), "key_file": str(key)}
        server = live({"tls": tls})
        renewed = authority.issue("mail.example.org")
        chain.write_bytes(renewed.chain_pem)
        key.write_bytes(renewed.key_pem)
        os.kill(server.pids()[1], signal.SIGKILL)
        server.wait_for_log(r"worker died")
        shown = ssl.get_server_certificate((HOST, server.submissions))
        assert renewed.chain_pem.startswith(shown.encode())


def test_c118_reload_without_the_file_of_the_start_is_refused(live: Live) -> None:
    server = live({"hostname": "vm", "domains": ["example.org"]})
    server.configuration.rename(server.folder / "elsewhere.toml")
    assert server.process
    server.process.send_signal(signal.SIGHUP)
    server.wait_for_log("reload refused.*cannot be read.*No such file")
    with smtplib.SMTP(HOST, server.smtpd) as client:
        client.ehlo("x")
        client.mail("a@remote.example")
        assert client.rcpt("postmaster@example.org")[0] == 250
    (server.folder / "elsewhere.toml").rename(server.configuration)


def test_what_only_a_restart_can_change_is_told_and_stays(live: Live) -> None:
    server = live()
    server.add_user("alice@example.org", "secret")
    rewrite(server, str(server.data_dir), str(server.folder / "other"))
    server.configuration.write_text(server.configuration.read_text() + '[log]\nlevel = "debug"\n')
    assert server.process
    server.process.send_signal(signal.SIGHUP)
    server.wait_for_log(r"this change needs a restart.*data_dir")
    server.wait_for_log(r"this change needs a restart.*\[log\] level")
    with smtplib.SMTP(HOST, server.smtpd) as client:
        client.sendmail("bob@remote.example", ["alice@example.org"], b"Subject: x\r\n\r\nhello\r\n")
    server.wait_for_log("removed")
    assert list((server.data_dir / "mail/example.org/alice/new").iterdir())
    assert not (server.folder / "other").exists()


def test_sigterm_answers_who_is_sending(live: Live, sink: CatchingSink) -> None:
    server = live({"smtp": {"relayhost": sink.relayhost}})
    with socket.create_connection((HOST, server.smtpd), 10) as client, client.makefile("rwb", buffering=0) as talk:
        assert talk.readline().startswith(b"220")
        talk.write(b"HELO x\r\nMAIL FROM:<a@remote.example>\r\nRCPT TO:<b@remote.example>\r\nDATA\r\n")
        assert [talk.readline()[:3] for _ in range(4)] == [b"250", b"250", b"250", b"354"]
        assert server.process
        server.process.terminate()
        server.wait_for_log("stopping")
        end = time.monotonic() + 10
        while is_accepting(server.smtpd):
            assert time.monotonic() < end, "new clients wait in vain for a server that stops"
        talk.write(b"Subject: late\r\n\r\nhello\r\n.\r\n")
        assert talk.readline().startswith(b"250")
        assert talk.readline().startswith(b"421")
    assert server.process.wait(35) == 0
    server.start()
    sink.wait_for(1)


def serve_refused(configuration: Path) -> str:
    done = subprocess.run(
        [VALIJA, "serve", "-c", configuration], capture_output=True, text=True, timeout=10, check=False
    )
    assert done.returncode == 1
    assert done.stdout == ""
    return done.stderr


def test_c118_a_refused_configuration_names_every_fault_before_a_port_is_bound(tmp_path: Path) -> None:
    port = free_port()
    configuration = tmp_path / "valija.toml"
    configuration.write_text(
        f'workers = 0\nmynetworks = ["0.0.0.0/0"]\n[smtpd]\nlisten = ["127.0.0.1:{port}"]\nbanner = "x"\n'
    )
    lines = serve_refused(configuration).splitlines()
    assert len(lines) == 3
    assert "workers = 0" in lines[0]
    assert '"0.0.0.0/0"' in lines[1]
    assert "[smtpd] banner" in lines[2]
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((HOST, port))


def test_c118_a_port_that_is_taken_is_named(live: Live) -> None:
    server = live()
    taken = dict(server.settings, data_dir=str(server.folder / "other"))
    configuration = server.folder / "other.toml"
    configuration.write_text(as_toml(taken))
    told = serve_refused(configuration)
    assert f"127.0.0.1:{server.smtpd}" in told
    assert "another program uses it" in told


def test_two_servers_do_not_share_a_data_folder(live: Live) -> None:
    server = live()
    ports = {role: {"listen": [f"{HOST}:{free_port()}"]} for role in ("smtpd", "submission", "submissions")}
    configuration = server.folder / "other.toml"
    configuration.write_text(as_toml({**server.settings, **ports}))
    assert "another valija is running" in serve_refused(configuration)


@as_root
def test_a_missing_user_is_told_with_the_remedy(tmp_path: Path) -> None:
    configuration = tmp_path / "valija.toml"
    configuration.write_text(
        f'user = "nosuchuser"\ndata_dir = "{tmp_path}/data"\n[smtpd]\nlisten = ["127.0.0.1:{free_port()}"]\n'
        "[submission]\nlisten = []\n[submissions]\nlisten = []\n"
    )
    told = serve_refused(configuration)
    assert "nosuchuser" in told
    assert "useradd" in told


@pytest.mark.parametrize("fault", ["missing", "empty", "mismatched"])
def test_c114_a_certificate_that_cannot_serve_is_refused(tmp_path: Path, fault: str) -> None:
    from tests.ca import CertificateAuthority

    ca = CertificateAuthority()
    one, other = ca.issue("mail.example.org"), ca.issue("mail.example.org")
    chain, key = tmp_path / "chain.pem", tmp_path / "key.pem"
    chain.write_bytes(one.chain_pem)
    key.write_bytes(b"" if fault == "empty" else other.key_pem if fault == "mismatched" else one.key_pem)
    key.chmod(0o600)
    if fault == "missing":
        key.unlink()
    configuration = tmp_path / "valija.toml"
    configuration.write_text(
        as_toml(
            {
                "hostname": "mail.example.org",
                "user": "root",
                "data_dir": str(tmp_path / "data"),
                "smtpd": {"listen": [f"{HOST}:{free_port()}"]},
                "submission": {"listen": []},
                "submissions": {"listen": []},
                "tls": {"certificate": "files", "cert_file": str(chain), "key_file": str(key)},
            }
        )
    )
    told = serve_refused(configuration)
    assert f'[tls] key_file = "{key}": ' in told


def test_c118_a_bad_dkim_key_is_refused(live: Live) -> None:
    server = live()
    assert server.valija("dkim", "create", "example.org").returncode == 0
    server.stop()
    (key, *_) = (server.data_dir / "dkim/example.org").glob("*.pem")
    key.write_text("no key at all\n")
    assert str(key) in serve_refused(server.configuration)


def test_c118_damaged_accounts_are_refused_at_the_start_in_one_line(live: Live) -> None:
    server = live()
    server.stop()
    accounts = server.data_dir / "accounts.sqlite3"
    accounts.write_bytes(b"nonsense" * 1000)
    (line,) = serve_refused(server.configuration).splitlines()
    assert str(accounts) in line
    accounts.unlink()
    server.start()


def test_accounts_that_get_damaged_stop_no_worker_from_starting(live: Live) -> None:
    server = live()
    server.add_user("alice@example.org", "secret")
    accounts = server.data_dir / "accounts.sqlite3"
    with contextlib.closing(sqlite3.connect(accounts)) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # the server has it open: what was added lies beside it
    sound = accounts.read_bytes()
    os.kill(server.pids()[1], signal.SIGSTOP)
    accounts.write_bytes(b"nonsense" * 1000)
    os.kill(server.pids()[1], signal.SIGKILL)
    with smtplib.SMTP_SSL(HOST, server.submissions, timeout=20, context=trust_all()) as client:
        with pytest.raises(smtplib.SMTPAuthenticationError) as refused:
            client.login("alice@example.org", "secret")
        assert refused.value.smtp_code == 454
        accounts.write_bytes(sound)
        client.login("alice@example.org", "secret")


def test_ipv4_and_ipv6_sockets_of_one_port_coexist(live: Live) -> None:
    port = free_port()
    server = live({"smtpd": {"listen": [f"127.0.0.1:{port}", f"[::1]:{port}"]}})
    for host in ("127.0.0.1", "::1"):
        with smtplib.SMTP(host, port) as client:
            assert client.ehlo("x")[0] == 250
    server.stop()


def test_listeners_can_be_turned_off(live: Live) -> None:
    server = live({"submission": {"listen": []}, "submissions": {"listen": []}})
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((HOST, server.submission))
    with smtplib.SMTP(HOST, server.smtpd) as client:
        assert client.ehlo("x")[0] == 250


def test_the_log_can_be_json_and_each_line_of_a_message_bears_its_id(live: Live, sink: CatchingSink) -> None:
    server = live({"smtp": {"relayhost": sink.relayhost}, "log": {"format": "json"}})
    server.add_user("alice@example.org", "secret-password")
    server.submit("alice@example.org", "secret-password", "bob@example.net", message("hello"))
    server.wait_for_log('"removed"')
    lines = [json.loads(line) for line in server.log.text.splitlines()]
    told = {line["event"]: line for line in lines if "queue_id" in line}
    assert set(told) == {"accepted", "attempt", "removed"}
    assert len({line["queue_id"] for line in told.values()}) == 1
    assert told["accepted"]["login"] == "alice@example.org"
    assert told["accepted"]["rule"] == "login alice@example.org"
    assert told["accepted"]["tls_version"] == "TLSv1.3"
    assert told["attempt"]["outcome"] == "delivered"
    assert told["attempt"]["tls"] == "none"
    assert "secret-password" not in server.log.text


def test_hosted_mail_lies_in_the_maildir(live: Live) -> None:
    server = live()
    server.add_user("alice@example.org", "secret")
    assert server.valija("alias", "add", "sales@example.org", "alice@example.org").returncode == 0
    with smtplib.SMTP(HOST, server.smtpd) as client:
        client.sendmail("bob@remote.example", ["sales@example.org", "postmaster"], b"Subject: x\r\n\r\nhello\r\n")
    server.wait_for_log("removed")
    (alices,) = (server.data_dir / "mail/example.org/alice/new").iterdir()
    text = alices.read_text()
    assert text.startswith("Return-Path: <bob@remote.example>\n")
    assert "\nReceived: from " in text
    assert text.endswith("\n\nhello\n")
    assert list((server.data_dir / "mail/example.org/postmaster/new").iterdir())


def test_what_is_done_to_messages_by_hand_stands_in_the_log(live: Live) -> None:
    server = live({"smtp": {"relayhost": f"[{HOST}]:{free_port()}"}})
    with smtplib.SMTP(HOST, server.smtpd) as client:
        client.sendmail("a@remote.example", ["b@remote.example"], b"Subject: x\r\n\r\nhello\r\n")
    (listed,) = server.queue()
    queue_id = listed["queue_id"]
    for verb, event in (("hold", "held"), ("retry", "due now"), ("release", "released"), ("delete", "removed")):
        assert server.valija("queue", verb, queue_id).returncode == 0
        server.wait_for_log(rf"\b{event}\b.*queue_id={queue_id}.*valija queue {verb}")
    assert server.queue() == []


def test_a_queue_that_cannot_be_used_is_named_without_a_traceback(live: Live) -> None:
    server = live()
    server.stop()
    flight = server.data_dir / "queue" / "worker-0.flight"
    owner = flight.stat().st_uid
    flight.unlink()
    flight.mkdir()
    os.chown(flight, owner, -1)
    told = serve_refused(server.configuration)
    assert f"{flight} is a folder; move away what lies there" in told
    assert "Traceback" not in told
    flight.rmdir()
    server.start()


@as_root
@pytest.mark.drops_privileges
def test_a_queue_file_of_roots_is_refused_with_the_remedy(live: Live) -> None:
    server = live()
    server.stop()
    file = server.data_dir / "queue" / "worker-0.sqlite3"
    os.chown(file, 0, 0)
    (line,) = serve_refused(server.configuration).splitlines()
    assert f"cannot use '{file}', which belongs to 'root'" in line
    assert f"chown -R nobody {server.data_dir}" in line
