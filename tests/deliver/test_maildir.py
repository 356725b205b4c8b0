"""Delivery into Maildirs: what is written where, with which modes, and what a failing disk does."""

import asyncio
import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest

from tests.deliver.setting import MemoryLog, job_for
from valija.deliver.mailbox_folder import encode_local_part, mailbox_folder
from valija.deliver.maildir import MaildirAgent
from valija.logs import Log
from valija.mail.address import AddressError
from valija.mail.content import Content
from valija.mail.job import Job, Route
from valija.mail.outcome import Outcome, State

LOCAL = Route("maildir", "local.example")
ALICE = "alice@local.example"


def deliver(
    root: Path, job: Job, *, read: Any = lambda content: iter([content.head]), log: MemoryLog | None = None
) -> list[Outcome]:
    async def main() -> list[Outcome]:
        agent = MaildirAgent(
            root, "mail/odd:name", read=read, log=cast("Log", log or MemoryLog()), clock=lambda: 1800000000.25
        )
        return await agent.deliver(job)

    outcomes = asyncio.run(main())
    assert [outcome.number for outcome in outcomes] == list(job.numbers)
    return outcomes


def mail_of(root: Path, address: str) -> list[Path]:
    return sorted((root / mailbox_folder(address) / "new").iterdir())


def test_one_message(tmp_path: Path) -> None:
    log = MemoryLog()
    [outcome] = deliver(tmp_path, job_for(ALICE, route=LOCAL, reverse_path="bob@remote.example"), log=log)
    assert outcome.state is State.DELIVERED
    [file] = mail_of(tmp_path, ALICE)
    assert file.read_bytes() == (
        b"Return-Path: <bob@remote.example>\n"
        b"Delivered-To: alice@local.example\n"
        b"Message-ID: <1@example.org>\nSubject: hello\n\nline\n.dot\n"
    )
    assert file.name.startswith("1800000000.M250000P")
    assert file.name.endswith(".mail\\057odd\\072name")
    [line] = log.of("attempt")
    assert (line["outcome"], line["recipient"], line["tls"]) == ("delivered", ALICE, "none")


def test_unwanted_mail_lands_in_a_folder_of_the_mailbox(tmp_path: Path) -> None:
    job = job_for(ALICE, route=LOCAL)
    unwanted = msgspec.structs.replace(job, envelope=msgspec.structs.replace(job.envelope, junk=True))
    for _ in range(2):
        assert deliver(tmp_path, unwanted)[0].state is State.DELIVERED
    mailbox = tmp_path / mailbox_folder(ALICE)
    assert mail_of(tmp_path, ALICE) == []
    assert len(list((mailbox / ".Junk" / "new").iterdir())) == 2
    assert (mailbox / ".Junk" / "maildirfolder").read_bytes() == b""  # what makes it a folder of Maildir++
    assert stat.S_IMODE((mailbox / ".Junk").stat().st_mode) == 0o700
    assert deliver(tmp_path, job)[0].state is State.DELIVERED
    assert len(mail_of(tmp_path, ALICE)) == 1


def test_modes_are_private(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        deliver(tmp_path / "mail", job_for(ALICE, route=LOCAL))
    finally:
        os.umask(old)
    [file] = mail_of(tmp_path / "mail", ALICE)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    folder = tmp_path / "mail" / "local.example" / "alice"
    for place in (folder, folder.parent, folder.parent.parent, *(folder / inner for inner in ("tmp", "new", "cur"))):
        assert stat.S_IMODE(place.stat().st_mode) == 0o700


def test_a_subaddress_and_case_are_the_account(tmp_path: Path) -> None:
    deliver(tmp_path, job_for("Alice+news@local.example", '"ALICE"@local.example', ALICE, route=LOCAL))
    assert len(mail_of(tmp_path, ALICE)) == 3
    assert [folder.name for folder in (tmp_path / "local.example").iterdir()] == ["alice"]


def test_another_delimiter(tmp_path: Path) -> None:
    assert str(mailbox_folder("Mary-Ann+x@local.example", "-")) == "local.example/mary"
    assert str(mailbox_folder("Mary-Ann+x@local.example", "")) == "local.example/mary-ann+x"


@pytest.mark.parametrize(
    ("local", "name"),
    [
        ("alice", "alice"),
        ("a.b_c-d=e+f", "a.b_c-d=e+f"),
        (".", "%2E"),
        ("..", "%2E."),
        (".ssh", "%2Essh"),
        ("../../etc/passwd", "%2E.%2F..%2Fetc%2Fpasswd"),
        ("a/b", "a%2Fb"),
        ("a%2fb", "a%252fb"),
        ("a\0b\nc\x1b", "a%00b%0Ac%1B"),
        ("grå", "gr%C3%A5"),
        ("\udcff", "%FF"),
        ("", "%"),
        ("odd user", "odd%20user"),
    ],
)
def test_a_local_part_as_a_file_name(local: str, name: str) -> None:
    assert encode_local_part(local) == name


def test_no_local_part_leads_out_of_its_domain(tmp_path: Path) -> None:
    root = tmp_path / "mail"
    names = ('"../../x"', '".."', '"."', '"a/b"', '"/etc/passwd"', '"a\\\\b"', "%", "%2e%2e")
    job = job_for(*(f"{name}@local.example" for name in names), route=LOCAL)
    assert {outcome.state for outcome in deliver(root, job)} == {State.DELIVERED}
    assert [place.name for place in tmp_path.iterdir()] == ["mail"]
    assert [place.name for place in root.iterdir()] == ["local.example"]
    folders = list((root / "local.example").iterdir())
    assert len(folders) == len(names)
    assert all((folder / "new").is_dir() for folder in folders)


@pytest.mark.parametrize("address", ["a@../x", "a@", "a@.", "a@x/y"])
def test_a_domain_that_is_none_is_no_folder(address: str, tmp_path: Path) -> None:
    with pytest.raises(AddressError):
        mailbox_folder(address)
    [outcome] = deliver(tmp_path, job_for(address, route=LOCAL))
    assert outcome.state is State.DEFERRED
    assert list(tmp_path.iterdir()) == []


def test_a_message_that_was_here_before_loops(tmp_path: Path) -> None:
    content = b"Received: x\r\nDELIVERED-to: Alice@local.example\r\nSubject: x\r\n\r\nx\r\n"
    [outcome] = deliver(tmp_path, job_for(ALICE, route=LOCAL, content=content))
    assert (outcome.state, outcome.reply.enhanced) == (State.FAILED, "5.4.6")
    others = b"Delivered-To: bob@local.example\r\nX: y\r\n\r\nDelivered-To: alice@local.example\r\n"
    [outcome] = deliver(tmp_path, job_for(ALICE, route=LOCAL, content=others))
    assert outcome.state is State.DELIVERED


def test_a_body_in_pieces_cut_within_a_line_end(tmp_path: Path) -> None:
    def read(content: Content) -> Iterator[bytes]:
        yield content.head
        yield from (b"one\r", b"\ntwo", b"\r\n", b"\r", b"\nend\r\n")

    deliver(tmp_path, job_for(ALICE, route=LOCAL, content=Content(b"Subject: x\r\n\r\n", 40, "file")), read=read)
    [file] = mail_of(tmp_path, ALICE)
    assert file.read_bytes().endswith(b"Subject: x\n\none\ntwo\n\nend\n")


def test_the_reverse_path_cannot_add_a_field(tmp_path: Path) -> None:
    deliver(tmp_path, job_for(ALICE, route=LOCAL, reverse_path="x@y>\r\nEvil: yes"))
    [file] = mail_of(tmp_path, ALICE)
    assert b"\nEvil:" not in file.read_bytes()


@pytest.mark.parametrize(
    ("number", "enhanced"),
    [(errno.ENOSPC, "4.3.1"), (errno.EDQUOT, "4.3.1"), (errno.EIO, "4.3.0"), (errno.EROFS, "4.3.0")],
)
@pytest.mark.parametrize("call", ["write", "fsync", "rename", "open"])
def test_a_failing_disk_defers_and_leaves_nothing(
    number: int, enhanced: str, call: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deliver(tmp_path, job_for(ALICE, route=LOCAL))

    def fail(*args: object, **kwargs: object) -> None:
        raise OSError(number, os.strerror(number))

    log = MemoryLog()
    with monkeypatch.context() as patch:
        patch.setattr(f"valija.deliver.maildir.os.{call}", fail)
        [outcome] = deliver(tmp_path, job_for(ALICE, route=LOCAL), log=log)
    assert (outcome.state, outcome.reply.enhanced) == (State.DEFERRED, enhanced)
    assert log.of("mailbox fault")
    assert len(mail_of(tmp_path, ALICE)) == 1
    assert list((tmp_path / "local.example" / "alice" / "tmp").iterdir()) == []


def test_a_body_that_is_gone_defers(tmp_path: Path) -> None:
    def read(content: Content) -> Iterator[bytes]:
        yield content.head
        raise FileNotFoundError(errno.ENOENT, "gone")

    [outcome] = deliver(tmp_path, job_for(ALICE, route=LOCAL), read=read)
    assert (outcome.state, outcome.reply.enhanced) == (State.DEFERRED, "4.3.0")
    assert mail_of(tmp_path, ALICE) == []


def test_one_failing_mailbox_does_not_touch_the_others(tmp_path: Path) -> None:
    (tmp_path / "local.example").mkdir()
    (tmp_path / "local.example" / "broken").write_text("a file where a folder should be")
    outcomes = deliver(tmp_path, job_for("broken@local.example", ALICE, route=LOCAL))
    assert [outcome.state for outcome in outcomes] == [State.DEFERRED, State.DELIVERED]
