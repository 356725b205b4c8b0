"""Programs of the machine hand mail in as everywhere: cron and PHP by their flags, git, mailx, SMTP on stdin."""

import os
import re
import shutil
import smtplib
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cost import processor_time
from tests.live import HOST, VALIJA, as_toml, overlay
from tests.local_programs import OTHER, LocalServer, own_name, wait_until
from tests.sink import CatchingSink

pytestmark = pytest.mark.interop

GIT_SEND_EMAIL = Path("/usr/lib/git-core/git-send-email")
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to be several users of the machine")
needs_git = pytest.mark.skipif(not GIT_SEND_EMAIL.exists(), reason="not installed: git-email")
needs_mailx = pytest.mark.skipif(not shutil.which("bsd-mailx"), reason="not installed: bsd-mailx")


@pytest.fixture(scope="module")
def sink_of_all() -> Iterator[CatchingSink]:
    with CatchingSink() as sink:
        yield sink


@pytest.fixture(scope="module")
def server(sink_of_all: CatchingSink) -> Iterator[LocalServer]:
    settings = {
        "workers": 2,
        "smtp": {"relayhost": sink_of_all.relayhost},
        "local": {"senders": {own_name(): ["me@example.net"]}},
    }
    with LocalServer(settings) as server:
        server.add_user("alice@example.org", "secret")
        server.add_user("boss@example.org", "secret")
        yield server


@pytest.fixture
def outside(sink_of_all: CatchingSink) -> CatchingSink:
    """The next hop, with nothing caught yet."""
    with sink_of_all.changed:
        sink_of_all.caught.clear()
    return sink_of_all


def head_of(mail: str) -> str:
    return mail.partition("\n\n")[0]


def test_cron_mail_of_a_user_without_a_mailbox_reaches_the_postmaster(server: LocalServer) -> None:
    before = len(server.mails("postmaster@example.org"))
    me = own_name()
    text = f"From: {me} (Cron Daemon)\nTo: {me}\nSubject: Cron <{me}@here> backup\n\n10%\r100%\nna\u00efve\n"
    done = server.sendmail("-i", "-FCronDaemon", "-B8BITMIME", "-oem", me, text=text)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    mail = server.wait_for_mails("postmaster@example.org", before + 1)[-1]
    assert f"Received: by mail.example.org (local, uid {os.geteuid()}) id " in mail
    assert f"From: {me}@example.org (Cron Daemon)\n" in mail
    assert f"To: {me}@example.org\n" in mail
    assert "Return-Path: <postmaster@example.org>\n" in mail
    assert "\nDate: " in mail
    assert re.search(r"\nMessage-ID: <\w+@example\.org>\n", mail, re.IGNORECASE)
    assert mail.endswith("\n\n10%\n100%\nna\u00efve\n")


@needs_root
@pytest.mark.drops_privileges
def test_cron_speaks_for_root_over_the_output_of_anybodys_job(server: LocalServer) -> None:
    before = len(server.mails("postmaster@example.org"))
    text = f"From: root (Cron Daemon)\nTo: {OTHER}\nSubject: Cron <{OTHER}@here> backup\n\ndone\n"
    done = server.sendmail("-i", "-FCronDaemon", "-B8BITMIME", "-oem", OTHER, text=text, user=OTHER)
    assert (done.returncode, done.stderr) == (0, "")
    mail = server.wait_for_mails("postmaster@example.org", before + 1)[-1]
    assert f"From: {OTHER}@example.org (Cron Daemon)\n" in mail


@needs_root
@pytest.mark.drops_privileges
@pytest.mark.parametrize("author", [f"{OTHER}@{socket.gethostname()}", "boss@localhost", "boss"])
def test_an_author_without_a_domain_of_its_own_is_the_user(server: LocalServer, author: str) -> None:
    before = len(server.mails("alice@example.org"))
    text = f"From: {author}\nSubject: from mutt\n\nx\n"
    done = server.sendmail("alice@example.org", text=text, user=OTHER)
    assert (done.returncode, done.stderr) == (0, "")
    mail = server.wait_for_mails("alice@example.org", before + 1)[-1]
    assert f"From: {OTHER}@example.org\n" in mail
    assert "boss" not in mail


def test_php_mail_takes_recipients_from_the_header_and_hides_blind_ones(
    server: LocalServer, outside: CatchingSink
) -> None:
    text = "To: bob@example.net, \nSubject: order\nBcc: carol@example.net\nFrom: Shop <noreply@example.org>\n\nhello\n"
    done = server.sendmail("-t", "-i", text=text)
    assert (done.returncode, done.stderr) == (0, "")
    caught = outside.wait_for(1)[0]
    assert set(caught.recipients) == {"bob@example.net", "carol@example.net"}
    assert caught.field("From") == "Shop <noreply@example.org>"
    assert b"carol" not in caught.content


def test_a_message_of_nothing_but_text_gets_what_it_needs(server: LocalServer, outside: CatchingSink) -> None:
    done = server.sendmail("-v", "-F", "The Backup, Ltd.", "bob@example.net", text="it is done\n.\nnever seen\n")
    assert done.returncode == 0
    queue_id = re.fullmatch(r"queued as (\w+)\n", done.stdout)
    assert queue_id
    server.wait_for_log(f"accepted.*queue_id={queue_id[1]}.*role=local")
    caught = outside.wait_for(1)[0]
    assert caught.field("From") == f'"The Backup, Ltd." <{own_name()}@example.org>'
    assert caught.content.endswith(b"\r\n\r\nit is done\r\n")


@needs_root
def test_dsn_flags_travel(server: LocalServer) -> None:
    before = len(server.mails("alice@example.org"))
    flags = ("-f", "alice@example.org", "-N", "success", "-R", "hdrs", "-V", "a+b c", "-oi")
    done = server.sendmail(*flags, "alice@example.org", text="Subject: x\n\nsecret body\n")
    assert (done.returncode, done.stderr) == (0, "")
    mails = server.wait_for_mails("alice@example.org", before + 2)[before:]
    report = next(mail for mail in mails if "multipart/report" in mail)
    assert "Original-Envelope-Id: a+b c\n" in report
    assert "secret body" not in report


def test_one_wrong_recipient_is_named_and_the_others_get_it(server: LocalServer) -> None:
    before = len(server.mails("alice@example.org"))
    done = server.sendmail("alice@example.org", "nobody-of-ours@example.org", text="Subject: two\n\nx\n")
    assert done.returncode == 67
    assert "nobody-of-ours@example.org: 550 5.1.1" in done.stderr
    assert server.wait_for_mails("alice@example.org", before + 1)


def test_cron_is_told_by_mail_what_could_not_go(server: LocalServer) -> None:
    before = len(server.mails("postmaster@example.org"))
    done = server.sendmail("-oem", "nobody-of-ours", text="Subject: lost?\n\nx\n")
    assert done.returncode == 67
    report = server.wait_for_mails("postmaster@example.org", before + 1)[-1]
    assert "Final-Recipient: rfc822; nobody-of-ours@example.org\n" in report
    assert "Subject: lost?\n" in report
    wait_until(lambda: not server.left(), 10, "an empty maildrop")


def test_many_recipients_go_in_several_transactions(server: LocalServer, outside: CatchingSink) -> None:
    everybody = [f"user{number}@example.net" for number in range(1500)]
    done = server.sendmail("-i", "-v", *everybody, text="Subject: all\n\nx\n")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("queued as") == 2
    wait_until(lambda: sum(len(each.recipients) for each in outside.caught) == 1500, 30, "1500 recipients")
    assert {address for each in outside.caught for address in each.recipients} == set(everybody)


def test_a_large_message_arrives_and_one_that_is_too_large_is_refused(
    server: LocalServer, outside: CatchingSink
) -> None:
    large = "Subject: large\n\n" + "0123456789abcdef\n" * 300_000
    assert server.sendmail("-i", "bob@example.net", text=large).returncode == 0
    assert len(outside.wait_for(1)[0].content) > 5_000_000
    done = server.sendmail("-i", "bob@example.net", text=b"Subject: too large\n\n" + b"x" * (53 << 20))
    assert done.returncode == 65
    assert "larger than 52428800 octets" in done.stderr


def test_a_program_speaks_smtp_on_its_standard_input(server: LocalServer, outside: CatchingSink) -> None:
    with subprocess.Popen(
        [server.program, "-bs"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=server.folder
    ) as program:
        assert program.stdin
        assert program.stdout

        def say(line: str, code: bytes) -> None:
            assert program.stdin
            assert program.stdout
            if line:
                program.stdin.write(line.encode() + b"\r\n")
                program.stdin.flush()
            while (heard := program.stdout.readline())[3:4] == b"-":
                pass
            assert heard.startswith(code), heard

        say("", b"220")
        say("EHLO pine", b"250")
        say("AUTH PLAIN AGFsaWNlAHNlY3JldA==", b"502")
        say(f"MAIL FROM:<{own_name()}@localhost>", b"250")
        say("RCPT TO:<bob@example.net>", b"250")
        say("DATA", b"354")
        say("Subject: by hand\r\n\r\nhello\r\n.", b"250")
        say("QUIT", b"221")
        assert program.wait(10) == 0
    assert outside.wait_for(1)[0].field("From") == f"<{own_name()}@example.org>"


@needs_mailx
def test_mailx_sends(server: LocalServer, outside: CatchingSink) -> None:
    mailrc = server.folder / "mailrc"
    mailrc.write_text(f"set sendmail={server.program}\n")
    command = ["bsd-mailx", "-s", "Disk almost full", "-c", "carol@example.net", "bob@example.net"]
    done = server.run(command, text="97 % of /var\n", environ={"MAILRC": str(mailrc)})
    assert (done.returncode, done.stderr) == (0, "")
    caught = outside.wait_for(1)[0]
    assert set(caught.recipients) == {"bob@example.net", "carol@example.net"}
    assert caught.field("Subject") == "Disk almost full"
    assert caught.content.endswith(b"97 % of /var\r\n")


@needs_git
def test_git_sends_patches(server: LocalServer, outside: CatchingSink) -> None:
    work = server.folder / "work"
    git = ["git", "-C", str(work)]
    sends, to = f"--sendmail-cmd={server.program}", "--to=list@example.net"
    me = f"Me <{own_name()}@example.org>"
    environ = {"GIT_AUTHOR_NAME": "Me", "GIT_COMMITTER_NAME": "Me", "GIT_CONFIG_NOSYSTEM": "1"}
    address = {"GIT_AUTHOR_EMAIL": f"{own_name()}@example.org", "GIT_COMMITTER_EMAIL": f"{own_name()}@example.org"}
    for command in (
        ["git", "init", "-q", str(work)],
        [*git, "commit", "-q", "--allow-empty", "-m", "first"],
        ["sh", "-c", f"echo change > {work}/file && git -C {work} add file"],
        [*git, "commit", "-q", "-m", "A change"],
        [*git, "send-email", "--quiet", "--confirm=never", "--suppress-cc=all", f"--from={me}", sends, to, "-1"],
    ):
        done = server.run(command, environ={**environ, **address})
        assert done.returncode == 0, done.stderr
    caught = outside.wait_for(1)[0]
    assert caught.recipients == ("list@example.net",)
    assert caught.field("Subject") == "[PATCH] A change"
    assert b"\r\n+change\r\n" in caught.content


def test_a_lone_dot_ends_the_message_unless_it_is_told_not_to(server: LocalServer, outside: CatchingSink) -> None:
    assert server.sendmail("-i", "bob@example.net", text="Subject: x\n\none\n.\ntwo\n").returncode == 0
    assert outside.wait_for(1)[0].content.endswith(b"one\r\n.\r\ntwo\r\n")


@needs_root
def test_root_may_write_in_any_name(server: LocalServer, outside: CatchingSink) -> None:
    done = server.sendmail("-t", "-fboss@example.org", text="From: alice@example.org\nTo: bob@example.net\n\nx\n")
    assert (done.returncode, done.stderr) == (0, "")
    assert outside.wait_for(1)[0].reverse_path == "boss@example.org"


def test_what_is_granted_in_the_configuration_may_be_used(server: LocalServer, outside: CatchingSink) -> None:
    done = server.sendmail("-f", "me@example.net", "bob@example.net", text="From: me@example.net\n\nx\n")
    assert (done.returncode, done.stderr) == (0, "")
    assert outside.wait_for(1)[0].reverse_path == "me@example.net"


# A hostile user of the machine


@needs_root
@pytest.mark.drops_privileges
@pytest.mark.parametrize(
    ("arguments", "header", "reason"),
    [
        (("-f", "boss@example.org"), "", "boss@example.org is not yours to use as the sender"),
        (("-f", "postmaster@example.org"), "", "postmaster@example.org is not yours"),
        (("-f", "root"), "", "root@example.org is not yours"),
        (("-f", "somebody@example.com"), "", "somebody@example.com is not yours"),
        ((), "From: Boss <boss@example.org>\n", "boss@example.org is not yours to use as From"),
        ((), f"From: {OTHER}\nFrom: boss@example.org\n", "2 From fields"),
        ((), f"From: {OTHER}, boss@example.org\n", "boss@example.org is not yours"),
        ((), 'From: "boss@example.org" <somebody@example.com>\n', "somebody@example.com is not yours"),
    ],
)
def test_nobody_sends_in_anothers_name(
    server: LocalServer, arguments: tuple[str, ...], header: str, reason: str
) -> None:
    done = server.sendmail(*arguments, "bob@example.net", text=f"{header}Subject: urgent\n\nx\n", user=OTHER)
    assert done.returncode in (69, 77, 65)
    assert reason in done.stderr


@needs_root
@pytest.mark.drops_privileges
@pytest.mark.parametrize("sender", ["", "<>", f"{OTHER}+7@example.org", "noreply@example.org", f"{OTHER}@localhost"])
def test_a_user_has_a_name_of_their_own_and_those_of_nobody(
    server: LocalServer, outside: CatchingSink, sender: str
) -> None:
    done = server.sendmail("-f", sender, "bob@example.net", text="Subject: x\n\nx\n", user=OTHER)
    assert (done.returncode, done.stderr) == (0, "")
    caught = outside.wait_for(1)[0]
    assert "(local, uid " in caught.field("Received")
    assert "boss" not in caught.content.decode()


@needs_root
@pytest.mark.drops_privileges
def test_the_kernel_says_who_connects_whatever_is_claimed(server: LocalServer) -> None:
    script = (
        "import socket, sys\n"
        f"s = socket.socket(socket.AF_UNIX); s.connect({str(server.folder / 'run' / 'sendmail.sock')!r})\n"
        "f = s.makefile('rwb')\n"
        "f.readline()\n"
        "for line in sys.argv[1:]:\n"
        "    f.write(line.encode() + b'\\r\\n'); f.flush()\n"
        "    while (heard := f.readline())[3:4] == b'-': pass\n"
        "    print(heard.decode().strip())\n"
    )
    lines = ["EHLO root", "MAIL FROM:<boss@example.org>", "MAIL FROM:<root@localhost>", "STARTTLS"]
    told = server.run(["/usr/bin/python3", "-c", script, *lines], user=OTHER).stdout.splitlines()
    assert [line[:3] for line in told] == ["250", "550", "550", "502"]


@needs_root
@pytest.mark.drops_privileges
def test_one_users_open_connections_leave_room_for_others(server: LocalServer) -> None:
    script = (
        "import socket, sys\n"
        f"open_ = [socket.socket(socket.AF_UNIX) for _ in range(100)]\n"
        f"for s in open_: s.settimeout(10); s.connect({str(server.folder / 'run' / 'sendmail.sock')!r})\n"
        "heard = [s.recv(100)[:3] for s in open_]\n"
        "print(heard.count(b'220'), heard.count(b'421'), flush=True)\n"
        "sys.stdin.read()\n"
    )
    from tests.local_programs import as_user

    with subprocess.Popen(
        ["/usr/bin/python3", "-c", script],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        **as_user(OTHER),
    ) as hog:
        assert hog.stdout
        taken, refused = map(int, hog.stdout.readline().split())
        assert taken + refused == 100
        assert 0 < taken <= 40
        before = len(server.mails("alice@example.org"))
        assert server.sendmail("alice@example.org", text="Subject: still\n\nx\n").returncode == 0
        assert server.wait_for_mails("alice@example.org", before + 1)
        hog.communicate()


# mailq


def test_mailq_shows_the_queue(server: LocalServer) -> None:
    mailq = str(server.usr / "bin" / "mailq")
    done = server.run([mailq])
    assert done.returncode == 0
    assert "Mail queue is empty" in done.stdout or done.stdout.startswith("-Queue ID-")
    assert server.sendmail("-bp").returncode == 0
    assert server.run([str(server.usr / "bin" / "newaliases")]).returncode == 0


@needs_root
@pytest.mark.drops_privileges
def test_the_queue_is_not_for_everybody(server: LocalServer) -> None:
    for command in ([str(server.usr / "bin" / "mailq")], [str(server.program), "-q"]):
        done = server.run(command, user=OTHER)
        assert done.returncode == 77
        assert re.search("only root and (the user nobody|the server's user) may look into the queue", done.stderr)
        assert done.stdout == ""


# Speed, and life


def test_it_is_there_at_once(server: LocalServer) -> None:
    assert processor_time(lambda: server.sendmail("-i", "alice@example.org", text="Subject: quick\n\nx\n")) < 0.15


def test_mail_goes_out_in_clear_smtp_as_before(server: LocalServer, outside: CatchingSink) -> None:
    """What a local program may do has not changed what a client by TCP may."""
    with smtplib.SMTP(HOST, server.smtpd, timeout=20) as client:
        client.sendmail("x@example.com", ["bob@example.net"], b"Subject: by TCP\r\n\r\nx\r\n")
    assert "from " in outside.wait_for(1)[0].field("Received")


def test_a_dead_worker_keeps_no_local_program_waiting(server: LocalServer) -> None:
    since = server.log.mark()
    os.kill(server.pids()[1], 9)
    for number in range(10):
        assert server.sendmail("alice@example.org", text=f"Subject: despite {number}\n\nx\n").returncode == 0
    server.wait_for_log("worker died", since=since)
    expected = {f"Subject: despite {number}\n" for number in range(10)}
    wait_until(
        lambda: all(any(each in mail for mail in server.mails("alice@example.org")) for each in expected), 20, "all"
    )


@needs_root
@pytest.mark.drops_privileges
def test_a_reload_changes_who_may_send_as_whom(sink: CatchingSink) -> None:
    with LocalServer({"smtp": {"relayhost": sink.relayhost}}) as server:
        forged = ("-f", "x@example.com", "bob@example.net")
        assert server.sendmail(*forged, text="From: x@example.com\n\nx\n", user=OTHER).returncode == 77
        granted = {"local": {"senders": {OTHER: ["@example.com"]}}}
        server.configuration.write_text(as_toml(overlay(server.settings, granted)))
        assert server.valija("reload").returncode == 0
        wait_until(
            lambda: server.sendmail(*forged, text="From: x@example.com\n\nx\n", user=OTHER).returncode == 0, 10, "leave"
        )
        assert sink.wait_for(1)[0].reverse_path == "x@example.com"


def test_nothing_is_lost_while_the_server_restarts() -> None:
    """Cron goes on while the server is down, comes up, and takes over what was left: all arrives, once each."""
    with LocalServer({}) as server:
        server.add_user("alice@example.org", "secret")
        sent, stop = [0], threading.Event()

        def cron() -> None:
            while not stop.is_set():
                done = server.sendmail("-i", "alice@example.org", text=f"Subject: number {sent[0]}\n\nx\n")
                assert done.returncode == 0, done.stderr
                sent[0] += 1

        running = threading.Thread(target=cron)
        running.start()
        wait_until(lambda: sent[0] >= 5, 20, "5 messages while it is up")
        server.stop()
        down = sent[0]
        wait_until(lambda: sent[0] >= down + 5, 20, "5 messages while it is down")
        assert server.left()
        server.start()
        up = sent[0]
        wait_until(lambda: sent[0] >= up + 5, 20, "5 messages while it is up again")
        stop.set()
        running.join()
        mails = server.wait_for_mails("alice@example.org", sent[0])
        subjects = [re.findall(r"^Subject: number (\d+)$", mail, re.MULTILINE)[0] for mail in mails]
        assert sorted(map(int, subjects)) == list(range(sent[0]))
        assert not server.left()


@needs_root
@pytest.mark.drops_privileges
def test_who_puts_links_into_the_maildrop_has_nothing_sent(sink: CatchingSink) -> None:
    with LocalServer({"smtp": {"relayhost": sink.relayhost}}) as server:
        secret = server.folder / "secret"
        secret.write_text("root's own\n")
        server.stop()
        assert server.run(["ln", "-s", str(secret), str(server.maildrop / "evil.mail")], user=OTHER).returncode == 0
        assert server.sendmail("bob@example.net", text="Subject: while it is away\n\nx\n", user=OTHER).returncode == 0
        server.start()
        assert f"{OTHER}@example.org" in sink.wait_for(1)[0].field("From")
        wait_until(lambda: not server.left(), 10, "an empty maildrop")
        assert len(sink.caught) == 1
        assert b"root's own" not in sink.caught[0].content


def test_without_a_maildrop_the_caller_keeps_the_message() -> None:
    with LocalServer({"local": {"maildrop": ""}}) as server:
        server.stop()
        done = server.sendmail("alice@example.org", text="Subject: x\n\nx\n")
        assert done.returncode == 75
        assert "the server is away" in done.stderr


def test_a_second_server_leaves_the_firsts_socket_alone(server: LocalServer) -> None:
    with LocalServer({"local": {"socket": str(server.folder / "run" / "sendmail.sock")}}) as second:
        second.wait_for_log("not listening for programs of this machine.*another server listens there")
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(server.folder / "run" / "sendmail.sock"))
        assert client.recv(100).startswith(b"220 ")


def test_the_command_itself_is_sendmail_too(server: LocalServer) -> None:
    before = len(server.mails("alice@example.org"))
    command = [str(VALIJA), "sendmail", "-c", str(server.configuration), "-t", "-i"]
    done = server.run(command, text="To: alice@example.org\n\nx\n")
    assert (done.returncode, done.stderr) == (0, "")
    assert server.wait_for_mails("alice@example.org", before + 1)
