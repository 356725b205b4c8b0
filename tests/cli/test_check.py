"""valija check: what it finds on this machine and in the DNS, and when that is status 1."""

import asyncio
import os
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.ca import CertificateAuthority
from tests.cli.here import Here
from tests.config.facts import FACTS
from valija.admin.check_dns import check_dns
from valija.admin.check_machine import relay_set, sending
from valija.admin.findings import Finding
from valija.config import parse
from valija.dns.resolver import Answer, MxRecord, RecordType, Status

NO_NAME_SERVER = '[dns]\nnameservers = ["127.0.0.1:9"]\n'
FILES = '[tls]\ncertificate = "files"\ncert_file = "server.pem"\nkey_file = "server.key"\n'


def test_a_sound_server_is_status_0(tmp_path: Path) -> None:
    answer = Here(tmp_path, more=NO_NAME_SERVER).json("check")
    assert answer["ok"] is True
    assert {finding["topic"] for finding in answer["findings"]} >= {"configuration", "certificate", "relay", "dns"}
    assert not (tmp_path / "data").exists()


def test_people_read_lines(tmp_path: Path) -> None:
    result = Here(tmp_path, more=NO_NAME_SERVER).run("check")
    assert result.exit_code == 0
    assert "smtpd: clients in 127.0.0.0/8, [::1]/128 may send anywhere, without a login" in result.stdout
    assert all(line.startswith(("ok ", "WARNING ", "FAILURE ")) for line in result.stdout.splitlines())


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
    assert "FAILURE user: there is no user 'no-such-user'" in result.stdout


def test_a_missing_certificate_is_a_failure(tmp_path: Path) -> None:
    more = f'{NO_NAME_SERVER}[tls]\ncertificate = "files"\ncert_file = "cert.pem"\nkey_file = "key.pem"\n'
    result = Here(tmp_path, more=more).run("check")
    assert result.exit_code == 1
    assert f'FAILURE certificate: [tls] cert_file = "{tmp_path / "cert.pem"}": it cannot be read' in result.stdout
    assert f'FAILURE certificate: [tls] key_file = "{tmp_path / "key.pem"}": it cannot be read' in result.stdout
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
    assert f'FAILURE certificate: [tls] cert_file = "{tmp_path / "server.pem"}": {words}' in result.stdout
    assert "ok      certificate" not in result.stdout
    assert result.stderr.endswith("findings is a failure\n")


@pytest.mark.parametrize("name", ["mail.example.org", "*.example.org"])
def test_a_certificate_for_the_host_is_fine(tmp_path: Path, name: str) -> None:
    CertificateAuthority().issue(name).write(tmp_path)
    result = Here(tmp_path, more=NO_NAME_SERVER + FILES).run("check")
    assert result.exit_code == 0
    assert f"ok      certificate: {tmp_path / 'server.pem'} is for {name}, valid until" in result.stdout


def test_a_chain_with_a_gap_is_a_warning(tmp_path: Path) -> None:
    authority = CertificateAuthority()
    chain, _ = authority.issue("mail.example.org").write(tmp_path)
    chain.write_bytes(chain.read_bytes() + CertificateAuthority("Other").pem)
    result = Here(tmp_path, more=NO_NAME_SERVER + FILES).run("check")
    assert result.exit_code == 0
    assert f'WARNING certificate: [tls] cert_file = "{chain}": its certificate number 2 did not issue' in result.stdout


@pytest.mark.parametrize("inside", ["", "/data"])
def test_a_data_dir_that_is_no_folder_is_a_failure(tmp_path: Path, inside: str) -> None:
    here = Here(tmp_path, more=NO_NAME_SERVER)
    file = tmp_path / "file"
    file.touch()
    here.configuration.write_text(here.configuration.read_text().replace(str(here.data_dir), f"{file}{inside}"))
    result = here.run("check")
    assert result.exit_code == 1
    assert f'FAILURE configuration: data_dir = "{file}{inside}": {file} is not a folder; ' in result.stdout


def test_dkim_keys_that_lie_in_no_folder_are_a_failure(tmp_path: Path) -> None:
    here = Here(tmp_path, more=NO_NAME_SERVER)
    here.data_dir.mkdir()
    (here.data_dir / "dkim").touch()
    result = here.run("check")
    assert result.exit_code == 1
    assert f"FAILURE dkim: DKIM folder {here.data_dir / 'dkim'}: it is not a folder: move it away" in result.stdout


@pytest.mark.skipif(os.geteuid() != 0, reason="only root reads what the service's user cannot")
def test_what_only_root_can_read_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("valija.admin.check_machine.unreadable_code", lambda account: None)
    trusted = CertificateAuthority().write_root(tmp_path / "ca.pem")
    here = Here(tmp_path, user="nobody", more=f'{NO_NAME_SERVER}[smtp]\ntls_ca_file = "ca.pem"\n')
    for part in (tmp_path, *tmp_path.parents[:-1]):
        part.chmod(part.stat().st_mode | 0o055)
    trusted.chmod(0o600)
    here.configuration.chmod(0o600)
    told = here.run("check").stdout
    assert f"WARNING user: {here.configuration}: user 'nobody' cannot read this file: a reload" in told
    assert f"FAILURE user: [smtp] tls_ca_file = \"{trusted}\": user 'nobody' cannot read {trusted}" in told
    trusted.chmod(0o644)
    here.configuration.chmod(0o644)
    told = here.run("check").stdout
    assert "cannot read" not in told


@pytest.mark.parametrize(
    ("settings", "grade", "words"),
    [
        ("", "ok", "mail for other domains goes to the MX hosts of each, encrypted wherever the other side can"),
        ('relayhost = "[r.example]:587"', "ok", "mail for other domains goes to [r.example]:587, encrypted wherever"),
        ('relayhost = "r.example"\ntls_security_level = "secure"', "ok", "goes to r.example, always encrypted, to"),
        ('tls_security_level = "none"', "warning", "never encrypted"),
    ],
)
def test_the_way_out_is_told(settings: str, grade: str, words: str) -> None:
    told = sending(config(f"[smtp]\n{settings}"))
    assert told.grade == grade
    assert words in told.text


def test_dkim_keys_are_told_and_a_bad_one_is_a_failure(tmp_path: Path) -> None:
    here = Here(tmp_path, more=NO_NAME_SERVER)
    here.json("dkim", "create", "example.org", "--selector", "s1", "--kind", "ed25519")
    assert "ok      dkim: mail of example.org is signed by s1" in here.run("check").stdout
    key = here.data_dir / "dkim" / "example.org" / "s1.pem"
    key.write_text("no key")
    result = here.run("check")
    assert result.exit_code == 1
    assert f"FAILURE dkim: DKIM key {key}: no private key" in result.stdout


def config(text: str) -> Any:
    return parse(text, "valija.toml", Path("/"), FACTS)


def test_the_relay_set_is_told_whole() -> None:
    told = [
        str(finding)
        for finding in relay_set(
            config('domains = ["a.example", "b.example"]\nmynetworks = ["10.9.0.0/16"]\n[submissions]\nlisten = []')
        )
    ]
    assert told == [
        "smtpd (0.0.0.0:25, [::]:25): anyone may send to a.example, b.example; nobody can log in",
        "smtpd: clients in 10.9.0.0/16 may send anywhere, without a login",
        "smtpd: everyone else gets 554 Relay access denied",
        "submission (0.0.0.0:587, [::]:587): users that log in, inside TLS, may send anywhere; nobody else may send",
    ]


def test_no_trusted_client_and_no_listener_are_said() -> None:
    assert "no client may send anywhere" in str(list(relay_set(config("mynetworks = []")))[1])
    off = "[smtpd]\nlisten = []\n[submission]\nlisten = []\n[submissions]\nlisten = []"
    (only,) = relay_set(config(off))
    assert only.grade == "warning"


class Zone:
    """A resolver that knows a few records and fails for names below `broken.`."""

    def __init__(self, records: dict[tuple[str, str], list[Any]]) -> None:
        self._records = records

    async def lookup(self, name: str, rtype: RecordType) -> Answer[Any]:
        if name.endswith(".broken"):
            return Answer(Status.FAILED, detail="SERVFAIL")
        records = self._records.get((name, rtype))
        return Answer(Status.FOUND, tuple(records)) if records else Answer(Status.NO_DATA)


class Silence:
    async def lookup(self, name: str, rtype: RecordType) -> Answer[Any]:
        await asyncio.Event().wait()
        raise AssertionError


def findings(text: str, zone: object) -> list[Finding]:
    return asyncio.run(check_dns(config(text), zone, lambda address: address == "192.0.2.7"))  # type: ignore[arg-type]  # a small one


GOOD: dict[tuple[str, str], list[Any]] = {
    ("mail.example.org", "A"): ["192.0.2.7"],
    ("7.2.0.192.in-addr.arpa", "PTR"): ["mail.example.org"],
    ("example.org", "MX"): [MxRecord(10, "mail.example.org")],
}
MINE = 'hostname = "mail.example.org"\ndomains = ["example.org"]'


def test_a_dns_without_fault() -> None:
    found = findings(MINE, Zone(GOOD))
    assert {finding.grade for finding in found} == {"ok"}
    assert [finding.text for finding in found] == [
        "mail.example.org has 192.0.2.7",
        "192.0.2.7 is mail.example.org, and back",
        "mail for example.org is led here",
    ]


@pytest.mark.parametrize(
    ("change", "text", "grade", "words"),
    [
        ({("mail.example.org", "A"): []}, MINE, "warning", "mail.example.org has no address"),
        ({("mail.example.org", "A"): ["192.0.2.99"]}, MINE, "warning", "none of the addresses"),
        ({("7.2.0.192.in-addr.arpa", "PTR"): []}, MINE, "warning", "192.0.2.7 has no reverse name"),
        ({("7.2.0.192.in-addr.arpa", "PTR"): ["host7.isp.example"]}, MINE, "warning", "does not lead back"),
        ({("7.2.0.192.in-addr.arpa", "PTR"): ["x.broken"]}, MINE, "warning", "does not lead back"),
        ({("example.org", "MX"): []}, MINE, "warning", "example.org has no MX record"),
        ({("example.org", "MX"): [MxRecord(0, "")]}, MINE, "failure", "publishes a null MX"),
        ({("example.org", "MX"): [MxRecord(5, "mx.example.net")]}, MINE, "warning", "led to mx.example.net, not here"),
        ({}, 'hostname = "mail.broken"', "warning", "mail.broken cannot be looked up: SERVFAIL"),
        ({}, 'hostname = "mail.example.org"\ndomains = ["d.broken"]', "warning", "MX records of d.broken cannot be"),
    ],
)
def test_what_is_wrong_in_the_dns(change: dict[tuple[str, str], list[Any]], text: str, grade: str, words: str) -> None:
    found = [finding for finding in findings(text, Zone(GOOD | change)) if finding.grade != "ok"]
    assert any(finding.grade == grade and words in finding.text for finding in found)
    assert {finding.grade for finding in found} <= {grade, "warning"}


RELAYHOST = f"{MINE}\n[smtp]\nrelayhost = "


@pytest.mark.parametrize(
    "written", ['"[mail.example.org]:587"', '"example.org"', '"[192.0.2.99]"', '"mail.example.org"']
)
def test_a_relayhost_that_can_be_found(written: str) -> None:
    text = RELAYHOST.replace("mail.example.org", "us.example.org") + written
    assert not [each for each in findings(text, Zone(GOOD)) if "relayhost" in each.text]


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ('"[nobody.example]:587"', "the relayhost nobody.example has no address; until that changes, mail for other"),
        ('"nobody.example"', "the relayhost nobody.example has no address"),
        ('"[relay.broken]"', "the relayhost relay.broken cannot be looked up: SERVFAIL"),
    ],
)
def test_a_relayhost_that_cannot_be_found_is_a_warning(written: str, words: str) -> None:
    (only,) = [each for each in findings(RELAYHOST + written, Zone(GOOD)) if "relayhost" in each.text]
    assert only.grade == "warning"
    assert words in only.text


def test_an_mx_host_that_is_this_server_under_another_name_leads_here() -> None:
    zone = Zone(GOOD | {("example.org", "MX"): [MxRecord(5, "mx.example.org")], ("mx.example.org", "A"): ["192.0.2.7"]})
    assert findings(MINE, zone)[-1].text == "mail for example.org is led here"


@pytest.mark.parametrize(("hostname", "grade"), [("localhost", "ok"), ("vm", "warning")])
def test_a_name_without_a_dot_is_neither_looked_up_nor_published(hostname: str, grade: str) -> None:
    first, second = findings(f'hostname = "{hostname}"\ndomains = ["none.example"]', Zone(GOOD))
    assert (first.grade, first.text) == (grade, f"no other server can find {hostname}: that name is not looked up")
    assert hostname not in second.remedy


def test_name_servers_that_are_silent_end_by_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("valija.admin.check_dns._PATIENCE", 0.05)
    (only,) = findings(MINE, Silence())
    assert (only.grade, only.text) == ("warning", "the name servers gave no answer within 0.05 s")
