"""A running server with real milters beside it: opendkim, and rspamd's proxy."""

import re
import signal
import smtplib
import time
from collections.abc import Callable

import pytest

from tests.content.dkim_world import HEADER, pem, record, results, signed
from tests.interop.opendkim import LiveOpendkim, need_opendkim
from tests.interop.postfix import wait_for_mail
from tests.interop.rspamd import GTUBE, LiveRspamd, need_rspamd
from tests.live import HOST, LiveServer, as_toml, message, overlay
from tests.local_programs import LocalServer
from tests.milter.scripted import ScriptedMilter, add_field
from tests.ports import free_port
from tests.sink import CatchingSink
from tests.threaded import threaded

pytestmark = pytest.mark.interop

ALICE, BOB = "alice@example.org", "bob@example.net"
SIGNS = (
    "Mode s",
    "Domain example.org",
    "Selector s-rsa",
    "KeyFile {folder}/key.pem",
    "Canonicalization relaxed/simple",
    "OversignHeaders From",
)


def signer() -> LiveOpendkim:
    need_opendkim()
    return LiveOpendkim(*SIGNS, files={"key.pem": pem("rsa")})


def verdict(content: bytes) -> str:
    """Return what our own verifier says of a content's one signature."""
    signed_at = float(re.findall(rb"[;\s]t=(\d+)", content)[0])
    (result,) = results(content, [record("rsa")], now=signed_at)
    return f"{result.verdict} {result.domain}"


def test_opendkim_signs_what_users_send(live: Callable[..., LiveServer], sink: CatchingSink) -> None:
    with signer() as opendkim:
        server = live({"smtp": {"relayhost": sink.relayhost}, "submission": {"milters": [opendkim.place]}})
        server.add_user(ALICE, "secret")
        assert f"{opendkim.place} answers, in version 6" in server.valija("check", "--offline").stdout
        large = message("a large one")
        large.set_content("x" * 60 + "\n" + ("line of a large message\n" * 20_000))
        for number, mail in enumerate((message("signed"), large), start=1):
            server.submit(ALICE, "secret", BOB, mail)
            content = sink.wait_for(number)[-1].content
            assert content.startswith(b"Received: ")
            assert verdict(content) == "pass example.org"
        assert "DKIM-Signature field added (s=s-rsa, d=example.org)" in opendkim.log or opendkim.log == ""
        server.wait_for_log(r" changed by a milter .*header=true")
        huge = message("one with more in a field than libmilter takes in a packet")
        huge["X-Huge"] = "word " * 20_000
        with pytest.raises(smtplib.SMTPDataError, match=r"451, .*Service unavailable"):  # opendkim's own limit
            server.submit(ALICE, "secret", BOB, huge)
        server.wait_for_log(rf' content refused .*milter="refused by {opendkim.place}"')


def test_while_opendkim_is_away_users_hear_so_and_nothing_leaves_unsigned(
    live: Callable[..., LiveServer], sink: CatchingSink
) -> None:
    with signer() as opendkim:
        server = live({"smtp": {"relayhost": sink.relayhost}, "submission": {"milters": [opendkim.place]}})
        server.add_user(ALICE, "secret")
        opendkim.stop()
        with pytest.raises(smtplib.SMTPSenderRefused, match=r"451, .*can't be examined now"):
            server.submit(ALICE, "secret", BOB, message("unsigned"))
        server.wait_for_log(r" milter failed .*reason=\"nobody listens there\" action=tempfail")
        checked = server.valija("check", "--offline")
        assert "nobody listens there; mail gets 451 until it is back" in re.sub(r"\s+", " ", checked.stdout)
        opendkim.start()
        server.submit(ALICE, "secret", BOB, message("signed"))
        assert verdict(sink.wait_for(1)[0].content) == "pass example.org"


def test_opendkim_verifies_what_strangers_send(live: Callable[..., LiveServer]) -> None:
    need_opendkim()
    keys = f"s-rsa._domainkey.local.example {record('rsa')}\n"
    settings = ("Mode v", "TestPublicKeys {folder}/keys", "AuthservID filter.example", "AlwaysAddARHeader yes")
    with LiveOpendkim(*settings, files={"keys": keys}) as opendkim:
        server = live({"mynetworks": [], "smtpd": {"milters": [opendkim.place]}, "checks": {"dkim": False}})
        server.add_user(ALICE, "secret")
        mailbox = server.data_dir / "mail" / "example.org" / "alice" / "new"
        content = signed(HEADER, b"hello\r\n" + b"\r\n" * 3)
        for body, expected in ((content, "dkim=pass"), (content.replace(b"hello", b"Hello"), "dkim=fail")):
            with smtplib.SMTP(HOST, server.smtpd, local_hostname="mx.local.example") as client:
                client.sendmail("alice@local.example", [ALICE], body)
            stored = re.sub(r"\r?\n[ \t]+", " ", wait_for_mail(mailbox).decode())
            assert re.search(rf"(?m)^Authentication-Results: filter\.example;.*{expected}", stored), stored
            for file in mailbox.iterdir():
                file.unlink()


class RspamdMilter(LiveRspamd):
    """rspamd with its proxy, which speaks the milter protocol and scans by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.proxy = free_port()
        self.place = f"inet:{HOST}:{self.proxy}"

    def _write(self) -> None:
        super()._write()
        upstream = 'upstream "local" { default = yes; self_scan = yes; }'
        worker = f'worker "rspamd_proxy" {{ bind_socket = "{HOST}:{self.proxy}"; milter = yes; count = 1; {upstream} }}'
        with (self.folder / "rspamd.conf").open("a") as configuration:
            configuration.write(f"{worker}\n")


def test_rspamd_as_a_milter(live: Callable[..., LiveServer]) -> None:
    need_rspamd()
    with RspamdMilter() as rspamd:
        server = live({"mynetworks": [], "smtpd": {"milters": [rspamd.place]}})
        server.add_user(ALICE, "secret")
        mailbox = server.data_dir / "mail" / "example.org" / "alice" / "new"
        assert f"{rspamd.place} answers" in server.valija("check", "--offline").stdout

        def send(subject: str, text: str = "Hello.\r\n") -> None:
            content = f"From: {BOB}\r\nTo: {ALICE}\r\nX-Old: yes\r\nSubject: {subject}\r\n\r\n{text}".encode()
            with smtplib.SMTP(HOST, server.smtpd, local_hostname="mx.example.net") as client:
                client.sendmail(BOB, [ALICE], content)

        send("fields")
        stored = wait_for_mail(mailbox).decode()
        assert "X-Facts: 127.0.0.1 mx.example.net" in stored
        assert "X-Old" not in stored
        assert not re.search("(?m)^Bcc", stored)
        assert stored.endswith("\nHello.\n") or stored.endswith("\r\nHello.\r\n")
        for subject, code in (("action=soft reject", 451), ("action=reject", 554), ("x", 554)):
            with pytest.raises(smtplib.SMTPDataError) as refused:
                send(subject, GTUBE + "\r\n" if subject == "x" else "Hello.\r\n")
            assert refused.value.smtp_code == code
        server.wait_for_log(rf' content refused .*milter="refused by {rspamd.place}"')


def test_what_programs_of_the_machine_send_is_seen_by_their_filters_alone(sink: CatchingSink) -> None:
    words = {b"E": [add_field("X-Filtered", "yes"), (b"a", b"")]}
    with threaded(ScriptedMilter(words)) as milter, threaded(ScriptedMilter()) as other:
        settings = {
            "smtp": {"relayhost": sink.relayhost},
            "local": {"milters": [milter.place]},
            "smtpd": {"milters": [other.place]},
        }
        with LocalServer(settings) as server:
            done = server.sendmail("-t", "-i", text="To: x@remote.example\n\nhello\n")
            assert done.returncode == 0, done.stderr
            assert sink.wait_for(1)[0].field("X-Filtered") == "yes"
    assert milter.of("C") == [b"localhost\x004\0\x00127.0.0.1\0"]
    assert "{auth_type}" not in milter.macros
    assert milter.macros["{daemon_name}"] == "ORIGINATING"
    assert not other.connections


def test_a_reload_changes_the_filters_of_new_sessions(live: Callable[..., LiveServer], sink: CatchingSink) -> None:
    words = {b"M": [(b"y", b"550 5.7.1 By the filter\0")]}
    with threaded(ScriptedMilter(words)) as milter:
        server = live({"smtp": {"relayhost": sink.relayhost}, "smtpd": {"milters": [milter.place]}})
        with smtplib.SMTP(HOST, server.smtpd) as client:
            client.ehlo()
            assert client.mail(BOB)[0] == 550
            without = as_toml(overlay(server.settings, {"smtpd": {"milters": []}}))
            server.configuration.write_text(without)
            assert server.process
            server.process.send_signal(signal.SIGHUP)
            server.wait_for_log(r"\breloaded\b")
            assert client.mail(BOB)[0] == 550  # it goes on as it began
        end = time.monotonic() + 10
        while said_to_mail(server) != 250:  # its turn comes when the worker has read it
            assert time.monotonic() < end


def said_to_mail(server: LiveServer) -> int:
    with smtplib.SMTP(HOST, server.smtpd) as client:
        client.ehlo()
        return client.mail(BOB)[0]
