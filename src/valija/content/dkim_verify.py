"""Verifying DKIM signatures (RFC 6376 section 6, RFC 8301, RFC 8463): pure, fed while a content arrives or afterwards.

    found = signatures(header)                     # dkim_signature: list[Signature], 8 at most, [] is result "none"
    bodies = BodyHashes(found)                     # hashes the body once per form and length that is asked for
    bodies.update(chunk)                           # each chunk of the body, cut anywhere
    for signature in found:
        if signature.fault is None:
            answer = await resolver.lookup(signature.key_name, "TXT")
            records = None if answer.status is Status.FAILED else answer.records
        result = verify(signature, header, bodies, records, now)

The exact signatures:

    signatures(header: bytes) -> list[Signature]                                        # in content/dkim_signature
    BodyHashes(signatures: Iterable[Signature]) .update(data: bytes) -> None
    verify(signature: Signature, header: bytes, bodies: BodyHashes,
           records: Sequence[str] | None, now: float) -> DkimResult

`header` is what the client sent, fields alone, as content/header takes it apart. `records` are the texts of the TXT
records at `signature.key_name`, strings joined: () where there are none, None where the DNS did not answer; a
signature that has a fault needs no look-up (any `records` will do). `now` in seconds since the epoch.

What is policy here, and not the standard's: a signature that leaves octets of the body unsigned (l=), one that has
expired or is dated in the future, and RSA keys of fewer than 1024 or more than 4096 bits are `policy`, never `pass`.
A key that is marked as a test turns `fail` into `neutral`.

Known weakness: whether the header has one From or three is not asked here; DMARC has to.
"""

import hashlib
import re
from collections.abc import Iterable, Sequence
from typing import Final

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256

from valija.content.dkim_canonical import BodyHasher, Form, canonical_fields, signed_octets
from valija.content.dkim_key import MIN_RSA_BITS
from valija.content.dkim_record import KeyRecord, PublicKey, RecordFault, key_tags, parse_record
from valija.content.dkim_signature import Signature, Verdict
from valija.content.header import fields
from valija.mail.address import domain_of

MAX_RSA_BITS: Final = 4096  # RFC 8301 section 3.2: what a verifier has to know
_CLOCKS_DIFFER: Final = 300.0  # seconds between two honest clocks
_VALUE: Final = re.compile(rb"((?:^[^:]*:|;)[ \t\r\n]*b[ \t\r\n]*=)[^;]*")


class DkimResult(msgspec.Struct, frozen=True):
    """The end of one signature. `reason` in words, `""` for a plain pass.

    `domain`, `selector`, `identity`, `algorithm` and `value_start` (the first octets of b=, RFC 6008) are what
    Authentication-Results names as header.d, .s, .i, .a and .b; each may be `""` where the signature could not be read.
    `is_test`: the key's record says t=y.
    """

    verdict: Verdict
    reason: str = ""
    domain: str = ""
    selector: str = ""
    identity: str = ""
    algorithm: str = ""
    value_start: str = ""
    is_test: bool = False


class BodyHashes:
    """The hashes of one body that a message's signatures ask for: one for each form and length."""

    __slots__ = ("_hashers",)

    def __init__(self, signatures: Iterable[Signature]) -> None:
        self._hashers: dict[tuple[Form, int | None], BodyHasher] = {}
        for signature in signatures:
            form = (signature.body_form, signature.length)
            if signature.fault is None and form not in self._hashers:
                self._hashers[form] = BodyHasher(*form)

    def __bool__(self) -> bool:
        """Whether any signature needs the body at all."""
        return bool(self._hashers)

    def update(self, data: bytes) -> None:
        """Take the next octets of the body."""
        for hasher in self._hashers.values():
            hasher.update(data)

    def of(self, signature: Signature) -> BodyHasher:
        """Return the hasher of a signature's form."""
        return self._hashers[signature.body_form, signature.length]


class _Failed(Exception):
    """A signature that is not passed."""

    def __init__(self, verdict: Verdict, reason: str) -> None:
        super().__init__(reason)
        self.verdict = verdict
        self.reason = reason


def verify(
    signature: Signature, header: bytes, bodies: BodyHashes, records: Sequence[str] | None, now: float
) -> DkimResult:
    """Return what a signature of the header and the body is worth. Never raises for what strangers wrote."""
    is_test = False
    try:
        if signature.fault is not None:
            raise _Failed(signature.fault.verdict, signature.fault.reason)
        record = _record(records)
        is_test = record.is_test
        _check_key(signature, record)
        _check_body(signature, bodies.of(signature))
        _check_value(signature, header, record.public)
        _check_acceptable(signature, bodies.of(signature), now)
    except _Failed as failed:
        if failed.verdict == "fail" and is_test:
            return _result(signature, "neutral", f"{failed.reason}; the key is marked as a test (t=y)", is_test)
        return _result(signature, failed.verdict, failed.reason, is_test)
    return _result(signature, "pass", "", is_test)


def verify_octets(octets: bytes, value: bytes, algorithm: str, records: Sequence[str] | None) -> tuple[Verdict, str]:
    """Return what a bare signature of canonical octets is worth, and why: such as an ARC-Seal's (RFC 8617)."""
    try:
        record = _record(records)
        if not algorithm.startswith(record.kind):
            raise _Failed("permerror", f"the published key is of another kind, {record.kind}")
        _check_strength(record.public)
        _check_octets(octets, value, record.public)
    except _Failed as failed:
        return failed.verdict, failed.reason
    return "pass", ""


def _result(signature: Signature, verdict: Verdict, reason: str, is_test: bool) -> DkimResult:
    return DkimResult(
        verdict,
        reason,
        domain=signature.domain,
        selector=signature.selector,
        identity=signature.identity,
        algorithm=signature.algorithm,
        value_start=signature.value_start,
        is_test=is_test,
    )


def _record(records: Sequence[str] | None) -> KeyRecord:
    """Return the key that the DNS has. Several records have no meaning (RFC 6376 section 3.6.2.2)."""
    if records is None:
        raise _Failed("temperror", "the key could not be looked up")
    if not records:
        raise _Failed("permerror", "the key is not published")
    meant = [text for text in records if key_tags(text) is not None] or records[:1]
    if len(meant) > 1:
        raise _Failed("permerror", "several keys are published under one name")
    try:
        return parse_record(meant[0])
    except RecordFault as fault:
        raise _Failed("permerror", str(fault)) from None


def _check_key(signature: Signature, record: KeyRecord) -> None:
    if not signature.algorithm.startswith(record.kind):
        raise _Failed("permerror", f"the published key is of another kind, {record.kind}")
    if record.is_strict and domain_of(signature.identity) != signature.domain:
        raise _Failed("permerror", "the key is for its own domain alone (t=s), not for the one in i=")
    _check_strength(record.public)


def _check_strength(public: PublicKey) -> None:
    """Refuse weak keys, and those that would cost us more than any honest one."""
    if isinstance(public, RSAPublicKey) and not MIN_RSA_BITS <= public.key_size <= MAX_RSA_BITS:
        bounds = f"{MIN_RSA_BITS} to {MAX_RSA_BITS}"
        raise _Failed("policy", f"the key has {public.key_size} bits, and {bounds} are believed (RFC 8301)")


def _check_body(signature: Signature, hasher: BodyHasher) -> None:
    if hasher.surplus < 0:
        raise _Failed("fail", "the body is shorter than what was signed (l=)")
    if hasher.digest() != signature.body_hash:
        raise _Failed("fail", "the body was changed")


def _check_value(signature: Signature, header: bytes, public: PublicKey) -> None:
    _check_octets(_signed_header(signature, header), signature.value, public)


def _check_octets(octets: bytes, value: bytes, public: PublicKey) -> None:
    try:
        if isinstance(public, RSAPublicKey):
            public.verify(value, octets, PKCS1v15(), SHA256())
        else:
            public.verify(value, hashlib.sha256(octets).digest())  # RFC 8463 section 3
    except (InvalidSignature, ValueError):
        raise _Failed("fail", "the header was changed, or another key signed it") from None


def _signed_header(signature: Signature, header: bytes) -> bytes:
    """Return the octets that were signed: the listed fields, then the signature itself with an empty b= (3.7)."""
    others = _without(header, signature.raw)
    emptied = _VALUE.sub(rb"\1", signature.raw.removesuffix(b"\r\n"), count=1) + b"\r\n"
    ((own,),) = canonical_fields(emptied, signature.header_form).values()  # ARC's signatures have another name
    return signed_octets(canonical_fields(others, signature.header_form), signature.listed) + own.removesuffix(b"\r\n")


def _without(header: bytes, field: bytes) -> bytes:
    """Return a header less one field. Whole fields are compared: in X-DKIM-Signature the octets may stand as well."""
    raw = [each.raw for each in fields(header)]
    if field in raw:
        raw.remove(field)
    return b"".join(raw)


def _check_acceptable(signature: Signature, hasher: BodyHasher, now: float) -> None:
    """Refuse what verifies and still proves too little."""
    if hasher.surplus:
        raise _Failed("policy", f"{hasher.surplus} octets at the end of the body are not signed (l=)")
    if signature.expires is not None and now > signature.expires + _CLOCKS_DIFFER:
        raise _Failed("policy", "the signature has expired (x=)")
    if signature.signed_at is not None and now < signature.signed_at - _CLOCKS_DIFFER:
        raise _Failed("policy", "the signature is dated in the future (t=)")
