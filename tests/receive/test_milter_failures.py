"""Milters that hang, hang up, talk nonsense or want too much: bounded, and as was chosen."""

import asyncio
import errno
import re
import socket
import struct
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest
import uvloop

from tests.milter.scripted import (
    CLOSE,
    HANG,
    SILENCE,
    Packet,
    ScriptedMilter,
    Words,
    add_field,
    change_field,
    framed,
    insert_field,
    text,
)
from tests.receive.examined import ALICE, send, send_on, written
from tests.receive.filtered import filtered, told
from tests.tally import Tally
from valija.milter import conversation, line
from valija.milter.options import MilterOptions
from valija.milter.packets import LONGEST
from valija.queue.spool import Spool, SpoolFile

AWAY = "451 4.7.1 The message can't be examined now, try again later"
STEPS = [b"O", b"C", b"H", b"M", b"R", b"T", b"L", b"N", b"B", b"E"]
PATIENT: dict[str, Any] = {"connect_timeout": 0.3, "command_timeout": 0.3, "content_timeout": 0.3}
EVIL = "\r\nX-Evil: yes\r\n\r\nDATA"

NONSENSE: dict[str, Words] = {
    "no packet at all": b"220 mail.example.org ESMTP\r\n",
    "a packet of no length": struct.pack("!I", 0) + b"c",
    "an oversized packet": struct.pack("!I", LONGEST + 1) + b"h",
    "the largest number": b"\xff\xff\xff\xff" + b"x" * 1000,
    "an unknown answer": [(b"z", b"")],
    "an answer with data behind it": [(b"c", b"more")],
    "a reply that is none": [(b"y", b"250 Fine\0")],
    "a reply of another's lines": [(b"y", b"550 5.7.1 No\r\n250 2.0.0 Ok\0")],
    "a reply and what follows it": [(b"y", b"550 5.7.1 No\r\n\r\nQUIT\0")],
    "a reply without its end": [(b"y", b"550 5.7.1 No")],
    "that it can't go on": [(b"f", b"")],
}


@pytest.fixture
def run() -> Any:
    """One kind of loop is enough here: what the other does differently, test_milter_check sees."""

    def runner(work: Coroutine[Any, Any, None]) -> None:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as loop:
            loop.run(work)

    return runner


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("how", ["hangs", "hangs up", "talks nonsense"])
def test_whatever_fails_at_whichever_step_is_try_again_later(
    run: Any, tmp_path: Path, tally: Tally, step: bytes, how: str
) -> None:
    words: Words = {"hangs": HANG, "hangs up": CLOSE, "talks nonsense": NONSENSE["no packet at all"]}[how]

    async def story() -> None:
        async with ScriptedMilter({step: words}) as milter, filtered(tmp_path, milter, **PATIENT) as r:
            d = await r.connect()
            await d.reply()
            await d.say("EHLO c.example")
            assert (await send_on(d, written())).startswith(AWAY)
            assert not r.queue.messages
            assert not list((tmp_path / "spool").iterdir())
            assert re.search(r"milter failed .*reason=\".* action=tempfail session=", told_now(r, tmp_path))
            del milter.script[step]
            await d.say("RSET")
            assert (await send_on(d, written())).startswith("250")
            assert r.queue.only

    run(story())
    tally("faults", milters_that_failed=1, lost=0, crashed=0)


def told_now(r: Any, tmp_path: Path) -> str:
    return told(tmp_path) + str(r.log)


@pytest.mark.parametrize("what", NONSENSE)
@pytest.mark.parametrize("step", [b"O", b"M", b"E"])
def test_no_nonsense_is_believed(run: Any, tmp_path: Path, what: str, step: bytes) -> None:
    async def story() -> None:
        async with ScriptedMilter({step: NONSENSE[what]}) as milter, filtered(tmp_path, milter, **PATIENT) as r:
            d = await r.connect()
            await d.reply()
            await d.say("EHLO c.example")
            assert (await send_on(d, written())).startswith(AWAY)
            assert (await d.say("NOOP")).startswith("250")
            assert not r.queue.messages

    run(story())


@pytest.mark.parametrize(
    "agreement",
    [
        b"",
        struct.pack("!II", 6, 0),
        struct.pack("!III", 7, 0, 0),
        struct.pack("!III", 1, 0, 0),
        struct.pack("!III", 6, 0x8000, 0),
        struct.pack("!III", 6, 0, 0) + b"\0\0\0\x01no end",
        struct.pack("!III", 6, 0, 0) + b"\0\0",
    ],
)
def test_no_strange_terms_are_agreed_on(run: Any, tmp_path: Path, agreement: bytes) -> None:
    async def story() -> None:
        async with ScriptedMilter({b"O": [(b"O", agreement)]}) as milter, filtered(tmp_path, milter) as r:
            assert (await send(r, written())).startswith(AWAY)
        assert "that is no milter" in told(tmp_path)

    run(story())


REFUSED_CHANGES: dict[str, Packet] = {
    "a name with a line end": (b"h", b"X-A\r\nX-Evil\0yes\0"),
    "a name with a colon": (b"h", b"X-A: 1\r\nX-Evil\0yes\0"),
    "no name": add_field("", "yes"),
    "a name that is not ASCII": add_field("X-\u00e9", "yes"),
    "one text": (b"h", b"X-A\0"),
    "three texts": (b"h", b"X-A\x001\x002\0"),
    "a field without its number": (b"i", b"\0\0"),
    "a header that is too large": add_field("X-Large", "x" * 300_000),
    "a recipient with a line end": text(b"+", "<x@y.example>\r\nRCPT TO:<evil@y.example>"),
    "a recipient that is none": text(b"+", "<x y>"),
    "the null recipient": text(b"+", "<>"),
    "parameters that there are not": text(b"2", "<x@y.example>", "EVIL=1"),
    "a reverse-path with a line end": text(b"e", "<x@y.example>\nRCPT TO:<evil@y.example>"),
    "a reverse-path that is none": text(b"e", "nobody at all"),
    "a body with a NUL": (b"b", b"a\0b"),
    "a body beyond the limit": (b"b", b"x" * 65_535),
    "a skip": (b"s", b""),
}


@pytest.mark.parametrize("what", REFUSED_CHANGES)
def test_what_makes_no_message_changes_nothing(run: Any, tmp_path: Path, tally: Tally, what: str) -> None:
    async def story() -> None:
        words = [add_field("X-Fine", "1"), (b"b", b"other\r\n"), REFUSED_CHANGES[what], (b"a", b"")]
        async with (
            ScriptedMilter({b"E": words}) as milter,
            filtered(tmp_path, milter, default_action="accept", size_limit=60_000) as r,
        ):
            assert (await send(r, written())).startswith("250")
            content = r.queue.only.content.head
            assert b"evil" not in content.lower()
            assert b"X-Fine" not in content
            assert content.endswith(b"\r\n\r\nhello\r\n")
            assert [each.address for each in r.queue.only.envelope.recipients] == [ALICE]
            assert r.queue.only.envelope.reverse_path == "bob@example.org"
            assert not list((tmp_path / "spool").iterdir())
        assert 'reason="it talks nonsense: ' in told(tmp_path)

    run(story())
    tally("abuse", hostile_filter_answers=1, lines_injected=0)


@pytest.mark.parametrize(
    "change",
    [
        add_field("X-A", f"1{EVIL}"),
        insert_field(1, "X-A", f"1{EVIL}"),
        change_field(1, "Subject", f"1{EVIL}"),
        add_field("X-A", "1\rX-Evil: yes\r\rbody"),
        add_field("X-A", "1\n \n\t\nX-Evil: yes\n\n"),
    ],
)
def test_no_value_of_a_field_becomes_another_field_or_the_end_of_the_header(
    run: Any, tmp_path: Path, tally: Tally, change: Packet
) -> None:
    async def story() -> None:
        async with ScriptedMilter({b"E": [change, (b"a", b"")]}) as milter, filtered(tmp_path, milter) as r:
            assert (await send(r, written())).startswith("250")
            header, _, body = r.queue.only.content.head.partition(b"\r\n\r\n")
            assert body == b"hello\r\n"
            assert b"\r\n\tX-Evil: yes" in header
            assert b"\r\nX-Evil" not in header
            assert b"\r\r" not in header

    run(story())
    tally("abuse", hostile_filter_answers=1, lines_injected=0)


@pytest.mark.parametrize("step", [b"M", b"R", b"E"])
def test_no_reply_becomes_two(run: Any, tmp_path: Path, tally: Tally, step: bytes) -> None:
    async def story() -> None:
        lines = "550-5.7.1 first\x1b[31m\r\n550 5.7.1 second\u202e " + "x" * 2000
        async with ScriptedMilter({step: [text(b"y", lines)]}) as milter, filtered(tmp_path, milter) as r:
            d = await r.connect()
            await d.reply()
            await d.say("EHLO c.example")
            said = await send_on(d, written())
            assert said.startswith("550-5.7.1 first\\x{1B}[31m\n550 5.7.1 second\\x{202E} xxx")
            assert max(map(len, said.split("\n"))) < 512
            assert (await d.say("NOOP")).startswith("250 ")

    run(story())
    tally("abuse", hostile_filter_answers=1, lines_injected=0)


def test_what_it_never_said_it_would_do_it_may_not(run: Any, tmp_path: Path) -> None:
    async def story() -> None:
        for number, change in enumerate(
            [
                add_field("X-A", "1"),
                insert_field(0, "X-A", "1"),
                change_field(1, "Subject", ""),
                text(b"+", "<x@y.example>"),
                text(b"-", f"<{ALICE}>"),
                text(b"e", "<x@y.example>"),
                (b"b", b"body"),
                text(b"q", "why"),
            ],
            start=1,
        ):
            async with (
                ScriptedMilter({b"E": [change, (b"a", b"")]}, actions=0) as milter,
                filtered(tmp_path, milter) as r,
            ):
                assert (await send(r, written())).startswith(AWAY)
            assert told(tmp_path).count("a change that it never said it would make") == number

    run(story())


@pytest.mark.parametrize("what", ["many", "large"])
def test_changes_are_bounded(run: Any, tmp_path: Path, what: str) -> None:
    change = text(b"-", "<x@y.example>") if what == "many" else add_field("X-A", "x" * 200_000)
    words = framed(change) * (5001 if what == "many" else 6)

    async def story() -> None:
        async with ScriptedMilter({b"E": words + framed((b"a", b""))}) as milter, filtered(tmp_path, milter) as r:
            assert (await send(r, written())).startswith(AWAY)
        assert "more than 5000 changes, or 1048576 octets of them" in told(tmp_path)

    run(story())


def test_who_is_at_work_for_ever_is_not_waited_for_for_ever(
    run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conversation, "LONGEST_WORK", 0.2)

    async def story() -> None:
        words = framed((b"p", b"")) * 100
        async with ScriptedMilter({b"E": words}) as milter, filtered(tmp_path, milter, content_timeout=0.1) as r:
            assert (await send(r, written())).startswith(AWAY)

    run(story())


def to_the_milter(milter: ScriptedMilter) -> list[str]:
    """Return the connections of this machine to a milter that have not been closed from our side."""
    port = f":{int(milter.place.rpartition(':')[2]):04X}"
    rows = [line.split() for line in Path("/proc/self/net/tcp").read_text().splitlines()[1:]]
    return [" ".join(row) for row in rows if row[2].endswith(port) and row[3] == "01"]  # established


def test_all_that_a_message_takes_is_bounded_however_patient_each_step_is(
    run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conversation, "LONGEST_WORK", 0.2)

    async def story() -> None:
        async with ScriptedMilter({b"B": SILENCE}) as milter, filtered(tmp_path, milter, content_timeout=0.1) as r:
            assert (await send(r, written())).startswith(AWAY)
        assert "it has been at work for 0.2 s" in told(tmp_path)

    run(story())


@pytest.mark.parametrize("harshly", [False, True])
@pytest.mark.parametrize("then", [("RSET", "250"), (f"RCPT TO:<{ALICE}>", AWAY), ("QUIT", "221")])
def test_a_filter_that_goes_in_the_middle_of_a_transaction_harms_nothing_else(
    run: Any, tmp_path: Path, harshly: bool, then: tuple[str, str]
) -> None:
    async def story() -> None:
        async with ScriptedMilter() as milter, filtered(tmp_path, milter) as r:
            d = await r.connect()
            await d.reply()
            await d.say("EHLO c.example", "MAIL FROM:<a@b.example>", f"RCPT TO:<{ALICE}>")
            await milter.hang_up(harshly=harshly)
            await d.say("NOOP")
            said, reply = then
            assert (await d.say(said)).startswith(reply)
            if said != "QUIT":
                await d.say("RSET")
                assert (await send_on(d, written())).startswith("250")
                await d.say("QUIT")
            await d.until_closed()
        assert "ended=quit" in r.log
        assert "fault" not in r.log + told(tmp_path)

    run(story())


@pytest.mark.parametrize("harshly", [False, True])
def test_a_filter_that_was_restarted_between_two_messages_costs_none(run: Any, tmp_path: Path, harshly: bool) -> None:
    async def story() -> None:
        async with ScriptedMilter() as milter, filtered(tmp_path, milter, default_action="reject") as r:
            d = await r.connect()
            await d.reply()
            await d.say("EHLO c.example")
            assert (await send_on(d, written())).startswith("250")
            await milter.hang_up(harshly=harshly)
            await d.say("NOOP")
            assert (await send_on(d, written())).startswith("250")
            assert milter.letters().count("CHM") == 2
        assert "milter failed" not in told(tmp_path)

    run(story())


def test_by_a_body_for_which_there_was_no_room_nobody_judges(
    run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_room(_: Spool) -> SpoolFile:
        raise OSError(errno.ENOSPC, "No space left on device")

    async def story() -> None:
        large: list[Packet] = [(b"b", b"x" * 60_000)] * 5
        async with (
            ScriptedMilter({b"E": [*large, (b"a", b"")]}) as first,
            ScriptedMilter({b"E": [(b"r", b"")]}) as second,
            filtered(tmp_path, first, second) as r,
        ):
            monkeypatch.setattr(Spool, "create", no_room)
            assert (await send(r, written())).startswith("452 4.3.1")
            assert "E" not in second.letters()
            assert not r.queue.messages

    run(story())


def test_who_reads_nothing_is_given_up(run: Any, tmp_path: Path) -> None:
    async def story() -> None:
        body = ("x" * 998 + "\r\n") * 10_000  # more than the system keeps for it
        async with (
            ScriptedMilter({b"L": HANG}, steps=0x80 | 0x40000 | 0x80000) as milter,
            filtered(tmp_path, milter, size_limit=20_000_000, content_timeout=0.5) as r,
        ):
            assert (await send(r, written(body=body))).startswith(AWAY)
            assert "it has taken nothing for 0.5 s" in r.log + told(tmp_path)
            assert not to_the_milter(milter)

    run(story())


@pytest.mark.parametrize("step", [b"O", b"M", b"R", b"E"])
@pytest.mark.parametrize(
    ("action", "reply"),
    [
        ("tempfail", AWAY),
        ("reject", "550 5.7.1 The message can't be examined, and is refused"),
        ("accept", "250"),
        ("quarantine", "250"),
    ],
)
def test_what_is_said_of_a_failure_is_what_happens(
    run: Any, tmp_path: Path, step: bytes, action: str, reply: str
) -> None:
    async def story() -> None:
        async with ScriptedMilter({step: CLOSE}) as milter, filtered(tmp_path, milter, default_action=action) as r:
            assert (await send(r, written())).startswith(reply)
            if action in ("tempfail", "reject"):
                assert not r.queue.messages
                assert step != b"E" or f'milter="not asked: {milter.place}"' in r.log
            else:
                assert r.queue.only.on_hold is (action == "quarantine")
                assert [each.address for each in r.queue.only.envelope.recipients] == [ALICE]
            if action == "quarantine":
                reason = f"the filter at {milter.place} could not be asked"
                assert r.queue.only.origin.findings == (("hold", reason),)
        assert f"action={action}" in told(tmp_path)

    run(story())


@pytest.mark.parametrize("action", ["reject", "accept"])
def test_what_this_server_is_short_of_refuses_nothing_and_lets_nothing_by(
    run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, action: str
) -> None:
    async def no_descriptor(_: str) -> Any:
        raise OSError(errno.EMFILE, "Too many open files")

    async def story() -> None:
        async with ScriptedMilter() as milter, filtered(tmp_path, milter, default_action=action) as r:
            with monkeypatch.context() as short:
                short.setattr(line, "_connected", no_descriptor)
                assert (await send(r, written())).startswith("451 4.3.0")
            assert (await send(r, written())).startswith("250")

    run(story())


@pytest.mark.parametrize(
    ("place", "reason"),
    [
        ("inet:127.0.0.1:1", "nobody listens there"),
        ("unix:/nonexistent/milter.sock", "there is no such socket"),
        ("inet:nowhere.invalid:8891", ""),
    ],
)
def test_who_is_not_there_is_told_of_in_words(run: Any, tmp_path: Path, place: str, reason: str) -> None:
    async def story() -> None:
        async with filtered(tmp_path, MilterOptions(place, connect_timeout=5.0)) as r:
            assert (await send(r, written())).startswith(AWAY)
        assert re.search(rf"milter failed  milter={place} reason=\".*{reason}", told(tmp_path))

    run(story())


def test_each_failure_of_several_meets_its_own_choice(run: Any, tmp_path: Path) -> None:
    async def story() -> None:
        async with (
            ScriptedMilter({b"E": CLOSE}) as lenient,
            ScriptedMilter({b"E": [add_field("X-B", "1"), (b"a", b"")]}) as second,
            filtered(tmp_path, MilterOptions(lenient.place, "accept"), second) as r,
        ):
            assert (await send(r, written())).startswith("250")
            assert b"X-B: 1" in r.queue.only.content.head

    run(story())


def test_a_client_that_leaves_while_the_filter_thinks_ends_the_talk(run: Any, tmp_path: Path) -> None:
    async def story() -> None:
        async with ScriptedMilter({b"E": SILENCE}) as milter, filtered(tmp_path, milter) as r:
            d = await r.connect()
            await d.reply()
            await d.say("EHLO c.example", "MAIL FROM:<a@b.example>", f"RCPT TO:<{ALICE}>", "DATA")
            d.send(written() + b".\r\n")
            await milter.until("E")
            d.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            d.writer.transport.abort()
            await milter.until_closed(1)
            assert "ended=lost" in r.log
            assert not r.queue.messages

    run(story())


def test_a_silent_filter_keeps_one_session_waiting_and_no_others(run: Any, tmp_path: Path) -> None:
    async def story() -> None:
        async with (
            ScriptedMilter({b"O": SILENCE}) as milter,
            filtered(tmp_path, milter, connect_timeout=0.5, default_action="accept") as r,
        ):
            assert (await send(r, written())).startswith("250")
            waiting = asyncio.create_task(send(r, written()))
            while milter.connections < 2:
                await asyncio.sleep(0)
            for _ in range(5):
                assert (await send(r, written())).startswith("250")
            assert not waiting.done()
            assert (await waiting).startswith("250")
            assert milter.connections == 2
            del milter.script[b"O"]
            assert (await send(r, written())).startswith("250")
        lines = [line.split()[1] for line in told(tmp_path).splitlines()]
        assert lines == ["warn", "warn", "info", "info", "info", "info", "info", "info"]
        assert "milter is back" in told(tmp_path)

    run(story())
