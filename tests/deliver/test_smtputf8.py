"""C090: SMTPUTF8 is asked for only where it is really needed."""

import asyncio

import pytest

from tests.deliver.setting import job_for, sending, states
from tests.scripted_sink import ScriptedSink
from valija.mail.job import Job
from valija.mail.outcome import State
from valija.smtp import commands

UTF8_HEADER = "Subject: cañón\r\nFrom: Iñaki <alice@example.org>\r\n\r\nx\r\n".encode()
PLAIN = ["PIPELINING", "8BITMIME"]


@pytest.mark.parametrize(
    ("job", "state"),
    [
        (job_for(content=UTF8_HEADER), State.DELIVERED),
        (job_for(smtputf8=True), State.DELIVERED),
        (job_for("info@xn--bcher-kva.example"), State.DELIVERED),
        (job_for("grå@remote.example"), State.FAILED),
        (job_for("grå@remote.example", smtputf8=True), State.FAILED),
        (job_for(content=UTF8_HEADER, smtputf8=True), State.FAILED),
        (job_for(reverse_path="iñaki@example.org", smtputf8=True), State.FAILED),
    ],
    ids=["a: raw header", "b: declared only", "c: A-label domain", "d: local part", "d2", "declared header", "sender"],
)
def test_c090_a_peer_without_smtputf8(job: Job, state: State) -> None:
    async def main() -> None:
        async with ScriptedSink(extensions=PLAIN) as sink, sending(port=sink.port) as sender:
            [outcome] = await sender.deliver(job)
            assert outcome.state is state
            if state is State.FAILED:
                assert str(outcome.reply).startswith("550 5.6.7 ")
                assert not any(command.startswith("MAIL") for command in sink.sessions[0].commands)
            else:
                assert "SMTPUTF8" not in sink.messages[0].mail
                assert sink.messages[0].content == job.content.head

    asyncio.run(main())


def test_c090_only_the_recipients_that_need_it_fail() -> None:
    async def main() -> None:
        async with ScriptedSink(extensions=PLAIN) as sink, sending(port=sink.port) as sender:
            outcomes = await sender.deliver(job_for("bob@remote.example", "grå@remote.example", "x@remote.example"))
            assert states(outcomes) == [State.DELIVERED, State.FAILED, State.DELIVERED]
            assert len(sink.messages[0].recipients) == 2

    asyncio.run(main())


@pytest.mark.parametrize("recipient", ["bob@remote.example", "grå@remote.example"])
def test_c090_a_peer_with_smtputf8_hears_of_it_only_where_needed(recipient: str) -> None:
    async def main() -> None:
        async with ScriptedSink() as sink, sending(port=sink.port) as sender:
            assert states(await sender.deliver(job_for(recipient, smtputf8=True))) == [State.DELIVERED]
            assert ("SMTPUTF8" in sink.messages[0].mail) == (not recipient.isascii())
            assert sink.messages[0].recipients == [f"RCPT TO:<{recipient}>"]
            assert "xn--" not in sink.messages[0].recipients[0]

    asyncio.run(main())


@pytest.mark.parametrize(
    ("path", "written"),
    [
        ("<info@bücher.example>", "info@xn--bcher-kva.example"),
        ("<info@BÜCHER.Example>", "info@xn--bcher-kva.example"),
        ("<grå@bücher.example>", "grå@xn--bcher-kva.example"),
    ],
)
def test_c090_a_domain_travels_as_a_labels_whatever_it_came_as(path: str, written: str) -> None:
    came = commands.rcpt(f"TO:{path}", extended=True, smtputf8=True)

    async def main() -> None:
        async with ScriptedSink() as sink, sending(port=sink.port) as sender:
            assert states(await sender.deliver(job_for(came, smtputf8=True))) == [State.DELIVERED]
            assert sink.messages[0].recipients == [f"RCPT TO:<{written}>"]

    asyncio.run(main())
