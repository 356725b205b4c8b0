"""What the tests of `valija check` share: configurations on a machine that is always the same, and a DNS of their own.

found = look_up({"mail.example.org": ["A 192.0.2.7"]}, lambda resolver: check_host(config(MINE), resolver, facts()))
"""

import asyncio
import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from tests.config.facts import FACTS
from tests.fakedns import FakeDns, Script
from valija.admin.check_host import DnsFacts
from valija.admin.findings import Finding
from valija.config import Config, parse
from valija.content.dkim_key import DkimKey
from valija.dns.caching import CachingResolver
from valija.dns.options import DnsOptions
from valija.dns.resolver import Resolver
from valija.logs import LogBuffer, build_log

T = TypeVar("T")

MINE = 'hostname = "mail.example.org"\ndomains = ["example.org"]\n'
OWN = ("203.0.113.7", "2001:db8::7")

SOUND: dict[str, list[str]] = {
    "mail.example.org": ["A 203.0.113.7", "AAAA 2001:db8::7"],
    "7.113.0.203.in-addr.arpa": ["PTR mail.example.org."],
    "7.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa": ["PTR mail.example.org."],
    "example.org": ["MX 10 mail.example.org.", 'TXT "v=spf1 mx -all"'],
    "_dmarc.example.org": ['TXT "v=DMARC1; p=reject"'],
    "_mta-sts.example.org": ['TXT "v=STSv1; id=1"'],
    "ietf.org": ["A 198.51.100.1"],
    "dnssec-failed.org": ["A 198.51.100.2"],
}

SCRIPTS: Mapping[str, Script] = {
    "ietf.org": Script(authentic=True),
    "dnssec-failed.org": Script(rcode="SERVFAIL"),
}


def config(text: str = MINE) -> Config:
    return parse(text, "valija.toml", Path("/"), FACTS)


def facts(
    sources: Sequence[str] = OWN,
    keys: Sequence[DkimKey] = (),
    own: Sequence[str] = OWN,
    chain_pem: bytes = b"",
) -> DnsFacts:
    return DnsFacts(lambda address: address in own, tuple(sources), tuple(keys), chain_pem)


def look_up(
    zone: Mapping[str, list[str]],
    ask: Callable[[Resolver], Awaitable[T]],
    scripts: Mapping[str, Script] = SCRIPTS,
    options: DnsOptions | None = None,
) -> T:
    """Run a check on a real resolver that asks a small name server."""

    async def run() -> T:
        given = options or DnsOptions(nameservers=(dns.endpoint,), timeout=0.3)
        with open(os.devnull, "wb") as nothing:
            resolver = CachingResolver(given, build_log("error", "text", LogBuffer(nothing.fileno())))
            try:
                return await ask(resolver)
            finally:
                await resolver.close()

    with FakeDns(dict(zone)) as dns:
        for name, script in scripts.items():
            dns.script(name, script)
        return asyncio.run(run())


def grades(found: Sequence[Finding]) -> list[str]:
    return [finding.grade for finding in found]


def bad(found: Sequence[Finding]) -> list[Finding]:
    return [finding for finding in found if finding.grade != "ok"]
