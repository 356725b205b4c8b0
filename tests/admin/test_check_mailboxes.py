"""Mailboxes: can mail be handed over, and what another delimiter of subaddresses makes unreachable."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.deliver.lmtp_server import ScriptedLmtp
from valija.admin import check_mailboxes as module
from valija.admin.check_mailboxes import check_mailboxes
from valija.admin.findings import Finding
from valija.auth import accounts as accounts_module
from valija.auth.accounts import Accounts
from valija.config import MACHINE, Config, parse


def config(folder: Path, *lines: str) -> Config:
    text = "\n".join(['hostname = "mail.example.org"', 'domains = ["example.org"]', f'data_dir = "{folder}"', *lines])
    return parse(text, "valija.toml", folder, MACHINE)


@pytest.fixture(autouse=True)
def _asked_in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "asked_as", lambda user, ask: ask())


@contextmanager
def lmtp(path: Path, banner: str = "220 ready") -> Iterator[None]:
    """A server in a thread of its own: the check has an event loop too."""
    loop, up = asyncio.new_event_loop(), threading.Event()
    stop = asyncio.Event()

    async def serve() -> None:
        async with ScriptedLmtp(path, banner=banner):
            up.set()
            await stop.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()))
    thread.start()
    assert up.wait(10)
    try:
        yield
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(10)
        loop.close()


def test_maildirs_of_our_own(tmp_path: Path) -> None:
    assert list(check_mailboxes(config(tmp_path))) == [
        Finding("ok", "mailboxes", f"mail of the hosted domains is kept in {tmp_path / 'mail'}")
    ]


def test_dovecot_takes_mail(tmp_path: Path) -> None:
    with lmtp(tmp_path / "lmtp"):
        (found,) = check_mailboxes(config(tmp_path, f'mailbox.transport = "lmtp:unix:{tmp_path}/lmtp"'))
    assert found.grade == "ok"
    assert f"by LMTP at {tmp_path}/lmtp" in found.text


@pytest.mark.parametrize("banner", ["", "421 4.3.2 going down"])
def test_dovecot_does_not(tmp_path: Path, banner: str) -> None:
    settings = config(tmp_path, f'mailbox.transport = "lmtp:unix:{tmp_path}/lmtp"')
    if banner:
        with lmtp(tmp_path / "lmtp", banner):
            (found,) = check_mailboxes(settings)
    else:
        (found,) = check_mailboxes(settings)
    assert found.grade == "failure"
    assert "let user 'valija' into the socket" in found.remedy
    assert ("going down" if banner else "No such file") in found.text


def test_names_that_another_delimiter_has_taken_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accounts_module, "hash_password", lambda password: f"hash of {password}")
    monkeypatch.setattr(accounts_module, "SCRAM_ITERATIONS", 4096)
    accounts = Accounts(tmp_path / "accounts.sqlite3")
    for address in ("alice@example.org", "mary-ann@example.org", "-odd@example.org"):
        accounts.add(address, "x")
    accounts.add_alias("no-reply@example.org", ["alice@example.org"])
    accounts.add_alias("@example.org", ["alice@example.org"])
    accounts.close()
    assert [each.grade for each in check_mailboxes(config(tmp_path))] == ["ok"]
    _, found = check_mailboxes(config(tmp_path, 'recipient_delimiter = "-"'))
    assert found.grade == "warning"
    assert "names: mary-ann@example.org, no-reply@example.org" in found.text
    assert [each.grade for each in check_mailboxes(config(tmp_path, 'recipient_delimiter = ""'))] == ["ok"]


def test_accounts_that_cannot_be_read_are_another_topic(tmp_path: Path) -> None:
    (tmp_path / "accounts.sqlite3").write_bytes(b"no database" * 100)
    assert [each.grade for each in check_mailboxes(config(tmp_path))] == ["ok"]
