"""Sessions whose mail a milter sees: what it is told, and what becomes of what it says."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.content.dkim_world import key, verdicts
from tests.milter.scripted import (
    ALL_SILENT,
    LEADING_BLANKS,
    NOTHING_BUT_THE_END,
    Packet,
    ScriptedMilter,
    Words,
    add_field,
    change_field,
    insert_field,
    text,
)
from tests.receive.examined import ALICE, send, send_on, written
from tests.receive.filtered import filtered, told
from tests.receive.reception import Reception
from tests.receive.test_sessions import submitter
from valija.content.dkim_key import DkimKey
from valija.receive.body import MEMORY_LIMIT

STRANGERS = ("10.9.9.9/32",)
NO: Packet = (b"y", b"550 5.7.1 We don't want this\0")
ACCEPT: Sequence[Packet] = [(b"a", b"")]


def head(r: Reception) -> str:
    return r.queue.only.content.head.partition(b"\r\n\r\n")[0].decode()


def stored(r: Reception) -> bytes:
    """Return the stored body, from wherever it lies."""
    content = r.queue.only.content
    whole = b"".join(r.listener.site.spool.read(content))
    return whole.partition(b"\r\n\r\n")[2]


# What it is told


def test_it_is_told_of_all_that_happens_in_the_order_of_the_protocol(run: Any, tmp_path: Path) -> None:
    async def story() -> None:
        async with (
            ScriptedMilter(steps=LEADING_BLANKS) as milter,
            filtered(tmp_path, milter, mynetworks=STRANGERS) as r,
        ):
            d = await r.connect("127.0.0.9")
            await d.reply()
            await d.say("EHLO c.example")
            assert milter.connections == 0  # not before there is mail
            await d.say("MAIL FROM:<a@b.example> SIZE=60 BODY=8BITMIME RET=HDRS ENVID=e1")
            await d.say(f"RCPT TO:<{ALICE}> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;{ALICE}", "RCPT TO:<bob@local.example>")
            await d.say("DATA")
            assert (await d.say("Subject:  two  blanks\r\n\tfolded\r\nX-Empty:\r\n\r\nhello\r\n.")).startswith("250")
            assert (await send_on(d, written())).startswith("250")
            await d.say("QUIT")
            await milter.until("Q")
        assert milter.letters() == "CHMRRTLLNBE" + "MRTLLLNBE" + "Q"
        assert milter.of("C") == [b"mx.remote.example\0" + b"4" + milter.of("C")[0][19:21] + b"127.0.0.9\0"]
        assert milter.of("H") == [b"c.example\0"]
        assert milter.of("M")[0] == b"<a@b.example>\0SIZE=60\0BODY=8BITMIME\0RET=HDRS\0ENVID=e1\0"
        assert milter.of("R")[0] == f"<{ALICE}>\0NOTIFY=SUCCESS,FAILURE\0ORCPT=rfc822;{ALICE}\0".encode()
        assert milter.of("L")[:2] == [b"Subject\0  two  blanks\n\tfolded\0", b"X-Empty\0\0"]
        assert milter.of("B")[0] == b"hello\r\n"
        assert milter.connections == 1
        assert milter.offer == (6, 0x1FF, 0x1FF7FF & ~0x800)
        connect, mail, rcpt = (milter.macros_of[each] for each in "CMR")
        assert connect["j"] == "mail.local.example"
        assert connect["{client_name}"] == connect["{client_ptr}"] == "mx.remote.example"
        assert connect["{client_addr}"] == "127.0.0.9"
        assert connect["_"] == "mx.remote.example [127.0.0.9]"
        assert mail["{mail_addr}"] == "bob@example.org"
        assert "{auth_authen}" not in mail
        assert rcpt["{rcpt_host}"] == "local.example"
        assert rcpt["{rcpt_mailer}"] == "local"
        assert milter.macros_of["E"] == {"i": "q2"}

    run(story())


def test_of_a_user_it_is_told_how_who_logged_in_and_by_which_tls(run: Any, tmp_path: Path) -> None:
    async def story() -> None:
        async with ScriptedMilter() as milter, filtered(tmp_path, milter, role="submission") as r:
            d = await submitter(r)
            assert (await send_on(d, written(ALICE), mail_from=ALICE, to=["x@remote.example"])).startswith("250")
        assert milter.macros["{auth_authen}"] == ALICE
        assert milter.macros["{auth_type}"] == "PLAIN"
        assert milter.macros["{tls_version}"] == "TLSv1.3"
        assert milter.macros["{daemon_name}"] == "ORIGINATING"
        assert milter.macros["{rcpt_mailer}"] == "smtp"
        assert milter.of("C")[0].startswith(b"[127.0.0.1]\x004")  # no name is looked up
        assert b"From\0" + ALICE.encode() + b"\0" in milter.of("L")  # without its blank: it did not ask for it

    run(story())


def test_what_it_declines_it_is_not_told_and_what_it_does_not_answer_is_not_waited_for(
    run: Any, tmp_path: Path
) -> None:
    async def story() -> None:
        async with (
            ScriptedMilter({b"E": [add_field("X-End", "seen"), *ACCEPT]}, steps=NOTHING_BUT_THE_END) as declining,
            ScriptedMilter({b"E": [add_field("X-Silent", "seen"), *ACCEPT]}, steps=ALL_SILENT) as silent,
            filtered(tmp_path, declining, silent) as r,
        ):
            assert (await send(r, written(body="x" * 70_000 + "\r\n"))).startswith("250")
            assert head(r).endswith("X-End: seen\r\nX-Silent: seen")
            await silent.until("E")
            assert declining.letters() == "E"
            assert declining.macros_of["C"]["{client_addr}"] == "127.0.0.1"  # its macros come all the same
            assert declining.macros_of["M"]["{mail_addr}"] == "bob@example.org"
            assert silent.letters() == "CHMRTLLLLNBBE"
            assert list(map(len, silent.of("B"))) == [65535, 70_002 - 65535]

    run(story())


def test_it_gets_the_macros_that_it_asks_for(run: Any, tmp_path: Path) -> None:
    lists = b"\0\0\0\0j {client_addr}\0" + b"\0\0\0\x02auth_type,{mail_addr}\0" + b"\0\0\0\x63whatever\0"

    async def story() -> None:
        async with ScriptedMilter(macro_lists=lists) as milter, filtered(tmp_path, milter) as r:
            assert (await send(r, written())).startswith("250")
        assert milter.macros_of["C"] == {"j": "mail.local.example", "{client_addr}": "127.0.0.1"}
        assert milter.macros_of["M"] == {"{mail_addr}": "bob@example.org"}

    run(story())


def test_a_transaction_that_is_dropped_is_aborted_and_a_new_helo_told(run: Any, tmp_path: Path) -> None:
    async def story() -> None:
        async with ScriptedMilter() as milter, filtered(tmp_path, milter) as r:
            d = await r.connect()
            await d.reply()
            await d.say("EHLO one.example", "MAIL FROM:<a@b.example>", f"RCPT TO:<{ALICE}>", "RSET")
            await d.say("MAIL FROM:<a@b.example>", "EHLO two.example", "MAIL FROM:<>")
            d.writer.close()
            await milter.until("Q")
        assert milter.letters() == "CHMRA" + "MA" + "HM" + "AQ"
        assert milter.of("H") == [b"one.example\0", b"two.example\0"]

    run(story())


def test_enough_of_a_body_is_enough(run: Any, tmp_path: Path) -> None:
    async def story() -> None:
        async with ScriptedMilter({b"B": [(b"s", b"")]}) as milter, filtered(tmp_path, milter) as r:
            assert (await send(r, written(body="x" * 300_000 + "\r\n"))).startswith("250")
        assert milter.letters().count("B") == 1
        assert len(r.queue.only.content.head) + r.queue.only.content.size > 300_000

    run(story())


# What it refuses


@pytest.mark.parametrize("step", [b"C", b"H", b"M"])
@pytest.mark.parametrize(
    ("words", "reply"),
    [
        ([NO], "550 5.7.1 We don't want this (session "),
        ([(b"r", b"")], "550 5.7.1 Command rejected (session "),
        ([(b"t", b"")], "451 4.7.1 Service unavailable, try again later (session "),
        ([(b"4", b"")], "421 4.7.0 Server closing connection"),
        ([(b"y", b"452 4.2.2 One\r\n452 4.2.2 two\0")], "452-4.2.2 One\n452 4.2.2 two"),
        ([(b"y", b"550 5.7.1 99%% spam, 1%\0")], "550 5.7.1 99% spam, 1% (session "),
    ],
)
def test_it_may_refuse_the_client_and_the_sender(
    run: Any, tmp_path: Path, step: bytes, words: Words, reply: str
) -> None:
    async def story() -> None:
        async with ScriptedMilter({step: words}) as milter, filtered(tmp_path, milter) as r:
            assert (await send(r, written())).startswith(reply)
            assert not r.queue.messages
            assert 'check="milter inet:' in r.log

    run(story())


def test_who_is_refused_as_a_client_is_refused_each_time_and_the_filter_asked_once(run: Any, tmp_path: Path) -> None:
    async def story() -> None:
        async with ScriptedMilter({b"C": [NO]}) as milter, filtered(tmp_path, milter) as r:
            d = await r.connect()
            await d.reply()
            await d.say("EHLO c.example")
            for _ in range(3):
                assert (await d.say("MAIL FROM:<a@b.example>")).startswith("550 5.7.1 We")
        assert milter.letters().rstrip("Q") == "C"

    run(story())


def test_a_recipient_that_it_refuses_is_none(run: Any, tmp_path: Path) -> None:
    async def story() -> None:
        async with ScriptedMilter() as milter, filtered(tmp_path, milter) as r:
            d = await r.connect()
            await d.reply()
            await d.say("EHLO c.example", "MAIL FROM:<a@b.example>", "RCPT TO:<bob@local.example>")
            milter.script[b"R"] = [NO]
            assert (await d.say(f"RCPT TO:<{ALICE}>")).startswith("550 5.7.1 We")
            await d.say("DATA")
            assert (await d.say("Subject: s\r\n\r\n.")).startswith("250")
            assert [each.address for each in r.queue.only.envelope.recipients] == ["bob@local.example"]

    run(story())


@pytest.mark.parametrize("step", [b"T", b"L", b"N", b"B", b"E"])
def test_it_may_refuse_a_content_at_each_of_its_parts_and_the_session_goes_on(
    run: Any, tmp_path: Path, step: bytes
) -> None:
    async def story() -> None:
        async with ScriptedMilter({step: [NO]}) as milter, filtered(tmp_path, milter) as r:
            d = await r.connect()
            await d.reply()
            await d.say("EHLO c.example")
            assert (await send_on(d, written())).startswith("550 5.7.1 We")
            assert not r.queue.messages
            assert f'milter="refused by {milter.place}"' in r.log
            del milter.script[step]
            assert (await send_on(d, written())).startswith("250")
        assert milter.connections == 1

    run(story())


@pytest.mark.parametrize("step", [b"C", b"H", b"M", b"R", b"T", b"L", b"N", b"B", b"E"])
def test_who_accepts_is_asked_no_further(run: Any, tmp_path: Path, step: bytes) -> None:
    async def story() -> None:
        async with ScriptedMilter({step: ACCEPT}) as milter, filtered(tmp_path, milter) as r:
            assert (await send(r, written())).startswith("250")
            assert r.queue.only
        assert milter.letters().rstrip("AQ").endswith(step.decode())
        assert milter.letters().count(step.decode()) == 1

    run(story())


@pytest.mark.parametrize("step", [b"C", b"M", b"R", b"B", b"E"])
def test_what_it_throws_away_is_accepted_and_logged(run: Any, tmp_path: Path, step: bytes) -> None:
    async def story() -> None:
        async with ScriptedMilter({step: [(b"d", b"")]}) as milter, filtered(tmp_path, milter) as r:
            assert (await send(r, written())).startswith("250 2.0.0 Ok: queued as q1")
            assert not r.queue.messages
            assert " discarded " in r.log
            assert f'milter="discarded by {milter.place}"' in r.log

    run(story())


# What it changes


def test_fields_are_added_inserted_changed_and_removed(run: Any, tmp_path: Path) -> None:
    changes = [
        add_field("X-Last", "1"),
        insert_field(0, "X-Top", "2"),
        insert_field(1, "X-Upper", "3"),
        insert_field(99, "X-Lowest", "4"),
        change_field(1, "subject", "other\nfolded\n\n third"),
        change_field(2, "X-Many", "second"),
        change_field(1, "X-Many", ""),
        change_field(7, "X-None", "added"),
        change_field(7, "X-None-Either", ""),
    ]

    async def story() -> None:
        async with ScriptedMilter({b"E": [*changes, *ACCEPT]}) as milter, filtered(tmp_path, milter) as r:
            assert (await send(r, written(more="X-Many: 1\r\nX-Many: 2\r\nX-Many: 3\r\n"))).startswith("250")
            rest = head(r).partition("X-Upper")
            assert rest[0].startswith("Received: ")
            assert rest[0].count("\r\n") == rest[0].count("\r\n\t") + 1
            assert rest[1] + rest[2] == (
                "X-Upper: 3\r\nX-Top: 2\r\nFrom: bob@example.org\r\nTo: alice@local.example\r\n"
                "subject: other\r\n\tfolded\r\n third\r\nX-Many: second\r\nX-Many: 3\r\n"
                "X-Last: 1\r\nX-Lowest: 4\r\nX-None: added"
            )
        assert "changed by a milter" in told(tmp_path)

    run(story())


def test_recipients_and_the_reverse_path_are_its_word_and_told_in_the_log(run: Any, tmp_path: Path) -> None:
    changes = [
        text(b"+", "<x@elsewhere.example>"),
        text(b"+", "bare@elsewhere.example"),
        text(b"+", "<bob@LOCAL.example>"),
        text(b"2", "<y@elsewhere.example>", "NOTIFY=NEVER ORCPT=rfc822;y@elsewhere.example"),
        text(b"-", f"<{ALICE}>"),
        text(b"-", "<nobody@local.example>"),
        text(b"e", "<bounces@elsewhere.example>", "SIZE=5"),
    ]

    async def story() -> None:
        async with ScriptedMilter({b"E": [*changes, *ACCEPT]}) as milter, filtered(tmp_path, milter) as r:
            assert (await send(r, written(), to=[ALICE, "bob@local.example"])).startswith("250")
            envelope = r.queue.only.envelope
            assert envelope.reverse_path == "bounces@elsewhere.example"
            assert [each.address for each in envelope.recipients] == [
                "bob@local.example",
                "x@elsewhere.example",
                "bare@elsewhere.example",
                "y@elsewhere.example",
            ]
            assert (envelope.recipients[3].notify, envelope.recipients[3].orcpt) == (1, "rfc822;y@elsewhere.example")
            assert "reverse_path=<bounces@elsewhere.example>" in r.log
        assert "x@elsewhere.example" in told(tmp_path)
        assert "removed=" in told(tmp_path)
        assert ALICE in told(tmp_path)

    run(story())


def test_a_message_left_without_recipients_is_thrown_away(run: Any, tmp_path: Path) -> None:
    async def story() -> None:
        words = [text(b"-", f"<{ALICE}>"), *ACCEPT]
        async with ScriptedMilter({b"E": words}) as milter, filtered(tmp_path, milter) as r:
            assert (await send(r, written())).startswith("250")
            assert not r.queue.messages
            assert f'milter="left without recipients by {milter.place}"' in r.log

    run(story())


class Keyed:
    """Signs for local.example."""

    def has_any_keys(self) -> bool:
        return True

    def for_domain(self, domain: str) -> Sequence[DkimKey]:
        return (key(),) if domain == "local.example" else ()


@pytest.mark.parametrize("pieces", [[b"another\r\n", b"body\n\xe9\r", b"\nend"], [b"y" * 60 + b"\r\n"] * 9000])
def test_another_body_is_the_one_that_is_signed_and_stored(run: Any, tmp_path: Path, pieces: list[bytes]) -> None:
    wanted = b"".join(pieces).replace(b"\r\n", b"\n").replace(b"\n", b"\r\n").removesuffix(b"\r\n") + b"\r\n"
    sent = b"".join(pieces)
    chunks: list[Packet] = [(b"b", each) for each in pieces]
    if len(pieces) > 100:
        chunks = [(b"b", sent[start : start + 65535]) for start in range(0, len(sent), 65535)]

    async def story() -> None:
        async with ScriptedMilter({b"E": [*chunks, *ACCEPT]}) as milter, filtered(tmp_path, milter) as r:
            r.listener.use(replace(r.listener.site, signer=Keyed()))
            assert (await send(r, written(ALICE, "x" * 70 + "\r\n"), mail_from=ALICE)).startswith("250")
            assert stored(r) == wanted
            assert bool(r.queue.only.content.body_file) is (len(wanted) > MEMORY_LIMIT)
            assert r.queue.only.envelope.body == ("7BIT" if wanted.isascii() else "8BITMIME")
            whole = b"".join(r.listener.site.spool.read(r.queue.only.content))
            signed_at = float(whole.partition(b"t=")[2].partition(b";")[0])
            assert verdicts(whole, now=signed_at) == ["pass"]
            spooled = [r.queue.only.content.body_file] if r.queue.only.content.body_file else []
            assert [each.name for each in (tmp_path / "spool").iterdir()] == spooled

    run(story())


def test_several_see_what_those_before_have_left(run: Any, tmp_path: Path) -> None:
    async def story() -> None:
        first_words = [(b"b", b"first\r\n"), add_field("X-First", "1"), text(b"+", "<x@y.example>"), *ACCEPT]
        async with (
            ScriptedMilter({b"E": first_words}) as first,
            ScriptedMilter({b"E": [(b"b", b"second\r\n"), text(b"-", "<x@y.example>"), *ACCEPT]}) as second,
            ScriptedMilter() as third,
            filtered(tmp_path, first, second, third) as r,
        ):
            assert (await send(r, written())).startswith("250")
            assert second.of("B") == [b"first\r\n"]
            assert b"X-First\x001\0" in second.of("L")
            assert third.of("B") == [b"second\r\n"]
            assert stored(r) == b"second\r\n"
            assert [each.address for each in r.queue.only.envelope.recipients] == [ALICE]

    run(story())


def test_what_it_wants_kept_is_held(run: Any, tmp_path: Path) -> None:
    async def story() -> None:
        words = [text(b"q", "looks\r\nodd"), *ACCEPT]
        async with ScriptedMilter({b"E": words}) as milter, filtered(tmp_path, milter) as r:
            assert (await send(r, written())).startswith("250")
            assert r.queue.only.on_hold
            ((name, reason),) = r.queue.only.origin.findings
            assert (name, reason) == ("hold", f"looks\\x{{D}}\\x{{A}}odd ({milter.place})")

    run(story())


def test_of_what_it_refuses_in_the_end_nothing_is_changed(run: Any, tmp_path: Path) -> None:
    async def story() -> None:
        words = [(b"b", b"x" * 60_000)] * 10 + [text(b"+", "<x@y.example>"), NO]
        async with ScriptedMilter({b"E": words}) as milter, filtered(tmp_path, milter) as r:
            assert (await send(r, written())).startswith("550")
            assert not r.queue.messages
            assert not list((tmp_path / "spool").iterdir())

    run(story())


def test_progress_is_waited_for(run: Any, tmp_path: Path) -> None:
    async def story() -> None:
        words = [(b"p", b"")] * 5 + [add_field("X-Done", "yes"), (b"p", b""), (b"c", b"")]
        async with ScriptedMilter({b"E": words}) as milter, filtered(tmp_path, milter) as r:
            assert (await send(r, written())).startswith("250")
            assert head(r).endswith("X-Done: yes")

    run(story())
