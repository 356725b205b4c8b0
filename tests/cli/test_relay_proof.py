"""valija relay-proof: the proof, the table, and the answer for one address."""

import json
import smtplib
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.here import Here
from tests.live import LiveServer

NETWORKS = 'mynetworks = ["127.0.0.0/8", "10.9.0.0/16"]\n'


def test_the_proof_for_people(here: Here) -> None:
    lines = here.run("relay-proof").stdout.splitlines()
    assert lines[0] == "listener     clients      login     may send to  by"
    assert lines[1] == "smtpd        127.0.0.0/8  none      anywhere     mynetworks 127.0.0.0/8"
    assert "submission   all          none      nowhere" in lines
    assert lines[-1].startswith("proven over all IPv4 and IPv6 addresses, in ")


def test_the_proof_as_json(tmp_path: Path) -> None:
    answer = Here(tmp_path, more=NETWORKS).json("relay-proof")
    assert (answer["closed"], answer["leaks"]) == (True, [])
    assert set(answer) == {"closed", "leaks", "pieces", "relay", "stretches"}
    trusted = {"listener": "smtpd", "first": "10.9.0.0", "last": "10.9.255.255", "rule": "mynetworks 10.9.0.0/16"}
    assert trusted in answer["stretches"]
    assert answer["stretches"][0]["first"] == "0.0.0.0"


def test_one_address_that_is_trusted_is_no_open_relay(tmp_path: Path) -> None:
    answer = Here(tmp_path, more=NETWORKS).json("relay-proof", "--from", "::ffff:10.9.1.2")
    assert (answer["closed"], answer["from"], answer["mynetworks"]) == (True, "10.9.1.2", "10.9.0.0/16")
    first = answer["answers"][0]
    assert (first["listener"], first["login"], first["listen"]) == ("smtpd", False, ["0.0.0.0:25"])
    assert first["elsewhere"] == {"allowed": True, "rule": "mynetworks 10.9.0.0/16", "reply": ""}


def test_one_address_of_a_stranger(here: Here) -> None:
    answer = here.json("relay-proof", "--from", "2001:db8::9")
    assert answer["mynetworks"] is None
    smtpd, refused, user = answer["answers"][:3]
    assert smtpd["listen"] == ["[::]:25"]
    assert smtpd["hosted"] == {"allowed": True, "rule": "hosted example.org"}
    assert not smtpd["elsewhere"]["allowed"]
    assert smtpd["elsewhere"]["reply"].startswith("554 5.7.1 ")
    assert refused["elsewhere"]["reply"].startswith("530 5.7.0 ")
    assert (user["listener"], user["login"], user["elsewhere"]["allowed"]) == ("submission", True, True)
    told = here.run("relay-proof", "--from", "2001:db8::9").stdout
    assert told.startswith("2001:db8::9 lies in no range of mynetworks\n\n")
    assert "no: 554 5.7.1 <someone@outside.invalid>: Relay access denied\n" in told


def test_a_family_that_no_listener_has(tmp_path: Path) -> None:
    here = Here(tmp_path, more='[smtpd]\nlisten = ["127.0.0.1:25"]\n')
    assert "smtpd        not reached by it" in here.run("relay-proof", "--from", "::1").stdout


@pytest.mark.parametrize("text", ["", "mail.example.org", "192.0.2.0/24", "192.0.2.1:25"])
def test_what_is_no_address(here: Here, text: str) -> None:
    assert f"{text!r} is no IP address" in here.refused("relay-proof", "--from", text)


def test_an_open_relay_is_status_1_and_refused_before(tmp_path: Path) -> None:
    here = Here(tmp_path, more='mynetworks = ["0.0.0.0/0"]\n')
    assert 'mynetworks = "0.0.0.0/0": it is the whole internet' in here.refused("relay-proof")


def test_a_leak_is_status_1(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("valija.policy.relay_proof.openness", lambda network: "it is wide")
    result = here.run("relay-proof")
    assert result.exit_code == 1
    assert "valija: the relay is open:\nvalija: smtpd: anybody in 127.0.0.0/8 may relay" in result.stderr
    assert "proven" not in result.stdout
    assert here.run("relay-proof", "--from", "192.0.2.1").exit_code == 1
    assert here.run("check", "--offline").exit_code == 1


def test_every_listener_off(tmp_path: Path) -> None:
    off = "[smtpd]\nlisten = []\n[submission]\nlisten = []\n[submissions]\nlisten = []\n"
    assert Here(tmp_path, more=off).run("relay-proof").stdout == "every listener is off: nobody can send anything\n"


@pytest.mark.parametrize("trusted", [True, False])
def test_the_answer_is_what_the_running_server_does(live: Callable[..., LiveServer], trusted: bool) -> None:
    server = live({"mynetworks": ["127.0.0.0/8"] if trusted else []})
    told = json.loads(server.valija("relay-proof", "--from", "127.0.0.1", "--json").stdout)
    smtpd = told["answers"][0]["elsewhere"]
    with smtplib.SMTP("127.0.0.1", server.smtpd, timeout=20) as client:
        client.ehlo()
        client.mail("someone@example.net")
        code, reply = client.rcpt("someone@outside.invalid")
        client.rset()
    assert (code == 250) == smtpd["allowed"] == trusted
    assert trusted or smtpd["reply"] == f"{code} {reply.decode()}"
