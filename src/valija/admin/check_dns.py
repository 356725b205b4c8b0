"""What `valija check` finds in the DNS: does the world find this server, and will it believe its name?

    findings = await check_dns(config, resolver, DnsFacts(is_local_address, sources=("192.0.2.7",)))

Everything is looked up at once, and within `PATIENCE`. What could not be looked up is `unknown`, and no failure. The
parts: check_host (addresses, reverse names), check_domain (MX, SPF, DKIM, DMARC), and here the name server itself,
DNSSEC and TLSA records; the next hops that are configured are check_sending's.
"""

import asyncio
import hashlib
from collections.abc import Coroutine
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from valija.admin.check_domain import check_domain
from valija.admin.check_host import DnsFacts, check_host, check_reverse, is_full_name
from valija.admin.check_sending import check_next_hops
from valija.admin.dns_records import tlsa_name
from valija.admin.findings import Finding, failure, fine, optional, unknown, warning
from valija.config import Config
from valija.dns.resolver import Resolver, Status

PATIENCE: Final = 12.0  # seconds for all look-ups together
TIMEOUT: Final = 2.0  # seconds per try that a resolver made for the check should have
MOST_DOMAINS: Final = 50  # that are looked at
SIGNED: Final = "ietf.org"  # long known to be signed
BOGUS: Final = "dnssec-failed.org"  # signed wrongly on purpose: a validating name server gives no answer

_DIGESTS: Final = {"1": "sha256", "2": "sha512"}  # matching types of TLSA records
_TOPICS: Final = ("dns", "host", "reverse", "mx", "spf", "dkim", "dmarc", "dnssec", "sending", "mta-sts", "tlsa")


async def check_dns(config: Config, resolver: Resolver, facts: DnsFacts) -> list[Finding]:
    """Return the findings, in the order of topics. Never raises for what the network does."""
    deadline = asyncio.get_running_loop().time() + PATIENCE
    if silent := await silence(config, resolver):
        return [silent]
    domains = config.domains[:MOST_DOMAINS]
    found = await within(
        deadline,
        {
            f"host {config.hostname}": check_host(config, resolver, facts),
            "reverse names": check_reverse(config, resolver, facts),
            **{f"mail for {domain}": check_domain(config, domain, resolver, facts) for domain in domains},
            "DNSSEC": check_dnssec(resolver),
            "next hops": check_next_hops(config, resolver),
            "TLSA records": check_tlsa(config, resolver, facts),
        },
    )
    if len(config.domains) > MOST_DOMAINS:
        found.append(unknown("dns", f"only the first {MOST_DOMAINS} of {len(config.domains)} domains were looked at"))
    return sorted(dict.fromkeys(found), key=lambda finding: _TOPICS.index(finding.topic))


async def silence(config: Config, resolver: Resolver) -> Finding | None:
    """Return the finding of a name server that answers nothing: there is no more to say then."""
    names = [SIGNED, config.hostname] if is_full_name(config.hostname) else [SIGNED]
    lookups = asyncio.gather(*(resolver.lookup(name, "A") for name in names))
    try:
        answers = await asyncio.wait_for(lookups, PATIENCE)
    except TimeoutError:
        detail = f"no answer within {PATIENCE:g} s"
    else:
        if any(answer.status is not Status.FAILED for answer in answers):
            return None
        detail = answers[0].detail
    text = f"the name servers are out of reach ({detail}): mail for others has to wait, and no record could be checked"
    return warning("dns", text, "see [dns] nameservers and /etc/resolv.conf")


async def within(deadline: float, checks: dict[str, Coroutine[Any, Any, list[Finding]]]) -> list[Finding]:
    """Run checks at once; what is not done by the deadline is unknown."""
    tasks = {asyncio.create_task(check): name for name, check in checks.items()}
    left = max(0.0, deadline - asyncio.get_running_loop().time())
    done, late = await asyncio.wait(tasks, timeout=left)
    for task in late:
        task.cancel()
    await asyncio.gather(*late, return_exceptions=True)
    findings = [finding for task in tasks if task in done for finding in _outcome(task, tasks[task])]
    names = ", ".join(tasks[task] for task in tasks if task in late)
    return [*findings, *([unknown("dns", f"not looked up in time: {names}")] if names else [])]


def _outcome(task: "asyncio.Task[list[Finding]]", name: str) -> list[Finding]:
    fault = task.exception()
    return [unknown("dns", f"{name}: internal fault: {fault!r}")] if fault else task.result()


async def check_dnssec(resolver: Resolver) -> list[Finding]:
    """Return whether the name server validates, and is believed."""
    signed, bogus = await asyncio.gather(resolver.lookup(SIGNED, "A"), resolver.lookup(BOGUS, "A"))
    if signed.authentic:
        return [fine("dnssec", "the name server validates DNSSEC")]
    if signed.status is not Status.FOUND:
        return [unknown("dnssec", f"whether the name server validates: {SIGNED} cannot be looked up")]
    if bogus.status is Status.FOUND:
        text = "the name server does not validate DNSSEC: forged answers go unnoticed"
        return [warning("dnssec", text, "run one on this machine that does, such as unbound, and name it in [dns]")]
    text = "the name server may validate DNSSEC, and is not believed: it is not on this machine"
    return [warning("dnssec", text, "run one here, or say [dns] trust_ad = true where nobody can forge its answers")]


# TLSA: a hint, unless what is published is wrong


async def check_tlsa(config: Config, resolver: Resolver, facts: DnsFacts) -> list[Finding]:
    """Return whether TLSA records of the host name fit the certificate (RFC 7672); nothing where there are none."""
    if not is_full_name(config.hostname) or not config.smtpd.listen:
        return []
    name = tlsa_name(config.hostname)
    answer = await resolver.lookup(name, "TLSA")
    if not answer.records:
        # Only a zone that is signed could have had any.
        text = f"{name} is not published; it may do without"
        return [optional("tlsa", text)] if answer.authentic and answer.status is not Status.FAILED else []
    if not facts.chain_pem:
        return [unknown("tlsa", f"whether {name} fits the certificate: it cannot be read")]
    chain = x509.load_pem_x509_certificates(facts.chain_pem)
    if any(fits(record, chain) for record in answer.records):
        return [fine("tlsa", f"{name} fits the certificate")]
    text = f"none of the records of {name} fits the certificate: servers that ask for them deliver nothing here"
    grade = failure if answer.authentic else warning
    return [grade("tlsa", text, "publish a new one, at least as long before a new certificate as their TTL")]


def fits(record: str, chain: list[x509.Certificate]) -> bool:
    """Whether a TLSA record (`usage selector matching-type hexadecimal`) stands for one of a chain's certificates."""
    usage, selector, kind, expected = record.split(" ")
    candidates = chain[:1] if usage in ("1", "3") else chain[1:] or chain
    return any(_digest(each, selector, kind) == expected.lower() for each in candidates)


def _digest(certificate: x509.Certificate, selector: str, kind: str) -> str:
    if selector == "1":
        octets = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    else:
        octets = certificate.public_bytes(Encoding.DER)
    return hashlib.new(_DIGESTS[kind], octets).hexdigest() if kind in _DIGESTS else octets.hex()
