"""What is found out: on machines that are folders, and from a DNS of the test's own."""

import asyncio
import time
from pathlib import Path

import pytest

from tests.ca import CertificateAuthority
from valija.dns.resolver import Answer, MxRecord, Status
from valija.setup.facts import Names, look_around, look_up, with_names

HOST = "mail.example.org"


def certbot(root: Path, folder: str, *names: str) -> Path:
    live = root / "etc/letsencrypt/live" / folder
    live.mkdir(parents=True)
    chain, key = CertificateAuthority().issue(*names).write(live)
    chain.rename(live / "fullchain.pem")
    key.rename(live / "privkey.pem")
    return live


def test_nothing_is_found_on_an_empty_machine(tmp_path: Path) -> None:
    machine = look_around(HOST, "no-such-user", tmp_path)
    assert (machine.certbot, machine.mailname, machine.has_user, machine.has_systemd) == (None, "", False, False)


def test_the_pair_that_certbot_calls_so(tmp_path: Path) -> None:
    certbot(tmp_path, "a.example", "a.example", HOST)
    live = certbot(tmp_path, HOST, HOST)
    certbot(tmp_path, "other.example", "other.example")
    found = look_around(HOST, "root", tmp_path).certbot
    assert found is not None
    assert (found.cert_file, found.key_file) == (str(live / "fullchain.pem"), str(live / "privkey.pem"))
    assert found.expires > time.time()


@pytest.mark.parametrize("name", [HOST, "*.example.org"])
def test_a_pair_that_names_the_host_is_as_good(tmp_path: Path, name: str) -> None:
    live = certbot(tmp_path, "example.org", "example.org", name)
    found = look_around(HOST, "root", tmp_path).certbot
    assert found is not None
    assert found.cert_file == str(live / "fullchain.pem")


def test_pairs_that_are_for_others_broken_or_half_are_not_taken(tmp_path: Path) -> None:
    certbot(tmp_path, "other.example", "other.example")
    (certbot(tmp_path, HOST, HOST) / "privkey.pem").unlink()
    (certbot(tmp_path, "broken", HOST) / "fullchain.pem").write_text("nonsense")
    (tmp_path / "etc/letsencrypt/live/README").write_text("This directory contains your keys and certificates.")
    assert look_around(HOST, "root", tmp_path).certbot is None


@pytest.mark.parametrize(("text", "name"), [("Example.ORG\n", "example.org"), ("", ""), ("not a name\n", "")])
def test_the_mail_name(tmp_path: Path, text: str, name: str) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/mailname").write_text(text)
    assert look_around(HOST, "root", tmp_path).mailname == name


def test_systemd_and_dovecot_are_seen(tmp_path: Path) -> None:
    (tmp_path / "run/systemd/system").mkdir(parents=True)
    (tmp_path / "run/dovecot").mkdir()
    (tmp_path / "run/dovecot/auth-client").touch()
    machine = look_around(HOST, "root", tmp_path)
    assert machine.has_systemd
    assert machine.has_dovecot


class Zone:
    """Answers from a table; what is not in it fails."""

    def __init__(self, records: dict[tuple[str, str], tuple[object, ...]]) -> None:
        self._records = records

    async def lookup(self, name: str, rtype: str) -> Answer[object]:
        found = self._records.get((name, rtype))
        if found is None:
            return Answer(Status.FAILED, detail="no answer")
        return Answer(Status.FOUND if found else Status.NO_DATA, found)


def test_the_dns_tells_addresses_and_mail_hosts() -> None:
    zone = Zone(
        {
            (HOST, "A"): ("192.0.2.7",),
            (HOST, "AAAA"): (),
            ("example.org", "MX"): (MxRecord(10, HOST),),
            ("a.example", "MX"): (),
        }
    )
    names = asyncio.run(look_up(HOST, ("example.org", "a.example", "b.example"), zone))  # type: ignore[arg-type]  # its lookup is not overloaded
    assert names == Names(("192.0.2.7",), "", {"example.org": (HOST,), "a.example": ()})


def test_addresses_that_are_this_machines_are_told_from_others() -> None:
    machine = with_names(look_around(HOST, "root"), Names(("127.0.0.1", "192.0.2.77")))
    assert machine.local == {"127.0.0.1"}
    assert with_names(machine, None).names is None
