"""The parts that know the hosted domains, under one configuration."""

from pathlib import Path
from typing import cast

import pytest

from tests.deliver.setting import MemoryLog
from valija.auth import accounts as accounts_module
from valija.auth.accounts import Accounts
from valija.auth.system_users import SystemUsers
from valija.config import MACHINE, parse
from valija.content.dkim_key import KeyProblem
from valija.hosting import Hosting
from valija.logs import Log
from valija.mail.content import Content
from valija.mail.envelope import Envelope, Notify, Recipient
from valija.mail.origin import Origin
from valija.queue.store import NewMessage
from valija.receive.checks import NO_CHECKS

ANN = "ann@remote.example"


@pytest.fixture
def accounts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Accounts:
    monkeypatch.setattr(accounts_module, "hash_password", lambda password: f"hash of {password}")
    monkeypatch.setattr(accounts_module, "SCRAM_ITERATIONS", 4096)
    accounts = Accounts(tmp_path / "accounts.sqlite3")
    accounts.add("alice@example.org", "x")
    return accounts


def hosting(folder: Path, accounts: Accounts, text: str = "", log: MemoryLog | None = None) -> Hosting:
    head = f'hostname = "mail.example.org"\ndomains = ["example.org", "example.net"]\ndata_dir = "{folder}"\n'
    config = parse(head + text, "valija.toml", folder, MACHINE)
    users = SystemUsers(lambda name: name == "carol", lambda: 0.0)
    return Hosting(config, accounts, users, cast("Log", log or MemoryLog()))


def test_a_return_address_there_and_back(tmp_path: Path, accounts: Accounts) -> None:
    here = hosting(tmp_path, accounts)
    made = here.return_path(ANN)
    assert made.endswith("=remote.example=ann@example.org")
    assert here.directory.expand(made) == (ANN,)
    assert here.return_path("bob@example.net") == here.return_path("") == ""


def test_what_left_before_is_known_afterwards(tmp_path: Path, accounts: Accounts) -> None:
    made = hosting(tmp_path, accounts).return_path(ANN)
    later = hosting(tmp_path, accounts, "[forwarding]\nsrs = false\nsrs_domain = 'example.net'")
    assert later.return_path(ANN) == ""
    assert later.directory.expand(made) == (ANN,)


def test_without_a_key_mail_leaves_as_it_came_and_nobody_is_unknown(tmp_path: Path, accounts: Accounts) -> None:
    log = MemoryLog()
    (tmp_path / "srs.keys").write_text("no key\n")
    here = hosting(tmp_path, accounts, log=log)
    assert here.return_path(ANN) == ""
    assert log.of("forwarded without a return address")
    with pytest.raises(KeyProblem):
        here.directory.exists("SRS0=AAAAAAAA=AA=x.example=y@example.org")


def test_a_path_that_would_be_too_long_stays(tmp_path: Path, accounts: Accounts) -> None:
    assert hosting(tmp_path, accounts).return_path(f"{'a' * 220}@remote.example") == ""


def report_to(address: str) -> NewMessage:
    envelope = Envelope("", (Recipient(address, int(Notify.NEVER)),))
    return NewMessage(envelope, Content.of(b"Subject: report\r\n\r\n"), Origin("local", 0.0))


def test_a_report_goes_where_mail_for_its_recipient_goes(tmp_path: Path, accounts: Accounts) -> None:
    accounts.add_alias("sales@example.org", ["alice@example.org", "x@else.example"])
    here = hosting(tmp_path, accounts)
    sent = here.address(report_to("sales@example.org")).envelope.recipients
    assert [each.address for each in sent] == ["alice@example.org", "x@else.example"]
    assert all(each.notify == Notify.NEVER and each.return_path == "" for each in sent)
    [back] = here.address(report_to(here.return_path(ANN))).envelope.recipients
    assert back.address == ANN
    for plain in (ANN, "alice@example.org", "ghost@example.org"):
        assert here.address(report_to(plain)) == report_to(plain)


def test_who_is_here_depends_on_who_judges_logins(tmp_path: Path, accounts: Accounts) -> None:
    assert not hosting(tmp_path, accounts).directory.exists("carol@example.org")
    of_system = hosting(tmp_path, accounts, 'recipient_delimiter = "-"\n[sasl]\ntype = "dovecot"')
    assert of_system.directory.exists("carol-news@example.org")
    assert not of_system.directory.exists("carol+news@example.org")
    assert accounts.delimiter == "-"


def test_only_others_mailboxes_are_asked_about(tmp_path: Path, accounts: Accounts) -> None:
    assert hosting(tmp_path, accounts).checked(NO_CHECKS) is NO_CHECKS
    asks = hosting(tmp_path, accounts, '[mailbox]\ntransport = "lmtp:inet:127.0.0.1:1"')
    checks = asks.checked(NO_CHECKS)
    assert [offer.name for offer in checks.of_users] == ["mailbox"], "users too"
    assert asks.directory.exists("ghost@example.org")
