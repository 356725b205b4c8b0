"""What an alias sends on: each copy with its reverse-path, Delivered-To and ORCPT; nobody learns of other aliases."""

import asyncio
from collections.abc import Iterator

from tests.deliver.setting import ALICE, BOB, job_for, sending
from tests.ports import free_port
from tests.scripted_sink import Message, ScriptedSink
from valija.content.trace import was_delivered_to
from valija.deliver.forwarded import copies
from valija.mail.content import Content
from valija.mail.envelope import Notify, Recipient
from valija.mail.job import Job
from valija.mail.outcome import State

SRS = "SRS0=K4JZ2MQA=7C=sender.example=ann@example.org"
ANN = "ann@sender.example"
SALES = "Sales+x=y@example.org"
FORWARDED = Recipient(BOB, given=SALES, return_path=SRS)


def sent(job: Job, script: dict[str, list[str]] | None = None, expected: State = State.DELIVERED) -> list[Message]:
    async def main() -> list[Message]:
        port = free_port()
        async with (
            ScriptedSink(script or {}, port=port) as sink,
            sending(port=port, read=_whole) as sender,
        ):
            outcomes = await sender.deliver(job)
            assert {outcome.state for outcome in outcomes} == {expected}
            return list(sink.messages)

    return asyncio.run(main())


def _whole(content: Content) -> Iterator[bytes]:
    yield content.head
    if content.body_file:
        yield b"from the file\r\n"


def test_what_no_alias_gave_is_the_job_itself() -> None:
    job = job_for(BOB, "carol@remote.example")
    assert copies(job) == [job]


def test_a_copy_leaves_with_the_return_path_and_says_by_which_address_it_came() -> None:
    [message] = sent(job_for(FORWARDED, reverse_path=ANN))
    assert message.mail.startswith(f"MAIL FROM:<{SRS}>")
    assert message.recipients == [f"RCPT TO:<{BOB}> ORCPT=rfc822;Sales+2Bx+3Dy@example.org"]
    assert message.octets.startswith(b"Delivered-To: Sales+x=y@example.org\r\nMessage-ID:")
    assert was_delivered_to(message.octets.partition(b"\r\n\r\n")[0] + b"\r\n", SALES.lower())


def test_the_size_told_is_that_of_the_copy() -> None:
    job = job_for(FORWARDED, reverse_path=ANN)
    [message] = sent(job)
    size = job.content.size + len(f"Delivered-To: {SALES}\r\n")
    assert f" SIZE={size}" in message.mail


def test_a_large_one_is_streamed_behind_the_field() -> None:
    content = Content(b"Subject: large\r\n\r\n", len(b"Subject: large\r\n\r\nfrom the file\r\n"), "file")
    [message] = sent(job_for(FORWARDED, content=content, reverse_path=ANN))
    assert message.octets.startswith(f"Delivered-To: {SALES}\r\nSubject: large\r\n\r\nfrom the file".encode())


def test_what_the_sender_said_of_the_recipient_stays() -> None:
    given = Recipient(BOB, notify=int(Notify.FAILURE), orcpt="rfc822;first@example.com", given=SALES, return_path=SRS)
    [message] = sent(job_for(given, reverse_path=ANN))
    assert message.recipients[0] == f"RCPT TO:<{BOB}> NOTIFY=FAILURE ORCPT=rfc822;first@example.com"


def test_one_of_ours_needs_no_other_return_path() -> None:
    [message] = sent(job_for(Recipient(BOB, given=SALES)))
    assert message.mail.startswith(f"MAIL FROM:<{ALICE}>")
    assert message.octets.startswith(b"Delivered-To:")


def test_an_alias_is_not_shown_to_those_of_another() -> None:
    secret = Recipient("carol@remote.example", given="secret@example.org", return_path=SRS)
    plain = Recipient("dave@remote.example")
    both = Recipient("eve@remote.example", given=SALES, return_path=SRS)
    messages = sent(job_for(FORWARDED, secret, plain, both, reverse_path=ANN))
    told = {
        tuple(line.partition("<")[2].partition(">")[0] for line in message.recipients): message.octets
        for message in messages
    }
    assert set(told) == {(BOB, "eve@remote.example"), ("carol@remote.example",), ("dave@remote.example",)}
    assert b"secret" in told["carol@remote.example",]
    assert b"secret" not in told[BOB, "eve@remote.example"]
    assert b"Delivered-To" not in told["dave@remote.example",]


def test_all_copies_share_the_fate_of_a_host_that_is_away() -> None:
    secret = Recipient("carol@remote.example", given="secret@example.org", return_path=SRS)
    sent(job_for(FORWARDED, secret, reverse_path=ANN), {"banner": ["421 4.3.2 not now"]}, State.DEFERRED)


def test_an_alias_beyond_ascii_passes_hops_that_know_nothing_else() -> None:
    given = Recipient(BOB, given="büro@example.org", return_path=SRS)
    [copy] = copies(job_for(given, reverse_path=ANN))
    assert copy.content.head.startswith(b"Delivered-To: b\\x{FC}ro@example.org\r\n")
    assert copy.recipients[0].orcpt == r"utf-8;b\x{FC}ro@example.org"
    assert was_delivered_to(copy.content.head, "BüRO@example.org")
    assert not was_delivered_to(copy.content.head, "b@example.org")
