"""BODY=BINARYMIME: whatever octets come, what is stored is lines, and nobody can smuggle anything by it."""

from email import message_from_bytes, policy
from pathlib import Path
from typing import Any

import dkim  # type: ignore[import-untyped]  # it has no types
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.receive.reception import Dialogue, Reception, reception
from tests.receive.test_sessions import submitter
from valija.content.dkim_key import DkimKey, dns_record, generate
from valija.mail.content import Content
from valija.mail.reply import Reply
from valija.queue.spool import Spool
from valija.receive.binary import IncomingBinary
from valija.receive.body import MEMORY_LIMIT
from valija.receive.incoming import IncomingContent

MINE = "alice@local.example"
HEAD = b"From: alice@local.example\r\nTo: x@remote.example\r\nMIME-Version: 1.0\r\n"
ODD = b"\0\r\n.\r\n\n.\n\r.\r\nMAIL FROM:<evil@remote.example>\r\n\xff"


def binary(octets: bytes, media_type: bytes = b"application/octet-stream") -> bytes:
    return HEAD + b"Content-Type: %s\r\nContent-Transfer-Encoding: binary\r\n\r\n" % media_type + octets


async def send(d: Dialogue, *chunks: bytes, body: str = "BINARYMIME") -> str:
    assert (await d.say(f"MAIL FROM:<{MINE}> BODY={body}")).startswith("250")
    assert (await d.say("RCPT TO:<x@remote.example>")).startswith("250")
    for number, chunk in enumerate(chunks, start=1):
        last = b" LAST" if number == len(chunks) else b""
        d.send(b"BDAT %d%s\r\n" % (len(chunk), last) + chunk)
        reply = await d.reply()
        if not reply.startswith("250"):
            break
    return reply


def whole(r: Reception) -> bytes:
    return b"".join(r.listener.site.spool.read(r.queue.only.content))


def is_clean(octets: bytes) -> bool:
    return octets.count(b"\r\n") == octets.count(b"\n") == octets.count(b"\r") and b"\0" not in octets


@pytest.mark.parametrize("size", [0, MEMORY_LIMIT, 3 * MEMORY_LIMIT])
def test_what_is_stored_is_lines_and_means_the_same(run: Any, tmp_path: Path, size: int) -> None:
    async def story() -> None:
        octets = ODD + bytes(range(256)) * (size // 256)
        async with reception(tmp_path, "submission", size_limit=5_000_000) as r:
            d = await submitter(r)
            content = binary(octets)
            assert (await send(d, content[:100], content[100:101], content[101:], b"")).startswith("250 2.0.0")
            stored = whole(r)
            assert is_clean(stored)
            assert message_from_bytes(stored, policy=policy.default).get_content() == octets
            assert r.queue.only.envelope.body == "8BITMIME"
            assert len(list((tmp_path / "spool").iterdir())) == bool(r.queue.only.content.body_file)
            assert (await d.say("NOOP")).startswith("250")

    run(story())


def test_the_signature_is_of_what_is_stored(run: Any, tmp_path: Path) -> None:
    key = DkimKey.load("local.example", "s1", generate("rsa"))
    record = dns_record(key)[1].encode()

    class Signing:
        def has_any_keys(self) -> bool:
            return True

        def for_domain(self, domain: str) -> list[DkimKey]:
            return [key]

    async def story() -> None:
        async with reception(tmp_path, "submission") as r:
            object.__setattr__(r.listener.site, "signer", Signing())
            d = await submitter(r)
            assert (await send(d, binary(ODD))).startswith("250")
            assert dkim.verify(whole(r), dnsfunc=lambda name, timeout=5: record)

    run(story())


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"From: alice@local.example\nBcc: x@remote.example\r\n\r\nhello\r\n", "554 5.6.0"),  # a lone LF in the header
        (b"From: alice@local.example\r\n\0\r\n\r\nhello\r\n", "554 5.6.0"),
        (HEAD + b"Content-Type: multipart/mixed\r\nContent-Transfer-Encoding: binary\r\n\r\n\0", "554 5.6.0"),
        (binary(b"x", b"message/partial") + b"\n", "554 5.6.3"),
        (b"From: bob@local.example\r\nContent-Transfer-Encoding: binary\r\n\r\n\0", "550 5.7.1"),
    ],
)
def test_what_can_not_be_stored_is_refused_and_leaves_nothing(
    run: Any, tmp_path: Path, content: bytes, code: str
) -> None:
    async def story() -> None:
        async with reception(tmp_path, "submission") as r:
            d = await submitter(r)
            assert (await send(d, content)).startswith(code)
            assert not r.queue.messages
            assert not list((tmp_path / "spool").iterdir())
            assert (await send(d, binary(b"\0"))).startswith("250")

    run(story())


def test_the_size_limit_counts_before_and_after(run: Any, tmp_path: Path) -> None:
    async def story() -> None:
        async with reception(tmp_path, "submission", size_limit=500_000) as r:
            d = await submitter(r)
            assert (await send(d, binary(b"\0" * 400_000))).startswith("552 5.3.4")  # 540,000 as base64
            assert (await send(d, binary(b"\0" * 600_000))).startswith("552 5.3.4")
            assert not r.queue.messages
            assert not list((tmp_path / "spool").iterdir())

    run(story())


def test_who_leaves_amid_a_binary_content_leaves_nothing(run: Any, tmp_path: Path) -> None:
    async def story() -> None:
        async with reception(tmp_path, "submission", size_limit=5_000_000) as r:
            d = await submitter(r)
            assert (await send(d, b"\n" * 2 * MEMORY_LIMIT)).startswith("5")
            await d.say(f"MAIL FROM:<{MINE}> BODY=BINARYMIME", "RCPT TO:<x@remote.example>")
            d.send(b"BDAT 1000000\r\n" + b"\n" * 2 * MEMORY_LIMIT)
            d.writer.transport.abort()
        assert not list((tmp_path / "spool").iterdir())
        assert not r.queue.messages

    run(story())


@pytest.mark.parametrize("content", [b"Subject: x\r\n\r\na\n.\r\nMAIL FROM:<>\r\n", b"Subject: x\r\n\r\n\0\r\n"])
@pytest.mark.parametrize("body", ["7BIT", "8BITMIME"])
def test_what_is_not_declared_to_be_binary_has_to_be_lines(run: Any, tmp_path: Path, content: bytes, body: str) -> None:
    async def story() -> None:
        async with reception(tmp_path, "submission") as r:
            d = await submitter(r)
            assert (await send(d, content, body=body)).startswith("554 5.6.0")
            assert not r.queue.messages

    run(story())


def test_other_servers_are_not_offered_it(run: Any, tmp_path: Path) -> None:
    async def story() -> None:
        async with reception(tmp_path, "smtpd") as r:
            d = await r.connect()
            await d.reply()
            assert "BINARYMIME" not in await d.say("EHLO x")
            assert (await d.say("MAIL FROM:<a@remote.example> BODY=BINARYMIME")).startswith("501 5.5.4")

    run(story())


PIECES = st.sampled_from(
    [
        *(
            b"\r\n",
            b"\r",
            b"\n",
            b"\0",
            b".",
            b"\r\n.\r\n",
            b"\n.\r\n",
            b"--b",
            b"--b--",
            b"--b\r\n",
            b"a",
            b"\xff",
            b"=",
        ),
        b"Content-Type: multipart/mixed; boundary=b\r\n",
        b"Content-Transfer-Encoding: binary\r\n",
        b"Content-Type: a/b\r\n",
    ]
)


@given(st.lists(PIECES, max_size=30).map(b"".join))
def test_nothing_that_is_converted_holds_a_lone_line_end(tmp_path_factory: Any, octets: bytes) -> None:
    spool = Spool(tmp_path_factory.getbasetemp() / "spool")
    incoming = IncomingBinary(spool, hashes_body=False)
    incoming.add(octets)
    content = incoming.converted(0)
    if isinstance(content, Reply):
        assert content.code == 554
        return
    assert isinstance(content, IncomingContent)
    content.finish()
    if content.refusal is None:
        taken = content.take(content.header)
        assert isinstance(taken, Content)
        assert is_clean(taken.head)
