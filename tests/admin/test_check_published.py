"""Are the records there that were to be published? A plan is published whole, then one thing after the other spoilt."""

import asyncio
import os
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from tests.admin.lab import bad, config, facts
from tests.admin.test_dns_records import ALL, KEY, KNOWN
from tests.fakedns import Script
from tests.name_servers import NameServers
from valija.admin.check_published import Published
from valija.admin.dns_records import Plan, plan_records
from valija.admin.dns_zone import zone_value
from valija.admin.findings import Finding
from valija.config import Config
from valija.dns.authorities import Authorities
from valija.dns.caching import CachingResolver
from valija.dns.mta_sts import NotFetched
from valija.dns.options import DnsOptions
from valija.logs import LogBuffer, build_log
from valija.policy.mta_sts import StsPolicy, parse_policy

TEXT = ALL.replace(', "bücher.example"', "")
CONFIG = config(TEXT)
PLAN = plan_records(CONFIG, KNOWN)


class World(NameServers):
    """Two name servers of example.org that serve a whole plan, a resolver that has heard it, and the policy's host."""

    def __init__(self) -> None:
        super().__init__("example.org")
        self.policy: str | NotFetched = CONFIG.site.policy

    def everywhere(self, name: str, records: Sequence[str]) -> None:
        self.publish(name, records)
        self.resolver.publish(name, records)

    def publish_plan(self, plan: Plan) -> None:
        own = {name: list(records) for name, records in self.resolver.zone.items()}
        for name in dict.fromkeys(record.name for record in plan.records):
            records = [f"{each.type} {zone_value(each)}" for each in plan.records if each.name == name]
            self.everywhere(name, [*own.get(name, []), *records])
        self.everywhere("ietf.org", ["A 198.51.100.1"])

    def find(self, settings: Config = CONFIG, plan: Plan = PLAN, **known: Any) -> list[Finding]:
        return asyncio.run(self._find(settings, plan, known))

    async def _find(self, settings: Config, plan: Plan, known: dict[str, Any]) -> list[Finding]:
        with open(os.devnull, "wb") as nothing:
            log = build_log("error", "text", LogBuffer(nothing.fileno()))
            resolver = CachingResolver(DnsOptions(nameservers=(self.resolver.endpoint,), timeout=1.0), log)
            authorities = Authorities(resolver, patience=0.5, port=self.port)
            given = facts(keys=(KEY,), chain_pem=KNOWN.chain_pem)
            given = type(given)(given.is_local, given.sources, given.keys, given.chain_pem, self._fetch)
            try:
                published = Published(settings, plan, given, resolver=resolver, authorities=authorities)
                return await published.check(settings.domains)
            finally:
                await resolver.close()

    async def _fetch(self, domain: str) -> StsPolicy:
        if isinstance(self.policy, NotFetched):
            raise self.policy
        return parse_policy(self.policy.encode())


@pytest.fixture
def world() -> Iterator[World]:
    with World() as servers:
        servers.publish_plan(PLAN)
        yield servers


def told(found: Sequence[Finding], topic: str) -> list[tuple[str, str]]:
    return [(each.grade, each.text) for each in found if each.topic == topic]


def test_a_plan_that_is_published_whole_is_without_fault(world: World) -> None:
    found = world.find()
    assert bad(found) == []
    assert {finding.topic for finding in found} == {
        *("host", "reverse", "mx", "spf", "dkim", "dmarc", "mta-sts", "tls-rpt", "tlsa", "clients"),
    }
    assert told(found, "mta-sts") == [
        ("ok", "example.org has an MTA-STS policy, mode testing, and others can fetch it")
    ]


# Without any of them mail suffers
NEEDED = [
    ("mail.example.org", "host", "mail.example.org has no address"),
    ("example.org", "mx", "example.org has no MX record"),
    ("example.org", "spf", "example.org has no SPF record: others cannot tell its mail from forged mail"),
    ("2026e._domainkey.example.org", "dkim", "2026e._domainkey.example.org is not published as it should be"),
]
# A server may do without them
USEFUL = [
    ("_dmarc.example.org", "dmarc", "example.org has no DMARC record"),
    ("_mta-sts.example.org", "mta-sts", "example.org has no MTA-STS policy; it may do without"),
    ("_smtp._tls.example.org", "tls-rpt", "_smtp._tls.example.org is not published"),
    ("_submissions._tcp.example.org", "clients", "_submissions._tcp.example.org is not published"),
    ("autoconfig.example.org", "clients", "autoconfig.example.org is not published"),
]


@pytest.mark.parametrize(
    ("name", "topic", "words", "grade"),
    [*((*each, "failure") for each in NEEDED), *((*each, "warning") for each in USEFUL)],
)
def test_what_is_missing(world: World, name: str, topic: str, words: str, grade: str) -> None:
    world.everywhere(name, ["NS ns1.example.org.", "NS ns2.example.org."] if name == "example.org" else [])
    found = [finding for finding in bad(world.find()) if finding.topic == topic and finding.text.startswith(words)]
    assert [finding.grade for finding in found] == [grade]
    assert found[0].remedy


WRONG = [
    ("example.org", ["MX 0 ."], "mx", "failure", "publishes a null MX"),
    ("example.org", ["MX 10 mail.example.org.", 'TXT "v=spf1 -all"'], "spf", "failure", "forbids 203.0.113.7 to send"),
    ("_dmarc.example.org", ['TXT "v=DMARC1; p=everything"'], "dmarc", "warning", "has p=everything"),
    ("2026e._domainkey.example.org", ['TXT "v=DKIM1; k=ed25519; p="'], "dkim", "failure", "is not published as it"),
    ("_mta-sts.example.org", ['TXT "v=STSv1; id=1"'], "mta-sts", "warning", "is not that of the policy served here"),
    ("_mta-sts.example.org", ['TXT "v=STSv1; id=?"'], "mta-sts", "warning", "is none that others understand"),
    ("_smtp._tls.example.org", ['TXT "v=TLSRPTv1; rua="'], "tls-rpt", "warning", "is none that others understand"),
    ("_25._tcp.mail.example.org", [f"TLSA 3 1 1 {'ab' * 32}"], "tlsa", "warning", "fits the certificate"),
    ("_submissions._tcp.example.org", ["SRV 0 1 465 old.example.org."], "clients", "warning", "and not to port 465"),
    ("autoconfig.example.org", ["A 198.51.100.9"], "clients", "warning", "and not to mail.example.org"),
    ("7.113.0.203.in-addr.arpa", ["PTR host7.provider.example."], "reverse", "failure", "does not lead back"),
]


@pytest.mark.parametrize(("name", "records", "topic", "grade", "words"), WRONG)
def test_what_is_wrong(world: World, name: str, records: list[str], topic: str, grade: str, words: str) -> None:
    servers = ["NS ns1.example.org.", "NS ns2.example.org."] if name == "example.org" else []
    if topic == "reverse":
        grade = "warning"  # a documentation address: nobody is sure of what others see
    world.everywhere(name, [*servers, *records])
    found = [finding for finding in bad(world.find()) if finding.topic == topic]
    assert (grade, True) in [(finding.grade, words in finding.text) for finding in found]


# The policy as others fetch it


@pytest.mark.parametrize(("mode", "grade"), [("enforce", "failure"), ("testing", "warning")])
def test_a_policy_that_does_not_name_the_server(world: World, mode: str, grade: str) -> None:
    world.policy = f"version: STSv1\nmode: {mode}\nmx: other.example.org\nmax_age: 86400\n"
    text = f"the MTA-STS policy of example.org, mode {mode}, does not name mail.example.org"
    assert (grade, f"{text}: who keeps to it hands over no mail here") in told(world.find(), "mta-sts")


def test_a_policy_that_cannot_be_fetched(world: World) -> None:
    world.policy = NotFetched("sts-policy-fetch-error", "connection refused")
    ((grade, text),) = told(world.find(), "mta-sts")
    assert grade == "warning"
    assert "cannot be fetched" in text


def test_a_policy_of_somebody_else(world: World) -> None:
    world.policy = "version: STSv1\nmode: testing\nmx: *.example.org\nmax_age: 86400\n"
    ((grade, text),) = told(world.find(), "mta-sts")
    assert (grade, text) == ("warning", "another policy than this server's is fetched from mta-sts.example.org")


def test_nobody_is_blamed_for_what_was_not_to_be_published(world: World) -> None:
    for name in ("_mta-sts.example.org", "autoconfig.example.org", "mta-sts.example.org"):
        world.everywhere(name, [])
    plain = config('hostname = "mail.example.org"\ndomains = ["example.org"]\n')
    assert bad(world.find(plain, plan_records(plain, KNOWN))) == []


# What the servers say, one by one


def test_servers_that_differ_are_a_failure_and_the_poorest_answer_counts(world: World) -> None:
    world.second.publish("example.org", ["MX 10 mail.example.org."])
    found = bad(world.find())
    assert told(found, "spf")[0][0] == "failure"
    assert ("failure", True) in [
        (grade, text.startswith("the name servers differ about TXT of example.org: ns1.example.org: "))
        for grade, text in told(found, "servers")
    ]


def test_a_cache_that_is_behind_is_a_warning(world: World) -> None:
    world.resolver.publish("_dmarc.example.org", ['TXT "v=DMARC1; p=none"'])
    world.publish("_dmarc.example.org", ['TXT "v=DMARC1; p=reject"'])
    found = world.find()
    assert told(found, "dmarc") == [("ok", "example.org has a DMARC policy: p=reject")]
    assert told(found, "servers") == [
        ("warning", "TXT of _dmarc.example.org is v=DMARC1; p=reject, and a cache still has v=DMARC1; p=none")
    ]


def test_what_a_validating_resolver_refuses_is_told(world: World) -> None:
    world.resolver.script("_dmarc.example.org", Script(rcode="SERVFAIL"))
    found = bad(world.find())
    assert told(found, "dmarc") == []
    ((grade, text),) = told(found, "servers")
    assert grade == "warning"
    assert text.startswith("the name servers answer TXT of _dmarc.example.org, and a resolver does not")


def test_a_server_that_is_silent_is_a_warning(world: World) -> None:
    world.second.default = Script(rcode="REFUSED")
    found = bad(world.find())
    assert {finding.topic for finding in found} == {"servers"}
    assert {finding.grade for finding in found} == {"warning"}


def test_where_no_server_can_be_asked_the_cache_has_to_do(world: World) -> None:
    world.first.default = world.second.default = Script(rcode="REFUSED")
    found = world.find()
    assert {finding.grade for finding in found} == {"ok", "unknown"}
    assert ("ok", "2026e._domainkey.example.org is published, and is the key that signs") in told(found, "dkim")


def test_a_dead_resolver_is_a_failure(world: World) -> None:
    world.resolver.default = Script(rcode="SERVFAIL")
    assert [finding.grade for finding in world.find()] == ["failure"]
