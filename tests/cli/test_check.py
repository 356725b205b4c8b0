"""valija check: what a command finds on this machine and in the DNS, and when that is status 1."""

import os
import pwd
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.admin.lab import SOUND
from tests.ca import CertificateAuthority
from tests.cli.here import Here
from tests.config.facts import FACTS
from tests.cost import processor_time
from tests.fakedns import FakeDns
from tests.live import HOST, VALIJA, LiveServer
from tests.ports import free_port
from tests.reachable import let_all_in
from valija.admin.check_sending import sending
from valija.config import parse

NO_NAME_SERVER = '[dns]\nnameservers = ["127.0.0.1:9"]\n'
FILES = '[tls]\ncertificate = "files"\ncert_file = "server.pem"\nkey_file = "server.key"\n'

Live = Callable[..., LiveServer]


@pytest.fixture(autouse=True)
def on_a_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever the tests run."""
    monkeypatch.setattr("valija.admin.check_data.filesystem_of", lambda folder: "ext4")


@pytest.fixture(autouse=True)
def free_ports(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever else this machine serves."""
    monkeypatch.setattr("valija.admin.check_ports.bind_error", lambda endpoint: 0)


@pytest.fixture(autouse=True)
def one_address(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever addresses this machine has."""
    monkeypatch.setattr("valija.machine.source_addresses", lambda: ["203.0.113.7"])


@pytest.fixture
def dns() -> Iterator[FakeDns]:
    with FakeDns(dict(SOUND)) as server:
        yield server


def of_topic(answer: Any, topic: str) -> list[tuple[str, str]]:
    return [(each["grade"], each["text"]) for each in answer["findings"] if each["topic"] == topic]


def test_a_sound_server_is_status_0(tmp_path: Path) -> None:
    answer = Here(tmp_path, more=NO_NAME_SERVER).json("check")
    assert answer["ok"] is True
    topics = {finding["topic"] for finding in answer["findings"]}
    assert topics >= {
        "configuration",
        "data",
        "clock",
        "limits",
        "ports",
        "certificate",
        "logins",
        "dkim",
        "relay",
        "sending",
        "dns",
    }
    assert set(answer) == {"ok", "findings", "relay"}
    assert {key for finding in answer["findings"] for key in finding} == {"grade", "topic", "text", "remedy"}
    assert answer["relay"][-1] == {
        "listener": "submissions",
        "clients": "all",
        "login": "a user's",
        "may_send_to": "anywhere",
        "rule": "a login",
    }
    assert not (tmp_path / "data").exists()


def test_people_read_a_page_by_topic(tmp_path: Path) -> None:
    result = Here(tmp_path, more=NO_NAME_SERVER).run("check")
    assert result.exit_code == 0
    assert "\nrelay\n  ok       nobody outside can relay without a login" in result.stdout
    assert "smtpd        127.0.0.0/8  none      anywhere     mynetworks 127.0.0.0/8\n" in result.stdout
    assert "\x1b" not in result.stdout
    assert result.stdout.splitlines()[-1].endswith(" ok")


def test_the_dns_is_asked(tmp_path: Path, dns: FakeDns) -> None:
    answer = Here(tmp_path, more=f'[dns]\nnameservers = ["{dns.nameserver}"]\n').json("check")
    assert ("ok", "mail.example.org has 203.0.113.7, 2001:db8::7") in of_topic(answer, "host")
    assert of_topic(answer, "mx") == [("ok", "mail for example.org is led here")]
    assert of_topic(answer, "dmarc") == [("ok", "example.org has a DMARC policy: p=reject")]


def test_a_failure_in_the_dns_is_status_1(tmp_path: Path, dns: FakeDns) -> None:
    dns.publish("example.org", ["MX 0 ."])
    result = Here(tmp_path, more=f'[dns]\nnameservers = ["{dns.nameserver}"]\n').run("check")
    assert result.exit_code == 1
    assert "mx\n  FAILURE  example.org publishes a null MX" in result.stdout


def test_offline_nobody_is_asked(tmp_path: Path, dns: FakeDns) -> None:
    answer = Here(tmp_path, more=f'[dns]\nnameservers = ["{dns.nameserver}"]\n').json("check", "--offline")
    assert {each["topic"] for each in answer["findings"]}.isdisjoint({"dns", "host", "mx", "spf", "reverse"})
    assert dns.questions == []


def test_a_dead_name_server_holds_up_nobody_for_long(tmp_path: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as deaf:
        deaf.bind((HOST, 0))
        began = time.monotonic()
        answer = Here(tmp_path, more=f'[dns]\nnameservers = ["{HOST}:{deaf.getsockname()[1]}"]\n').json("check")
    assert time.monotonic() - began < 15
    ((grade, text),) = of_topic(answer, "dns")
    assert grade == "warning"
    assert "out of reach" in text


def test_offline_it_is_there_at_once(tmp_path: Path) -> None:
    here = Here(tmp_path)
    assert processor_time(lambda: here.program("check", "--offline"), times=3) < 0.7


@pytest.mark.parametrize(("environment", "styled"), [({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)])
def test_a_terminal_gets_colours(tmp_path: Path, environment: dict[str, str], styled: bool) -> None:
    here = Here(tmp_path)
    master, terminal = os.openpty()
    command = [str(VALIJA), "check", "--offline", "-c", str(here.configuration)]
    plain = {key: value for key, value in os.environ.items() if key not in ("NO_COLOR", "TERM")}
    child = subprocess.Popen(
        command, stdout=terminal, stderr=subprocess.DEVNULL, env=plain | {"TERM": "xterm"} | environment
    )
    os.close(terminal)
    shown = b""
    while piece := _read(master):
        shown += piece
    child.wait(30)
    os.close(master)
    assert (b"\x1b[32mok" in shown) == styled
    assert (b"  ok     " in shown) != styled


def _read(master: int) -> bytes:
    try:
        return os.read(master, 65536)
    except OSError:  # the terminal's other end is closed
        return b""


def test_a_refused_configuration_is_status_1_in_json_too(here: Here) -> None:
    here.configuration.write_text('user = "a b"\nmynetworks = ["0.0.0.0/0"]')
    result = here.run("check", "--json")
    assert result.exit_code == 1
    answer = msgspec.json.decode(result.stdout)
    assert answer["ok"] is False
    assert [finding["grade"] for finding in answer["findings"]] == ["failure", "failure"]
    assert 'mynetworks = "0.0.0.0/0"' in result.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="the user matters where privileges are dropped")
def test_a_missing_user_is_a_failure(tmp_path: Path) -> None:
    result = Here(tmp_path, user="no-such-user", more=NO_NAME_SERVER).run("check")
    assert result.exit_code == 1
    assert "user\n  FAILURE  there is no user 'no-such-user'" in result.stdout


def test_a_missing_certificate_is_a_failure(tmp_path: Path) -> None:
    more = f'{NO_NAME_SERVER}[tls]\ncertificate = "files"\ncert_file = "cert.pem"\nkey_file = "key.pem"\n'
    result = Here(tmp_path, more=more).run("check")
    assert result.exit_code == 1
    assert f'FAILURE  [tls] cert_file = "{tmp_path / "cert.pem"}": it cannot be read' in result.stdout
    assert f'FAILURE  [tls] key_file = "{tmp_path / "key.pem"}": it cannot be read' in result.stdout
    assert "valija: 2 of " in result.stderr


@pytest.mark.parametrize(
    ("names", "days", "words"),
    [
        (["other.example.org"], (-1, 90), "the certificate is for other.example.org, not for mail.example.org"),
        (["example.org"], (-1, 90), "the certificate is for example.org, not for mail.example.org"),
        (["mail.example.org"], (-30, -1), "the certificate expired on "),
        (["mail.example.org"], (2, 90), "the certificate is not valid before "),
    ],
)
def test_a_certificate_of_another_name_or_time_is_a_failure(
    tmp_path: Path, names: list[str], days: tuple[float, float], words: str
) -> None:
    CertificateAuthority().issue(*names, days=days).write(tmp_path)
    result = Here(tmp_path, more=NO_NAME_SERVER + FILES).run("check")
    assert result.exit_code == 1
    assert f'FAILURE  [tls] cert_file = "{tmp_path / "server.pem"}": {words}' in result.stdout
    assert "server.pem is for" not in result.stdout
    assert result.stderr.endswith("findings is a failure\n")


@pytest.mark.parametrize("name", ["mail.example.org", "*.example.org"])
def test_a_certificate_for_the_host_is_fine(tmp_path: Path, name: str) -> None:
    CertificateAuthority().issue(name).write(tmp_path)
    result = Here(tmp_path, more=NO_NAME_SERVER + FILES).run("check")
    assert result.exit_code == 0
    assert f"ok       {tmp_path / 'server.pem'} is for {name}, valid until" in result.stdout


def test_a_chain_with_a_gap_is_a_warning(tmp_path: Path) -> None:
    authority = CertificateAuthority()
    chain, _ = authority.issue("mail.example.org").write(tmp_path)
    chain.write_bytes(chain.read_bytes() + CertificateAuthority("Other").pem)
    result = Here(tmp_path, more=NO_NAME_SERVER + FILES).run("check")
    assert result.exit_code == 0
    assert f'WARNING  [tls] cert_file = "{chain}": its certificate number 2 did not issue' in result.stdout


@pytest.mark.parametrize("inside", ["", "/data"])
def test_a_data_dir_that_is_no_folder_is_a_failure(tmp_path: Path, inside: str) -> None:
    here = Here(tmp_path, more=NO_NAME_SERVER)
    file = tmp_path / "file"
    file.touch()
    here.configuration.write_text(here.configuration.read_text().replace(str(here.data_dir), f"{file}{inside}"))
    result = here.run("check")
    assert result.exit_code == 1
    assert f'data\n  FAILURE  data_dir = "{file}{inside}": {file} is not a folder\n' in result.stdout


def test_dkim_keys_that_lie_in_no_folder_are_a_failure(tmp_path: Path) -> None:
    here = Here(tmp_path, more=NO_NAME_SERVER)
    here.data_dir.mkdir()
    (here.data_dir / "dkim").touch()
    result = here.run("check")
    assert result.exit_code == 1
    assert f"FAILURE  DKIM folder {here.data_dir / 'dkim'}: it is not a folder: move it away" in result.stdout


@pytest.mark.skipif(os.geteuid() != 0, reason="only root reads what the service's user cannot")
def test_what_only_root_can_read_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("valija.admin.check_machine.unreadable_code", lambda account: None)
    trusted = CertificateAuthority().write_root(tmp_path / "ca.pem")
    here = Here(tmp_path, user="nobody", more=f'{NO_NAME_SERVER}[smtp]\ntls_ca_file = "ca.pem"\n')
    let_all_in(tmp_path)
    trusted.chmod(0o600)
    here.configuration.chmod(0o600)
    told = here.run("check").stdout
    assert f"ok       {here.configuration} is for root alone: the root helper reads it again" in told
    assert f"FAILURE  [smtp] tls_ca_file = \"{trusted}\": user 'nobody' cannot read {trusted}" in told
    trusted.chmod(0o644)
    here.configuration.chmod(0o644)
    told = here.run("check").stdout
    assert "cannot read" not in told
    assert "root helper" not in told


@pytest.mark.parametrize(
    ("settings", "grade", "words"),
    [
        ("", "ok", "mail for other domains goes to the MX hosts of each, encrypted wherever the other side can"),
        ('relayhost = "[r.example]:587"', "ok", "mail for other domains goes to [r.example]:587, encrypted wherever"),
        ('relayhost = "r.example"\ntls_security_level = "secure"', "ok", "goes to r.example, always encrypted, to"),
        ('tls_security_level = "none"', "warning", "never encrypted"),
        ('tls_security_level = "dane"', "ok", "encrypted wherever the other side can, and to its TLSA records"),
        (
            'relayhost = "[r.example]:587"\nrelayhost_login = "w"\n'
            '[[smtp.login]]\nname = "w"\nuser = "u"\npassword_file = "p"',
            "ok",
            "goes to [r.example]:587, always encrypted, to hosts with a trusted certificate for their name",
        ),
    ],
)
def test_the_way_out_is_told(settings: str, grade: str, words: str) -> None:
    told = sending(config(f"[smtp]\n{settings}"))
    assert told.grade == grade
    assert words in told.text


def test_dkim_keys_are_told_and_a_bad_one_is_a_failure(tmp_path: Path) -> None:
    here = Here(tmp_path, more=NO_NAME_SERVER)
    here.json("dkim", "create", "example.org", "--selector", "s1", "--kind", "ed25519")
    assert "ok       mail of example.org is signed by s1" in here.run("check").stdout
    key = here.data_dir / "dkim" / "example.org" / "s1.pem"
    key.write_text("no key")
    result = here.run("check")
    assert result.exit_code == 1
    assert f"FAILURE  DKIM key {key}: no private key" in result.stdout


def config(text: str) -> Any:
    return parse(text, "valija.toml", Path("/"), FACTS)


def test_a_domain_whose_mail_is_not_signed_is_told(tmp_path: Path) -> None:
    assert of_topic(Here(tmp_path, more=NO_NAME_SERVER).json("check"), "dkim") == [
        ("warning", "mail of example.org is not signed: large providers distrust it")
    ]


# The real thing: a server that runs, and people who look


@pytest.fixture
def real(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()


def asked(server: LiveServer, *arguments: str) -> Any:
    done = server.valija("check", "--offline", "--json", *arguments)
    return msgspec.json.decode(done.stdout)


def test_a_server_that_runs_is_known_by_its_control_socket(real: None, live: Live) -> None:
    server = live()
    ((grade, text),) = of_topic(asked(server), "ports")
    assert grade == "ok"
    assert text.endswith(f": served by the running server (process {server.pids()[0]})")
    server.stop()
    ((grade, text),) = of_topic(asked(server), "ports")
    assert (grade, text[-6:]) == ("ok", ": free")


def test_a_port_of_another_program_is_status_1_and_the_start_is_refused(real: None, live: Live) -> None:
    server = live()
    server.stop()
    with socket.create_server((HOST, server.smtpd)):
        done = server.valija("check", "--offline")
        assert done.returncode == 1
        assert f"FAILURE  smtpd {HOST}:{server.smtpd}: " in done.stdout
        assert f"(process {os.getpid()}) listens there" in done.stdout
        assert server.valija("serve").returncode == 1


@pytest.mark.drops_privileges
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become others")
def test_others_are_told_what_they_cannot_know(real: None, live: Live) -> None:
    server = live({"submission": {"listen": [f"{HOST}:{free_port()}"]}})
    games = pwd.getpwnam("games")
    done = subprocess.run(
        [VALIJA, "check", "--offline", "--json", "-c", server.configuration],
        capture_output=True, text=True, timeout=30, check=False, user=games.pw_uid, group=games.pw_gid, extra_groups=[],
    )  # fmt: skip
    answer = msgspec.json.decode(done.stdout)
    assert ("unknown", f"{server.data_dir} is nobody's: started by you, the server could not use it") in of_topic(
        answer, "data"
    )
    assert {grade for grade, _ in of_topic(answer, "ports")} == {"unknown"}
    assert {grade for grade, _ in of_topic(answer, "dkim")} == {"unknown"}
    assert done.returncode == 0
