"""Asking rspamd: what it hears, and everything that can be wrong with an answer."""

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.rspamd.scripted import HOST, Deed, ScriptedRspamd, gated, hang_up, http, raw, reply, silence
from valija.rspamd.client import AT_ONCE, LONGEST_ANSWER, Message, RspamdClient, TooLarge
from valija.rspamd.condition import RspamdAway
from valija.rspamd.options import RspamdOptions
from valija.rspamd.reply import Opinion
from valija.rspamd.request import Facts

FACTS = Facts("3f2a", "bob@example.net", ("alice@example.org",), "mail.example.org", "192.0.2.7")
HEAD = b"Subject: hello\r\n\r\n"


def message(body: bytes = b"hello\r\n") -> Message:
    def read() -> Iterator[bytes]:
        yield from (body[at : at + 65536] for at in range(0, len(body), 65536))

    return Message(HEAD, len(body), read)


async def scan(options: RspamdOptions, what: Message | None = None) -> Opinion:
    client = RspamdClient(options)
    try:
        return await client.scan(FACTS, what or message())
    finally:
        await client.close()


def why(deed: Deed, what: Message | None = None, **settings: Any) -> RspamdAway:
    """Return why there is no opinion where rspamd does such a thing."""

    async def story() -> RspamdAway:
        async with ScriptedRspamd() as rspamd:
            rspamd.does(deed)
            with pytest.raises(RspamdAway) as away:
                await scan(rspamd.options(**settings), what)
            return away.value

    return asyncio.run(story())


def test_it_hears_the_facts_and_the_message() -> None:
    async def story() -> None:
        async with ScriptedRspamd() as rspamd:
            rspamd.answers(action="add header", score=7, required_score=15)
            opinion = await scan(rspamd.options())
            assert (opinion.action, opinion.score) == ("add header", 7.0)
            (asked,) = rspamd.asked
            assert asked.octets == HEAD + b"hello\r\n"
            assert asked.values("Queue-Id") == ["3f2a"]
            assert asked.values("Rcpt") == ["<alice@example.org>"]
            assert asked.values("User-Agent") == ["valija"]
            assert not asked.values("Password")
            assert not asked.values("Accept-Encoding")

    asyncio.run(story())


@pytest.mark.parametrize("size", [0, 1, 256 * 1024, 256 * 1024 + 1, 3_000_001])
def test_it_hears_the_whole_message_whatever_its_size(size: int) -> None:
    async def story() -> None:
        async with ScriptedRspamd() as rspamd:
            body = bytes(range(251)) * (size // 251 + 1)
            await scan(rspamd.options(), message(body[:size]))
            assert rspamd.asked[0].octets == HEAD + body[:size]

    asyncio.run(story())


def test_a_large_message_goes_out_as_it_is_read() -> None:
    """No more of it is in memory than the pieces on their way."""

    async def story() -> None:
        read = 0

        def body() -> Iterator[bytes]:
            nonlocal read
            for _ in range(1024):
                read += 65536
                yield bytes(65536)

        async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            taken = 0
            while taken < 4 << 20:
                taken += len(await reader.read(65536))
            heard.set_result(read)
            writer.close()

        heard: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        async with await asyncio.start_server(listen, HOST, 0) as server:
            port = server.sockets[0].getsockname()[1]
            client = RspamdClient(RspamdOptions(url=f"http://{HOST}:{port}"))
            scanning = asyncio.create_task(client.scan(FACTS, Message(HEAD, 1024 * 65536, body)))
            assert await asyncio.wait_for(heard, 20) < 48 << 20
            scanning.cancel()
            await asyncio.gather(scanning, return_exceptions=True)
            await client.close()

    asyncio.run(story())


def test_a_unix_socket_leads_there_too(tmp_path: Path) -> None:
    async def story() -> None:
        place = ScriptedRspamd()
        server = await asyncio.start_unix_server(place._serve, tmp_path / "socket")
        async with server:
            assert (await scan(RspamdOptions(url=f"unix:{tmp_path}/socket"))).action == "no action"
            await place.stop()

    asyncio.run(story())


def test_the_password_is_read_from_its_file_each_time(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("one\n")
    file.chmod(0o640)

    async def story() -> None:
        async with ScriptedRspamd() as rspamd:
            client = RspamdClient(rspamd.options(password_file=str(file)))
            await client.scan(FACTS, message())
            file.write_text("two\n")
            await client.scan(FACTS, message())
            assert [asked.values("Password") for asked in rspamd.asked] == [["one"], ["two"]]
            file.chmod(0o644)
            with pytest.raises(RspamdAway, match="a secret that others can use") as away:
                await client.scan(FACTS, message())
            assert "two" not in str(away.value)
            await client.close()

    asyncio.run(story())


# Connections


def test_a_connection_is_kept() -> None:
    async def story() -> None:
        async with ScriptedRspamd() as rspamd:
            client = RspamdClient(rspamd.options())
            for _ in range(20):
                await client.scan(FACTS, message())
            assert (len(rspamd.asked), rspamd.connections) == (20, 1)
            await client.close()

    asyncio.run(story())


def test_a_kept_connection_that_is_gone_costs_nothing() -> None:
    async def story() -> None:
        async with ScriptedRspamd() as rspamd:
            client = RspamdClient(rspamd.options())
            await client.scan(FACTS, message())
            await rspamd.stop()
            await rspamd.start()
            assert (await client.scan(FACTS, message())).action == "no action"
            await client.close()

    asyncio.run(story())


def test_so_many_are_asked_at_once_and_no_more() -> None:
    async def story() -> None:
        async with ScriptedRspamd() as rspamd:
            gate = asyncio.Event()
            rspamd.does(gated(gate, reply(action="no action")))
            client = RspamdClient(rspamd.options(timeout=20.0))
            scans = [asyncio.create_task(client.scan(FACTS, message())) for _ in range(AT_ONCE + 20)]
            while rspamd.busy < AT_ONCE:
                rspamd.came.clear()
                await asyncio.wait_for(rspamd.came.wait(), 10)
            gate.set()
            await asyncio.gather(*scans)
            assert (rspamd.most, len(rspamd.asked)) == (AT_ONCE, AT_ONCE + 20)
            await client.close()

    asyncio.run(story())


# What may be wrong


def test_nobody_is_there() -> None:
    async def story() -> None:
        rspamd = ScriptedRspamd()
        with pytest.raises(RspamdAway, match=r"^no connection: ") as away:
            await scan(rspamd.options())
        assert not away.value.is_silent

    asyncio.run(story())


def test_silence_is_bounded() -> None:
    begun = time.monotonic()
    away = why(silence, timeout=0.2)
    assert str(away) == "no answer within 0.2 s"
    assert away.is_silent
    assert time.monotonic() - begun < 5


async def drip(writer: asyncio.StreamWriter) -> None:
    """An answer that never ends, an octet at a time."""
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n{")
    while True:
        writer.write(b" ")
        await asyncio.sleep(0.02)


def test_an_answer_that_drips_is_bounded() -> None:
    assert why(drip, timeout=0.3).is_silent


LONG = b'{"action": "' + b"x" * LONGEST_ANSWER + b'"}'


@pytest.mark.parametrize(
    ("deed", "told"),
    [
        (raw(http(b'{"error":"x"}', "500 invalid command\x1b")), "it answers 500 invalid command"),
        (raw(http(b"", "302 Found\r\nLocation: http://127.0.0.1:1/")), "it answers 302 Found"),
        (raw(http(b"", "401 Unauthorized")), "it wants another password"),
        (raw(http(b"", "403 Forbidden")), "it wants another password"),
        (raw(http(b"<html>")), "its answer is not understood"),
        (raw(http(b"")), "its answer is not understood"),
        (raw(http(b'{"score": 7}')), "its answer is not understood"),
        (raw(http(LONG)), f"its answer is longer than {LONGEST_ANSWER} octets"),
        (raw(b"220 mail.example.org ESMTP\r\n", closes=True), ""),
        (raw(b"\x00" * 100, closes=True), ""),
        (raw(b"HTTP/1.1 200 OK\r\nContent-Length: 90\r\n\r\n{}", closes=True), ""),
        (raw(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000 + b"\r\n\r\n", closes=True), ""),
        (hang_up, "it closed the connection without an answer"),
    ],
    ids=range(13),
)
def test_an_answer_that_is_none(deed: Deed, told: str) -> None:
    away = why(deed)
    assert told in str(away)
    assert str(away).isprintable()
    assert len(str(away)) < 300
    assert not away.is_silent


def test_one_that_hangs_up_on_a_large_message_gets_its_hint() -> None:
    assert "[rspamd] max_size" in str(why(hang_up, message(b"x" * 1_000_000)))


def test_too_large_for_it() -> None:
    async def story() -> None:
        async with ScriptedRspamd() as rspamd:
            rspamd.does(raw(http(b"", "413 Request Entity Too Large")))
            with pytest.raises(TooLarge):
                await scan(rspamd.options())

    asyncio.run(story())


def test_a_message_that_cannot_be_read_is_no_fault_of_rspamd() -> None:
    async def story() -> None:
        def broken() -> Iterator[bytes]:
            yield b"x" * 65536
            raise OSError("the disk is gone")

        async with ScriptedRspamd() as rspamd:
            with pytest.raises(OSError, match="the disk is gone"):
                await scan(rspamd.options(), Message(HEAD, 1_000_000, broken))

    asyncio.run(story())
