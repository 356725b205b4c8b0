"""rspamd's word in a session: what each action comes to, and what comes of silence and of lies."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.fakedns import FakeDns
from tests.receive.examined import ALICE, header_of, send, send_on, written
from tests.receive.reception import Reception, reception
from tests.receive.test_sessions import submitter
from tests.rspamd.scripted import ScriptedRspamd, http, raw, reply, silence
from tests.tally import Tally
from valija.dns.caching import CachingResolver
from valija.dns.options import DnsOptions
from valija.logs import LogBuffer, build_log
from valija.mail.reply import Reply
from valija.receive.checks import Checks, Verdict
from valija.receive.rspamd_check import verdict_on
from valija.receive.rspamd_scanning import RspamdScanning
from valija.rspamd.options import RspamdOptions
from valija.rspamd.reply import Addition, Opinion

HEADER = b"Subject: hello\r\nX-Spam: No\r\n"
ZONE = {"9.0.0.127.in-addr.arpa": ["PTR mx.example.net."], "mx.example.net": ["A 127.0.0.9"]}


def verdict(action: str, **options: Any) -> Verdict:
    return verdict_on(Opinion(action, 7.0, 15.0, message="no"), HEADER, RspamdOptions(**options))


@pytest.mark.parametrize(
    ("action", "options", "refusal"),
    [
        ("reject", {}, Reply(550, "5.7.1", "no")),
        ("soft reject", {}, Reply(451, "4.7.1", "no")),
        ("greylist", {"on_greylist": "tempfail"}, Reply(451, "4.7.1", "no")),
        ("greylist", {}, None),
        ("no action", {}, None),
        ("add header", {}, None),
        ("something of one's own", {}, None),
    ],
)
def test_what_is_refused(action: str, options: dict[str, Any], refusal: Reply | None) -> None:
    assert verdict(action, **options).refusal == refusal


@pytest.mark.parametrize(
    ("action", "options", "fate"),
    [
        ("reject", {"on_reject": "hold"}, ("rspamd: reject", "", False)),
        ("reject", {"on_reject": "junk"}, ("", "rspamd: reject", False)),
        ("add header", {}, ("", "rspamd: add header", False)),
        ("rewrite subject", {}, ("", "rspamd: rewrite subject", False)),
        ("quarantine", {}, ("rspamd: quarantine", "", False)),
        ("discard", {}, ("", "", True)),
        ("no action", {}, ("", "", False)),
        ("something of one's own", {}, ("", "", False)),
    ],
)
def test_what_becomes_of_the_rest(action: str, options: dict[str, Any], fate: tuple[str, str, bool]) -> None:
    found = verdict(action, **options)
    assert found.refusal is None
    assert (found.hold, found.junk, found.discards) == fate


def test_words_of_its_own_are_not_needed() -> None:
    found = verdict_on(Opinion("reject"), HEADER, RspamdOptions())
    assert found.refusal == Reply(550, "5.7.1", "The message is refused as unwanted")


def test_what_it_found_and_wants_changed() -> None:
    opinion = Opinion(
        "no action",
        -0.5,
        15.0,
        ("GOOD(-1.00)", "BAD(0.50)"),
        additions=(Addition("X-New", "n", 0),),
        removals=(("X-Spam", 0),),
        reverse_path="bounce@example.org",
    )
    assert verdict_on(opinion, HEADER, RspamdOptions()) == Verdict(
        header=b"X-New: n\r\nSubject: hello\r\n",
        reverse_path="bounce@example.org",
        findings=(
            ("rspamd", "no action"),
            ("rspamd_score", "-0.50/15.00"),
            ("rspamd_symbols", "GOOD(-1.00),BAD(0.50)"),
        ),
    )


# In a session


@asynccontextmanager
async def scanned(
    tmp_path: Path, rspamd: ScriptedRspamd, role: Any = "smtpd", mynetworks: Any = ("10.9.9.9/32",), **settings: Any
) -> AsyncIterator[Reception]:
    with FakeDns(ZONE) as dns, (tmp_path / "scanning.log").open("ab") as file:
        buffer = LogBuffer(file.fileno())
        log = build_log("debug", "text", buffer)
        resolver = CachingResolver(DnsOptions(nameservers=(dns.endpoint,), timeout=5.0), log)
        scanning = RspamdScanning(rspamd.options(**settings), resolver, log, hostname="mail.local.example")
        async with reception(tmp_path, role, checks=Checks(scanning.offers), mynetworks=mynetworks) as r:
            yield r
        await scanning.close()
        await resolver.close()
        buffer.flush()


def test_it_is_told_who_is_there_and_changes_the_header(run: Any, tmp_path: Path) -> None:
    async def story() -> None:
        async with ScriptedRspamd() as rspamd, scanned(tmp_path, rspamd) as r:
            rspamd.answers(action="add header", milter={"add_headers": {"X-Spamd-Bar": "+++"}})
            body = "x" * 300_000 + "\r\n"
            assert (await send(r, written(body=body, more="X-Spam: No\r\n"), source="127.0.0.9")).startswith("250")
            (asked,) = rspamd.asked
            told = {name: asked.values(name) for name in ("IP", "Helo", "Hostname", "From", "Rcpt", "Queue-Id")}
            assert told == {
                "IP": ["127.0.0.9"],
                "Helo": ["mail.example.org"],
                "Hostname": ["mx.example.net"],
                "From": ["<bob@example.org>"],
                "Rcpt": [f"<{ALICE}>"],
                "Queue-Id": ["q1"],
            }
            assert asked.octets == written(body=body, more="X-Spam: No\r\n")
            assert r.queue.only.envelope.junk
            header = header_of(r)
            assert "X-Spam: Yes\r\n" in header
            assert "X-Spam: No" not in header
            assert "X-Spamd-Bar: +++" in header

    run(story())


def test_hostile_words_stay_where_they_are_put(run: Any, tmp_path: Path, tally: Tally) -> None:
    bad = "x\r\nBcc: victim@example.org\r\n\r\n250 ok\r\n.\r\nMAIL FROM:<x@evil.example>\0\x1b[2J"
    hostile: dict[str, Any] = {
        "symbols": {bad: {"score": 9}},
        "messages": {"smtp_message": bad},
        "subject": bad,
        "dkim-signature": bad,
        "milter": {
            "add_headers": {bad: bad, "X-Any": [bad, {"value": bad, "order": 0}]},
            "remove_headers": {bad: 0, "Subject\r\n": 1},
            "change_from": f"a@b.example>{bad}",
            "spam_header": {bad: bad},
        },
    }
    actions = ("reject", "soft reject", "add header", "rewrite subject", "no action", bad)

    async def story() -> None:
        async with ScriptedRspamd() as rspamd, scanned(tmp_path, rspamd) as r:
            d = await r.connect("127.0.0.9")
            await d.reply()
            await d.say("EHLO mail.example.org")
            for number, action in enumerate(actions, 1):
                rspamd.answers(action=action, **hostile)
                answer = await send_on(d, written())
                assert "\n" not in answer
                assert answer.isprintable()
                assert await d.say("NOOP") == "250 2.0.0 Ok"
                if answer.startswith("250"):
                    message = r.queue.messages.pop(f"q{number}")
                    header, _, body = message.content.head.partition(b"\r\n\r\n")
                    assert body == b"hello\r\n"
                    assert b"\r\nBcc:" not in header
                    assert header.count(b"\r\n") == header.count(b"\n") == header.count(b"\r")
                    assert message.envelope.reverse_path == "bob@example.org"

    run(story())
    tally("smuggling", hostile_answers_of_rspamd=len(actions), smuggled=0)


@pytest.mark.parametrize(
    ("on_failure", "answer"), [("tempfail", "451 4.7.1 The message can't be examined now"), ("accept", "250 2.0.0")]
)
def test_silence_and_nonsense_meet_the_stated_choice(run: Any, tmp_path: Path, on_failure: str, answer: str) -> None:
    async def story() -> None:
        async with ScriptedRspamd() as rspamd, scanned(tmp_path, rspamd, on_failure=on_failure, timeout=0.3) as r:
            for deed in (silence, raw(http(b"nonsense")), raw(http(b"", "500 no"))):
                rspamd.does(deed)
                assert (await send(r, written())).startswith(answer)
            await rspamd.stop()
            assert (await send(r, written())).startswith(answer)
            await rspamd.start()
            rspamd.answers(action="no action")
            assert (await send(r, written())).startswith("250")
            findings = [dict(message.origin.findings)["rspamd"] for message in r.queue.messages.values()]
            assert findings[-1] == "no action"
            if on_failure == "accept":
                assert findings[0] == "not scanned: no answer within 0.3 s"
        log = (tmp_path / "scanning.log").read_text()
        assert log.count("can't be asked") == 4  # a reason each
        assert log.count("rspamd answers again") == 1

    run(story())


def test_what_is_too_large_is_not_scanned_and_says_so(run: Any, tmp_path: Path) -> None:
    async def story() -> None:
        async with ScriptedRspamd() as rspamd, scanned(tmp_path, rspamd, max_size=1000) as r:
            rspamd.answers(action="reject")
            assert (await send(r, written(body="x" * 1000 + "\r\n"))).startswith("250")
            assert dict(r.queue.only.origin.findings) == {"rspamd": "not scanned: larger than 1000 octets"}
            assert not rspamd.asked
            assert (await send(r, written())).startswith("550")

    run(story())


def test_users_are_scanned_where_that_is_asked_for(run: Any, tmp_path: Path) -> None:
    async def said(users: bool) -> tuple[str, int]:
        async with ScriptedRspamd() as rspamd, scanned(tmp_path, rspamd, "submission", users=users) as r:
            rspamd.answers(action="reject", messages={"smtp_message": "not from you"})
            d = await submitter(r)
            answer = await send_on(d, written(ALICE), mail_from=ALICE, to=["x@remote.example"])
            assert all(asked.values("User") == [ALICE] for asked in rspamd.asked)
            return answer, len(rspamd.asked)

    async def story() -> None:
        answer, asked = await said(users=False)
        assert (answer[:3], asked) == ("250", 0)
        answer, asked = await said(users=True)
        assert answer.startswith("550 5.7.1 not from you")
        assert asked == 1

    run(story())


def test_our_own_network_is_not_scanned_unless_asked_for(run: Any, tmp_path: Path) -> None:
    async def story() -> None:
        for users, answer in ((False, "250"), (True, "550")):
            networks = ("127.0.0.1/32",)
            async with ScriptedRspamd() as rspamd, scanned(tmp_path, rspamd, mynetworks=networks, users=users) as r:
                rspamd.does(reply(action="reject"))
                assert (await send(r, written())).startswith(answer)

    run(story())


def test_a_client_that_goes_while_it_is_scanned_leaves_nothing(run: Any, tmp_path: Path) -> None:
    async def story() -> None:
        async with ScriptedRspamd() as rspamd, scanned(tmp_path, rspamd, timeout=0.2) as r:
            rspamd.does(silence)
            d = await r.connect()
            await d.reply()
            for line in ("EHLO x.example", "MAIL FROM:<b@example.org>", f"RCPT TO:<{ALICE}>", "DATA"):
                await d.say(line)
            d.send(written() + b".\r\n")
            await asyncio.wait_for(rspamd.came.wait(), 10)
            d.writer.transport.abort()
            rspamd.answers(action="no action")
            assert (await send(r, written())).startswith("250")
            assert len(r.queue.messages) == 1

    run(story())
