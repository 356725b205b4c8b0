"""A running server and the real rspamd: what it says is done, what it is told is true, and its death is survived."""

import re
import shutil
import signal
import smtplib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakedns import FakeDns
from tests.interop.postfix import wait_for_mail
from tests.interop.rspamd import GTUBE, LARGEST, PASSWORD, LiveRspamd, need_rspamd
from tests.live import HOST, LiveServer, as_toml, overlay
from tests.local_programs import LocalServer
from tests.ports import free_port
from tests.tally import Tally

pytestmark = pytest.mark.interop

ALICE, BOB = "alice@example.org", "bob@example.net"
STRANGER = "127.0.0.9"
ZONE = {"9.0.0.127.in-addr.arpa": ["PTR mx.example.net."], "mx.example.net": [f"A {STRANGER}"]}
TIMEOUT = "2s"


@pytest.fixture(scope="module")
def rspamd() -> Iterator[LiveRspamd]:
    need_rspamd()
    with LiveRspamd() as live:
        yield live


@pytest.fixture(scope="module")
def server(rspamd: LiveRspamd) -> Iterator[LocalServer]:
    settings = {"url": rspamd.url, "timeout": TIMEOUT, "users": True}
    with FakeDns(dict(ZONE)) as dns:
        own = {"mynetworks": [], "dns": {"nameservers": [dns.nameserver]}, "rspamd": settings}
        with LocalServer(own) as live:
            live.add_user(ALICE, "secret")
            yield live


def written(subject: str, body: str = "hello", more: str = "") -> bytes:
    return f"From: {BOB}\r\nTo: {ALICE}\r\nSubject: {subject}\r\n{more}\r\n{body}\r\n".encode(
        "utf-8", "surrogateescape"
    )


def send(server: LiveServer, content: bytes) -> str:
    """Send a message as a stranger; return the reply that ended it."""
    source = (STRANGER, 0)
    with smtplib.SMTP(HOST, server.smtpd, source_address=source, local_hostname="helo.example.net", timeout=30) as c:
        try:
            c.sendmail(BOB, [ALICE], content)
        except smtplib.SMTPDataError as refused:
            return str(refused)
    return "250"


def taken(server: LiveServer, inner: str = "") -> str:
    """Return the one message in the mailbox, and make room for the next."""
    folder: Path = server.data_dir / "mail" / "example.org" / "alice" / inner / "new"
    content = wait_for_mail(folder).decode("utf-8", "surrogateescape")
    for file in folder.iterdir():
        file.unlink()
    return content


def test_clean_mail_comes_with_its_fields_and_rspamd_knew_where_it_came_from(server: LiveServer) -> None:
    assert send(server, written("hello")) == "250"
    content = taken(server)
    facts = re.search(r"^X-Facts: (.*)$", content, re.MULTILINE)
    assert facts
    ip, helo, name, user, sender, recipients, size = facts[1].split()
    assert (ip, helo, name, user) == (STRANGER, "helo.example.net", "mx.example.net", "-")
    assert (sender, recipients) == (BOB, "1")
    assert int(size) > 100
    server.wait_for_log(r' accepted .* rspamd="no action" rspamd_score=0\.00/15\.00')


def test_gtube_from_a_stranger_is_refused_and_why_tells_it(server: LiveServer) -> None:
    since = server.log.mark()
    assert "550, b'5.7.1 Gtube pattern (session " in send(server, written("buy", GTUBE))
    line = server.wait_for_log(r" content refused  session=(\w+) .*rspamd=reject .*rspamd_symbols=GTUBE", since=since)
    told = server.valija("why", line[1]).stdout
    assert "rspamd=reject, rspamd_score=15.00/15.00, rspamd_symbols=GTUBE" in " ".join(told.split())


@pytest.mark.parametrize(
    ("subject", "inner", "field"),
    [
        ("score=5", "", "Subject: score=5"),  # greylist, for the score alone
        ("score=7", ".Junk", "X-Spam: Yes"),
        ("score=9", ".Junk", "Subject: *** SPAM *** score=9"),
    ],
)
def test_doubtful_mail_lies_where_it_belongs(server: LiveServer, subject: str, inner: str, field: str) -> None:
    assert send(server, written(subject)) == "250"
    assert f"\n{field}\n" in taken(server, inner)


def test_what_it_wants_later_comes_later(server: LiveServer) -> None:
    assert "451, b'4.7.1 said by a rule" in send(server, written("action=soft reject"))


def test_its_fields_stay_fields(server: LiveServer) -> None:
    assert send(server, written("fields", more="X-Old: gone\r\n")) == "250"
    header = taken(server).partition("\n\n")[0]
    assert "\nX-Hostile: one\n\tBcc: victim@example.org\n\tbody" in header
    assert "X-Old" not in header
    assert not re.search("^Bcc:", header, re.MULTILINE)


def test_octets_that_are_no_text_are_judged_too(server: LiveServer) -> None:
    odd = written("score=7", more="Message-ID: <\udcff\udce9@example.net>\r\n")
    assert send(server, odd) == "250"
    assert "X-Spam: Yes" in taken(server, ".Junk")


def test_a_large_message_is_judged_and_one_too_large_for_it_is_told_of(server: LiveServer) -> None:
    lines = "x" * 70 + "\r\n"
    content = written("score=7", lines * (400_000 // len(lines)))  # in a file while it is judged
    assert send(server, content) == "250"
    told = re.search(r"^X-Facts: .* (\d+)$", taken(server, ".Junk"), re.MULTILINE)
    assert told
    assert int(told[1]) >= len(content)
    assert "451" in send(server, written("large", lines * (2 * LARGEST // len(lines))))
    server.wait_for_log(r"rspamd can't be asked .*max_message: see \[rspamd\] max_size")


def test_many_recipients_are_no_trouble(server: LiveServer) -> None:
    names = [f"alice+{number:04}{'x' * 40}@example.org" for number in range(900)]
    with (
        smtplib.SMTP(HOST, server.smtpd, source_address=(STRANGER, 0)) as client,
        pytest.raises(smtplib.SMTPDataError, match="said by a rule"),
    ):
        client.sendmail(BOB, names, written("action=soft reject"))


def test_what_users_send_is_judged_where_that_is_asked_for(server: LiveServer) -> None:
    content = written("buy", GTUBE).replace(BOB.encode(), ALICE.encode())
    with pytest.raises(smtplib.SMTPDataError, match="Gtube pattern"):
        server.submit(ALICE, "secret", BOB, content)


def test_what_programs_of_this_machine_send_is_judged_with_it(server: LocalServer) -> None:
    done = server.sendmail("-i", BOB, text=f"Subject: buy\n\n{GTUBE}\n")
    assert done.returncode != 0
    assert "Gtube pattern" in done.stderr


def test_its_silence_and_its_death_are_survived(server: LiveServer, rspamd: LiveRspamd, tally: Tally) -> None:
    since = server.log.mark()
    rspamd.signal(signal.SIGSTOP)
    try:
        assert "451, b\"4.7.1 The message can't be examined now" in send(server, written("hello"))
    finally:
        rspamd.signal(signal.SIGCONT)
    server.wait_for_log(r"rspamd can't be asked .*no answer within 2 s", since=since)
    assert send(server, written("back")) == "250"
    server.wait_for_log(r"rspamd answers again", since=since)

    since = server.log.mark()
    rspamd.stop()
    for _ in range(5):
        assert "451" in send(server, written("hello"))
    rspamd.start()
    assert send(server, written("back")) == "250"
    server.wait_for_log(r"rspamd answers again", since=since)
    since_then = server.log.text.splitlines()[since:]
    assert sum("can't be asked" in line for line in since_then) == 1
    tally("faults", rspamd_silenced=1, rspamd_killed=1, accepted_unexamined=0)


def test_check_says_whether_it_answers_and_whether_the_password_is_right(rspamd: LiveRspamd) -> None:
    server = LiveServer({"rspamd": {"url": rspamd.controller}})  # not started: check asks, as the service's user
    try:
        assert "it wants another password" in checked(server)
        file = server.folder / "password"
        file.write_text(PASSWORD)
        file.chmod(0o640)
        shutil.chown(file, server.settings["user"])
        assert f"is examined by rspamd at {rspamd.controller}" in checked(server, password_file=str(file))
        assert f"is examined by rspamd at {rspamd.socket}" in checked(server, url=rspamd.socket)
        nobody = f"http://{HOST}:{free_port()}"
        told = checked(server, url=nobody)
        assert f"{nobody} can't be asked: no connection" in told
        assert "mail is deferred (on_failure)" in told
    finally:
        server.__exit__(None, None, None)


def checked(server: LiveServer, **rspamd: str) -> str:
    server.configuration.write_text(as_toml(overlay(server.settings, {"rspamd": rspamd})))
    return " ".join(server.valija("check", "--offline").stdout.split())
