"""Peers that fail: what becomes of each recipient, which host is tried next, and what is never done."""

import asyncio

import pytest

from tests.deliver.setting import BOB, CONTENT, Run, both_loops, free_port, job_for, sending, states
from tests.scripted_sink import CLOSE, EXTENSIONS, RESET, SILENT, Answer, Script, ScriptedSink
from valija.deliver.options import SmtpOptions
from valija.mail.outcome import State

TWO_HOSTS = {
    "remote.example": ["MX 10 mx1.remote.example", "MX 20 mx2.remote.example"],
    "mx1.remote.example": ["A 127.0.0.2"],
    "mx2.remote.example": ["A 127.0.0.3"],
}
NO_PIPELINING = tuple(keyword for keyword in EXTENSIONS if keyword != "PIPELINING")


# C078: IPv6 broken, IPv4 fine


@both_loops
def test_c078_a_broken_ipv6_leads_to_ipv4_in_the_same_attempt(run: Run[None]) -> None:
    zone = {"remote.example": ["MX 10 mx1.remote.example"], "mx1.remote.example": ["AAAA 2001:db8::1", "A 127.0.0.1"]}

    async def main() -> None:
        async with ScriptedSink() as sink, sending(port=sink.port, zone=zone, connect_timeout=1.0) as sender:
            [outcome] = await sender.deliver(job_for(), deadline=5.0)
            assert (outcome.state, outcome.remote_address) == (State.DELIVERED, "127.0.0.1")

    run(main())


def test_c078_ipv6_alone_works() -> None:
    zone = {"remote.example": ["MX 10 mx1.remote.example"], "mx1.remote.example": ["AAAA ::1"]}

    async def main() -> None:
        async with ScriptedSink(address="::1") as sink, sending(port=sink.port, zone=zone) as sender:
            [outcome] = await sender.deliver(job_for())
            assert (outcome.state, outcome.remote_address) == (State.DELIVERED, "::1")

    asyncio.run(main())


def test_c078_a_link_local_address_is_not_tried() -> None:
    zone = {"remote.example": ["MX 10 mx1.remote.example"], "mx1.remote.example": ["AAAA fe80::1", "A 127.0.0.1"]}

    async def main() -> None:
        async with ScriptedSink() as sink, sending(port=sink.port, zone=zone) as sender:
            assert states(await sender.deliver(job_for())) == [State.DELIVERED]

    asyncio.run(main())


# C079: greetings


@pytest.mark.parametrize(
    "banner",
    [
        "220-a\r\n220 b",
        "220 laposte",
        "220",
        b"220-a\n220 b\n",
        "220 " + "x" * 10_000,
        "\r\n".join(["220-a long story, " + "y" * 90] * 1000 + ["220 ready"]),
    ],
    ids=["two lines", "no word SMTP", "bare", "LF only", "10 kB", "100 kB of lines"],
)
def test_c079_odd_greetings_are_understood(banner: Answer) -> None:
    async def main() -> None:
        async with ScriptedSink({"banner": [banner]}) as sink, sending(port=sink.port) as sender:
            assert states(await sender.deliver(job_for())) == [State.DELIVERED]

    asyncio.run(main())


@both_loops
@pytest.mark.parametrize(
    "banner",
    [
        "554 no",
        "421 busy",
        "521 5.3.2 never",
        "220-x\r\n521 5.7.1 no",
        "521-x\r\n220 but yes",
        ["220 hello", CLOSE],
        CLOSE,
        "GET / HTTP/1.1",
        b"220 " + b"x" * 100_000 + b"\r\n",
    ],
    ids=["554", "421", "521", "mixed", "mixed the other way", "then close", "close", "not SMTP", "100 kB line"],
)
def test_c079_a_refused_session_leads_to_the_next_host(run: Run[None], banner: Answer) -> None:
    port = free_port("127.0.0.2")

    async def main() -> None:
        async with (
            ScriptedSink({"banner": [banner]}, port=port, address="127.0.0.2") as first,
            ScriptedSink(port=port, address="127.0.0.3") as second,
            sending(port=port, zone=TWO_HOSTS) as sender,
        ):
            [outcome] = await sender.deliver(job_for())
            assert (outcome.state, outcome.remote) == (State.DELIVERED, "mx2.remote.example")
            assert len(first.sessions) == 1
            assert (len(first.messages), len(second.messages)) == (0, 1)

    run(main())


@pytest.mark.parametrize("banner", ["554 5.7.1 no", "521 never", "421 busy"])
def test_c079_all_hosts_refuse_the_session_is_a_deferral(banner: str) -> None:
    async def main() -> None:
        async with ScriptedSink({"banner": [banner]}) as sink, sending(port=sink.port) as sender:
            [outcome] = await sender.deliver(job_for())
            assert outcome.state is State.DEFERRED
            assert outcome.reply.code == int(banner[:3])
            assert outcome.remote == "mx1.remote.example"

    asyncio.run(main())


def test_c079_the_banner_is_waited_for() -> None:
    async def main() -> None:
        async with ScriptedSink({"banner": [SILENT]}) as sink, sending(port=sink.port, helo_timeout=0.5) as sender:
            [outcome] = await sender.deliver(job_for())
            assert outcome.state is State.DEFERRED
            assert "banner" in outcome.reply.text
            assert sink.sessions[0].commands == []

    asyncio.run(main())


def test_nobody_listens() -> None:
    async def main() -> None:
        async with sending(port=free_port()) as sender:
            [outcome] = await sender.deliver(job_for())
            assert (outcome.state, outcome.reply.enhanced) == (State.DEFERRED, "4.4.1")
            assert (outcome.remote, outcome.remote_address) == ("", "127.0.0.1")

    asyncio.run(main())


# C081: odd replies


@pytest.mark.parametrize(
    ("reply", "state", "enhanced"),
    [
        ("250", State.DELIVERED, "2.0.0"),
        ("250-\r\n250", State.DELIVERED, "2.0.0"),
        (b"250 \xc7\xeb\r\n", State.DELIVERED, "2.0.0"),
        ("250-ok\r\n251 ok", State.DELIVERED, "2.0.0"),
        ("550 4.7.1 x", State.FAILED, ""),
        ("450 5.7.1 x", State.DEFERRED, ""),
        ("550-a\r\n" + "550-b\r\n" * 9998 + "550 c", State.FAILED, ""),
        ("25", State.DEFERRED, "4.5.0"),
        ("abc", State.DEFERRED, "4.5.0"),
        ("354 go on", State.DEFERRED, "4.5.0"),
        ("650 what", State.DEFERRED, "4.5.0"),
        ("550-no\r\n250 yes", State.DEFERRED, "4.5.0"),
        ("250 " + "x" * 1_000_000, State.DEFERRED, "4.5.0"),
        ("550-" + "\r\n550-".join("x" * 100 for _ in range(3000)) + "\r\n550 x", State.DEFERRED, "4.5.0"),
    ],
)
def test_c081_odd_replies_to_rcpt(reply: Answer, state: State, enhanced: str) -> None:
    async def main() -> None:
        async with ScriptedSink({"RCPT": [reply]}) as sink, sending(port=sink.port) as sender:
            [outcome] = await sender.deliver(job_for())
            assert outcome.state is state
            assert outcome.reply.enhanced == (enhanced if state is not State.DELIVERED else "2.0.0")
            assert len(outcome.reply.text) < 20_000

    asyncio.run(main())


def test_c081_an_enhanced_code_is_never_stale() -> None:
    async def main() -> None:
        script: Script = {"MAIL": ["250 2.1.0 ok"], "RCPT": ["550 5.1.1 unknown", "550 no"]}
        async with ScriptedSink(script) as sink, sending(port=sink.port) as sender:
            outcomes = await sender.deliver(job_for(BOB, "x@remote.example"))
            assert [outcome.reply.enhanced for outcome in outcomes] == ["5.1.1", ""]

    asyncio.run(main())


# C085: the connection is lost after the dot


@both_loops
@pytest.mark.parametrize("end", [CLOSE, RESET])
def test_c085_lost_after_the_dot_is_deferred_and_says_possible_duplicate(run: Run[None], end: Answer) -> None:
    port = free_port("127.0.0.2")

    async def main() -> None:
        async with (
            ScriptedSink({".": [end]}, port=port, address="127.0.0.2") as first,
            ScriptedSink(port=port, address="127.0.0.3") as second,
            sending(port=port, zone=TWO_HOSTS) as sender,
        ):
            [outcome] = await sender.deliver(job_for())
            assert (outcome.state, outcome.reply.enhanced) == (State.DEFERRED, "4.4.2")
            assert "more than once" in outcome.reply.text
            [warning] = sender.log.of("possible duplicate")
            assert warning["queue_id"] == "q1"
            assert (len(first.messages), len(second.messages)) == (1, 0)  # not tried elsewhere at once

    run(main())


def test_c085_silence_after_the_dot_is_waited_out() -> None:
    async def main() -> None:
        async with (
            ScriptedSink({".": [SILENT]}) as sink,
            sending(port=sink.port, data_done_timeout=0.6, data_xfer_timeout=0.1) as sender,
        ):
            began = asyncio.get_running_loop().time()
            [outcome] = await sender.deliver(job_for())
            assert asyncio.get_running_loop().time() - began >= 0.6
            assert outcome.state is State.DEFERRED
            assert sender.log.of("possible duplicate")

    asyncio.run(main())


@both_loops
@pytest.mark.parametrize(
    ("end", "state"),
    [(["250 2.0.0 taken", RESET], State.DELIVERED), (["550 5.7.1 spam", CLOSE], State.FAILED)],
)
def test_c085_a_verdict_before_the_end_counts(run: Run[None], end: Answer, state: State) -> None:
    async def main() -> None:
        async with ScriptedSink({".": [end]}) as sink, sending(port=sink.port) as sender:
            [outcome] = await sender.deliver(job_for())
            assert outcome.state is state
            assert not sender.log.of("possible duplicate")

    run(main())


def test_c085_the_default_is_ten_minutes() -> None:
    assert SmtpOptions().data_done_timeout >= 600
    assert SmtpOptions().helo_timeout >= 300


# C086: 421 in mid-session, and stale connections


def test_c086_421_to_the_second_recipient_defers_all_without_a_verdict() -> None:
    async def main() -> None:
        script: Script = {"RCPT": ["250 ok", "550 5.1.1 unknown", ["421 4.3.2 bye", CLOSE]]}
        async with ScriptedSink(script) as sink, sending(port=sink.port) as sender:
            outcomes = await sender.deliver(job_for(BOB, *(f"u{n}@remote.example" for n in range(3))))
            assert states(outcomes) == [State.DEFERRED, State.FAILED, State.DEFERRED, State.DEFERRED]
            assert outcomes[0].reply.code == 421
            assert not sink.messages

    asyncio.run(main())


def test_c086_421_in_mid_session_leads_to_the_next_host() -> None:
    port = free_port("127.0.0.2")

    async def main() -> None:
        script: Script = {"RCPT": ["550 5.1.1 unknown", ["421 4.3.2 bye", CLOSE]]}
        async with (
            ScriptedSink(script, port=port, address="127.0.0.2"),
            ScriptedSink(port=port, address="127.0.0.3") as second,
            sending(port=port, zone=TWO_HOSTS) as sender,
        ):
            outcomes = await sender.deliver(job_for(BOB, "x@remote.example"))
            assert states(outcomes) == [State.FAILED, State.DELIVERED]  # a verdict is not asked for twice
            assert second.messages[0].recipients == ["RCPT TO:<x@remote.example>"]

    asyncio.run(main())


@both_loops
@pytest.mark.parametrize("mail", [["421 4.4.2 too many messages", CLOSE], CLOSE])
def test_c086_a_stale_connection_is_replaced_at_once(run: Run[None], mail: Answer) -> None:
    async def main() -> None:
        script: Script = {"MAIL": ["250 ok", mail, "250 ok"]}
        async with ScriptedSink(script) as sink, sending(port=sink.port) as sender:
            assert states(await sender.deliver(job_for())) == [State.DELIVERED]
            assert states(await sender.deliver(job_for())) == [State.DELIVERED]
            assert len(sink.sessions) == 2
            assert len(sink.messages) == 2

    run(main())


def test_c086_an_idle_notice_ends_the_cached_connection() -> None:
    async def main() -> None:
        script: Script = {".": [["250 2.0.0 taken", "421 4.4.2 idle", CLOSE], "250 2.0.0 taken"]}
        async with ScriptedSink(script) as sink, sending(port=sink.port) as sender:
            assert states(await sender.deliver(job_for())) == [State.DELIVERED]
            await sink.until(lambda: sink.sessions[0].closed)
            assert states(await sender.deliver(job_for())) == [State.DELIVERED]
            assert len(sink.sessions) == 2

    asyncio.run(main())


def test_a_peer_that_takes_one_message_a_connection_gets_them_all() -> None:
    async def main() -> None:
        script: Script = {".": [["250 2.0.0 taken", "421 4.7.0 one is enough", CLOSE]]}
        async with ScriptedSink(script) as sink, sending(port=sink.port) as sender:
            outcomes = await asyncio.gather(*(sender.deliver(job_for()) for _ in range(10)))
            assert [states(one) for one in outcomes] == [[State.DELIVERED]] * 10
            assert len(sink.messages) == 10

    asyncio.run(main())


# C087: 354 after all recipients were refused


@both_loops
def test_c087_a_lone_dot_and_its_reply_ignored(run: Run[None]) -> None:
    async def main() -> None:
        script: Script = {"RCPT": ["550 5.1.1 no", "550 5.1.1 no", "250 ok"], "DATA": ["354 go ahead"]}
        async with (
            ScriptedSink(script) as sink,
            sending(port=sink.port, destination_concurrency_limit=1) as sender,
        ):
            first, second = await asyncio.gather(
                sender.deliver(job_for(BOB, "x@remote.example")), sender.deliver(job_for())
            )
            assert states(first) == [State.FAILED, State.FAILED]
            assert states(second) == [State.DELIVERED]
            assert [message.content for message in sink.messages] == [b"", CONTENT]

    run(main())


@pytest.mark.parametrize("extensions", [EXTENSIONS, NO_PIPELINING], ids=["pipelining", "step by step"])
def test_c087_rset_after_a_refused_data(extensions: tuple[str, ...]) -> None:
    async def main() -> None:
        script: Script = {"DATA": ["554 5.7.1 no", "354 go ahead"]}
        async with (
            ScriptedSink(script, extensions=extensions) as sink,
            sending(port=sink.port, destination_concurrency_limit=1) as sender,
        ):
            first, second = await asyncio.gather(sender.deliver(job_for()), sender.deliver(job_for()))
            assert states(first) == [State.FAILED]
            assert states(second) == [State.DELIVERED]
            assert sink.sessions[0].verbs()[1:8] == ["MAIL", "RCPT", "DATA", "RSET", "MAIL", "RCPT", "DATA"]

    asyncio.run(main())


@pytest.mark.parametrize("extensions", [EXTENSIONS, NO_PIPELINING], ids=["pipelining", "step by step"])
def test_mail_refused_decides_for_all(extensions: tuple[str, ...]) -> None:
    async def main() -> None:
        script: Script = {"MAIL": ["550 5.7.1 no", "450 4.7.1 later", "250 ok"], "RCPT": ["503 5.5.1 MAIL first"]}
        script = {**script, "DATA": ["503 5.5.1 MAIL first"]}
        async with ScriptedSink(script, extensions=extensions) as sink, sending(port=sink.port) as sender:
            assert states(await sender.deliver(job_for(BOB, "x@remote.example"))) == [State.FAILED] * 2
            assert states(await sender.deliver(job_for(BOB))) == [State.DEFERRED]

    asyncio.run(main())


# More ways to break off


@both_loops
@pytest.mark.parametrize("stage", ["EHLO", "MAIL", "RCPT", "DATA"])
@pytest.mark.parametrize("end", [CLOSE, RESET, "nonsense", ["421 4.3.2 bye", CLOSE]])
def test_a_session_that_fails_leads_to_the_next_host(run: Run[None], stage: str, end: Answer) -> None:
    port = free_port("127.0.0.2")

    async def main() -> None:
        async with (
            ScriptedSink({stage: [end]}, port=port, address="127.0.0.2") as first,
            ScriptedSink(port=port, address="127.0.0.3") as second,
            sending(port=port, zone=TWO_HOSTS) as sender,
        ):
            [outcome] = await sender.deliver(job_for())
            assert (outcome.state, outcome.remote_address) == (State.DELIVERED, "127.0.0.3")
            assert (len(first.messages), len(second.messages)) == (0, 1)

    run(main())


@pytest.mark.parametrize("code", [450, 451, 550])
def test_a_verdict_is_not_asked_for_at_the_next_host(code: int) -> None:
    port = free_port("127.0.0.2")

    async def main() -> None:
        async with (
            ScriptedSink({"RCPT": [f"{code} grey"]}, port=port, address="127.0.0.2"),
            ScriptedSink(port=port, address="127.0.0.3") as second,
            sending(port=port, zone=TWO_HOSTS) as sender,
        ):
            [outcome] = await sender.deliver(job_for())
            assert outcome.reply.code == code
            assert not second.sessions

    asyncio.run(main())


def test_a_dripping_peer_is_not_waited_for_any_longer() -> None:
    async def main() -> None:
        async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                while True:
                    writer.write(b"220-drip\r\n"[len(dripped) % 10 :][:1])
                    dripped.append(1)
                    await asyncio.wait_for(reader.read(1), 0.05)
                    break
            except TimeoutError:
                await drip(reader, writer)
            except OSError:
                pass

        dripped: list[int] = []
        port = free_port()
        server = await asyncio.start_server(drip, "127.0.0.1", port)
        async with server, sending(port=port, helo_timeout=0.7) as sender:
            [outcome] = await sender.deliver(job_for(), deadline=5.0)
            assert outcome.state is State.DEFERRED
            assert len(dripped) > 5

    asyncio.run(main())


def test_many_waiting_for_a_dead_host_are_deferred_together() -> None:
    async def main() -> None:
        async with sending(port=free_port()) as sender:
            outcomes = await asyncio.gather(*(sender.deliver(job_for()) for _ in range(100)))
            assert all(states(one) == [State.DEFERRED] for one in outcomes)

    asyncio.run(main())


def test_a_refused_additional_connection_harms_nobody() -> None:
    async def main() -> None:
        async with (
            ScriptedSink({"banner": ["220 hello", ["421 4.7.0 one connection only", CLOSE]]}) as sink,
            sending(port=sink.port) as sender,
        ):
            await sender.deliver(job_for())
            outcomes = await asyncio.gather(*(sender.deliver(job_for()) for _ in range(90)))
            assert all(states(one) == [State.DELIVERED] for one in outcomes)
            assert len(sink.sessions) < 20

    asyncio.run(main())
