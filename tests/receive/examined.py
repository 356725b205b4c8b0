"""Mail from outside in this process: a listener whose checks ask a name server of the test's own."""

import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import msgspec

from tests.fakedns import FakeDns, Script
from tests.receive.reception import Dialogue, Reception, reception
from valija.content.dkim import sign
from valija.content.dkim_canonical import body_hash
from valija.content.dkim_key import DkimKey, dns_record, generate
from valija.dns.caching import CachingResolver
from valija.dns.options import DnsOptions
from valija.logs import LogBuffer, build_log
from valija.receive.check_options import CheckOptions
from valija.receive.checks import NO_CHECKS, Checks
from valija.receive.standard_checks import StandardChecks

US = "mail.local.example"
ALICE = "alice@local.example"
OFF = CheckOptions(spf="off", dkim=False, arc=False, dmarc="off", iprev="off", helo="off")


@lru_cache
def key(domain: str) -> DkimKey:
    return DkimKey.load(domain, "sel", generate("ed25519"))


def published(domain: str) -> dict[str, list[str]]:
    """Return the zone's entry for the key that `signed` signs with."""
    return dict([entry_for(key(domain))])


def entry_for(public: DkimKey) -> tuple[str, list[str]]:
    """Return a zone's entry for a key, cut into the strings that the DNS takes."""
    name, value = dns_record(public)
    return name, ["TXT " + " ".join(f'"{value[at : at + 250]}"' for at in range(0, len(value), 250))]


def signed(message: bytes, domain: str) -> bytes:
    header, _, body = message.partition(b"\r\n\r\n")
    header += b"\r\n"
    return sign(header, body_hash(body), [key(domain)], time.time()) + message


def written(author: str = "bob@example.org", body: str = "hello\r\n", more: str = "") -> bytes:
    return f"From: {author}\r\nTo: {ALICE}\r\nSubject: s\r\n{more}\r\n{body}".encode()


@asynccontextmanager
async def examined(
    tmp_path: Path,
    zone: Mapping[str, list[str]],
    options: CheckOptions | None = None,
    *,
    scripts: Mapping[str, Script] | None = None,
    mynetworks: Sequence[str] = ("10.9.9.9/32",),
    **changed: Any,
) -> AsyncIterator[tuple[Reception, FakeDns]]:
    """Yield the listener and the name server; `changed` are settings of [checks]."""
    options = msgspec.structs.replace(options or CheckOptions(timeout=5.0), **changed)
    with FakeDns(dict(zone)) as dns, (tmp_path / "checks.log").open("ab") as log_file:
        for name, script in (scripts or {}).items():
            dns.script(name, script)
        buffer = LogBuffer(log_file.fileno())
        log = build_log("debug", "text", buffer)
        resolver = CachingResolver(DnsOptions(nameservers=(dns.endpoint,), timeout=5.0), log)
        standard = StandardChecks(options, resolver, log, hostname=US, clock=time.time, monotonic=time.monotonic)
        checks = Checks(standard.offers) if standard.offers else NO_CHECKS
        async with reception(tmp_path, checks=checks, mynetworks=mynetworks) as r:
            yield r, dns
        await standard.close()
        await resolver.close()
        buffer.flush()


async def send(
    r: Reception,
    content: bytes,
    *,
    mail_from: str = "bob@example.org",
    to: Sequence[str] = (ALICE,),
    helo: str = "mail.example.org",
    source: str = "127.0.0.1",
) -> str:
    """Send a message as a stranger, and return the first refusal, or the last reply."""
    d = await r.connect(source)
    await d.reply()
    await d.say(f"EHLO {helo}")
    return await send_on(d, content, mail_from=mail_from, to=to)


async def send_on(
    d: Dialogue, content: bytes, *, mail_from: str = "bob@example.org", to: Sequence[str] = (ALICE,)
) -> str:
    for line in (f"MAIL FROM:<{mail_from}>", *(f"RCPT TO:<{each}>" for each in to), "DATA"):
        answer = await d.say(line)
        if answer[0] not in "23":
            return answer
    d.send(content.replace(b"\r\n.", b"\r\n..") + b"\r\n.\r\n" if not content.endswith(b"\r\n") else content + b".\r\n")
    return await d.reply()


def header_of(r: Reception) -> str:
    """Return the stored message's header, unfolded."""
    head = r.queue.only.content.head.partition(b"\r\n\r\n")[0]
    return head.replace(b"\r\n\t", b" ").decode()
