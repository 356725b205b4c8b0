"""What programs of this machine hand in, by the running server and its socket."""

import os
import pwd
import stat
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.live import VALIJA, LiveServer, as_toml, service_user
from tests.sink import CatchingSink

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="users of the machine are played by root only")

ALICE = "alice@example.org"
MAIL = "From: {0}\nTo: bob@example.net\nSubject: hello\n\nhi\n"


@pytest.fixture
def sink() -> Iterator[CatchingSink]:
    with CatchingSink() as sink:
        yield sink


@pytest.fixture
def server(sink: CatchingSink) -> Iterator[LiveServer]:
    own = LiveServer({"smtp": {"relayhost": sink.relayhost}})
    places = own.folder / "local"
    places.mkdir(mode=0o755)
    os.chown(places, pwd.getpwnam(service_user()).pw_uid, -1)
    drop = places / "maildrop"
    own.settings["local"] = {
        "socket": str(places / "sendmail.sock"),
        "maildrop": str(drop),
        "senders": {"www-data": ["shop@example.org"]},
    }
    own.configuration.write_text(as_toml(own.settings))
    with own:
        own.add_user(ALICE, "secret")
        yield own


def sendmail(server: LiveServer, *flags: str, text: str, user: str = "root") -> "subprocess.CompletedProcess[str]":
    """Call it as a user of the machine."""
    words: Sequence[str | Path] = [VALIJA, "sendmail", "-c", server.configuration, *flags]
    account = pwd.getpwnam(user)
    return subprocess.run(
        words, input=text, capture_output=True, text=True, timeout=30, check=False, user=account.pw_uid,
        group=account.pw_gid, extra_groups=[], cwd="/",
    )  # fmt: skip


def test_a_program_sends_as_the_user_that_it_runs_as(server: LiveServer, sink: CatchingSink) -> None:
    text = "To: bob@example.net\nBcc: eve@example.net\nSubject: x\n\nhi\n"
    done = sendmail(server, "-t", "-i", text=text, user="daemon")
    assert (done.returncode, done.stderr) == (0, "")
    caught = sink.wait_for(1)[0]
    assert caught.reverse_path == "postmaster@example.org"  # daemon has no mailbox here that a report could go to
    assert caught.recipients == ("bob@example.net", "eve@example.net")
    assert "daemon@example.org" in caught.field("From")
    assert caught.field("Message-ID")
    assert caught.field("Date")
    assert not caught.field("Bcc")
    assert "local, uid" in caught.field("Received")


def test_what_is_granted_may_be_used_and_what_is_anothers_may_not(server: LiveServer, sink: CatchingSink) -> None:
    shop = sendmail(server, "-t", "-fshop@example.org", text=MAIL.format("shop@example.org"), user="www-data")
    assert (shop.returncode, shop.stderr) == (0, "")
    assert sink.wait_for(1)[0].reverse_path == "shop@example.org"
    forged = sendmail(server, "-t", f"-f{ALICE}", text=MAIL.format(ALICE), user="www-data")
    assert forged.returncode == 77
    assert ALICE in forged.stderr
    header = sendmail(server, "-t", text=MAIL.format(ALICE), user="www-data")
    assert header.returncode == 77
    assert len(sink.caught) == 1


def test_root_may_write_in_any_name(server: LiveServer, sink: CatchingSink) -> None:
    done = sendmail(server, "-t", f"-f{ALICE}", text=MAIL.format(ALICE))
    assert (done.returncode, done.stderr) == (0, "")
    assert sink.wait_for(1)[0].reverse_path == ALICE


def test_a_lone_dot_ends_the_message_unless_it_is_told_not_to(server: LiveServer, sink: CatchingSink) -> None:
    sendmail(server, "bob@example.net", text="Subject: x\n\none\n.\ntwo\n")
    assert sink.wait_for(1)[0].content.endswith(b"one\r\n")
    sendmail(server, "-i", "bob@example.net", text="Subject: x\n\none\n.\ntwo\n")
    assert sink.wait_for(2)[1].content.endswith(b"one\r\n.\r\ntwo\r\n")


def test_while_the_server_is_away_mail_lies_in_the_maildrop(server: LiveServer, sink: CatchingSink) -> None:
    server.stop()
    done = sendmail(server, "-t", text=MAIL.format("daemon@example.org"), user="daemon")
    assert (done.returncode, done.stderr) == (0, "")
    server.start()
    assert "daemon@example.org" in sink.wait_for(1)[0].field("From")
    end = time.monotonic() + 10
    while any(server_files(server)):
        assert time.monotonic() < end
        time.sleep(0.02)


def test_who_puts_links_into_the_maildrop_has_nothing_sent(server: LiveServer, sink: CatchingSink) -> None:
    drop = Path(server.settings["local"]["maildrop"])
    assert stat.S_IMODE(drop.stat().st_mode) & 0o1000
    secret = server.folder / "secret"
    secret.write_text("root's own\n")
    subprocess.run(["ln", "-s", secret, drop / "evil.mail"], check=True, user=pwd.getpwnam("daemon").pw_uid)
    sendmail(server, "-t", text=MAIL.format(ALICE))
    sink.wait_for(1)
    server.stop()
    server.start()
    sendmail(server, "-t", text=MAIL.format(ALICE))
    assert len(sink.wait_for(2)) == 2
    assert all(b"root's own" not in caught.content for caught in sink.caught)


def server_files(server: LiveServer) -> Iterator[Path]:
    return (path for path in Path(server.settings["local"]["maildrop"]).rglob("*") if path.is_file())
