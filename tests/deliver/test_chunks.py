"""A content that leaves with its commands in one flight (CHUNKING), and what becomes of it where that goes wrong."""

import asyncio
from collections.abc import Sequence

import pytest

from tests.deliver.setting import BOB, CONTENT, Run, both_loops, free_port, job_for, sending, states
from tests.scripted_sink import CLOSE, EXTENSIONS, RESET, SILENT, Answer, Script, ScriptedSink
from valija.deliver.chunk_faults import REMEMBERED, ChunkFaults
from valija.deliver.errand import Target
from valija.mail.outcome import State
from valija.smtp.client_transaction import CHUNK_LIMIT

CHUNKING = (*EXTENSIONS, "CHUNKING")
TWO_HOSTS = {
    "remote.example": ["MX 10 mx1.remote.example", "MX 20 mx2.remote.example"],
    "mx1.remote.example": ["A 127.0.0.2"],
    "mx2.remote.example": ["A 127.0.0.3"],
}


def content_of(size: int) -> bytes:
    head = b"Subject: x\r\n\r\n"
    return head + b"y" * (size - len(head) - 2) + b"\r\n"


@both_loops
def test_a_small_content_leaves_with_its_commands(run: Run[None]) -> None:
    async def main() -> None:
        async with ScriptedSink(extensions=CHUNKING) as sink, sending(port=sink.port) as sender:
            assert states(await sender.deliver(job_for())) == [State.DELIVERED]
            assert sink.sessions[0].commands[1:4] == [
                f"MAIL FROM:<alice@example.org> SIZE={len(CONTENT)}",
                f"RCPT TO:<{BOB}>",
                f"BDAT {len(CONTENT)} LAST",
            ]
            assert sink.messages[0].content == CONTENT

    run(main())


@pytest.mark.parametrize(
    ("extensions", "size", "verb"),
    [
        (CHUNKING, CHUNK_LIMIT, "BDAT"),
        (CHUNKING, CHUNK_LIMIT + 1, "DATA"),
        (tuple(word for word in CHUNKING if word != "PIPELINING"), 100, "DATA"),
        (EXTENSIONS, 100, "DATA"),
    ],
    ids=["at the limit", "beyond it", "no pipelining", "not announced"],
)
def test_chunks_only_where_they_save_a_round_trip(extensions: Sequence[str], size: int, verb: str) -> None:
    async def main() -> None:
        async with ScriptedSink(extensions=extensions) as sink, sending(port=sink.port) as sender:
            content = content_of(size)
            assert states(await sender.deliver(job_for(content=content))) == [State.DELIVERED]
            assert verb in sink.sessions[0].verbs()
            assert sink.messages[0].content == content

    asyncio.run(main())


def test_an_ignored_keyword_counts_as_not_announced() -> None:
    async def main() -> None:
        ignored = frozenset({"CHUNKING"})
        async with (
            ScriptedSink(extensions=CHUNKING) as sink,
            sending(port=sink.port, discard_ehlo_keywords=ignored) as sender,
        ):
            assert states(await sender.deliver(job_for())) == [State.DELIVERED]
            assert "BDAT" not in sink.sessions[0].verbs()

    asyncio.run(main())


@both_loops
def test_many_messages_one_connection_and_reset_between_them(run: Run[None]) -> None:
    async def main() -> None:
        async with (
            ScriptedSink(extensions=CHUNKING) as sink,
            sending(port=sink.port, destination_concurrency_limit=1) as sender,
        ):
            contents = [b"Subject: %d\r\n\r\n.\r\n..x\r\n" % n for n in range(30)]
            outcomes = await asyncio.gather(*(sender.deliver(job_for(content=one)) for one in contents))
            assert [states(one) for one in outcomes] == [[State.DELIVERED]] * 30
            assert sorted(message.content for message in sink.messages) == sorted(contents)
            assert len(sink.sessions) == 1

    run(main())


def test_partial_refusal_is_accounted_for_each_recipient() -> None:
    async def main() -> None:
        script: Script = {"RCPT": ["250 ok", "550 5.1.1 unknown", "451 4.7.1 later", "250 ok"]}
        async with ScriptedSink(script, extensions=CHUNKING) as sink, sending(port=sink.port) as sender:
            outcomes = await sender.deliver(job_for(*(f"u{n}@remote.example" for n in range(4))))
            assert states(outcomes) == [State.DELIVERED, State.FAILED, State.DEFERRED, State.DELIVERED]
            assert len(sink.messages[0].recipients) == 2

    asyncio.run(main())


@both_loops
def test_the_next_message_is_unharmed_by_one_that_was_refused(run: Run[None]) -> None:
    async def main() -> None:
        script: Script = {
            "RCPT": ["550 5.1.1 no", "550 5.1.1 no", "250 ok"],
            "BDAT": ["554 5.7.1 spam", "250 2.0.0 ok"],
        }
        async with (
            ScriptedSink(script, extensions=CHUNKING) as sink,
            sending(port=sink.port, destination_concurrency_limit=1) as sender,
        ):
            first, second, third = await asyncio.gather(
                sender.deliver(job_for(BOB, "x@remote.example")), sender.deliver(job_for()), sender.deliver(job_for())
            )
            assert states(first) == [State.FAILED, State.FAILED]
            assert first[0].reply.enhanced == "5.1.1"  # what RCPT was told, not BDAT
            assert states(second) == [State.FAILED]
            assert second[0].reply.enhanced == "5.7.1"
            assert states(third) == [State.DELIVERED]
            assert len(sink.sessions) == 1
            assert len(sink.messages) == 1

    run(main())


def test_mail_refused_decides_for_all() -> None:
    async def main() -> None:
        script: Script = {"MAIL": ["450 4.7.1 later"], "RCPT": ["503 5.5.1 MAIL first"]}
        async with ScriptedSink(script, extensions=CHUNKING) as sink, sending(port=sink.port) as sender:
            assert states(await sender.deliver(job_for(BOB, "x@remote.example"))) == [State.DEFERRED] * 2

    asyncio.run(main())


@both_loops
@pytest.mark.parametrize("said", ["500 5.5.1 what?", "502 5.5.1 not implemented", "503 5.5.1 send DATA"])
def test_a_peer_that_does_not_know_bdat_is_sent_data(run: Run[None], said: str) -> None:
    async def main() -> None:
        async with (
            ScriptedSink({"BDAT": [said]}, extensions=CHUNKING) as sink,
            sending(port=sink.port, destination_concurrency_limit=1) as sender,
        ):
            outcomes = await asyncio.gather(*(sender.deliver(job_for()) for _ in range(5)))
            assert [states(one) for one in outcomes] == [[State.DELIVERED]] * 5  # neither lost nor bounced
            assert states(await sender.deliver(job_for())) == [State.DELIVERED]
            assert len(sink.messages) == 6
            assert not any(message.is_chunk for message in sink.messages)
            assert sum(heard.verbs().count("BDAT") for heard in sink.sessions) <= 2

    run(main())


def test_a_connection_that_dies_of_a_chunk_is_used_with_data_the_next_time() -> None:
    async def main() -> None:
        script: Script = {"MAIL": [RESET, "250 ok"]}
        async with ScriptedSink(script, extensions=CHUNKING) as sink, sending(port=sink.port) as sender:
            assert states(await sender.deliver(job_for())) == [State.DEFERRED]
            assert states(await sender.deliver(job_for())) == [State.DELIVERED]
            assert not sink.messages[0].is_chunk

    asyncio.run(main())


@both_loops
@pytest.mark.parametrize("end", [CLOSE, RESET])
def test_c085_lost_behind_a_chunk_is_deferred_and_says_possible_duplicate(run: Run[None], end: Answer) -> None:
    port = free_port("127.0.0.2")

    async def main() -> None:
        async with (
            ScriptedSink({"BDAT": [end]}, port=port, address="127.0.0.2", extensions=CHUNKING),
            ScriptedSink(port=port, address="127.0.0.3", extensions=CHUNKING) as second,
            sending(port=port, zone=TWO_HOSTS) as sender,
        ):
            [outcome] = await sender.deliver(job_for())
            assert outcome.state is State.DEFERRED
            assert "may be sent more than once" in outcome.reply.text
            assert len(sender.log.of("possible duplicate")) == 1
            assert not second.sessions

    run(main())


def test_c085_silence_behind_a_chunk_is_waited_out_and_doubtful() -> None:
    async def main() -> None:
        async with (
            ScriptedSink({"MAIL": [SILENT]}, extensions=CHUNKING) as sink,
            sending(port=sink.port, mail_timeout=0.1, data_done_timeout=0.5) as sender,
        ):
            loop = asyncio.get_running_loop()
            began = loop.time()
            [outcome] = await sender.deliver(job_for())
            assert loop.time() - began >= 0.5  # replies may be kept back until the whole flight was read
            assert outcome.state is State.DEFERRED
            assert "may be sent more than once" in outcome.reply.text

    asyncio.run(main())


@pytest.mark.parametrize("reply", ["421 4.3.2 bye", "451 4.3.0 disk", "554 5.7.1 spam"])
def test_a_verdict_on_a_chunk_counts(reply: str) -> None:
    async def main() -> None:
        script: Script = {"BDAT": [[reply, CLOSE]]}
        async with ScriptedSink(script, extensions=CHUNKING) as sink, sending(port=sink.port) as sender:
            [outcome] = await sender.deliver(job_for())
            assert outcome.state is (State.FAILED if reply.startswith("5") else State.DEFERRED)
            assert str(outcome.reply) == reply
            assert not sender.log.of("possible duplicate")

    asyncio.run(main())


@pytest.mark.parametrize(
    ("reply", "state"),
    [
        ("250", State.DELIVERED),
        ("250-2.0.0 a\r\n250 2.0.0 b", State.DELIVERED),
        ("550 4.7.1 x", State.FAILED),
        ("450 5.7.1 x", State.DEFERRED),
        ("354 go on", State.DEFERRED),
        ("abc", State.DEFERRED),
        ("550-no\r\n250 yes", State.DEFERRED),
    ],
)
def test_c081_odd_replies_to_a_chunk(reply: str, state: State) -> None:
    async def main() -> None:
        async with ScriptedSink({"BDAT": [reply]}, extensions=CHUNKING) as sink, sending(port=sink.port) as sender:
            assert states(await sender.deliver(job_for())) == [state]

    asyncio.run(main())


def test_c086_421_to_a_recipient_leads_to_the_next_host_with_a_chunk_too() -> None:
    port = free_port("127.0.0.2")

    async def main() -> None:
        script: Script = {"RCPT": ["550 5.1.1 unknown", ["421 4.3.2 bye", CLOSE]]}
        async with (
            ScriptedSink(script, port=port, address="127.0.0.2", extensions=CHUNKING),
            ScriptedSink(port=port, address="127.0.0.3", extensions=CHUNKING) as second,
            sending(port=port, zone=TWO_HOSTS) as sender,
        ):
            outcomes = await sender.deliver(job_for(BOB, "x@remote.example"))
            assert states(outcomes) == [State.FAILED, State.DELIVERED]
            assert second.messages[0].recipients == ["RCPT TO:<x@remote.example>"]
            assert not sender.log.of("possible duplicate")

    asyncio.run(main())


@both_loops
@pytest.mark.parametrize("mail", [["421 4.4.2 too many messages", CLOSE], CLOSE])
def test_c086_a_stale_connection_is_replaced_at_once_with_a_chunk_too(run: Run[None], mail: Answer) -> None:
    async def main() -> None:
        script: Script = {"MAIL": ["250 ok", mail, "250 ok"]}
        async with ScriptedSink(script, extensions=CHUNKING) as sink, sending(port=sink.port) as sender:
            assert states(await sender.deliver(job_for())) == [State.DELIVERED]
            assert states(await sender.deliver(job_for())) == [State.DELIVERED]
            assert len(sink.sessions) == 2
            assert all(message.is_chunk for message in sink.messages)

    run(main())


def test_two_that_were_sent_ahead_are_both_tried_again() -> None:
    async def main() -> None:
        script: Script = {"MAIL": ["250 ok", CLOSE, "250 ok"]}
        async with (
            ScriptedSink(script, extensions=CHUNKING) as sink,
            sending(port=sink.port, destination_concurrency_limit=1) as sender,
        ):
            assert states(await sender.deliver(job_for())) == [State.DELIVERED]
            both = await asyncio.gather(sender.deliver(job_for()), sender.deliver(job_for()))
            assert [states(one) for one in both] == [[State.DELIVERED]] * 2
            assert len(sink.messages) == 3

    asyncio.run(main())


def test_faults_are_remembered_for_a_while_and_the_memory_is_bounded() -> None:
    faults = ChunkFaults()
    first = Target("mx", "192.0.2.1", 25)
    assert not faults.avoids(first, 0.0)
    faults.note(first, 0.0)
    assert faults.avoids(first, REMEMBERED - 1)
    assert not faults.avoids(first, REMEMBERED)
    for number in range(1000):
        faults.note(Target("mx", f"2001:db8::{number:x}", 25), 1.0)
    assert not faults.avoids(first, 2.0)
    assert faults.avoids(Target("mx", "2001:db8::0", 25), 2.0)
