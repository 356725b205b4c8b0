"""valija send: real conversations with the server itself, from the command line, and what is wrong usage."""

import json
import os
import pty
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tests.interop.postfix import DOMAIN, Postfix, need_postfix
from tests.live import HOST, VALIJA, LiveServer
from valija.cli.main import cli
from valija.cli.send import VARIABLE
from valija.client.order import Order, SendOutcome

ALICE = "alice@example.org"
PASSWORD = "correct horse battery"


@pytest.fixture(scope="module")
def server() -> Iterator[LiveServer]:
    with LiveServer({"mynetworks": []}) as server:
        server.add_user(ALICE, PASSWORD)
        yield server


def send(*arguments: str, text: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [VALIJA, "send", *arguments],
        input=text,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=os.environ | environment,
    )
    assert PASSWORD not in done.stdout + done.stderr
    return done


def wrong(*arguments: str, text: str = "") -> str:
    result: Result = CliRunner().invoke(cli, ["send", *arguments], input=text)
    assert result.exit_code == 2, result.output
    return result.stderr


def as_alice(server: LiveServer, *more: str) -> tuple[str, ...]:
    where = ("--server", f"{HOST}:{server.submission}", "--submission", "--insecure")
    return (*where, "--user", ALICE, "--password-stdin", "--to", ALICE, *more)


@pytest.mark.parametrize("mechanism", ["", "PLAIN", "login", "SCRAM-SHA-256", "SCRAM-SHA-256-PLUS"])
def test_every_mechanism_of_a_password(server: LiveServer, mechanism: str) -> None:
    chosen = ("--mechanism", mechanism) if mechanism else ()
    done = send(*as_alice(server, *chosen), text=f"{PASSWORD}\n")
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"C: AUTH {mechanism.upper() or 'SCRAM-SHA-256-PLUS'}" in done.stdout
    assert "S: 235 2.7.0 Authentication successful\n" in done.stdout
    assert "\n-- TLSv1.3, TLS_" in done.stdout
    assert "NOT accepted: self-signed certificate\n" in done.stdout


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256-PLUS"])
def test_a_wrong_password(server: LiveServer, mechanism: str) -> None:
    done = send(*as_alice(server, "--mechanism", mechanism), text="wrong password\n")
    assert done.returncode == 1
    assert "valija: the login is refused: 535 5.7.8" in done.stderr
    assert "wrong password" not in done.stdout + done.stderr
    assert "MAIL FROM" not in done.stdout


def test_submissions_and_the_variable(server: LiveServer) -> None:
    where = ("--server", f"{HOST}:{server.submissions}", "--submissions", "--insecure")
    done = send(*where, "--user", ALICE, "--to", ALICE, "--json", **{VARIABLE: PASSWORD})
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert (answer["accepted"], answer["mode"], answer["mechanism"]) == (True, "submissions", "SCRAM-SHA-256-PLUS")
    assert answer["tls"]["version"] == "TLSv1.3"
    assert answer["certificate"]["names"] == ["mail.example.org"]
    assert answer["certificate"]["why_not"] == "self-signed certificate"
    assert answer["recipients"][0]["reply"].startswith("250 2.0.0 Ok: queued as ")
    assert answer["conversation"][-1] == {"who": "server", "text": "221 2.0.0 Bye"}


def test_a_bad_certificate_ends_it_before_the_login(server: LiveServer) -> None:
    arguments = [word for word in as_alice(server) if word != "--insecure"]
    done = send(*arguments, text=f"{PASSWORD}\n")
    assert done.returncode == 1
    assert "valija: the certificate is not accepted: self-signed certificate; --insecure" in done.stderr
    assert "AUTH " not in done.stdout.replace("250 AUTH", "")


def test_a_stranger_between_servers(server: LiveServer, tmp_path: Path) -> None:
    file = tmp_path / "message"
    file.write_bytes(b"From: bob@example.net\nSubject: from a file\n\n.a dot first\n")
    where = ("--server", f"{HOST}:{server.smtpd}", "--from", "bob@example.net")
    done = send(*where, "--to", ALICE, "--file", str(file))
    assert done.returncode == 0, done.stderr
    assert "C: ..a dot first\nC: .\nS: 250 2.0.0 Ok: queued as " in done.stdout
    server.wait_for_log(r"recipient=alice@example\.org outcome=delivered")
    folder = server.data_dir / "mail" / "example.org" / "alice" / "new"
    assert any(b"\n.a dot first\n" in path.read_bytes().replace(b"\r\n", b"\n") for path in folder.iterdir())
    refused = send(*where, "--to", "victim@remote.example", "--to", ALICE, "--quit-after", "rcpt")
    assert refused.returncode == 1
    assert "valija: victim@remote.example: 554 5.7.1" in refused.stderr


def test_the_message_from_standard_input(server: LiveServer) -> None:
    where = ("--server", f"{HOST}:{server.smtpd}", "--from", "<>", "--to", ALICE)
    assert "C: MAIL FROM:<> " in send(*where, "--file", "-", text="Subject: x\n\nHello\n").stdout
    bare = send(*where, "--file", "-", text="Subject: x\n\na\rb\n")
    assert bare.returncode == 1
    assert "line 3 holds a CR alone" in bare.stderr


def test_a_password_is_asked_for_on_a_terminal(server: LiveServer) -> None:
    ours, theirs = pty.openpty()
    try:
        arguments = [word for word in as_alice(server, "--quit-after", "auth") if word != "--password-stdin"]
        running = subprocess.Popen(
            [VALIJA, "send", *arguments],
            stdin=theirs,
            stdout=subprocess.PIPE,
            stderr=theirs,
            text=True,
            start_new_session=True,
        )
        shown = b""
        while b"Password" not in shown:
            shown += os.read(ours, 1024)
        os.write(ours, f"{PASSWORD}\n".encode())
        told, _ = running.communicate(timeout=30)
    finally:
        os.close(theirs)
        os.close(ours)
    assert running.returncode == 0
    assert PASSWORD not in told


def test_wrong_usage() -> None:
    at = ("--server", "127.0.0.1")
    assert "--to" in wrong(*at, "--from", "a@example.org")
    assert "--from" in wrong(*at, "--to", ALICE)
    assert "is no HOST" in wrong("--server", "127.0.0.1:smtp", "--to", ALICE)
    assert "is no HOST" in wrong("--server", "[::1]:99999", "--to", ALICE)
    assert "makes no sense" in wrong(*at, "--submissions", "--tls", "none", "--quit-after", "ehlo")
    assert "name the user" in wrong(*at, "--mechanism", "PLAIN", "--quit-after", "ehlo")
    assert "is no address" in wrong(*at, "--from", "a@b", "--to", "c@d>\r\nRSET")
    assert VARIABLE in wrong(*at, "--user", ALICE, "--to", ALICE)
    assert "either the message or the password" in wrong(
        *at, "--user", ALICE, "--to", ALICE, "--password-stdin", "--file", "-", text="x\n"
    )
    assert "--server" in wrong("--to", ALICE)


def test_there_is_no_option_for_a_password() -> None:
    """Every user of the machine can read the arguments of a program."""
    parameters = cli.commands["send"].params
    taking = [option for parameter in parameters for option in parameter.opts if "passw" in option or "token" in option]
    assert taking == ["--password-stdin"]


@pytest.mark.parametrize(
    ("arguments", "port", "tls"),
    [
        ((), 25, "may"),
        (("--submission",), 587, "required"),
        (("--submissions",), 465, "required"),
        (("--smtp", "--tls", "required"), 25, "required"),
    ],
)
def test_the_mode_and_the_port(
    arguments: tuple[str, ...], port: int, tls: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = ordered(monkeypatch, "--server", "mx.example", *arguments)
    assert (seen.port, seen.tls, seen.name) == (port, tls, "mx.example")


def test_the_port_tells_the_mode(monkeypatch: pytest.MonkeyPatch) -> None:
    modes = [ordered(monkeypatch, "--server", f"[::1]:{port}").mode for port in (25, 587, 465, 2525)]
    assert modes == ["smtp", "submission", "submissions", "smtp"]


def ordered(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> Order:
    """Return the order that arguments come to."""
    seen: list[Order] = []

    async def converse(order: Order, record: object) -> SendOutcome:
        seen.append(order)
        return SendOutcome(accepted=True)

    monkeypatch.setattr("valija.client.conversation.converse", converse)
    result = CliRunner().invoke(cli, ["send", *arguments, "--quit-after", "ehlo"])
    assert result.exit_code == 0, result.output
    return seen[0]


@pytest.mark.interop
def test_real_postfix_is_spoken_to() -> None:
    need_postfix()
    with Postfix({}) as postfix:
        done = send("--server", f"{HOST}:{postfix.port}", "--from", "a@example.net", "--to", f"bob@{DOMAIN}")
        assert done.returncode == 0, done.stdout + done.stderr
        assert b"A test of valija send" in postfix.wait_for_mail()
