"""valija probe on the command line: what it asks for first, and how it ends."""

import json
import socket
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tests.ports import free_port
from tests.probe.test_weak_servers import Lab
from tests.probe.weak import NAME, WeakServer
from valija.cli.main import cli
from valija.probe.names import Names
from valija.probe.probing import probe_port
from valija.probe.target import ROLES, Role, Target

TARGET_OPTIONS = ("--port-submission", "0", "--port-submissions", "0", "--name", NAME, "--domain", "example.org")


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["probe", *arguments])


def at(server: WeakServer, *arguments: str) -> Result:
    return run("127.0.0.1", "--port-smtp", str(server.port), *TARGET_OPTIONS, *arguments)


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path)


@pytest.mark.parametrize("host", ["192.0.2.1", "2001:db8::1"])
def test_another_machine_needs_a_yes(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "create_connection", lambda *_: pytest.fail("it connected"))
    result = run(host)
    assert result.exit_code == 2
    assert "--yes" in result.stderr


def test_usage() -> None:
    for arguments in (
        ("--source", "here"),
        ("--recipient", "alice"),
        ("--outside", "a\nb@c"),
        ("--port-smtp", "70000"),
    ):
        assert run("127.0.0.1", *arguments).exit_code == 2
    off = [word for role in ("smtp", "submission", "submissions") for word in (f"--port-{role}", "0")]
    assert run("127.0.0.1", *off).exit_code == 2
    assert run("nowhere.invalid", "--yes").exit_code == 1


def test_nothing_answers() -> None:
    result = run("127.0.0.1", "--port-smtp", str(free_port()), *TARGET_OPTIONS)
    assert result.exit_code == 1
    assert "nothing answers at 127.0.0.1: Connection refused" in result.stderr


def test_a_good_server(lab: Lab) -> None:
    with WeakServer((), lab.context()) as server:
        result = at(server, "--ca-file", lab.ca_file)
    assert result.exit_code == 0, result.output
    assert "  good       no relaying: 30 ways of it are refused\n" in result.stdout
    assert "not tested 12 tests: it takes a message to find out" in result.stdout
    assert " bad" not in result.stdout


def test_a_bad_server(lab: Lab) -> None:
    with WeakServer({"relay", "auth"}, lab.context()) as server:
        result = at(server, "--ca-file", lab.ca_file, "--source", "127.0.0.9")
        answer = json.loads(at(server, "--json", "--source", "127.0.0.9").stdout)
    assert result.exit_code == 1
    assert "  BAD        no relaying: a stranger's mail to elsewhere\n             C: MAIL FROM" in result.stdout
    assert result.stderr.startswith("valija: 20 of ")
    assert (answer["host"], answer["address"], answer["ok"]) == ("127.0.0.1", "127.0.0.1", False)
    first = next(each for each in answer["tests"] if each["verdict"] == "bad")
    assert set(first) == {"id", "what", "port", "verdict", "evidence", "remedy"}


def test_from_this_machine_relaying_proves_nothing(lab: Lab) -> None:
    with WeakServer({"relay"}, lab.context()) as server:
        result = at(server, "--ca-file", lab.ca_file)
    assert result.exit_code == 0
    assert "it may rightly trust this machine" in result.stdout


def test_every_test_is_in_the_reference(lab: Lab) -> None:
    """Scripts rely on the ids: docs/commands.md names each."""
    text = (Path(__file__).parent.parent.parent / "docs" / "commands.md").read_text()
    with (
        WeakServer((), lab.context()) as smtp,
        WeakServer((), lab.context(), users=True) as submission,
        WeakServer((), lab.context(), tls_first=True) as submissions,
    ):
        ports: dict[Role, int] = {"smtp": smtp.port, "submission": submission.port, "submissions": submissions.port}
        for role in ROLES:
            target = Target(host="127.0.0.1", address="127.0.0.1", name=NAME, ehlo="me", ports=ports)
            for judgement in probe_port(target, role, lookup=lambda address, name: Names(), now=0.0):
                name = judgement.id.removeprefix(f"{role}-")
                family = next((each for each in ("relay-", "end-of-data-") if name.startswith(each)), "")
                assert f"`{name}`" in text or (family and f"`{family}...`" in text), judgement.id
