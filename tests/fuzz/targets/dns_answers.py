"""What name servers answer: whole messages, and the texts of records."""

import asyncio
from collections.abc import Hashable
from contextlib import suppress
from typing import Any

import dns.exception
import dns.name

from tests.fuzz.engine import Target
from tests.property.test_authentication import Oracle, examined
from valija.content.dkim_record import RecordFault, key_tags, parse_record
from valija.content.header import HeaderCollector, check, fields
from valija.dns.answers import parse_name, read_reply
from valija.dns.exchange import _Listening, make_query
from valija.dns.resolver import MxRecord, RecordType, Status
from valija.policy import dmarc_record, spf_record
from valija.policy.mta_sts import StsFault, parse_policy, policy_id
from valija.policy.spf_record import MAX_NAME, SpfFault
from valija.policy.tls_report_record import MAX_PLACES, report_places
from valija.policy.tlsa import read_tlsa, usable

_TYPES: tuple[RecordType, ...] = ("MX", "A", "AAAA", "TXT", "PTR", "TLSA", "CNAME", "NS", "SRV")
_NAME = dns.name.from_text("example.net.")
_ID = 0x4142  # "AB": a mutation hits it now and then, and the corpus has it


class _Answer:
    """The future of a look-up, without a loop."""

    def __init__(self) -> None:
        self.result: Any = None
        self.failed: Any = None

    def done(self) -> bool:
        return self.result is not None or self.failed is not None

    def set_result(self, result: Any) -> None:
        self.result = result

    def set_exception(self, fault: BaseException) -> None:
        self.failed = fault


def run_message(given: bytes) -> Hashable:
    """Take a datagram as the answer to a question; the first octet says of which type."""
    rtype = _TYPES[(given or b"0")[0] % len(_TYPES)]
    query = make_query(_NAME, rtype, wants_dnssec=True)
    query.id = _ID
    answer = _Answer()
    _Listening(query, answer).datagram_received(given[1:], None)  # type: ignore[arg-type]  # no loop is needed
    if answer.result is None:
        return answer.done()
    try:
        reading = read_reply(answer.result, trusted=True)
    except dns.exception.DNSException as fault:
        return type(fault).__name__
    if reading is None:
        return "nothing"
    assert reading.ttl >= 0
    assert (reading.answer.status is Status.FOUND) == bool(reading.answer.records)
    for record in reading.answer.records:
        assert isinstance(record, MxRecord) == (rtype == "MX")
        if rtype == "TLSA":
            read_tlsa(record)
    with suppress(ValueError):
        usable([read_tlsa(each) for each in reading.answer.records if rtype == "TLSA"])
    return rtype, reading.answer.status, len(reading.answer.records)


def run_text(given: bytes) -> Hashable:
    """Read a text as every kind of record there is."""
    text = given.decode("utf-8", "surrogateescape")
    seen: list[Hashable] = [_spf(text), policy_id([text]) is not None, key_tags(text) is not None]
    record = dmarc_record.parse_record(text)
    if record is not None:
        assert record.policy_for_subdomains(exists=False) in ("none", "quarantine", "reject")
        seen.append(record.policy)
    with suppress(StsFault):
        policy = parse_policy(given)
        assert parse_policy(policy.text.encode()) == policy
        seen.append((policy.mode, policy.matches("mx1.example.net")))
    with suppress(RecordFault):
        seen.append(parse_record(text).kind)
    with suppress(ValueError):
        seen.append(usable([read_tlsa(text)]) != ())
    places = report_places([text])
    assert len(places) <= MAX_PLACES
    assert all(str(place).isascii() and str(place).isprintable() for place in places)
    name = parse_name(text)
    seen.append(name is not None)
    return tuple(seen)


def _spf(text: str) -> Hashable:
    if not spf_record.is_spf(text):
        return None
    values = dict.fromkeys("slodiphcrtv", text[:300])
    try:
        record = spf_record.parse_record(text)
        for target in (record.redirect, record.explanation, *(each.target for each in record.directives)):
            expanded = spf_record.expand(target, values)
            assert len(spf_record.as_name(expanded)) <= max(MAX_NAME, len(expanded.rpartition(".")[2]))
    except SpfFault as fault:
        assert str(fault).isascii()
        return str(fault)[-20:]
    return tuple(each.mechanism for each in record.directives)[:4]


def run_examination(given: bytes) -> Hashable:
    """Examine a message, all of whose domains have these records. The pieces: header, records, HELO, reverse-path."""
    pieces = [*given.split(b"\f"), b"", b"", b""]
    header = b"".join(line + b"\r\n" for line in pieces[0].replace(b"\r", b"").replace(b"\0", b"").split(b"\n") if line)
    texts = [text.decode("utf-8", "surrogateescape") for text in pieces[1].split(b"\n")]
    collector = HeaderCollector()
    collector.feed(header + b"\r\n")
    if collector.refusal is not None:
        return "refused"
    helo, path = pieces[2].decode("ascii", "replace"), pieces[3].decode("utf-8", "replace")
    verdict = asyncio.run(examined(Oracle(texts, Status.FOUND), collector.header, helo, path))
    assert check(verdict.fields) is None
    assert [field.name for field in fields(verdict.fields)] == [b"authentication-results"]
    verdict.fields.decode("ascii")
    return verdict.refusal is not None, len(verdict.fields) // 64


_TEXT_WORDS = (
    b"v=spf1 ", b"v=DMARC1; ", b"v=DKIM1; ", b"v=STSv1; id=", b"v=TLSRPTv1; rua=", b"mailto:a@b.example",
    b"https://x.example/", b"include:", b"redirect=", b"exp=", b"a:", b"mx/", b"//128", b"ip4:192.0.2.0/24",
    b"ip6:2001:db8::/32", b"exists:%{i}.x", b"%{s1r-}", b"%{", b"%%", b"%{l99999}", b"-all", b"?all", b"p=reject;",
    b"sp=", b"np=", b"pct=", b"psd=y;", b"t=y;", b"rua=", b"k=ed25519;", b"p=", b"h=sha256;", b"version: STSv1\n",
    b"mode: enforce\n", b"mx: *.example.net\n", b"max_age: 86400\n", b"3 1 1 ", b"2 0 0 30820000", b"ab" * 32, b"; ",
    b" ", b"=", b":", b"/", b"\xff", "ü".encode(), b"http://", b"[::1]",
)  # fmt: skip
_WIRE_WORDS = (
    b"AB\x81\x80\0\1\0\1\0\0\0\0\7example\3net\0\0\x0f\0\1", b"\xc0\x0c",
    b"\xc0\x0c\0\x0f\0\1\0\0\0\x3c\0\4\0\x0a\xc0\x0c", b"\0\x05\0\1", b"\0\x10\0\1", b"\0\0\x29\x10\0\0\0\x80\0\0\0",
    b"\xff\xff", b"\xc0\0", b"\3mx1\xc0\x0c", b"\x3f" + b"a" * 63, b"\0\x34\0\1\0\0\0\x3c\0\x23\3\1\1" + b"\xab" * 32,
    b"\1", b"\0\1\0\1\0\0\0\x3c\0\4\x7f\0\0\1", b"AB\x83\x80", b"AB\x81\x83",
)  # fmt: skip

TARGETS = (
    Target("dns_messages", run_message, _WIRE_WORDS, largest=1500, cost=2),
    Target("dns_texts", run_text, _TEXT_WORDS, largest=9000, cost=2),
    Target("examination", run_examination, _TEXT_WORDS, cost=24),
)
