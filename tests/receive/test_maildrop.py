"""What lies in the maildrop is taken, left for later, given back, or thrown away; and nobody speaks for another."""

import asyncio
import contextlib
import itertools
import os
import socket
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tests.receive.reception import Keyless, OnePassword, People, RecordingQueue
from valija.content.bounce import report
from valija.content.local_addresses import LocalNames
from valija.content.reported import Reported, ReportKind
from valija.logs import Log, LogBuffer, build_log
from valija.mail.content import Content
from valija.mail.job import QueueId
from valija.policy.local_sender import LocalSenders
from valija.policy.networks import Networks
from valija.policy.relay import RelayFacts
from valija.queue.spool import Spool
from valija.queue.store import NewMessage
from valija.receive.local import LocalDirectory, user_of
from valija.receive.maildrop import MARK, UNFINISHED_FOR, Maildrop
from valija.receive.options import ListenerOptions
from valija.receive.site import Site
from valija.sendmail import drop
from valija.sendmail.message import Message
from valija.sendmail.text import Text

HOME = "local.example"
DAY = 86_400.0
NAME = "0123456789abcdef" * 2
ME = user_of(os.geteuid()).name


class Fixture:
    """A maildrop in a folder of the test's, whose messages go to a queue that only records."""

    def __init__(self, folder: Path, *, trusted: Sequence[str] = ()) -> None:
        self.folder = folder / "maildrop"
        self.folder.mkdir()
        self.log_path = folder / "log"
        self._descriptor = os.open(self.log_path, os.O_CREAT | os.O_WRONLY)
        self._buffer = LogBuffer(self._descriptor)
        self.queue = RecordingQueue()
        self.offset = 0.0
        self.has_room = True
        self.size_limit = 10_000
        (folder / "spool").mkdir()
        self._spool = Spool(folder / "spool")
        self._senders = LocalSenders(frozenset({HOME}), frozenset(trusted))
        self._log: Log = build_log("info", "text", self._buffer)
        self.maildrop = Maildrop(
            self.folder, site=self.site, report=self.report, lifetime=lambda: 5 * DAY, log=self._log
        )

    def site(self) -> Site:
        directory = LocalDirectory(People(), self._senders, lambda name: name in (ME, "daemon"))
        return Site(
            hostname="mail.local.example",
            role="local",
            options=ListenerOptions(),
            size_limit=self.size_limit,
            relay=RelayFacts(Networks.parse([])[0], frozenset({HOME}), HOME, directory.exists),
            directory=directory,
            backend=OnePassword(),
            queue=self.queue,
            spool=self._spool,
            signer=Keyless(),
            has_room=lambda _: self.has_room,
            clock=lambda: time.time() + self.offset,
            unique=map("u{}".format, itertools.count()).__next__,
            log=self._log,
            local_names=LocalNames(HOME, frozenset({"localhost"})),
        )

    @staticmethod
    def report(kind: ReportKind, queue_id: QueueId, message: NewMessage, reported: Sequence[Reported]) -> Content:
        return Content.of(
            report(
                kind,
                message.envelope,
                message.content.head,
                message.origin.received_at,
                queue_id,
                reported,
                hostname="mail.local.example",
                now=time.time(),
                unique="u",
                full_content=None,
            )
        )

    def look(self) -> None:
        asyncio.run(self.maildrop.look())

    def leave(self, *recipients: str, text: str = "Subject: x\n\nhello\n", sender: str = ME) -> None:
        drop.leave(str(self.folder), Message(sender, recipients, Text.of(text.encode()).content))

    def put(self, octets: bytes, name: str = NAME, mode: int = 0o644, mark: bool = True) -> Path:
        """Put a file there as a hostile user could."""
        file = self.folder / name
        file.write_bytes(octets)
        if mark:
            os.setxattr(file, MARK, str(file.stat().st_ino).encode())
        file.chmod(mode)
        return file

    @property
    def left(self) -> list[str]:
        return sorted(os.listdir(self.folder))

    @property
    def log(self) -> str:
        self._buffer.flush()
        return self.log_path.read_text()

    @property
    def messages(self) -> list[NewMessage]:
        return list(self.queue.messages.values())


@pytest.fixture
def box(tmp_path: Path) -> Fixture:
    return Fixture(tmp_path)


def recipients(message: NewMessage) -> list[str]:
    return [each.address for each in message.envelope.recipients]


def written(recipient: str = "alice@local.example", content: bytes = b"Subject: x\r\n\r\nx\r\n") -> bytes:
    return Message(ME, (recipient,), content).mail().join((b"EHLO x\r\n", b"")) + (
        f"RCPT TO:<{recipient}>\r\nBDAT {len(content)} LAST\r\n".encode() + content
    )


# What is taken


def test_a_message_is_taken_and_removed(box: Fixture) -> None:
    box.leave("alice@local.example", "bob@remote.example")
    box.look()
    message = box.queue.only
    assert recipients(message) == ["alice@local.example", "bob@remote.example"]
    assert message.origin.uid == os.geteuid()
    assert message.origin.login == ME
    assert f"From: <{ME}@local.example>".encode() in message.content.head or b"From: " in message.content.head
    assert message.content.head.endswith(b"\r\n\r\nhello\r\n")
    assert box.left == []


def test_many_recipients_lie_in_several_files(box: Fixture) -> None:
    box.leave(*(f"u{number}@remote.example" for number in range(2100)))
    assert len(box.left) == 3
    box.look()
    assert sum(len(message.envelope.recipients) for message in box.messages) == 2100


def test_a_large_body_is_taken_in_pieces(box: Fixture) -> None:
    box.size_limit = 3_000_000
    box.leave("alice@local.example", text="Subject: large\n\n" + "0123456789abcde\n" * 100_000)
    box.look()
    assert box.queue.only.content.size > 1_600_000
    assert box.left == []


def test_one_file_is_one_message(box: Fixture) -> None:
    box.put(written() + b"RSET\r\n" + written("bob@local.example")[8:])
    box.look()
    assert recipients(box.queue.only) == ["alice@local.example"]
    assert box.left == []


# What is refused


def test_what_is_refused_goes_back_to_who_left_it(box: Fixture) -> None:
    box.leave("nobody@local.example", "alice@local.example", text="Subject: two\n\nhello\n")
    box.look()
    message, returned = box.messages
    assert recipients(message) == ["alice@local.example"]
    assert returned.envelope.reverse_path == ""
    assert recipients(returned) == ["postmaster@local.example"]
    assert b"Final-Recipient: rfc822; nobody@local.example\r\n" in returned.content.head
    assert b"alice@local.example" not in returned.content.head
    assert b"Subject: two\r\n" in returned.content.head
    assert box.left == []


@pytest.mark.parametrize(
    ("sender", "header"), [("alice@local.example", ""), (ME, "From: alice@local.example\n"), (ME, "From: a\nFrom: b\n")]
)
def test_who_forges_gets_it_back_and_nobody_else_anything(box: Fixture, sender: str, header: str) -> None:
    box.leave("bob@remote.example", sender=sender, text=f"{header}Subject: forged\n\nx\n")
    box.look()
    returned = box.queue.only
    assert recipients(returned) == ["postmaster@local.example"]
    assert b"Final-Recipient: rfc822; bob@remote.example\r\n" in returned.content.head
    assert b"Subject: forged\r\n" in returned.content.head
    assert box.left == []


def test_what_can_not_be_taken_now_waits_and_is_given_back_after_days(box: Fixture) -> None:
    box.leave("alice@local.example", "bob@local.example")
    box.has_room = False
    box.look()
    assert len(box.left) == 1
    assert not box.messages
    box.has_room = True
    box.look()
    assert len(box.left) == 1, "it is not tried again at each look"
    box.offset = 61.0
    box.look()
    assert recipients(box.queue.only) == ["alice@local.example", "bob@local.example"]
    assert box.left == []

    box.leave("bob@local.example")
    box.has_room = False
    box.offset = 6 * DAY
    box.look()
    assert recipients(box.messages[-1]) == ["postmaster@local.example"]
    assert box.left == []


def test_a_queue_that_fails_loses_nothing(box: Fixture) -> None:
    box.leave("alice@local.example")
    box.queue.fault = RuntimeError("a fault of ours")
    box.look()
    assert len(box.left) == 1
    box.queue.fault, box.offset = None, 61.0
    box.look()
    assert recipients(box.queue.only) == ["alice@local.example"]


# What is no message


@pytest.mark.parametrize(
    "octets",
    [
        b"",
        b"\0" * 1000,
        b"hello\r\n" * 500,
        b"EHLO x\r\nQUIT\r\n",
        b"EHLO x\r\nMAIL FROM:<>\r\nBDAT 5 LAST\r\nhello",
        b"EHLO x\r\nMAIL FROM:<broken\r\nRCPT TO:<a@b.example>\r\nBDAT 0 LAST\r\n",
        b"EHLO x\r\nSTARTTLS\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01\x02\x00",
        b"x" * 100_000,
    ],
)
def test_what_is_no_transaction_is_thrown_away_with_a_word(box: Fixture, octets: bytes) -> None:
    box.put(octets)
    box.look()
    assert box.left == []
    assert not box.messages
    assert "removed from the maildrop" in box.log


def test_a_message_that_breaks_off_is_reported_and_not_sent(box: Fixture) -> None:
    box.put(written(content=b"Subject: x\r\n\r\n" + b"y" * 500)[:-100])
    box.look()
    assert recipients(box.queue.only) == ["postmaster@local.example"]
    assert box.left == []


def test_a_recipient_that_cannot_be_read_refuses_the_whole(box: Fixture) -> None:
    whole = written()
    box.put(whole.replace(b"BDAT", b"RCPT TO:<broken\r\nBDAT"))
    box.look()
    assert recipients(box.queue.only) == ["postmaster@local.example"]


def make_socket(path: Path) -> None:
    """A socket's name is 107 octets at most, and a folder of pytest's may have more."""
    with socket.socket(socket.AF_UNIX) as made, contextlib.chdir(path.parent):
        made.bind(path.name)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda file: file.symlink_to("/etc/passwd"), "no file"),
        (lambda file: file.mkdir(), "a folder"),
        (os.mkfifo, "no ordinary file"),
        (make_socket, "no file"),
        (lambda file: file.with_name("x").write_bytes(written()), "no name of ours"),
        (lambda file: file.with_name(NAME.upper()).write_bytes(written()), "no name of ours"),
    ],
)
def test_what_is_no_file_of_ours_is_removed(box: Fixture, make: Callable[[Path], object], reason: str) -> None:
    make(box.folder / NAME)
    box.look()
    assert box.left == []
    assert not box.messages
    assert reason in box.log
    assert Path("/etc/passwd").exists()


def test_a_file_with_two_names_may_be_anothers(box: Fixture, tmp_path: Path) -> None:
    file = box.put(written(), "f" * 32)
    os.link(file, tmp_path / "another")
    box.look()
    assert not box.messages
    assert box.left == []
    assert (tmp_path / "another").exists()


def test_a_file_that_others_may_write_to_proves_nothing(box: Fixture) -> None:
    box.put(written(), mode=0o666)
    box.put(written(), "f" * 32, mode=0o664)
    box.look()
    assert not box.messages
    assert box.left == []


def test_a_file_of_anothers_that_is_moved_in_has_no_mark(box: Fixture) -> None:
    """A user who owns a folder can move in here what root wrote there, and so speak for root."""
    box.put(written(), mark=False)
    box.look()
    assert not box.messages
    assert "no mark" in box.log


def test_the_mark_of_another_file_is_none(box: Fixture) -> None:
    """Nor can it be copied along with a file's other attributes."""
    file = box.put(written(), mark=False)
    os.setxattr(file, MARK, str(file.stat().st_ino + 1).encode())
    box.look()
    assert not box.messages
    assert "the mark of another file" in box.log


def test_what_is_still_being_written_is_left_alone_for_a_day(box: Fixture) -> None:
    box.put(written(), mode=0o600)
    box.look()
    assert len(box.left) == 1
    box.offset = UNFINISHED_FOR + 60
    box.look()
    assert box.left == []
    assert not box.messages
    assert "never finished" in box.log


def test_a_message_larger_than_any_is_not_even_read(box: Fixture) -> None:
    with open(box.put(b""), "r+b") as file:
        file.truncate(50_000_000_000)  # sparse: it has no room on the disk
    began = time.monotonic()
    box.look()
    assert time.monotonic() - began < 5
    assert box.left == []
    assert "larger than a message may be" in box.log


def test_a_flood_of_junk_is_cleared_and_hardly_logged(box: Fixture) -> None:
    for number in range(2000):
        (box.folder / f"junk{number}").touch()
    box.leave("alice@local.example")
    box.look()
    assert box.left == []
    assert recipients(box.queue.only) == ["alice@local.example"]
    assert box.log.count("removed from the maildrop") < 50


def test_a_folder_that_cannot_be_removed_stops_nothing(box: Fixture) -> None:
    (box.folder / "junk").mkdir()
    (box.folder / "junk" / "full").touch()
    box.leave("alice@local.example")
    box.look()
    assert recipients(box.queue.only) == ["alice@local.example"]


# Leaving


def test_what_breaks_off_while_it_is_left_leaves_nothing(box: Fixture, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        box.leave(*(f"u{number}@remote.example" for number in range(1500)))
    assert box.left == []


def test_nothing_is_left_where_there_is_a_link_in_the_way(box: Fixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "urandom", lambda size: b"\0" * size)
    victim = box.folder.parent / "victim"
    victim.write_text("mine")
    (box.folder / ("0" * 32)).symlink_to(victim)
    with pytest.raises(FileExistsError):
        box.leave("alice@local.example")
    assert victim.read_text() == "mine"


def test_others_cannot_read_what_is_being_written(box: Fixture, monkeypatch: pytest.MonkeyPatch) -> None:
    modes = []

    def look(opened: int, mode: int) -> None:
        modes.append((os.fstat(opened).st_mode & 0o777, mode))
        os.chmod(opened, mode)

    monkeypatch.setattr(os, "fchmod", look)
    box.leave("alice@local.example")
    assert modes == [(0o600, 0o644)]
