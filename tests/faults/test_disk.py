"""A disk that is full, and one that fails, at each write and sync: a transient refusal, nothing lost, and on it goes.

The faults last for some passes of a fault point and are over then, as when space returns. Each message arrives once: a
refusal is never half of an acceptance.
"""

import os
import pwd
import re
import shutil
import smtplib
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import pytest

from tests.crash.accounting import Tries, failing, in_mailbox, listed, queued, send, wait_until_empty
from tests.live import HOST, LiveServer, as_toml, message, overlay, service_user
from tests.local_programs import wait_until
from tests.sink import CatchingSink
from tests.tally import Tally

SENDER: Final = "alice@example.net"
SETTINGS: Final = {"mynetworks": ["127.0.0.1/32"]}
LARGE: Final = ("x" * 70 + "\n") * 6000
ANSWER: Final = {"full": "452 4.3.1", "io": "451 4.3.0"}


def submit(server: LiveServer, recipient: str, *, large: bool) -> Tries:
    mail = message("disk", SENDER, recipient)
    if large:
        mail.set_content(LARGE)
    return send(server.smtpd, SENDER, recipient, mail.as_bytes())


@pytest.mark.parametrize("kind", ["full", "io"])
def test_c108_the_disk_fails_while_messages_come_in(kind: str, sink: CatchingSink, tally: Tally) -> None:
    points = ["content.create", "content.write", "content.sync"]
    plan = ",".join(f"{point}:{kind}@{number + 2}" for number, point in enumerate(points))
    settings = overlay(SETTINGS, {"smtp": {"relayhost": sink.relayhost}})
    with failing(plan), LiveServer(settings) as server:
        recipients = [f"m{number}@remote.example" for number in range(8)]
        refusals = [refusal for each in recipients for refusal in submit(server, each, large=True).refusals]
        sink.wait_for(len(recipients))
        wait_until_empty(server)
        left = list((server.data_dir / "queue" / "worker-0.spool").iterdir())
        faults = len(re.findall("valija: fault", server.log.text))
    assert faults == len(points)
    assert [refusal[:9] for refusal in refusals] == [ANSWER[kind]] * faults
    assert Counter(each for caught in sink.caught for each in caught.recipients) == Counter(recipients)
    assert not left
    tally("faults", faults=faults, refused=len(refusals), accepted=8, delivered=8, duplicates=0, lost=0)


@pytest.mark.parametrize(
    ("point", "kind"),
    [
        ("disk.write", "full"),
        pytest.param("disk.sync", "io", marks=pytest.mark.soak),
        pytest.param("disk.write", "io", marks=pytest.mark.soak),
        pytest.param("disk.sync", "full", marks=pytest.mark.soak),
    ],
)
def test_c108_sqlites_own_writes_fail(kind: str, point: str, sink: CatchingSink, tally: Tally) -> None:
    first = 30 if point == "disk.write" else 12  # the file is made and the first messages have left by then
    settings = overlay(SETTINGS, {"smtp": {"relayhost": sink.relayhost}})
    with failing(f"{point}:{kind}@{first}-{first + 8}"), LiveServer(settings) as server:
        recipients = [f"m{number}@remote.example" for number in range(12)]
        refusals = [refusal for each in recipients for refusal in submit(server, each, large=False).refusals]
        sink.wait_for(len(recipients))
        wait_until_empty(server)
        faults = len(re.findall("valija: fault", server.log.text))
    assert faults == 9
    assert refusals, "no acceptance met the fault"
    assert all(refusal.startswith(ANSWER[kind]) for refusal in refusals)
    assert Counter(each for caught in sink.caught for each in caught.recipients) == Counter(recipients)
    tally("faults", faults=faults, refused=len(refusals), accepted=12, delivered=12, duplicates=0, lost=0)


def test_the_disk_fails_while_a_mailbox_is_written(tally: Tally) -> None:
    points = {"maildir.write": "full", "maildir.sync": "io", "maildir.rename": "full"}
    plan = ",".join(f"{point}:{kind}" for point, kind in points.items())
    with failing(plan), LiveServer(SETTINGS) as server:
        submit(server, "postmaster@example.org", large=False)
        for attempt in range(1, len(points) + 1):
            _wait_for_attempts(server, attempt)
            assert server.valija("queue", "retry", "--all").returncode == 0
        wait_until_empty(server)
        replies = re.findall(r"outcome=deferred .*reply=\"(45\d 4\.3\.\d)", server.log.text)
        assert replies == [ANSWER[kind] for kind in points.values()]
        assert in_mailbox(server) == 1
        assert not list((server.data_dir / "mail" / "example.org" / "postmaster" / "tmp").iterdir())
    tally("faults", faults=len(points), accepted=1, delivered=1, duplicates=0, lost=0)


def _wait_for_attempts(server: LiveServer, count: int) -> None:
    """Return when so many attempts are recorded of the one message that is there."""

    def is_so() -> bool:
        return any(recipient.attempts == count for each in listed(server) for recipient in each.recipients)

    wait_until(is_so, 20, f"{count} attempts")


@contextmanager
def small_disk(folder: Path, options: str) -> Iterator[None]:
    """Have a small disk of its own at `folder`, where the server's user may write."""
    folder.mkdir()
    command: list[str | Path] = ["mount", "-t", "tmpfs", "-o", f"{options},mode=0700", "tmpfs", folder]
    mounting = subprocess.run(command, capture_output=True, check=False)
    if mounting.returncode:
        pytest.skip(f"no tmpfs can be mounted here: {mounting.stderr.decode().strip()}")
    os.chown(folder, pwd.getpwnam(service_user()).pw_uid, -1)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", folder], check=True)
        shutil.rmtree(folder.parent, ignore_errors=True)


@pytest.mark.parametrize("lack", ["space", "files"])
def test_c108_a_real_disk_that_is_full_and_has_room_again(lack: str, sink: CatchingSink, tally: Tally) -> None:
    dead = {"smtp": {"relayhost": "[127.0.0.1]:1"}}  # nothing leaves at first
    server = LiveServer(overlay(SETTINGS, dead))
    with small_disk(server.data_dir, "size=100m,nr_inodes=1000"), server:
        before = [f"before{number}@remote.example" for number in range(3)]
        for number, each in enumerate(before):
            submit(server, each, large=number == 0)
        _fill(server.data_dir, lack)
        wait_until(lambda: _answer(server).startswith("452 4.3.1"), 10, "a refusal")
        assert queued(server) == set(before)
        server.configuration.write_text(as_toml(overlay(server.settings, {"smtp": {"relayhost": sink.relayhost}})))
        assert server.valija("reload").returncode == 0
        assert server.valija("queue", "retry", "--all").returncode == 0
        sink.wait_for(len(before))
        wait_until_empty(server)  # what is there leaves also while nothing more can be taken
        for file in server.data_dir.glob("ballast*"):
            file.unlink()
        submit(server, "after@remote.example", large=True)
        sink.wait_for(len(before) + 1)
    arrived = Counter(each for caught in sink.caught for each in caught.recipients)
    assert arrived == Counter([*before, "after@remote.example"])
    tally("faults", faults=1, accepted=4, delivered=4, duplicates=0, lost=0)


def _fill(folder: Path, lack: str) -> None:
    """Leave less room on a disk than is kept free for what is there already, or none for one more file."""
    with suppress(OSError):
        if lack == "files":
            for number in range(1000):
                _ballast(folder, number, b"")
        for number in range(1000):
            _ballast(folder, number, b"x" * 1024 * 1024)
    (folder / "ballast0").write_bytes(b"")


def _ballast(folder: Path, number: int, octets: bytes) -> None:
    path = folder / f"ballast{number}"
    path.touch(mode=0o666)
    path.chmod(0o666)  # a file in there that the server could not use would be a fault of its own
    path.write_bytes(octets)


def _answer(server: LiveServer) -> str:
    """Return what the server says to MAIL."""
    with smtplib.SMTP(HOST, server.smtpd, timeout=20) as client:
        client.ehlo()
        code, words = client.mail(SENDER)
    return f"{code} {words.decode()}"
