"""Where mail from outside comes from: what is proven passes, what is forged gets the verdict it deserves."""

import asyncio
import socket
import struct
from pathlib import Path
from typing import Any, cast

import pytest

from tests.content.test_arc import HOPS, sealed
from tests.content.test_arc import key as arc_key
from tests.fakedns import Script
from tests.receive.examined import (
    ALICE,
    OFF,
    US,
    entry_for,
    examined,
    header_of,
    published,
    send,
    send_on,
    signed,
    written,
)
from tests.receive.reception import Reception
from valija.mail.origin import Origin

ZONE: dict[str, list[str]] = {
    "example.org": ['TXT "v=spf1 ip4:127.0.0.1 -all"', "A 192.0.2.1"],
    "mail.example.org": ["A 127.0.0.1"],
    "_dmarc.example.org": ['TXT "v=DMARC1; p=reject; np=reject; sp=quarantine"'],
    "there.example.org": ["A 192.0.2.9"],
    "careful.example": ["A 192.0.2.2"],
    "_dmarc.careful.example": ['TXT "v=DMARC1; p=quarantine"'],
    "watching.example": ["A 192.0.2.3"],
    "_dmarc.watching.example": ['TXT "v=DMARC1; p=none"'],
    "testing.example": ["A 192.0.2.4"],
    "_dmarc.testing.example": ['TXT "v=DMARC1; p=reject; t=y"'],
    "evil.example": ['TXT "v=spf1 +all"'],
    "1.0.0.127.in-addr.arpa": ["PTR mail.example.org."],
    **published("example.org"),
    **published("evil.example"),
}


def line_of(r: Reception, event: str) -> str:
    return next(line for line in r.log.splitlines() if f" {event} " in line)


def test_mail_that_is_proven_passes_and_says_so(run: Any, tmp_path: Path) -> None:
    async def story() -> None:
        async with examined(tmp_path, ZONE) as (r, _):
            assert (await send(r, signed(written(), "example.org"))).startswith("250")
            header = header_of(r)
            assert (
                f"Authentication-Results: {US}; spf=pass smtp.mailfrom=bob@example.org; spf=none"
                " smtp.helo=mail.example.org; dkim=pass header.d=example.org header.s=sel header.a=ed25519-sha256"
            ) in header
            assert "dmarc=pass header.from=example.org; iprev=pass (mail.example.org) policy.iprev=127.0.0.1" in header
            assert not r.queue.only.envelope.junk
            assert dict(r.queue.only.origin.findings)["dmarc"] == "pass"
            line = line_of(r, "accepted")
        assert "spf=pass dkim=pass dmarc=pass iprev=pass" in line

    run(story())


def test_either_proof_is_enough(run: Any, tmp_path: Path) -> None:
    async def story() -> None:
        async with examined(tmp_path, ZONE) as (r, _):
            assert (await send(r, written())).startswith("250")
            forwarded = signed(written(), "example.org")
            assert (await send(r, forwarded, mail_from="list@evil.example", source="127.0.0.9")).startswith("250")
            assert (await send(r, forwarded, mail_from="", source="127.0.0.9")).startswith("250")

    run(story())


FORGED = {
    "another's domain": (written(), {"mail_from": "x@evil.example"}, "550 5.7.1"),
    "a signature of one's own": (signed(written(), "evil.example"), {"mail_from": "x@evil.example"}, "550 5.7.1"),
    "a body that was changed": (
        signed(written(), "example.org").replace(b"hello", b"pay me"),
        {"mail_from": "x@evil.example"},
        "550 5.7.1",
    ),
    "another's address in MAIL too": (written(), {"source": "127.0.0.9"}, "550 5.7.1"),
    "a subdomain that does not exist": (
        written("ceo@payroll.example.org"),
        {"mail_from": "x@evil.example"},
        "550 5.7.1",
    ),
    "one of two authors": (
        written("x@evil.example, ceo@example.org"),
        {"mail_from": "x@evil.example"},
        "550 5.7.1",
    ),
}


@pytest.mark.parametrize("case", FORGED)
def test_what_is_forged_is_refused(run: Any, tmp_path: Path, case: str) -> None:
    content, how, reply = FORGED[case]

    async def story() -> None:
        async with examined(tmp_path, ZONE) as (r, _):
            said = await send(r, content, **how)
            assert said.startswith(reply)
            assert "DMARC, p=reject" in said
            assert not r.queue.messages
            line = line_of(r, "content refused")
        assert "dmarc=fail dmarc_policy=reject" in line

    run(story())


PUT_ASIDE = {
    "a domain that asks for it": (written("x@careful.example"), "dmarc=fail (p=quarantine)"),
    "a subdomain that exists": (written("x@there.example.org"), "dmarc=fail (p=quarantine)"),
    "a domain that is testing p=reject": (written("x@testing.example"), "dmarc=fail (p=quarantine)"),
    "two From fields": (written(more="From: ceo@careful.example\r\n"), "dmarc=permerror"),
    "a From field that means two things": (written("ceo@careful.example <x@evil.example>"), "dmarc=permerror"),
}


@pytest.mark.parametrize("case", PUT_ASIDE)
def test_what_is_doubtful_is_put_aside(run: Any, tmp_path: Path, case: str) -> None:
    content, told = PUT_ASIDE[case]

    async def story() -> None:
        async with examined(tmp_path, ZONE) as (r, _):
            assert (await send(r, content, mail_from="x@evil.example")).startswith("250")
            assert told in header_of(r)
            assert r.queue.only.envelope.junk

    run(story())


@pytest.mark.parametrize("author", ["x@watching.example", "x@nowhere.example", "x@[192.0.2.1]"])
def test_who_asks_for_nothing_gets_nothing_done(run: Any, tmp_path: Path, author: str) -> None:
    async def story() -> None:
        async with examined(tmp_path, ZONE) as (r, _):
            assert (await send(r, written(author), mail_from="x@evil.example")).startswith("250")
            assert not r.queue.only.envelope.junk

    run(story())


def test_verdicts_in_our_name_are_not_believed(run: Any, tmp_path: Path) -> None:
    forged = (
        f"Authentication-Results: {US}; dmarc=pass header.from=watching.example\r\n"
        f"authentication-RESULTS: (as if) {US.upper()}. 1; dkim=pass\r\n"
        "Authentication-Results: other.example; spf=pass\r\n"
    )

    async def story() -> None:
        async with examined(tmp_path, ZONE) as (r, _):
            content = written("x@watching.example", more=forged)
            assert (await send(r, content, mail_from="x@evil.example")).startswith("250")
            header = header_of(r)
            assert header.lower().count("authentication-results:") == 2
            assert "Authentication-Results: other.example; spf=pass" in header
            assert f"Authentication-Results: {US}; spf=pass" in header
            assert "dmarc=fail (p=none) header.from=watching.example" in header

    run(story())


def test_verdicts_in_our_name_go_even_with_all_checks_off(run: Any, tmp_path: Path) -> None:
    async def story() -> None:
        async with examined(tmp_path, ZONE, OFF) as (r, dns):
            content = written(more=f"Authentication-Results: {US}; dmarc=pass\r\n")
            assert (await send(r, content)).startswith("250")
            assert "authentication-results" not in header_of(r).lower()
            assert not dns.questions

    run(story())


def test_our_own_network_is_not_examined(run: Any, tmp_path: Path) -> None:
    async def story() -> None:
        async with examined(tmp_path, ZONE, mynetworks=["127.0.0.1/32"]) as (r, dns):
            content = written("ceo@careful.example", more=f"Authentication-Results: {US}; dmarc=pass\r\n")
            assert (await send(r, content, mail_from="x@evil.example")).startswith("250")
            assert header_of(r).count(f"Authentication-Results: {US}; dmarc=pass") == 1
            assert not dns.questions
            assert r.queue.only.origin.findings == Origin("smtpd", 0.0).findings

    run(story())


SILENT = {
    "the SPF record": {"example.org": Script(silent=True)},
    "the key": {"sel._domainkey.example.org": Script(silent=True)},
    "the policy": {"_dmarc.example.org": Script(silent=True)},
    "the reverse name": {"1.0.0.127.in-addr.arpa": Script(silent=True)},
    "all of them": {name: Script(silent=True) for name in ZONE},
    "all of them, at once": {name: Script(rcode="SERVFAIL") for name in ZONE},
}


@pytest.mark.parametrize("case", SILENT)
def test_what_the_dns_does_not_tell_refuses_nobody(run: Any, tmp_path: Path, case: str) -> None:
    content = signed(written(), "example.org").replace(b"hello", b"pay me")

    async def story() -> None:
        async with examined(
            tmp_path, ZONE, scripts=SILENT[case], timeout=0.3, spf="reject", iprev="reject", helo="reject"
        ) as (r, _):
            said = await send(r, content)
            assert said.startswith("250"), said
            assert "=temperror" in header_of(r)

    run(story())


def test_a_proof_that_is_missing_is_not_a_proof_that_failed(run: Any, tmp_path: Path) -> None:
    async def story() -> None:
        scripts = {"sel._domainkey.example.org": Script(rcode="SERVFAIL")}
        async with examined(tmp_path, ZONE, scripts=scripts) as (r, _):
            content = signed(written(), "example.org")
            assert (await send(r, content, mail_from="x@evil.example")).startswith("250")
            assert "dmarc=temperror" in header_of(r)
            assert (await send(r, written(), mail_from="x@evil.example")).startswith("550 5.7.1")

    run(story())


def test_a_large_message_is_hashed_while_it_arrives(run: Any, tmp_path: Path) -> None:
    async def story() -> None:
        async with examined(tmp_path, ZONE) as (r, _):
            content = signed(written(body=("y" * 70 + "\r\n") * 9000), "example.org")
            assert (await send(r, content, mail_from="x@evil.example")).startswith("250")
            assert r.queue.only.content.body_file
            assert "dkim=pass" in header_of(r)

    run(story())


def test_each_message_of_a_session_is_examined_for_itself(run: Any, tmp_path: Path) -> None:
    async def story() -> None:
        async with examined(tmp_path, ZONE) as (r, _):
            d = await r.connect()
            await d.reply()
            await d.say("EHLO mail.example.org")
            assert (await send_on(d, signed(written(), "example.org"))).startswith("250")
            assert (await send_on(d, written(), mail_from="x@evil.example")).startswith("550")
            await d.say("MAIL FROM:<x@evil.example>")
            await d.say("RSET")
            assert (await send_on(d, written())).startswith("250")
            assert len(r.queue.messages) == 2

    run(story())


@pytest.mark.parametrize(
    ("options", "how", "reply"),
    [
        ({"spf": "reject"}, {"source": "127.0.0.9"}, "550 5.7.23 example.org does not let 127.0.0.9 send"),
        ({"iprev": "reject"}, {"source": "127.0.0.9"}, "550 5.7.25 127.0.0.9 has no host name"),
        ({"helo": "reject"}, {"helo": US}, "550 5.7.1 The name in HELO is not good: it is our own name"),
        ({"helo": "reject"}, {"helo": "localhost"}, "550 5.7.1 The name in HELO is not good: it is no full host name"),
        ({"helo": "reject"}, {"helo": "[192.0.2.7]"}, "550 5.7.1 The name in HELO is not good: it is the address of"),
        ({"helo": "reject"}, {"helo": "no.example.org"}, "550 5.7.1 The name in HELO is not good: the DNS has no"),
    ],
)
def test_who_is_at_the_door_matters_only_where_that_is_asked_for(
    run: Any, tmp_path: Path, options: dict[str, Any], how: dict[str, str], reply: str
) -> None:
    content = signed(written(), "example.org")

    async def story() -> None:
        async with examined(tmp_path, ZONE, **options) as (r, _):
            assert (await send(r, content, **how)).startswith(reply)
            assert (await send(r, content)).startswith("250")
        async with examined(tmp_path, ZONE) as (r, _):
            assert (await send(r, content, **how)).startswith("250")
            findings = dict(r.queue.only.origin.findings)
        assert ("helo_fault" in findings) == ("helo" in options)

    run(story())


def test_policies_may_be_told_and_not_be_followed(run: Any, tmp_path: Path) -> None:
    async def story() -> None:
        async with examined(tmp_path, ZONE, dmarc="annotate") as (r, _):
            assert (await send(r, written(), mail_from="x@evil.example")).startswith("250")
            assert "dmarc=fail (p=reject)" in header_of(r)
            assert not r.queue.only.envelope.junk

    run(story())


def test_what_is_switched_off_is_not_asked_for(run: Any, tmp_path: Path) -> None:
    async def story() -> None:
        async with examined(tmp_path, ZONE, OFF, dkim=True) as (r, dns):
            assert (await send(r, signed(written(), "example.org"))).startswith("250")
            assert [question.name for question in dns.questions] == ["sel._domainkey.example.org"]
            assert "spf=" not in header_of(r)
            assert "dmarc=" not in header_of(r)
            assert dict(r.queue.only.origin.findings) == {"dkim": "pass"}

    run(story())


def test_a_client_that_leaves_is_not_waited_for(run: Any, tmp_path: Path) -> None:
    async def story() -> None:
        scripts = {"_dmarc.example.org": Script(held=True)}
        async with examined(tmp_path, ZONE, scripts=scripts, timeout=60.0) as (r, dns):
            d = await r.connect()
            await d.reply()
            await d.say("EHLO mail.example.org", "MAIL FROM:<bob@example.org>", f"RCPT TO:<{ALICE}>", "DATA")
            d.send(written() + b".\r\n")
            await asyncio.to_thread(dns.wait_for, lambda: dns.asked("_dmarc.example.org") > 0)
            # A reset: whoever merely says no more may still read the reply.
            client = cast("socket.socket", d.writer.get_extra_info("socket"))
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            d.writer.transport.abort()
            async with asyncio.timeout(10):
                while r.listener.session_count:
                    await asyncio.sleep(0)
            dns.release()
        assert not r.queue.messages

    run(story())


SEALED_ZONE = ZONE | dict(entry_for(arc_key(domain)) for domain in HOPS)


@pytest.mark.parametrize(
    ("trusted", "reply"),
    [((), "550 5.7.1"), (("lists.example",), "550 5.7.1"), (("lists.example", "forward.example"), "250")],
)
def test_who_is_trusted_may_vouch_for_what_he_passed_on(
    run: Any, tmp_path: Path, trusted: tuple[str, ...], reply: str
) -> None:
    passed_on = sealed(sealed(written(), "lists.example"), "forward.example", seen="dmarc=fail header.from=example.org")

    async def story() -> None:
        async with examined(tmp_path, SEALED_ZONE, trusted_arc_sealers=trusted) as (r, _):
            assert (await send(r, passed_on, mail_from="list@evil.example")).startswith(reply)
            if reply == "250":
                assert "arc=pass (sealed by lists.example, forward.example)" in header_of(r)
                assert not r.queue.only.envelope.junk
            changed = passed_on.replace(b"hello", b"pay me")
            assert (await send(r, changed, mail_from="list@evil.example")).startswith("550 5.7.1")

    run(story())
