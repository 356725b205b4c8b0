"""The life of connections: who is let in, who is timed out, how the server stops. On both event loops."""

import asyncio
import ssl
from pathlib import Path
from typing import Any

import pytest

from tests.receive.reception import Dialogue, Reception, reception
from valija.receive import connection, listener
from valija.receive.admission import SessionTable, client_of, network_of


async def greeted(r: Reception, source: str = "127.0.0.1") -> Dialogue:
    d = await r.connect(source)
    assert (await d.reply()).startswith("220")
    await d.say("EHLO x")
    return d


async def in_data(r: Reception) -> Dialogue:
    d = await greeted(r)
    assert (await d.say("MAIL FROM:<a@remote.example>", "RCPT TO:<b@remote.example>", "DATA")).startswith("354")
    return d


def test_c010_who_talks_before_the_banner_is_refused(run: Any, tmp_path: Path) -> None:
    async def story() -> None:
        # A client outside mynetworks is given a pause to talk out of turn in.
        async with reception(tmp_path, mynetworks=["127.0.0.9/32"], greet_pause=5.0) as r:
            d = await r.connect()
            d.send(b"EHLO x\r\nMAIL FROM:<>\r\n")
            assert (await d.reply()).startswith("5")
            assert await d.until_closed() == b""

    run(story())


def test_a_trusted_client_waits_for_no_pause(run: Any, tmp_path: Path) -> None:
    async def story() -> None:
        async with reception(tmp_path, greet_pause=60.0) as r:
            await greeted(r)

    run(story())


def test_c120_a_network_has_so_many_connections_and_others_are_let_in(run: Any, tmp_path: Path) -> None:
    async def story() -> None:
        options = {"client_connection_count_limit": 3, "greet_pause": 0.0, "mynetworks": ["127.0.0.9/32"]}
        async with reception(tmp_path, **options) as r:  # type: ignore[arg-type]
            kept = [await greeted(r) for _ in range(3)]
            turned_away = await r.connect()
            assert (await turned_away.reply()).startswith("421 4.7.0")
            assert await turned_away.until_closed() == b""
            await greeted(r, "127.0.0.2")
            await kept[0].say("QUIT")
            await kept[0].until_closed()
            await greeted(r)
            for _ in range(5):
                await greeted(r, "127.0.0.9")  # in mynetworks: as many as it likes

    run(story())


def test_a_worker_has_so_many_sessions(run: Any, tmp_path: Path) -> None:
    async def story() -> None:
        async with reception(tmp_path, session_limit=2) as r:
            await greeted(r)
            await greeted(r)
            assert (await (await r.connect()).reply()).startswith("421 4.3.2")

    run(story())


def test_the_last_sessions_are_kept_for_those_who_are_known(run: Any, tmp_path: Path) -> None:
    async def story() -> None:
        async with reception(tmp_path, session_limit=8, mynetworks=["127.0.0.9/32"], greet_pause=0.0) as r:
            regular = await greeted(r, "127.0.0.3")
            await regular.say("MAIL FROM:<a@remote.example>", "RCPT TO:<alice@local.example>", "DATA")
            assert (await regular.say("Subject: x\r\n\r\nhi\r\n.")).startswith("250")
            await regular.say("QUIT")
            await regular.until_closed()
            strangers = [await greeted(r, f"127.0.1.{number}") for number in range(7)]
            turned_away = await r.connect("127.0.1.99")
            assert (await turned_away.reply()).startswith("421 4.3.2")
            await greeted(r, "127.0.0.3")
            assert (await (await r.connect("127.0.0.9")).reply()).startswith("421 4.3.2"), "now it is full"
            await strangers[0].say("QUIT")
            await strangers[0].until_closed()
            await greeted(r, "127.0.0.9")

    run(story())


def test_under_strain_a_silent_stranger_makes_room(run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener, "HURRIED", 0.3)

    async def story() -> None:
        async with reception(tmp_path, session_limit=8, mynetworks=["127.0.0.9/32"], greet_pause=0.0) as r:
            trusted = await greeted(r, "127.0.0.9")
            strangers = [await greeted(r, f"127.0.1.{number}") for number in range(4)]
            within = await greeted(r, "127.0.1.50")
            await within.say("MAIL FROM:<a@remote.example>", "RCPT TO:<alice@local.example>", "DATA")
            assert (await strangers[0].say("NOOP")).startswith("250"), "not strained: 6 of 8"
            strangers.append(await greeted(r, "127.0.1.60"))
            ends = {(await each.reply())[:9] for each in (*strangers, within)}
            assert ends == {"421 4.4.2"}
            assert (await trusted.say("NOOP")).startswith("250")
            await greeted(r, "127.0.1.70")

    run(story())


def test_under_strain_a_content_that_drips_makes_room(
    run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At 1,300 octets a second it would outlive every timeout; beside it one that comes as by a modem goes on."""
    monkeypatch.setattr(listener, "HURRIED", 0.5)

    async def story() -> None:
        async with reception(tmp_path, session_limit=8, mynetworks=["127.0.0.9/32"], greet_pause=0.0) as r:
            for _ in range(5):
                await greeted(r, "127.0.0.9")
            drip, flow = [await greeted(r, f"127.0.1.{number}") for number in (1, 2)]
            for d in (drip, flow):
                assert (await d.say("MAIL FROM:<>", "RCPT TO:<alice@local.example>", "DATA")).startswith("354")
            over = asyncio.create_task(drip.reply())
            while not over.done():
                drip.send(b"a line of sixty-four octets, as slow as they may come down a line\r\n")
                flow.send(b"a line of sixty-four octets, as slow as they may come down a line\r\n" * 20)
                await asyncio.sleep(0.05)
            assert over.result().startswith("421 4.4.2")
            assert (await flow.say(".")).startswith("250")

    run(story())


def test_a_greeting_that_is_held_back_is_our_wait(run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener, "HURRIED", 0.5)

    async def story() -> None:
        async with reception(tmp_path, session_limit=4, mynetworks=["127.0.0.9/32"], greet_pause=1.6) as r:
            for _ in range(3):
                await greeted(r, "127.0.0.9")
            r.listener._session_limit = 5  # there is room for one, and then it is strained
            d = await r.connect()
            assert (await d.reply()).startswith("220")

    run(story())


def test_a_drip_of_chunks_does_not_buy_time(run: Any, tmp_path: Path) -> None:
    async def story() -> None:
        async with reception(tmp_path, timeout=0.6) as r:
            d = await greeted(r)
            await d.say("MAIL FROM:<a@remote.example>", "RCPT TO:<b@remote.example>")
            chunks = 0
            d.send(b"BDAT 1\r\nx")
            while (reply := await d.reply()).startswith("250") and chunks < 100:
                chunks += 1
                await asyncio.sleep(0.02)
                d.send(b"BDAT 1\r\nx")
            assert reply.startswith("421 4.4.2")
            assert 5 < chunks < 80

    run(story())


def test_a_drip_of_commands_does_not_buy_time_without_mail(
    run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A NOOP now and then; who brings a message meanwhile, or is trusted, stays."""
    monkeypatch.setattr(connection, "PATIENCE", 2)

    async def story() -> None:
        async with reception(tmp_path, timeout=0.6, mynetworks=["127.0.0.9/32"], greet_pause=0.0) as r:
            idler, bringer, trusted = [await greeted(r, f"127.0.0.{number}") for number in (1, 2, 9)]

            async def bring() -> str:
                await bringer.say("RSET", "MAIL FROM:<a@remote.example>", "RCPT TO:<alice@local.example>", "DATA")
                return await bringer.say("Subject: x\r\n\r\nhi\r\n.")

            begun = r.listener.now()
            while (reply := await idler.say("NOOP")).startswith("250"):
                assert (await trusted.say("NOOP")).startswith("250")
                assert (await bring()).startswith("250")
                await asyncio.sleep(0.05)
            assert reply.startswith("421 4.4.2")
            assert r.listener.now() - begun > 2 * 0.6
            assert (await bring()).startswith("250")
            assert (await trusted.say("NOOP")).startswith("250")

    run(story())


def test_a_long_content_is_no_session_without_mail(run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "PATIENCE", 1)

    async def story() -> None:
        async with reception(tmp_path, timeout=0.5, mynetworks=["127.0.0.9/32"], greet_pause=0.0) as r:
            d = await greeted(r)
            await d.say("MAIL FROM:<a@remote.example>", "RCPT TO:<alice@local.example>", "DATA")
            begun = r.listener.now()
            while r.listener.now() - begun < 2 * 0.5:
                d.send(b"a line of sixty-four octets, as slow as they may come down a line\r\n")
                await asyncio.sleep(0.05)
            assert (await d.say(".")).startswith("250")

    run(story())


def test_a_chunk_that_is_thrown_away_is_no_mail(run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "PATIENCE", 1)

    async def story() -> None:
        async with reception(tmp_path, timeout=0.5, mynetworks=["127.0.0.9/32"], greet_pause=0.0) as r:
            d = await greeted(r)
            d.send(b"BDAT 999999\r\n")
            over = asyncio.create_task(d.reply())
            sent = 0
            while not over.done() and sent < 600_000:
                d.send(b"x" * 500)
                sent += 500
                await asyncio.sleep(0.02)
            assert over.result().startswith("421 4.4.2")

    run(story())


def test_a_user_behind_a_flood_is_let_into_the_last_sessions(run: Any, tmp_path: Path) -> None:
    """Who has handed in mail is known there, as who has brought some is on port 25."""

    async def story() -> None:
        async with reception(tmp_path, "submission", mynetworks=["127.0.0.9/32"], greet_pause=0.0) as r:
            keeper = r.listener._doorkeeper
            keeper.is_shared = lambda client: False
            d = await greeted(r)
            await d.start_tls()
            await d.say("EHLO x", "AUTH PLAIN AGFsaWNlQGxvY2FsLmV4YW1wbGUAc2VjcmV0")
            await d.say("MAIL FROM:<alice@local.example>")
            for number in range(20):
                assert (await d.say(f"RCPT TO:<gone{number}@local.example>")).startswith("550"), "a user may ask"
            await d.say("RCPT TO:<b@remote.example>", "DATA")
            assert (await d.say("From: alice@local.example\r\n\r\nhi\r\n.")).startswith("250")
            assert keeper.knows("127.0.0.1")
            assert keeper.harvest("127.0.0.1", 1) is None
            assert not keeper.at("smtpd").knows("127.0.0.1")

    run(story())


def test_a_client_that_waits_for_us_is_not_late(run: Any, tmp_path: Path) -> None:
    async def story() -> None:
        async with reception(tmp_path, timeout=0.3) as r:
            r.queue.gate = asyncio.Event()
            d = await in_data(r)
            d.send(b"Subject: x\r\n\r\nhi\r\n.\r\n")
            await r.queue.asked.wait()
            (connection,) = r.listener._connections
            deadline = connection.deadline
            async with asyncio.timeout(10):
                while connection.deadline == deadline:  # until it would have been too late for a client
                    await asyncio.sleep(0.01)
            r.queue.gate.set()
            assert (await d.reply()).startswith("250 2.0.0")

    run(story())


def test_who_is_turned_away_costs_a_line_and_no_session(run: Any, tmp_path: Path) -> None:
    async def story() -> None:
        options = {"client_connection_count_limit": 1, "greet_pause": 0.0, "mynetworks": ["127.0.0.9/32"]}
        async with reception(tmp_path, **options) as r:  # type: ignore[arg-type]
            await greeted(r)
            for _ in range(30):
                turned_away = await r.connect()
                assert "from 127.0.0.1 at once (at most 1)" in await turned_away.reply()
                assert await turned_away.until_closed() == b""
            assert r.listener.session_count == 1
            assert r.log.count("client turned away") == 1
            assert r.log.count(" session ") == 0

    run(story())


def test_c120_a_silent_client_is_timed_out(run: Any, tmp_path: Path) -> None:
    async def story() -> None:
        async with reception(tmp_path, timeout=0.4) as r:
            d = await greeted(r)
            assert (await d.reply()).startswith("421 4.4.2")
            assert await d.until_closed() == b""
            assert "ended=timeout" in r.log

    run(story())


@pytest.mark.parametrize("within_data", [False, True])
def test_c120_a_drip_does_not_buy_time(run: Any, tmp_path: Path, within_data: bool) -> None:
    async def story() -> None:
        async with reception(tmp_path, timeout=0.6) as r:
            d = await (in_data(r) if within_data else greeted(r))

            async def drip() -> None:
                while True:
                    d.send(b"x")
                    await asyncio.sleep(0.05)

            dripping = asyncio.create_task(drip())
            assert (await d.reply()).startswith("421 4.4.2")
            dripping.cancel()

    run(story())


def test_a_content_that_flows_outlives_the_timeout(run: Any, tmp_path: Path) -> None:
    async def story() -> None:
        async with reception(tmp_path, timeout=0.4) as r:
            d = await in_data(r)
            for _ in range(20):
                d.send(b"a line of sixty-four octets, as slow as they may come down a line\r\n")
                await asyncio.sleep(0.05)
            d.send(b".\r\n")
            assert (await d.reply()).startswith("250")

    run(story())


def test_c052_commands_behind_starttls_are_refused(run: Any, tmp_path: Path) -> None:
    async def story() -> None:
        async with reception(tmp_path) as r:
            d = await greeted(r)
            d.send(b"STARTTLS\r\nEHLO evil\r\nMAIL FROM:<s@evil.example>\r\n")
            assert (await d.reply()).startswith("554")
            assert await d.until_closed() == b""

    run(story())


def test_c053_nothing_said_before_tls_counts_after_it(run: Any, tmp_path: Path) -> None:
    async def story() -> None:
        async with reception(tmp_path) as r:
            d = await greeted(r)
            await d.say("MAIL FROM:<a@remote.example>")
            await d.start_tls()
            assert (await d.say("RCPT TO:<alice@local.example>")).startswith("503")
            assert (await d.say("MAIL FROM:<>")).startswith("503")
            await d.say("EHLO after")
            await d.say("MAIL FROM:<a@remote.example>", "RCPT TO:<b@remote.example>", "DATA")
            assert (await d.say("Subject: x\r\n\r\nhi\r\n.")).startswith("250")
            head = r.queue.only.content.head
            assert head.startswith(b"Received: from after ")
            assert b"with ESMTPS id" in head

    run(story())


@pytest.mark.parametrize("role", ["smtpd", "submissions"])
def test_c054_a_handshake_that_fails_costs_one_connection(run: Any, tmp_path: Path, role: Any) -> None:
    async def story() -> None:
        async with reception(tmp_path, role) as r:
            d = await r.connect()
            if role == "smtpd":
                await d.reply()
                await d.say("EHLO x", "STARTTLS")
            d.send(b"this is no ClientHello\r\n" * 10)
            await d.until_closed()
            context = ssl._create_unverified_context()
            if role == "smtpd":
                await (await greeted(r)).start_tls()
            else:
                d = Dialogue(*await asyncio.open_connection("127.0.0.1", r.port, ssl=context))
                assert (await d.reply()).startswith("220")
            assert "ended=" in r.log

    run(story())


@pytest.mark.parametrize("role", ["smtpd", "submissions"])
def test_c054_silence_in_place_of_a_handshake_ends_the_session(
    run: Any, tmp_path: Path, role: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("valija.receive.connection.HANDSHAKE_TIMEOUT", 0.3)

    async def story() -> None:
        async with reception(tmp_path, role) as r:
            d = await r.connect()
            if role == "smtpd":
                await d.reply()
                await d.say("EHLO x", "STARTTLS")
            assert await d.until_closed() == b""
            assert 'ended="TLS failed' in r.log

    run(story())


def test_c023_clear_text_to_submissions_gets_no_smtp(run: Any, tmp_path: Path) -> None:
    async def story() -> None:
        async with reception(tmp_path, "submissions") as r:
            d = await r.connect()
            d.send(b"EHLO x\r\n")
            answer = await d.until_closed()
            assert not answer.startswith(b"220")

    run(story())


@pytest.mark.parametrize("size", [2, 900_000])
def test_stopping_tells_idle_clients_and_lets_a_content_end(run: Any, tmp_path: Path, size: int) -> None:
    async def story() -> None:
        async with reception(tmp_path) as r:
            idle, busy = await greeted(r), await in_data(r)
            stopping = asyncio.create_task(r.listener.stop(10.0))
            assert (await idle.reply()).startswith("421 4.3.2")
            assert await idle.until_closed() == b""
            busy.send(b"Subject: x\r\n\r\n" + b"x" * size + b"\r\n.\r\n")
            assert (await busy.reply()).startswith("250 2.0.0")
            assert (await busy.reply()).startswith("421 4.3.2")
            await asyncio.wait_for(stopping, 5)
            assert len(r.queue.messages) == 1
            with pytest.raises(ConnectionRefusedError):
                await r.connect()

    run(story())


def test_stopping_ends_a_content_that_does_not_come(run: Any, tmp_path: Path) -> None:
    async def story() -> None:
        async with reception(tmp_path) as r:
            busy = await in_data(r)
            stopping = asyncio.create_task(r.listener.stop(0.1))
            assert (await busy.reply()).startswith("421 4.3.2")
            await asyncio.wait_for(stopping, 5)
            assert not r.queue.messages

    run(story())


def test_a_message_being_committed_is_answered_though_the_server_stops(run: Any, tmp_path: Path) -> None:
    async def story() -> None:
        async with reception(tmp_path) as r:
            r.queue.gate = asyncio.Event()
            d = await in_data(r)
            d.send(b"Subject: x\r\n\r\nhi\r\n.\r\n")
            await r.queue.asked.wait()
            stopping = asyncio.create_task(r.listener.stop(10.0))
            await asyncio.sleep(0)
            r.queue.gate.set()
            assert (await d.reply()).startswith("250 2.0.0")
            assert (await d.reply()).startswith("421")
            await asyncio.wait_for(stopping, 5)

    run(story())


def test_a_client_that_leaves_during_the_commit_is_no_fault(run: Any, tmp_path: Path) -> None:
    async def story() -> None:
        async with reception(tmp_path) as r:
            r.queue.gate = asyncio.Event()
            d = await in_data(r)
            d.send(b"Subject: x\r\n\r\nhi\r\n.\r\n")
            await r.queue.asked.wait()
            d.writer.transport.abort()
            await r.listener.stop(0.0)
            r.queue.gate.set()
            while not r.queue.messages:
                await asyncio.sleep(0)
            assert "fault" not in r.log

    run(story())


def test_a_client_that_shuts_its_side_still_gets_its_answer(run: Any, tmp_path: Path) -> None:
    async def story() -> None:
        async with reception(tmp_path) as r:
            r.queue.gate = asyncio.Event()
            d = await in_data(r)
            d.send(b"Subject: x\r\n\r\nhi\r\n.\r\n")
            d.writer.write_eof()
            await r.queue.asked.wait()
            r.queue.gate.set()
            assert (await d.reply()).startswith("250")
            assert await d.until_closed() == b""

    run(story())


def test_pipelined_commands_behind_a_content_wait_their_turn(run: Any, tmp_path: Path) -> None:
    async def story() -> None:
        async with reception(tmp_path) as r:
            d = await in_data(r)
            d.send(b"Subject: x\r\n\r\nhi\r\n.\r\nNOOP\r\nMAIL FROM:<c@remote.example>\r\nQUIT\r\n")
            answers = [await d.reply() for _ in range(4)]
            assert [answer[:3] for answer in answers] == ["250", "250", "250", "221"]
            assert "queued as" in answers[0]

    run(story())


def test_a_long_pipeline_is_answered_to_its_end(run: Any, tmp_path: Path) -> None:
    async def story() -> None:
        async with reception(tmp_path, recipient_limit=2000) as r:
            d = await greeted(r)
            d.send(b"MAIL FROM:<a@remote.example>\r\n" + b"RCPT TO:<b@remote.example>\r\n" * 1500 + b"DATA\r\n")
            answers = [await d.reply() for _ in range(1502)]
            assert {answer[:3] for answer in answers[:-1]} == {"250"}
            assert answers[-1].startswith("354")
            d.send(b"Subject: x\r\n\r\nhi\r\n.\r\nMAIL FROM:<>\r\n" + b"RCPT TO:<b@remote.example>\r\n" * 500)
            d.writer.write_eof()
            answers = [await d.reply() for _ in range(502)]
            assert {answer[:3] for answer in answers} == {"250"}
            assert await d.until_closed() == b""
            assert len(r.queue.only.envelope.recipients) == 1

    run(story())


def test_one_client_s_pipeline_lets_others_have_their_turn(run: Any, tmp_path: Path) -> None:
    async def story() -> None:
        async with reception(tmp_path) as r:
            greedy, other = await greeted(r), await greeted(r)
            assert (await greedy.say("MAIL FROM:<a@remote.example>")).startswith("250")
            greedy.send(b"RCPT TO:<b@remote.example>\r\n" * 30_000)
            assert (await other.say("NOOP")).startswith("250")
            (transaction,) = filter(None, (each.session._transaction for each in r.listener._connections))
            assert len(transaction.recipients) < 1000, "the other was heard before the greedy one was through"

    run(story())


def test_counts_hold_over_all_workers_and_ghosts_are_wiped() -> None:
    table = SessionTable.shared(2)
    first, second = table.counter(0), table.counter(1)
    assert [first.enter("192.0.2.1"), second.enter("192.0.2.1"), first.enter("192.0.2.1")] == [1, 2, 3]
    assert first.enter("192.0.2.2") == 1
    first.leave("192.0.2.1")
    assert second.enter("192.0.2.1") == 3
    table.counter(0)  # worker 0 was killed and starts again
    assert second.enter("192.0.2.1") == 3


def test_what_is_one_client_and_one_network() -> None:
    assert client_of("192.0.2.1") == client_of("::ffff:192.0.2.1") == "192.0.2.1"
    assert network_of("192.0.2.1") == network_of("::ffff:192.0.2.200") == "192.0.2.0/24"
    assert client_of("2001:db8::1") == client_of("2001:db8::2:3%eth0") == "2001:db8::/64"
    assert client_of("2001:db8:0:1::1") != client_of("2001:db8::1")
    assert network_of("2001:db8:0:1::1") == network_of("2001:db8::1") == "2001:db8::/48"
    assert client_of("") == network_of("") == ""
