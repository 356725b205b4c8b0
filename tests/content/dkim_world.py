"""Keys, messages, and a verifier that is asked about a whole message, for the tests of DKIM."""

from collections.abc import Sequence
from functools import cache
from typing import Final

from valija.content.dkim import sign
from valija.content.dkim_canonical import body_hash
from valija.content.dkim_key import DkimKey, Kind, dns_record, generate
from valija.content.dkim_signature import signatures
from valija.content.dkim_verify import BodyHashes, DkimResult, verify
from valija.content.header import split

NOW = 1764072000.0
KINDS: Final[tuple[Kind, ...]] = ("rsa", "ed25519")

HEADER = (
    b"From: Alice <alice@local.example>\r\nTo: x@remote.example\r\nSubject: hi\r\n"
    b"Date: Tue, 25 Nov 2025 12:00:00 +0000\r\nMessage-ID: <1@local.example>\r\n"
)


@cache
def pem(kind: Kind) -> bytes:
    return generate(kind)


@cache
def key(kind: Kind = "rsa") -> DkimKey:
    return DkimKey.load("local.example", f"s-{kind}", pem(kind))


def record(kind: Kind = "rsa") -> str:
    return dns_record(key(kind))[1]


def signed(header: bytes = HEADER, body: bytes = b"hello\r\n", *keys: DkimKey) -> bytes:
    return sign(header, body_hash(body), keys or (key(),), NOW) + header + b"\r\n" + body


def results(message: bytes, records: Sequence[str] | None = None, now: float = NOW, step: int = 0) -> list[DkimResult]:
    """Verify each signature of a message, its body fed in steps; `records` are what the DNS has: our own by default."""
    header, body = split(message)
    found = signatures(header)
    bodies = BodyHashes(found)
    for at in range(0, len(body), step or len(body) or 1):
        bodies.update(body[at : at + (step or len(body))])
    ours = {f"s-{kind}._domainkey.local.example": (record(kind),) for kind in KINDS}
    return [
        verify(each, header, bodies, ours.get(each.key_name, ()) if records is None else records, now) for each in found
    ]


def verdicts(message: bytes, records: Sequence[str] | None = None, now: float = NOW) -> list[str]:
    return [result.verdict for result in results(message, records, now)]
