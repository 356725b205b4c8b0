"""The TLSA records of a host, where DNSSEC vouches for every step to them (RFC 7672 section 2.2).

    found = await find_addresses(resolver, "mx1.example.net")
    answer = await find_tlsa(resolver, "mx1.example.net", 25, found)
    if answer.failed: ...                # nobody knows whether there are any: the host is not to be used
    answer.base_domain, answer.records   # where they were found; () where there are none

They are asked for only where the host's addresses are authentic: a zone that is not signed has none that count, and its
servers may not know how to say so (section 2.2.2). A host that is an alias (CNAME) into signed zones has them at the
name it stands for, else at its own; an alias that leads out of the signed zones has them at its own name only (section
2.2.3). A look-up that fails ends it: the next name would be a downgrade.
"""

from valija.dns.mx import Addresses
from valija.dns.resolver import Resolver, Status
from valija.policy.tlsa import MAX_RECORDS, NO_TLSA, TlsaAnswer, TlsaRecord, read_tlsa


async def find_tlsa(resolver: Resolver, host: str, port: int, found: Addresses) -> TlsaAnswer:
    """Return the TLSA records of a host whose addresses are known."""
    bases: tuple[str, ...] = ()
    if found.authentic:
        bases = tuple(dict.fromkeys((found.alias_of or host, host)))
    elif found.alias_of:
        alias = await resolver.lookup(host, "CNAME")
        if alias.status is Status.FAILED:
            return TlsaAnswer(host, failed=alias.detail or "no answer")
        bases = (host,) if alias.authentic else ()
    for base in bases:
        answer = await resolver.lookup(f"_{port}._tcp.{base}", "TLSA")
        if answer.status is Status.FAILED:
            return TlsaAnswer(base, failed=answer.detail or "no answer")
        if answer.status is Status.FOUND and answer.authentic:
            return TlsaAnswer(base, tuple(map(_read, answer.records[:MAX_RECORDS])))
    return NO_TLSA


def _read(text: str) -> TlsaRecord:
    """Return a record; one that can't be read says all the same that there is one."""
    try:
        return read_tlsa(text)
    except ValueError:
        return TlsaRecord(255, 255, 255, b"")
