"""Certificates that peers show, and TLSA records that are about them.

An input has pieces, parted by four form feeds: the text of a TLSA record (`ee` and `ta` stand for ones that fit the
last certificate), and the chain in DER.
"""

import hashlib
from collections.abc import Hashable
from datetime import UTC, datetime

from tests.fuzz.engine import Target
from valija.policy.tlsa import TlsaRecord, read_tlsa, usable
from valija.tls.dane import dane_rejection
from valija.tls.end_point import end_point_of
from valija.tls.proof import fingerprints

PARTS = b"\f\f\f\f"
_NOW = datetime(2027, 1, 15, tzinfo=UTC)


def run(given: bytes) -> Hashable:
    """Judge a chain by a record; it is accepted only where a record says so."""
    text, *chain = given.split(PARTS)
    for each in chain:
        end_point_of(each)
        fingerprints(each)
    records = _records(text, chain)
    counting = usable(records)
    rejection = dane_rejection(chain, counting, accepts=lambda names: "mx.example.net" in names, now=_NOW)
    if rejection is None:
        assert counting
        assert chain
        assert counting[0].usage == 2 or _is_about(counting[0], chain[0])
        return "accepted"
    assert rejection.words
    return rejection.result, rejection.words[:24]


def _records(text: bytes, chain: list[bytes]) -> list[TlsaRecord]:
    if text in (b"ee", b"ta"):
        last = chain[-1] if chain else b""
        return [TlsaRecord(3 if text == b"ee" else 2, 0, 1, hashlib.sha256(last).digest())]
    try:
        return [read_tlsa(text.decode("latin-1"))]
    except ValueError:
        return []


def _is_about(record: TlsaRecord, certificate: bytes) -> bool:
    if record.selector:
        return True
    return record.data in (certificate, hashlib.sha256(certificate).digest(), hashlib.sha512(certificate).digest())


_WORDS = (
    b"3 1 1 ", b"3 0 0 ", b"2 0 0 ", b"2 1 0 ", b"ee", b"ta", PARTS, b"\x30\x82", b"\x06\x03\x55\x1d\x11",
    b"\x06\x03\x55\x1d\x13", b"\x82\x0emx.example.net", b"\x17\x0d270101000000Z", b"\x18\x0f99991231235959Z",
    b"\x18\x0f00000101000000Z", b"\x02\x01", b"\xff\xff", b"\x30\x80", b"\x01\x01\xff", b"\xa3",
)  # fmt: skip

TARGETS = (Target("certificates", run, _WORDS, largest=3000, cost=12),)
