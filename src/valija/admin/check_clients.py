"""What `valija dns --check` finds of records that a server may do without: for TLS reports and for mail programs.

findings = await check_clients(plan.of("example.org"), resolver)
findings = await check_tls_rpt("example.org", resolver)
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

from valija.admin.check_host import addresses_of
from valija.admin.dns_records import Record
from valija.admin.findings import Finding, fine, optional, unknown, warning
from valija.dns.resolver import Resolver, Status
from valija.policy.tls_report_record import report_places

PRINTED: Final = "valija dns prints what to publish"

_Check = Callable[[Record, Resolver], Awaitable[Finding | None]]


async def check_tls_rpt(domain: str, resolver: Resolver) -> list[Finding]:
    """Return whether others are told where to report trouble with encryption (RFC 8460)."""
    name = f"_smtp._tls.{domain}"
    answer = await resolver.lookup(name, "TXT")
    if answer.status is Status.FAILED:
        return [unknown("tls-rpt", f"{name} cannot be looked up: {answer.detail}")]
    places = report_places(answer.records)
    if places:
        return [fine("tls-rpt", f"trouble with encryption is reported to {', '.join(map(str, places))}")]
    if any(text.startswith("v=TLSRPTv1") for text in answer.records):
        return [
            warning("tls-rpt", f"the record of {name} is none that others understand: they report nothing", PRINTED)
        ]
    return [optional("tls-rpt", f"{name} is not published: nobody tells of trouble with encryption")]


async def check_clients(records: Sequence[Record], resolver: Resolver) -> list[Finding]:
    """Return whether mail programs find what a domain's records are to tell them (RFC 6186, autoconfiguration)."""
    checked = [record for record in records if record.type in _CHECKS and not record.name.startswith("mta-sts.")]
    found = await asyncio.gather(*(_CHECKS[record.type](record, resolver) for record in checked))
    good = [record.name for record, finding in zip(checked, found, strict=True) if finding is None]
    bad = [finding for finding in found if finding]
    return [*bad, *([fine("clients", f"mail programs find {', '.join(good)}")] if good else [])]


async def _check_srv(record: Record, resolver: Resolver) -> Finding | None:
    answer = await resolver.lookup(record.name, "SRV")
    if answer.status is Status.FAILED:
        return unknown("clients", f"{record.name} cannot be looked up: {answer.detail}")
    if not answer.records:
        return optional("clients", f"{record.name} is not published: mail programs have to guess")
    _, _, port, host = record.value.removesuffix(".").split(" ")
    if any(each.split(" ")[2:] == [port, host] for each in answer.records):
        return None
    text = f"{record.name} leads to {', '.join(answer.records)}, and not to port {port} of {host}"
    return warning("clients", text, f"publish: {record.name}. IN SRV {record.value}")


async def _check_alias(record: Record, resolver: Resolver) -> Finding | None:
    """Judge a name that is to lead here; whether by CNAME or by addresses of its own does not matter."""
    target = record.value.removesuffix(".")
    found, wanted = await asyncio.gather(addresses_of(record.name, resolver), addresses_of(target, resolver))
    if found.failed:
        return unknown("clients", f"{record.name} cannot be looked up: {found.failed}")
    if not found.addresses:
        return optional("clients", f"{record.name} is not published: mail programs have to guess")
    if set(found.addresses) & set(wanted.addresses):
        return None
    text = f"{record.name} leads to {', '.join(found.addresses)}, and not to {target}"
    return warning("clients", text, f"publish: {record.name}. IN CNAME {record.value}")


_CHECKS: Final[Mapping[str, _Check]] = {"SRV": _check_srv, "CNAME": _check_alias}
