"""Checks in a session: when each is heard, who is examined, and what becomes of what they say."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.receive.examined import ALICE, send, send_on, written
from tests.receive.reception import Reception, reception
from tests.receive.test_sessions import submitter
from valija.mail.envelope import Envelope, Recipient
from valija.mail.reply import Reply
from valija.receive.checks import BodyWatcher, Candidate, Check, Checks, Client, Offer, Stage, Verdict
from valija.smtp.events import Mail

NO = Reply(550, "5.7.1", "No")
LATER = Reply(451, "4.7.1", "Later")
EVERYTHING = Stage.CONNECT | Stage.MAIL | Stage.RCPT | Stage.CONTENT


class Listening(Check):
    """Notes what it hears; says what it is told to say, some of it only after a turn of the loop."""

    def __init__(self, heard: list[str], name: str = "", **says: Any) -> None:
        self.heard = heard
        self.name = name
        self.says = says

    def _hear(self, what: str) -> Any:
        self.heard.append(f"{self.name}{what}")
        answer = self.says.get(what.partition(" ")[0])
        return answer() if callable(answer) else answer

    def on_connect(self, client: Client) -> Any:
        return self._hear("connect")

    def on_mail(self, client: Client, mail: Mail) -> Any:
        return self._hear(f"mail {mail.reverse_path}")

    def on_rcpt(self, client: Client, mail: Mail, recipient: Recipient) -> Any:
        return self._hear(f"rcpt {recipient.address}")

    def on_content(self, client: Client, envelope: Envelope, content: Candidate) -> Any:
        answer = self._hear(f"content {len(envelope.recipients)}")
        return answer.judge(content) if isinstance(answer, Looking) else answer

    def on_reset(self) -> None:
        self.heard.append(f"{self.name}reset")

    def close(self) -> None:
        self.heard.append(f"{self.name}close")


@dataclass(frozen=True)
class Looking:
    """A verdict that depends on the content."""

    judge: Callable[[Candidate], Verdict]


def waiting(value: Any) -> Callable[[], Any]:
    async def answer() -> Any:
        return value

    return answer


def offer(
    heard: list[str], name: str = "", *, stages: Stage = EVERYTHING, of_users: bool = False, **says: Any
) -> Offer:
    return Offer(name or "listening", lambda client: Listening(heard, name, **says), stages, of_users)


def said(stage: str, what: Any) -> dict[str, Any]:
    return {stage: what}


def met(r: Reception) -> str:
    return r.queue.only.content.head.partition(b"\r\n\r\n")[0].decode()


STRANGERS = ("10.9.9.9/32",)


def test_a_check_hears_of_each_step_before_the_client_is_answered(run: Any, tmp_path: Path) -> None:
    heard: list[str] = []

    async def story() -> None:
        async with reception(tmp_path, checks=Checks([offer(heard)]), mynetworks=STRANGERS) as r:
            d = await r.connect()
            await d.reply()
            await d.say("EHLO c.example")
            assert heard == []
            assert (await send_on(d, written())).startswith("250")
            assert heard == ["connect", "mail bob@example.org", f"rcpt {ALICE}", "content 1", "reset"]
            assert (await d.say("MAIL FROM:<>")).startswith("250")
            assert heard[5:] == ["mail "]
            await d.say("RSET")
            assert heard[6:] == ["reset"]
            await d.say("QUIT")
            await d.until_closed()
        assert heard[-1] == "close"
        assert heard.count("close") == 1

    run(story())


def test_at_stages_that_it_does_not_name_it_is_not_heard(run: Any, tmp_path: Path) -> None:
    heard: list[str] = []

    async def story() -> None:
        offered = offer(heard, stages=Stage.RCPT, connect=NO, mail=NO, content=Verdict(refusal=NO))
        async with reception(tmp_path, checks=Checks([offered]), mynetworks=STRANGERS) as r:
            assert (await send(r, written())).startswith("250")
        assert [each for each in heard if each not in ("reset", "close")] == [f"rcpt {ALICE}"]

    run(story())


@pytest.mark.parametrize("stage", ["connect", "mail", "rcpt"])
@pytest.mark.parametrize("waits", [False, True])
def test_the_first_refusal_ends_the_asking(run: Any, tmp_path: Path, stage: str, waits: bool) -> None:
    heard: list[str] = []

    async def story() -> None:
        first = offer(heard, "1 ", **said(stage, waiting(LATER) if waits else LATER))
        second = offer(heard, "2 ", **said(stage, NO))
        checks = Checks([offer(heard, "0 ", **said(stage, waiting(None))), first, second])
        async with reception(tmp_path, checks=checks, mynetworks=STRANGERS) as r:
            assert (await send(r, written())).startswith("451 4.7.1 Later")
            assert not r.queue.messages
        assert f"2 {stage}" not in [each[: len(stage) + 2] for each in heard]
        about = "recipient=alice@local.example" if stage == "rcpt" else "reverse_path=<bob@example.org>"
        assert re.search(f'refused by a check .*check="1 " .*{about}', r.log)

    run(story())


def test_a_refused_recipient_is_none_and_a_refused_sender_begins_nothing(run: Any, tmp_path: Path) -> None:
    heard: list[str] = []
    once = iter([NO, None, NO, None])

    async def story() -> None:
        offered = offer(heard, mail=lambda: next(once), rcpt=lambda: next(once))
        async with reception(tmp_path, checks=Checks([offered]), mynetworks=STRANGERS) as r:
            d = await r.connect()
            await d.reply()
            assert (await d.say("EHLO c.example", "MAIL FROM:<a@b.example>")).startswith("550 5.7.1 No")
            assert (await d.say(f"RCPT TO:<{ALICE}>")).startswith("503")
            assert (await d.say("MAIL FROM:<a@b.example>")).startswith("250")
            assert (await d.say(f"RCPT TO:<{ALICE}>")).startswith("550 5.7.1 No")
            assert (await d.say("RCPT TO:<bob@local.example>")).startswith("250")
            await d.say("DATA")
            assert (await d.say("Subject: s\r\n.")).startswith("250")
            (recipient,) = r.queue.only.envelope.recipients
            assert recipient.address == "bob@local.example"

    run(story())


def test_each_check_sees_the_header_as_those_before_it_left_it(run: Any, tmp_path: Path) -> None:
    def second(content: Candidate) -> Verdict:
        assert content.header.startswith(b"X-First: 1\r\nFrom: ")
        assert content.received_header.startswith(b"From: ")
        assert b"".join(content.read_body()) == b"hello\r\n"
        assert content.body_size == 7
        kept = content.header.replace(b"Subject: s\r\n", b"")
        return Verdict(header=kept, fields=b"X-Second: 2\r\n", junk="looks odd", findings=(("second", "odd"),))

    async def story() -> None:
        first = offer([], "1 ", content=Verdict(fields=b"X-First: 1\r\n", findings=(("first", "fine"),)))
        checks = Checks([first, offer([], "2 ", content=Looking(second))])
        async with reception(tmp_path, checks=checks, mynetworks=STRANGERS) as r:
            assert (await send(r, written())).startswith("250")
            assert "\r\nX-Second: 2\r\nX-First: 1\r\nFrom: bob@example.org\r\nTo: " in met(r)
            assert "Subject" not in met(r)
            assert r.queue.only.envelope.junk
            assert r.queue.only.origin.findings == (("first", "fine"), ("second", "odd"))
        assert "first=fine second=odd" in r.log

    run(story())


@pytest.mark.parametrize("size", [7, 400_000])
def test_a_body_can_be_read_as_often_as_one_likes(run: Any, tmp_path: Path, size: int) -> None:
    body = ("x" * 64 + "\r\n") * (size // 66) + "end\r\n"
    read: list[bytes] = []

    def judge(content: Candidate) -> Verdict:
        read.extend(b"".join(content.read_body()) for _ in range(2))
        return Verdict()

    async def story() -> None:
        checks = Checks([offer([], content=Looking(judge))])
        async with reception(tmp_path, checks=checks, mynetworks=STRANGERS) as r:
            assert (await send(r, written(body=body))).startswith("250")
        assert read == [body.encode()] * 2

    run(story())


def test_a_message_may_be_held_or_thrown_away(run: Any, tmp_path: Path) -> None:
    verdicts = iter([Verdict(discards=True), Verdict(hold="somebody should look")])

    async def story() -> None:
        checks = Checks([offer([], content=lambda: next(verdicts))])
        async with reception(tmp_path, checks=checks, mynetworks=STRANGERS) as r:
            assert (await send(r, written())).startswith("250")
            assert not r.queue.messages
            assert (await send(r, written())).startswith("250")
            assert r.queue.only.on_hold
            assert r.queue.only.origin.findings == (("hold", "somebody should look"),)
        assert " discarded " in r.log

    run(story())


@pytest.mark.parametrize("stage", ["connect", "mail", "rcpt", "content"])
@pytest.mark.parametrize("waits", [False, True])
def test_a_fault_of_ours_is_transient(run: Any, tmp_path: Path, stage: str, waits: bool) -> None:
    async def fail_later() -> None:
        raise RuntimeError("a fault of ours")

    def fail() -> Any:
        if waits:
            return fail_later()
        raise RuntimeError("a fault of ours")

    async def story() -> None:
        checks = Checks([offer([], "faulty", **said(stage, fail))])
        async with reception(tmp_path, checks=checks, mynetworks=STRANGERS) as r:
            assert (await send(r, written())).startswith("451 4.3.0")
            assert not r.queue.messages
        assert re.search(r"check fault .*check=faulty", r.log)

    run(story())


class Watching(Listening):
    """Wants to see bodies."""

    def on_header(self, client: Client, header: bytes) -> Sequence[BodyWatcher]:
        self.heard.append(header.decode())
        return (self,)

    def update(self, data: bytes) -> None:
        self.heard.append(data.decode())


def test_who_asks_sees_the_body_while_it_arrives(run: Any, tmp_path: Path) -> None:
    heard: list[str] = []

    async def story() -> None:
        offered = Offer("watching", lambda client: Watching(heard), Stage.CONTENT)
        async with reception(tmp_path, checks=Checks([offered]), mynetworks=STRANGERS) as r:
            assert (await send(r, b"\r\nno header\r\n")).startswith("250")
            header, *body = heard[: heard.index("content 1")]
            assert (header, "".join(body)) == ("", "no header\r\n")

    run(story())


def test_users_are_examined_from_their_login_on_and_by_what_is_for_them(run: Any, tmp_path: Path) -> None:
    heard: list[str] = []

    async def story() -> None:
        checks = Checks([offer(heard, "strangers "), offer(heard, "users ", of_users=True)])
        async with reception(tmp_path, "submission", checks=checks) as r:
            d = await submitter(r)
            await d.say("MAIL FROM:<alice@local.example>", "RCPT TO:<x@remote.example>", "DATA")
            assert (await d.say(f"From: {ALICE}\r\n\r\nhello\r\n.")).startswith("250")
        assert "users content 1" in heard
        assert not [each for each in heard if each.startswith("strangers")]

    run(story())


def test_where_no_check_is_meant_for_a_client_nothing_is_made(run: Any, tmp_path: Path) -> None:
    heard: list[str] = []

    async def story() -> None:
        async with reception(tmp_path, checks=Checks([offer(heard)]), mynetworks=["127.0.0.1/32"]) as r:
            d = await r.connect()
            await d.reply()
            await d.say("EHLO c.example")
            (connection,) = r.listener._connections
            assert connection.session.examination is None
            assert (await send_on(d, written())).startswith("250")
        assert heard == []

    run(story())
