"""From a name server's message to an Answer: CNAMEs followed, records as plain values, and how long it may be kept.

    reading = read_reply(message, trusted=True)
    reading.answer     # Answer(FOUND, (MxRecord(10, "mx1.example.net"),), authentic=True)
    reading.ttl        # 300.0

Names come out in lower-case A-labels without the final dot, `""` for the root. TXT strings are joined. A TLSA record is
`usage selector matching-type hexadecimal` in one string, an SRV record `priority weight port host`.
"""

from collections.abc import Callable
from typing import Any, Final

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import msgspec

from valija.dns.resolver import Answer, MxRecord, Status

MAX_POSITIVE_TTL: Final = 86_400.0  # seconds
MAX_NEGATIVE_TTL: Final = 10_800.0  # RFC 2308 section 5


class Reading(msgspec.Struct, frozen=True):
    """What a message says. `continues_at` is where a CNAME leads that the message does not follow."""

    answer: Answer[Any]
    ttl: float
    continues_at: dns.name.Name | None = None


def read_reply(message: dns.message.Message, *, trusted: bool) -> Reading | None:
    """Return what a message says, None where it says nothing (SERVFAIL and the like).

    `trusted`: the AD bit of this server is believed. Raises DNSException for a chain of CNAMEs without an end.
    """
    rcode = message.rcode()
    if rcode not in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN) or not isinstance(message, dns.message.QueryMessage):
        return None
    chain = message.resolve_chaining()
    authentic = trusted and bool(message.flags & dns.flags.AD)
    canonical_name = name_text(chain.canonical_name)
    if chain.answer is not None:
        read = _READERS[message.question[0].rdtype]
        records = tuple(read(record) for record in chain.answer)
        answer = Answer(Status.FOUND, records, authentic, canonical_name)
        return Reading(answer, min(float(chain.minimum_ttl), MAX_POSITIVE_TTL))
    status = Status.NO_DOMAIN if rcode == dns.rcode.NXDOMAIN else Status.NO_DATA
    answer = Answer(status, (), authentic, canonical_name)
    dangles = status is Status.NO_DATA and chain.cnames and not message.authority
    return Reading(answer, min(float(chain.minimum_ttl), MAX_NEGATIVE_TTL), chain.canonical_name if dangles else None)


def name_text(name: dns.name.Name) -> str:
    """Return a name in lower case without the final dot, `""` for the root."""
    return "" if name == dns.name.root else name.to_text(omit_final_dot=True).lower()


def _read_txt(record: Any) -> str:
    return b"".join(record.strings).decode("utf-8", "surrogateescape")


def _read_tlsa(record: Any) -> str:
    return f"{record.usage} {record.selector} {record.mtype} {record.cert.hex()}"


def _read_srv(record: Any) -> str:
    return f"{record.priority} {record.weight} {record.port} {name_text(record.target)}"


_READERS: Final[dict[dns.rdatatype.RdataType, Callable[[Any], str | MxRecord]]] = {
    dns.rdatatype.A: lambda record: str(record.address),
    dns.rdatatype.AAAA: lambda record: str(record.address),
    dns.rdatatype.MX: lambda record: MxRecord(record.preference, name_text(record.exchange)),
    dns.rdatatype.TXT: _read_txt,
    dns.rdatatype.PTR: lambda record: name_text(record.target),
    dns.rdatatype.CNAME: lambda record: name_text(record.target),
    dns.rdatatype.TLSA: _read_tlsa,
    dns.rdatatype.NS: lambda record: name_text(record.target),
    dns.rdatatype.SRV: _read_srv,
}


def parse_name(name: str) -> dns.name.Name | None:
    """Return a name as the DNS writes it, None for one that cannot exist there (the root is nobody's either)."""
    if not name or not name.isascii() or "\\" in name or "@" in name or '"' in name:
        return None
    try:
        return dns.name.from_text(name, dns.name.root)
    except dns.exception.DNSException:
        return None
