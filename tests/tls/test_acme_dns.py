"""TXT records by a hook command and by signed updates, and how their failures are told (RFC 8555, 2136, 8945)."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakedns import FakeDns
from tests.local_programs import wait_until
from tests.updates import SECRET, UpdatedDns
from valija.mail.endpoint import Endpoint
from valija.tls.acme_dns import call_hook, hooked_records, read_key, updated_records
from valija.tls.acme_task import ChallengeUnready
from valija.tls.options import TlsOptions

DOMAIN, VALUE = "example.org", "gfj9Xq...Rg85nM"


class Hook:
    """A command that notes how it was called, and does what `body` says."""

    def __init__(self, folder: Path, body: str = "") -> None:
        self.notes = folder / "notes"
        self.path = folder / "hook"
        self.path.write_text(f'#!/bin/sh\nprintf "%s\\n" "$*" >>"{self.notes}"\n{body}\n')
        self.path.chmod(0o755)

    @property
    def options(self) -> TlsOptions:
        return TlsOptions(acme_dns_hook=(str(self.path), "zone1"), acme_dns_wait=0.0)

    @property
    def calls(self) -> list[str]:
        return self.notes.read_text().splitlines()


def test_hook_is_called_to_publish_and_to_clean_up(tmp_path: Path) -> None:
    hook, notes = Hook(tmp_path), list[str]()
    with hooked_records(hook.options, [(DOMAIN, VALUE), (DOMAIN, "other")], notes):
        assert len(hook.calls) == 2
    record = f"{DOMAIN} _acme-challenge.{DOMAIN}"
    assert hook.calls == [
        f"zone1 {action} {record} {value}" for action in ("present", "cleanup") for value in (VALUE, "other")
    ]
    assert notes == []


def test_hook_gets_no_shell(tmp_path: Path) -> None:
    hook = Hook(tmp_path)
    with hooked_records(hook.options, [("$(touch pwned);", "a b")], []):
        pass
    assert hook.calls[0] == "zone1 present $(touch pwned); _acme-challenge.$(touch pwned); a b"
    assert not list(tmp_path.glob("pwned"))


def test_hook_that_fails_is_quoted_and_still_cleaned_up_after(tmp_path: Path) -> None:
    hook = Hook(tmp_path, '[ "$2" = cleanup ] || { echo "no such zone" >&2; exit 3; }')
    publishing = hooked_records(hook.options, [(DOMAIN, VALUE)], [])
    with pytest.raises(ChallengeUnready, match="exit status 3: no such zone"), publishing:
        pytest.fail("there is no record")
    assert [call.split()[1] for call in hook.calls] == ["present", "cleanup"]


def test_clean_up_that_fails_is_only_noted(tmp_path: Path) -> None:
    hook, notes = Hook(tmp_path, '[ "$2" = present ]'), list[str]()
    with hooked_records(hook.options, [(DOMAIN, VALUE)], notes):
        pass
    assert len(notes) == 1
    assert "cleanup" in notes[0]


def test_hook_that_hangs_is_ended_with_its_children(tmp_path: Path) -> None:
    hook = Hook(tmp_path, f"sleep 600 & echo $! >{tmp_path}/child; wait")
    with pytest.raises(ChallengeUnready, match="longer than"):
        call_hook(hook.options.acme_dns_hook, "present", DOMAIN, VALUE, patience=0.5)
    child = (tmp_path / "child").read_text().strip()
    stat = Path(f"/proc/{child}/stat")
    wait_until(lambda: not stat.exists() or stat.read_text().split()[2] == "Z", 10, "the end of the hook's child")


@pytest.mark.parametrize("path", ["/nonexistent/hook", "/etc/hostname"])
def test_hook_that_cannot_be_run(path: str) -> None:
    with pytest.raises(ChallengeUnready, match=path):
        call_hook((path,), "present", DOMAIN, VALUE)


# RFC 2136


@pytest.fixture
def dns() -> Iterator[FakeDns]:
    with FakeDns({DOMAIN: ["A 127.0.0.1"]}) as dns:
        yield dns


def options_for(server: UpdatedDns, key_file: str) -> TlsOptions:
    return TlsOptions(acme_dns_server=Endpoint.parse(server.endpoint), acme_dns_key_file=key_file, acme_dns_wait=0.0)


def test_signed_updates(dns: FakeDns, tmp_path: Path) -> None:
    with UpdatedDns(dns, DOMAIN) as server:
        options, notes = options_for(server, server.key_file(tmp_path)), list[str]()
        records = [(f"mail.{DOMAIN}", VALUE), (DOMAIN, "one"), (DOMAIN, "two")]
        with updated_records(options, records, notes):
            assert dns.zone[f"_acme-challenge.mail.{DOMAIN}"] == [f'TXT "{VALUE}"']
            assert dns.zone[f"_acme-challenge.{DOMAIN}"] == ['TXT "one"', 'TXT "two"'], "a wildcard beside its domain"
        assert f"_acme-challenge.{DOMAIN}" not in dns.zone
        assert [action for action, _, _ in server.changes] == ["add"] * 3 + ["delete"] * 3
        assert notes == []


@pytest.mark.parametrize(
    ("secret", "zone", "refuses", "why"),
    [
        ("d3Jvbmc=", DOMAIN, "", "cannot be used"),
        (SECRET, "example.net", "", "has no zone"),
        (SECRET, DOMAIN, "REFUSED", "refuses the update of _acme-challenge.example.org: REFUSED"),
    ],
)
def test_updates_that_are_not_taken(
    dns: FakeDns, tmp_path: Path, secret: str, zone: str, refuses: str, why: str
) -> None:
    with UpdatedDns(dns, zone, refuses) as server:
        options = options_for(server, server.key_file(tmp_path, secret))
        with pytest.raises(ChallengeUnready, match=why), updated_records(options, [(DOMAIN, VALUE)], []):
            pytest.fail("there is no record")


def test_no_name_server_there() -> None:
    options = TlsOptions(acme_dns_server=Endpoint("127.0.0.1", 9), acme_dns_wait=0.0)
    publishing = updated_records(options, [(DOMAIN, VALUE)], [])
    with pytest.raises(ChallengeUnready, match=r"127\.0\.0\.1:9 cannot be used"), publishing:
        pytest.fail("there is no record")


@pytest.mark.parametrize(
    "text", ["", "nonsense", 'key "a" { algorithm hmac-sha256; };', 'key "a" { algorithm rot13; secret "Zm9v"; };']
)
def test_key_files_that_are_none(tmp_path: Path, text: str) -> None:
    path = tmp_path / "tsig.key"
    path.write_text(text)
    with pytest.raises(ChallengeUnready, match=r"acme_dns_key_file = .*tsig\.key"):
        read_key(str(path))


@pytest.mark.parametrize(
    "text",
    [
        f'key "a.example" {{ algorithm hmac-sha512; secret "{SECRET}"; }};',
        f"key a.example {{\n  algorithm HMAC-SHA512;\n  secret {SECRET};\n}};\n",
    ],
)
def test_notations_of_keys(tmp_path: Path, text: str) -> None:
    path = tmp_path / "tsig.key"
    path.write_text(text)
    key = read_key(str(path))
    assert key
    assert str(key.algorithm) == "hmac-sha512."
    assert str(key.name) == "a.example."
