"""What a client hears: logins, identities, relaying, contents. Over real sockets, on both event loops."""

import asyncio
import base64
import errno
from pathlib import Path
from typing import Any

import pytest

from tests.receive.reception import Dialogue, Reception, reception
from valija.queue.store import QueueFull
from valija.receive import login, session

OUTSIDER = {"mynetworks": ["127.0.0.9/32"], "greet_pause": 0.0}


def plain(login: str, password: str, authzid: str = "") -> str:
    return base64.b64encode(f"{authzid}\0{login}\0{password}".encode()).decode()


async def submitter(r: Reception, login: str = "alice@local.example") -> Dialogue:
    d = await r.connect()
    await d.reply()
    await d.say("EHLO client.example")
    await d.start_tls()
    await d.say("EHLO client.example")
    assert (await d.say(f"AUTH PLAIN {plain(login, 'secret')}")).startswith("235")
    return d


async def send(d: Dialogue, content: str, sender: str = "alice@local.example", *to: str) -> str:
    await d.say(f"MAIL FROM:<{sender}>")
    for recipient in to or ("x@remote.example",):
        assert (await d.say(f"RCPT TO:<{recipient}>")).startswith("250")
    assert (await d.say("DATA")).startswith("354")
    return await d.say(content.replace("\n", "\r\n") + "\r\n.")


def test_logins(run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(login, "PATIENCE", 0.2)

    async def story() -> None:
        async with reception(tmp_path, "submission") as r:
            d = await r.connect()
            await d.reply()
            await d.say("EHLO x")
            await d.start_tls()
            await d.say("EHLO x")
            assert (await d.say("AUTH CRAM-MD5")).startswith("504 5.5.4")
            assert (await d.say(f"AUTH PLAIN {plain('alice', 'wrong')}")).startswith("535 5.7.8")
            assert (await d.say("AUTH PLAIN AAAA")).startswith("501 5.5.2")
            assert (await d.say(f"AUTH PLAIN {plain('alice', 'away')}")).startswith("454 4.7.0")
            assert (await d.say(f"AUTH PLAIN {plain('alice', 'broken')}")).startswith("454 4.7.0")
            assert (await d.say(f"AUTH PLAIN {plain('alice', 'silent')}")).startswith("454 4.7.0")
            assert (await d.say("AUTH PLAIN")).startswith("334")
            assert (await d.say("*")).startswith("501 5.7.0")
            assert (await d.say("AUTH PLAIN")).startswith("334")
            assert (await d.say(plain("alice@local.example", "secret"))).startswith("235 2.7.0")
            await d.say("QUIT")
            await d.until_closed()
        assert "login refused" in r.log
        assert "secret" not in r.log
        assert "wrong" not in r.log

    run(story())


def test_a_login_is_not_kept_across_tls(run: Any, tmp_path: Path) -> None:
    async def story() -> None:
        async with reception(tmp_path, "submission") as r:
            d = await r.connect()
            await d.reply()
            await d.say("EHLO x")
            assert (await d.say(f"AUTH PLAIN {plain('alice', 'secret')}")).startswith("538")
            assert (await d.say("MAIL FROM:<alice@local.example>")).startswith("530 5.7.0")
            await d.start_tls()
            await d.say("EHLO x")
            assert (await d.say("MAIL FROM:<alice@local.example>")).startswith("530 5.7.0")

    run(story())


def test_c070_a_user_sends_only_in_their_own_name(run: Any, tmp_path: Path) -> None:
    async def story() -> None:
        async with reception(tmp_path, "submission") as r:
            d = await submitter(r)
            assert (await d.say("MAIL FROM:<bob@local.example>")).startswith("550 5.7.1")
            assert (await d.say("MAIL FROM:<anybody@remote.example>")).startswith("550 5.7.1")
            assert r.log.count("sender refused") == 2
            for forged in (
                "From: bob@local.example",
                "From: alice@local.example\nFrom: bob@local.example",
                "From: alice@local.example, bob@local.example",
                "From : bob@local.example",
                'From: "alice@local.example" <bob@local.example>',
            ):
                assert (await send(d, f"{forged}\nSubject: x\n\nhello")).startswith("5"), forged
            assert not r.queue.messages
            fine = ("From: =?utf-8?q?bob=40local=2Eexample?= <Alice+tag@LOCAL.example>", "Sender: bob@local.example")
            for header in fine:
                assert (await send(d, f"{header}\nSubject: x\n\nhello")).startswith("250"), header
            assert (await send(d, "From: sales@local.example\n\nhello", "sales@local.example")).startswith("250")
            assert (await send(d, "From: alice@local.example\n\nreceipt", "")).startswith("250")

    run(story())


def test_c102_what_is_missing_is_added_at_submission_only(run: Any, tmp_path: Path) -> None:
    async def story() -> None:
        async with reception(tmp_path, "submission") as r:
            d = await submitter(r)
            assert (await send(d, "hello")).startswith("250")
            head = r.queue.only.content.head
            for field in (b"From: <alice@local.example>\r\n", b"Date: ", b"Message-ID: <unique@local.example>\r\n"):
                assert field in head
            assert head.endswith(b"\r\n\r\nhello\r\n")
        async with reception(tmp_path) as r:
            d = await r.connect()
            await d.reply()
            await d.say("EHLO x")
            assert (await send(d, "Subject: x\n\nhello", "a@remote.example")).startswith("250")
            head = r.queue.only.content.head
            assert head.startswith(b"Received: ")
            assert head.partition(b"Subject:")[2] == b" x\r\n\r\nhello\r\n"

    run(story())


def test_c062_relay_tricks_from_outside(run: Any, tmp_path: Path) -> None:
    tricks = (
        "<victim%remote.example@local.example>",
        '<"victim%remote.example">',
        "<victim@remote.example@>",
        '<"victim@remote.example"@local.example>',
        "<remote.example!victim@local.example>",
        "<@local.example:victim@remote.example>",
        "<victim@remote.example@local.example>",
        "<victim@[127.0.0.1]>",
        "<victim@[IPv6:::1]>",
        "<victim@localhost>",
        "<victim@remote.example>",
        "<victim@local.example.remote.example>",
        "<victim@xlocal.example>",
        "<victim@remote.example.>",
        "<victim>",
    )

    async def story() -> None:
        async with reception(tmp_path, **OUTSIDER) as r:  # type: ignore[arg-type]
            d = await r.connect()
            await d.reply()
            await d.say("EHLO x")
            for sender in ("a@evil.example", "alice@local.example", ""):
                for trick in tricks:
                    await d.say("RSET", f"MAIL FROM:<{sender}>")
                    answer = await d.say(f"RCPT TO:{trick}")
                    assert answer.startswith("5") or answer.startswith("421"), (trick, answer)
                    if answer.startswith("421"):
                        d = await r.connect()
                        await d.reply()
                        await d.say("EHLO x")
                        await d.say(f"MAIL FROM:<{sender}>")
                        assert (await d.say(f"RCPT TO:{trick}")).startswith("5"), trick
            await d.say("RSET", "MAIL FROM:<a@evil.example>")
            answer = await d.say("RCPT TO:<victim@remote.example>")
            assert answer == "554 5.7.1 <victim@remote.example>: Relay access denied"
            assert (await d.say("RCPT TO:<Alice@LOCAL.example>")).startswith("250")
            assert (await d.say("RCPT TO:<nobody@local.example>")).startswith("550 5.1.1")
            assert (await d.say("RCPT TO:<Postmaster>")).startswith("250")

    run(story())


def test_the_log_tells_the_rule_of_each_acceptance(run: Any, tmp_path: Path) -> None:
    async def story() -> None:
        async with reception(tmp_path) as r:
            d = await r.connect()
            await d.reply()
            await d.say("EHLO x")
            await send(d, "Subject: x\n\nhello", "a@remote.example", "b@remote.example")
        assert 'rule="mynetworks 127.0.0.1/32"' in r.log
        async with reception(tmp_path, "submission") as r:
            await send(await submitter(r), "Subject: x\n\nhello")
        assert 'rule="login alice@local.example"' in r.log
        async with reception(tmp_path, **OUTSIDER) as r:  # type: ignore[arg-type]
            d = await r.connect()
            await d.reply()
            await d.say("EHLO x")
            await send(d, "Subject: x\n\nhello", "a@remote.example", "alice@local.example")
        assert 'rule="hosted local.example"' in r.log

    run(story())


def test_c097_an_alias_leads_on_and_reports_name_what_was_given(run: Any, tmp_path: Path) -> None:
    async def story() -> None:
        async with reception(tmp_path) as r:
            d = await r.connect()
            await d.reply()
            await d.say("EHLO x")
            await send(d, "Subject: x\n\nhi", "a@remote.example", "sales@local.example", "alice@local.example")
            recipients = r.queue.only.envelope.recipients
            assert [each.address for each in recipients] == ["alice@local.example", "x@remote.example"]
            assert {each.reported_address for each in recipients} == {"sales@local.example"}

    run(story())


def test_a_large_body_goes_to_a_file_as_it_arrives(run: Any, tmp_path: Path) -> None:
    async def story() -> None:
        async with reception(tmp_path, size_limit=5_000_000) as r:
            d = await r.connect()
            await d.reply()
            await d.say("EHLO x", "MAIL FROM:<a@remote.example>", "RCPT TO:<b@remote.example>", "DATA")
            body = b"".join(b"%07d abcdefghijklmnopqrstuvwxyz\r\n" % number for number in range(60_000))
            d.send(b"Subject: large\r\n\r\n" + body + b".\r\n")
            assert (await d.reply()).startswith("250")
            content = r.queue.only.content
            assert content.body_file
            assert len(content.head) < 1000
            whole = b"".join(r.listener.site.spool.read(content))
            assert whole.endswith(b"Subject: large\r\n\r\n" + body)
            assert len(whole) == content.size

    run(story())


def test_a_refused_large_body_leaves_no_file(run: Any, tmp_path: Path) -> None:
    async def story() -> None:
        async with reception(tmp_path, size_limit=1_000_000) as r:
            d = await r.connect()
            await d.reply()
            await d.say("EHLO x", "MAIL FROM:<a@remote.example>", "RCPT TO:<b@remote.example>", "DATA")
            d.send(b"Subject: large\r\n\r\n" + b"x" * 70 + b"\r\n" + (b"y" * 998 + b"\r\n") * 1200 + b".\r\n")
            assert (await d.reply()).startswith("552 5.3.4")
            assert (await d.say("NOOP")).startswith("250")
            await d.say("MAIL FROM:<a@remote.example>", "RCPT TO:<b@remote.example>", "DATA")
            d.send(b"Subject: large\r\n\r\n" + (b"y" * 998 + b"\r\n") * 500)
            await asyncio.sleep(0)
            d.writer.transport.abort()
        assert not list((tmp_path / "spool").iterdir())
        assert not r.queue.messages

    run(story())


@pytest.mark.parametrize(
    ("fault", "answer"),
    [
        (QueueFull("no space"), "452 4.3.1"),
        (OSError(errno.EIO, "broken"), "451 4.3.0"),
        (KeyError("ours"), "451 4.3.0"),
    ],
)
def test_a_queue_that_fails_never_becomes_a_permanent_refusal(
    run: Any, tmp_path: Path, fault: Exception, answer: str
) -> None:
    async def story() -> None:
        async with reception(tmp_path) as r:
            r.queue.fault = fault
            d = await r.connect()
            await d.reply()
            await d.say("EHLO x")
            assert (await send(d, "Subject: x\n\nhello", "a@remote.example")).startswith(answer)
            r.queue.fault = None
            assert (await send(d, "Subject: x\n\nhello", "a@remote.example")).startswith("250")

    run(story())


def test_c108_no_room_is_said_at_mail(run: Any, tmp_path: Path) -> None:
    async def story() -> None:
        async with reception(tmp_path) as r:
            rooms = iter([False, True])
            object.__setattr__(r.listener.site, "has_room", lambda size: next(rooms))
            d = await r.connect()
            await d.reply()
            await d.say("EHLO x")
            assert (await d.say("MAIL FROM:<a@remote.example>")).startswith("452 4.3.1")
            assert (await d.say("MAIL FROM:<a@remote.example>")).startswith("250")

    run(story())


def test_a_fault_of_ours_is_transient(run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("ours")

    monkeypatch.setattr(session, "decide", broken)

    async def story() -> None:
        async with reception(tmp_path) as r:
            d = await r.connect()
            await d.reply()
            await d.say("EHLO x", "MAIL FROM:<a@remote.example>")
            assert (await d.say("RCPT TO:<b@remote.example>")).startswith("451 4.3.0")
            assert (await d.say("NOOP")).startswith("250")
        assert "ZeroDivisionError" in r.log

    run(story())


def test_c105_the_border_of_header_and_body(run: Any, tmp_path: Path) -> None:
    async def story() -> None:
        async with reception(tmp_path) as r:
            d = await r.connect()
            await d.reply()
            await d.say("EHLO x")
            for content in (
                " X: y\nFrom: a@remote.example\n\nbody",
                "From: a@remote.example\nNot a header\nSubject: x\n\nbody",
                "".join(f"X-{n}: y\n" for n in range(2000)) + "\nbody",
                "Subject: x\nX-Long: " + "y" * 300_000 + "\n\nbody",
            ):
                assert (await send(d, content, "a@remote.example")).startswith("5"), content[:40]
            assert not r.queue.messages
            assert (await send(d, "Subject: only a header", "a@remote.example")).startswith("250")
            assert r.queue.only.content.head.endswith(b"Subject: only a header\r\n\r\n")

    run(story())


def test_a_message_in_circles_is_refused(run: Any, tmp_path: Path) -> None:
    async def story() -> None:
        async with reception(tmp_path) as r:
            d = await r.connect()
            await d.reply()
            await d.say("EHLO x")
            hop = "Received: from a by b; Mon, 1 Jan 2024 00:00:00 +0000\n"
            assert (await send(d, hop * 101 + "\nbody", "a@remote.example")).startswith("554 5.4.6")
            assert (await send(d, hop * 50 + "\nbody", "a@remote.example")).startswith("250")

    run(story())
