"""The remote agent over real sockets: what a well-behaved peer hears, and how connections are shared."""

import asyncio
from collections.abc import Iterator

import msgspec
import pytest

from tests.deliver.setting import BOB, CONTENT, HOSTNAME, Run, both_loops, job_for, sending, states
from tests.scripted_sink import EXTENSIONS, SILENT, Script, ScriptedSink
from valija.mail.content import Content
from valija.mail.envelope import Notify, Recipient
from valija.mail.job import QueueId, Route
from valija.mail.outcome import Channel, State


@both_loops
def test_one_message(run: Run[None]) -> None:
    async def main() -> None:
        async with ScriptedSink() as sink, sending(port=sink.port) as sender:
            [outcome] = await sender.deliver(job_for())
            assert outcome.state is State.DELIVERED
            assert (outcome.remote, outcome.remote_address) == ("mx1.remote.example", "127.0.0.1")
            assert outcome.channel is Channel.NONE
            assert str(outcome.reply) == "250 2.0.0 taken"
            [message] = sink.messages
            assert message.content == CONTENT
            assert message.octets == CONTENT.replace(b"\r\n.", b"\r\n..")
            assert sink.sessions[0].commands[:4] == [
                f"EHLO {HOSTNAME}",
                f"MAIL FROM:<alice@example.org> SIZE={len(CONTENT)}",
                f"RCPT TO:<{BOB}>",
                "DATA",
            ]

    run(main())


def test_each_recipient_has_its_line_in_the_log() -> None:
    async def main() -> None:
        script: Script = {"RCPT": ["250 2.1.5 ok", "550 5.1.1 unknown", "451 4.2.1 busy"]}
        async with ScriptedSink(script) as sink, sending(port=sink.port) as sender:
            outcomes = await sender.deliver(job_for(BOB, "x@remote.example", "y@remote.example"))
            assert states(outcomes) == [State.DELIVERED, State.FAILED, State.DEFERRED]
            lines = {line["recipient"]: line for line in sender.log.of("attempt")}
            assert [lines[name]["outcome"] for name in (BOB, "x@remote.example", "y@remote.example")] == [
                "delivered",
                "failed",
                "deferred",
            ]
            line = lines["x@remote.example"]
            assert line["reply"] == "550 5.1.1 unknown"
            assert line["remote"] == "mx1.remote.example"
            assert (line["queue_id"], line["next_hop"], line["tls"]) == ("q1", "remote.example", "none")

    asyncio.run(main())


@both_loops
def test_many_messages_share_connections(run: Run[None]) -> None:
    async def main() -> None:
        async with ScriptedSink() as sink, sending(port=sink.port) as sender:
            jobs = [job_for(content=b"Subject: %d\r\n\r\n" % number) for number in range(200)]
            for outcomes in await asyncio.gather(*(sender.deliver(job) for job in jobs)):
                assert states(outcomes) == [State.DELIVERED]
            assert {message.content for message in sink.messages} == {job.content.head for job in jobs}
            assert len(sink.messages) == 200
            assert len(sink.sessions) <= 20

    run(main())


@both_loops
def test_a_peer_without_pipelining_is_asked_step_by_step(run: Run[None]) -> None:
    async def main() -> None:
        script: Script = {"RCPT": ["250 ok", "550 5.1.1 no", "250 ok"]}
        async with (
            ScriptedSink(script, extensions=()) as sink,
            sending(port=sink.port, destination_concurrency_limit=1) as sender,
        ):
            first, second = await asyncio.gather(
                sender.deliver(job_for(BOB, "x@remote.example")), sender.deliver(job_for(BOB))
            )
            assert states(first) == [State.DELIVERED, State.FAILED]
            assert states(second) == [State.DELIVERED]
            assert sink.sessions[0].verbs()[:8] == ["EHLO", "MAIL", "RCPT", "RCPT", "DATA", "MAIL", "RCPT", "DATA"]
            assert sink.sessions[0].commands[1] == "MAIL FROM:<alice@example.org>"

    run(main())


def test_helo_only_where_ehlo_is_unknown() -> None:
    async def main() -> None:
        async with ScriptedSink({"EHLO": ["502 what"]}) as sink, sending(port=sink.port) as sender:
            assert states(await sender.deliver(job_for())) == [State.DELIVERED]
            assert sink.sessions[0].verbs()[:2] == ["EHLO", "HELO"]
        async with ScriptedSink({"EHLO": ["451 later"]}) as sink, sending(port=sink.port) as sender:
            assert states(await sender.deliver(job_for())) == [State.DEFERRED]
            assert sink.sessions[0].verbs() == ["EHLO", "QUIT"][: len(sink.sessions[0].verbs())]
            assert "HELO" not in sink.sessions[0].verbs()

    asyncio.run(main())


def test_c095_dsn_parameters_travel_as_they_came_where_announced() -> None:
    recipient = Recipient(BOB, Notify.SUCCESS | Notify.FAILURE, "rfc822;a+2Bb@remote.example")

    async def main() -> None:
        job = job_for(recipient, ret="HDRS", envid="QQ+2B314159")
        async with ScriptedSink() as sink, sending(port=sink.port) as sender:
            [outcome] = await sender.deliver(job)
            assert outcome.dsn_passed_on
            assert sink.messages[0].mail.endswith(" RET=HDRS ENVID=QQ+2B314159")
            assert sink.messages[0].recipients == [
                f"RCPT TO:<{BOB}> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;a+2Bb@remote.example"
            ]
        async with ScriptedSink(extensions=["PIPELINING"]) as sink, sending(port=sink.port) as sender:
            [outcome] = await sender.deliver(job)
            assert not outcome.dsn_passed_on
            assert sink.messages[0].mail == "MAIL FROM:<alice@example.org>"
            assert sink.messages[0].recipients == [f"RCPT TO:<{BOB}>"]

    asyncio.run(main())


def test_recipients_are_split_at_the_peers_limit() -> None:
    async def main() -> None:
        extensions = [*EXTENSIONS, "LIMITS RCPTMAX=3 MAILMAX=2"]
        async with ScriptedSink(extensions=extensions) as sink, sending(port=sink.port) as sender:
            outcomes = await sender.deliver(job_for(*(f"u{n}@remote.example" for n in range(10))))
            assert states(outcomes) == [State.DELIVERED] * 10
            assert [len(message.recipients) for message in sink.messages] == [3, 3, 3, 1]
            assert len(sink.sessions) == 2  # MAILMAX

    asyncio.run(main())


def test_too_many_recipients_go_into_a_further_transaction_at_once() -> None:
    async def main() -> None:
        script: Script = {"RCPT": ["250 ok", "250 ok", "452 4.5.3 too many", "452 4.5.3 too many", "250 ok"]}
        async with ScriptedSink(script) as sink, sending(port=sink.port) as sender:
            outcomes = await sender.deliver(job_for(*(f"u{n}@remote.example" for n in range(4))))
            assert states(outcomes) == [State.DELIVERED] * 4
            assert [len(message.recipients) for message in sink.messages] == [2, 2]

    asyncio.run(main())


def test_452_for_a_full_mailbox_is_that_recipients_own() -> None:
    async def main() -> None:
        script: Script = {"RCPT": ["250 ok", "452 4.2.2 full"]}
        async with ScriptedSink(script) as sink, sending(port=sink.port) as sender:
            assert states(await sender.deliver(job_for(BOB, "x@remote.example"))) == [
                State.DELIVERED,
                State.DEFERRED,
            ]
            assert len(sink.messages) == 1

    asyncio.run(main())


@both_loops
def test_a_large_content_is_streamed(run: Run[None]) -> None:
    line = b".x" * 499 + b"\r\n"
    body = line * 8000

    def read(content: Content) -> Iterator[bytes]:
        yield content.head
        for start in range(0, len(body), 65537):  # cut anywhere
            yield body[start : start + 65537]

    async def main() -> None:
        head = b"Subject: large\r\n\r\n"
        content = Content(head, len(head) + len(body), "file")
        async with ScriptedSink() as sink, sending(port=sink.port, read=read) as sender:
            first, second = await asyncio.gather(
                sender.deliver(job_for(content=content)), sender.deliver(job_for(content=b"Subject: small\r\n\r\n"))
            )
            assert states(first + second) == [State.DELIVERED] * 2
            assert {message.content for message in sink.messages} == {head + body, b"Subject: small\r\n\r\n"}

    run(main())


def test_c005_a_lone_line_feed_never_leaves() -> None:
    async def main() -> None:
        def read(content: Content) -> Iterator[bytes]:
            yield content.head
            yield b"x\n.\r\nMAIL FROM:<s@evil.example>\r\n"

        async with ScriptedSink() as sink, sending(port=sink.port, read=read) as sender:
            small = await sender.deliver(job_for(content=b"Subject: x\r\n\r\nx\n.\r\nMAIL FROM:<s@evil.example>\r\n"))
            large = await sender.deliver(job_for(content=Content(b"Subject: y\r\n\r\n", 60, "file")))
            address = await sender.deliver(job_for(Recipient("x>\nRSET@remote.example")))
            assert states(small + large + address) == [State.DEFERRED] * 3
            assert len(sender.log.of("refused to send")) == 3
            await sink.until(lambda: all(session.closed for session in sink.sessions) or len(sink.sessions) > 1)
            assert not sink.messages
            assert "RSET@remote.example" not in [line for heard in sink.sessions for line in heard.verbs()]

    asyncio.run(main())


def test_a_body_file_that_is_gone_is_deferred() -> None:
    async def main() -> None:
        def read(content: Content) -> Iterator[bytes]:
            yield content.head
            raise FileNotFoundError("no such body")

        async with ScriptedSink() as sink, sending(port=sink.port, read=read) as sender:
            [outcome] = await sender.deliver(job_for(content=Content(b"Subject: y\r\n\r\n", 60, "file")))
            assert outcome.state is State.DEFERRED
            assert outcome.reply.enhanced == "4.3.0"
            assert not sink.messages

    asyncio.run(main())


def test_an_idle_connection_is_kept_a_while_and_ended_with_quit() -> None:
    async def main() -> None:
        async with ScriptedSink() as sink, sending(port=sink.port, connection_cache_time=0.3) as sender:
            await sender.deliver(job_for())
            await sender.deliver(job_for())
            assert len(sink.sessions) == 1
            await sink.until(lambda: sink.sessions[0].closed)
            assert sink.sessions[0].verbs()[-1] == "QUIT"
            assert states(await sender.deliver(job_for())) == [State.DELIVERED]
            assert len(sink.sessions) == 2

    asyncio.run(main())


def test_an_old_connection_is_not_reused() -> None:
    async def main() -> None:
        async with ScriptedSink() as sink, sending(port=sink.port, connection_reuse_time_limit=0.0) as sender:
            for _ in range(2):
                assert states(await sender.deliver(job_for())) == [State.DELIVERED]
            assert len(sink.sessions) == 2

    asyncio.run(main())


def test_a_stalled_connection_does_not_hold_the_others_up() -> None:
    async def main() -> None:
        script: Script = {"MAIL": [SILENT, "250 ok"]}
        async with ScriptedSink(script) as sink, sending(port=sink.port, mail_timeout=3.0) as sender:
            stuck = asyncio.create_task(sender.deliver(job_for()))
            await sink.until(lambda: bool(sink.sessions) and "MAIL" in sink.sessions[0].verbs())
            assert states(await sender.deliver(job_for(), deadline=2.0)) == [State.DELIVERED]
            [outcome] = await stuck
            assert outcome.state is State.DEFERRED
            assert "took too long" in outcome.reply.text

    asyncio.run(main())


def test_different_routes_have_different_connections() -> None:
    async def main() -> None:
        async with ScriptedSink() as one, ScriptedSink() as other, sending(port=one.port) as sender:
            await sender.deliver(job_for())
            await sender.deliver(job_for(route=Route("remote", "127.0.0.1", other.port, lookup_mx=False)))
            assert (len(one.messages), len(other.messages)) == (1, 1)

    asyncio.run(main())


def test_close_lets_the_running_end_and_cancels_what_waits() -> None:
    async def main() -> None:
        script: Script = {".": [["250 2.0.0 taken"]]}
        async with ScriptedSink(script) as sink, sending(port=sink.port, destination_concurrency_limit=1) as sender:
            jobs = [msgspec.structs.replace(job_for(), queue_id=QueueId(str(number))) for number in range(50)]
            tasks = [asyncio.create_task(sender.deliver(job)) for job in jobs]
            await sink.until(lambda: len(sink.messages) >= 3)
            await sender.agent.close()
            ended = await asyncio.gather(*tasks, return_exceptions=True)
            delivered = [one for one in ended if isinstance(one, list)]
            assert len(delivered) == len(sink.messages)
            assert all(isinstance(one, list | asyncio.CancelledError) for one in ended)

    asyncio.run(main())


def test_a_cancelled_attempt_is_not_sent() -> None:
    async def main() -> None:
        script: Script = {"MAIL": [SILENT]}
        async with (
            ScriptedSink(script) as sink,
            sending(port=sink.port, destination_concurrency_limit=1, mail_timeout=1.0) as sender,
        ):
            first = asyncio.create_task(sender.deliver(job_for()))
            await sink.until(lambda: bool(sink.sessions) and "MAIL" in sink.sessions[0].verbs())
            second = asyncio.create_task(sender.deliver(job_for("never@remote.example")))
            await asyncio.sleep(0)
            second.cancel()
            await asyncio.gather(first, second, return_exceptions=True)
            assert not any("never" in command for heard in sink.sessions for command in heard.commands)

    asyncio.run(main())


def test_the_concurrency_limit_is_kept() -> None:
    async def main() -> None:
        async with ScriptedSink() as sink, sending(port=sink.port, destination_concurrency_limit=3) as sender:
            outcomes = await asyncio.gather(*(sender.deliver(job_for()) for _ in range(300)))
            assert all(states(one) == [State.DELIVERED] for one in outcomes)
            assert len(sink.sessions) == 3

    asyncio.run(main())


@both_loops
@pytest.mark.parametrize("place", ["load.settle_decided", "load.Load._begin", "connect.Connector.open"])
def test_a_fault_of_ours_defers(run: Run[None], place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fault(*args: object) -> None:
        raise RuntimeError("a fault of ours")

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)
        async with ScriptedSink() as sink, sending(port=sink.port) as sender:
            monkeypatch.setattr(f"valija.deliver.{place}", fault)
            outcomes = await asyncio.gather(*(sender.deliver(job_for(), deadline=3.0) for _ in range(3)))
            assert all(states(one) == [State.DEFERRED] for one in outcomes)
            assert all(one[0].reply.enhanced == "4.3.0" for one in outcomes)
            monkeypatch.undo()
            assert states(await sender.deliver(job_for())) == [State.DELIVERED]

    run(main())
