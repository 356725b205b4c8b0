"""What a client asks about a message's way and time, as the queue gets it."""

import re
from pathlib import Path
from typing import Any

import pytest

from tests.receive.reception import Dialogue, Reception, reception
from tests.receive.test_sessions import send, submitter
from valija.mail.envelope import DeliverBy, Envelope
from valija.policy.requests import RequestLimits

MINE = "alice@local.example"


async def submitted(r: Reception, parameters: str, header: str = "") -> Envelope:
    d = await submitter(r)
    assert (await d.say(f"MAIL FROM:<{MINE}> {parameters}")).startswith("250")
    assert (await finish(d, header)).startswith("250")
    return r.queue.only.envelope


async def finish(d: Dialogue, header: str = "") -> str:
    await d.say("RCPT TO:<x@remote.example>", "DATA")
    return await d.say(f"From: {MINE}\r\n{header}\r\nhello\r\n.")


def test_all_that_was_asked_is_in_the_envelope(run: Any, tmp_path: Path) -> None:
    async def story() -> None:
        async with reception(tmp_path, "submission") as r:
            envelope = await submitted(r, "REQUIRETLS HOLDFOR=60 BY=90;RT MT-PRIORITY=-4")
            arrived = r.queue.only.origin.received_at
            assert envelope.require_tls
            assert arrived + 55 < envelope.hold_until <= arrived + 60
            assert envelope.deliver_by is not None
            assert envelope.deliver_by == DeliverBy(envelope.hold_until + 30, returns=True, traces=True)
            assert envelope.priority == -4
            head = r.queue.only.content.head.replace(b"\r\n\t", b" ")
            assert b"for <x@remote.example> PRIORITY -4; " in head  # RFC 6710 section 7
        line = next(line for line in r.log.splitlines() if " accepted " in line)
        assert "tls_demand=required" in line
        assert "priority=-4" in line
        assert re.search(r" hold_until=2\d{3}-\d\d-\d\dT[\d:]{8}Z deliver_by=2\d{3}-", line)

    run(story())


def test_who_asks_for_nothing_gets_nothing(run: Any, tmp_path: Path) -> None:
    async def story() -> None:
        async with reception(tmp_path, "submission") as r:
            assert await submitted(r, "SIZE=100") == Envelope(MINE, r.queue.only.envelope.recipients)
            assert b"PRIORITY" not in r.queue.only.content.head
        assert "priority=" not in r.log

    run(story())


def test_requests_are_forgotten_with_their_transaction(run: Any, tmp_path: Path) -> None:
    async def story() -> None:
        async with reception(tmp_path, "submission") as r:
            d = await submitter(r)
            await d.say(f"MAIL FROM:<{MINE}> REQUIRETLS HOLDFOR=60 MT-PRIORITY=3", "RSET")
            await d.say(f"MAIL FROM:<{MINE}> MT-PRIORITY=3")
            await d.say("EHLO client.example")
            assert (await d.say(f"MAIL FROM:<{MINE}> HOLDFOR=9999999")).startswith("501 5.5.4")
            assert (await d.say("RCPT TO:<x@remote.example>")).startswith("503")
            assert (await send(d, f"From: {MINE}\n\nhello")).startswith("250")
            assert r.queue.only.envelope == Envelope(MINE, r.queue.only.envelope.recipients)

    run(story())


@pytest.mark.parametrize(
    ("parameters", "header", "required", "optional"),
    [
        ("", "TLS-Required: No\r\n", False, True),
        ("REQUIRETLS", "TLS-Required: No\r\n", True, False),  # RFC 8689 section 4.1
        ("", "TLS-Required: Maybe\r\n", False, False),
    ],
)
def test_tls_on_the_way(run: Any, tmp_path: Path, parameters: str, header: str, required: bool, optional: bool) -> None:
    async def story() -> None:
        async with reception(tmp_path, "submission") as r:
            envelope = await submitted(r, parameters, header)
            assert (envelope.require_tls, envelope.tls_optional) == (required, optional)
            assert header.encode() in r.queue.only.content.head

    run(story())


def test_requiretls_of_other_servers_inside_tls_only(run: Any, tmp_path: Path) -> None:
    async def story() -> None:
        async with reception(tmp_path, "smtpd") as r:
            d = await r.connect()
            await d.reply()
            assert "REQUIRETLS" not in await d.say("EHLO x")
            assert (await d.say("MAIL FROM:<a@remote.example> REQUIRETLS")).startswith("555 5.5.4")
            await d.start_tls()
            assert (await d.say("MAIL FROM:<a@remote.example> REQUIRETLS")).startswith("503")  # EHLO is to be said anew
            assert "REQUIRETLS" in await d.say("EHLO x")
            assert (await d.say("MAIL FROM:<a@remote.example> REQUIRETLS")).startswith("250")
            await d.say("RCPT TO:<alice@local.example>", "DATA")
            assert (await d.say("Subject: x\r\n\r\nhello\r\n.")).startswith("250")
            assert r.queue.only.envelope.require_tls

    run(story())


def test_limits_are_the_site_s(run: Any, tmp_path: Path) -> None:
    async def story() -> None:
        limits = RequestLimits(longest_hold=0.0, highest_priority=0)
        async with reception(tmp_path, "submission", request_limits=limits) as r:
            d = await submitter(r)
            assert "FUTURERELEASE" not in await d.say("EHLO x")
            assert (await d.say(f"MAIL FROM:<{MINE}> HOLDFOR=5")).startswith("555 5.5.4")
            assert (await d.say(f"MAIL FROM:<{MINE}> MT-PRIORITY=1")).startswith("250 2.3.6 0 ")
            assert (await finish(d)).startswith("250")
            assert r.queue.only.envelope.priority == 0

    run(story())
