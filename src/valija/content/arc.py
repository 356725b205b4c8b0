"""The Authenticated Received Chain of a message: read, and validated (RFC 8617).

    chain = read_chain(header)                         # a fault, or sets 1 to N; none at all is verdict "none"
    bodies = BodyHashes([*signatures, *chain.signatures])
    records = {name: texts for name in chain.key_names}
    result = validate(chain, header, bodies, records, now)
    result.verdict                                     # "none", "pass", "fail" or "temperror"
    result.vouched_by({"lists.example.org"})           # True: those who passed it on saw DMARC pass

Only what section 5.2 demands is verified: the newest ARC-Message-Signature and every ARC-Seal. A key that could not be
looked up makes `temperror`, which is nobody's fault; it proves nothing either.

Known weakness: which older signature was the first to break (`oldest-pass`) is not told.
"""

import base64
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Final, Literal

import msgspec

from valija.content.authentication_results import verdicts_in
from valija.content.dkim_canonical import relaxed_fields
from valija.content.dkim_signature import Signature, parse_signature
from valija.content.dkim_verify import BodyHashes, verify, verify_octets
from valija.content.header import fields
from valija.content.tag_list import TagFault, parse_tags, without_blanks
from valija.mail.address import AddressError, normalise_domain

ArcVerdict = Literal["none", "pass", "fail", "temperror"]

MOST_SETS: Final = 50  # section 4.2.1
MOST_VALIDATED: Final = 15  # a chain with more would cost too many look-ups: nobody is forwarded so often

_RESULTS: Final = b"arc-authentication-results"
_SIGNATURE: Final = b"arc-message-signature"
_SEAL: Final = b"arc-seal"
_INSTANCE: Final = re.compile(rb"(?:^|;)\s*i\s*=\s*(\d{1,3})\s*(?=;|$)")
_EMPTIED: Final = re.compile(rb"((?:^[^:]*:|;)[ \t\r\n]*b[ \t\r\n]*=)[^;]*")


class Seal(msgspec.Struct, frozen=True):
    """An ARC-Seal, taken apart: domain and selector in A-labels."""

    raw: bytes
    domain: str
    selector: str
    algorithm: str
    status: str
    value: bytes

    @property
    def key_name(self) -> str:
        """Where the DNS has its key."""
        return f"{self.selector}._domainkey.{self.domain}"


class ArcSet(msgspec.Struct, frozen=True):
    """One set: what its maker saw (whole field), signed, and sealed."""

    results: bytes
    signature: Signature
    seal: Seal

    @property
    def raw(self) -> tuple[bytes, bytes, bytes]:
        """Its fields, in the order in which they are sealed."""
        return self.results, self.signature.raw, self.seal.raw


class Chain(msgspec.Struct, frozen=True):
    """The sets in order, or what is wrong with them; neither where a message has none."""

    sets: tuple[ArcSet, ...] = ()
    fault: str = ""

    @property
    def signatures(self) -> tuple[Signature, ...]:
        """The signature that is going to be verified, so that the body is hashed for it."""
        return (self.sets[-1].signature,) if self.sets else ()

    @property
    def key_names(self) -> frozenset[str]:
        """The names of the TXT records that have the keys."""
        newest = {self.sets[-1].signature.key_name} if self.sets else set()
        return frozenset(newest | {each.seal.key_name for each in self.sets})


class ArcResult(msgspec.Struct, frozen=True):
    """The end of a chain. `sealers` are those who sealed it, oldest first, with what each says DMARC came to."""

    verdict: ArcVerdict
    reason: str = ""
    sealers: tuple[tuple[str, frozenset[str]], ...] = ()

    def vouched_by(self, trusted: Collection[str]) -> bool:
        """Whether someone saw DMARC pass, and he and all who passed the message on after him are trusted."""
        if self.verdict != "pass":
            return False
        for sealer, seen in reversed(self.sealers):
            if sealer not in trusted:
                return False
            if "pass" in seen:
                return True
        return False


class _Broken(Exception):
    """A chain that is no chain."""


def read_chain(header: bytes) -> Chain:
    """Return the chain in a header. Never raises for what is in it."""
    found: dict[bytes, dict[int, bytes]] = {_RESULTS: {}, _SIGNATURE: {}, _SEAL: {}}
    try:
        for field in fields(header):
            if field.name in found:
                _place(found[field.name], field.raw)
        return Chain(tuple(_sets(found)))
    except _Broken as broken:
        return Chain(fault=str(broken))


def _place(known: dict[int, bytes], raw: bytes) -> None:
    match = _INSTANCE.search(raw.partition(b":")[2].replace(b"\r\n", b""))
    number = int(match[1]) if match else 0
    if not 1 <= number <= MOST_SETS:
        raise _Broken(f"a field of the chain has no instance from 1 to {MOST_SETS} (i=)")
    if number in known:
        raise _Broken(f"instance {number} has a field twice")
    known[number] = raw


def _sets(found: Mapping[bytes, Mapping[int, bytes]]) -> Iterator[ArcSet]:
    count = max(len(known) for known in found.values())
    if count > MOST_VALIDATED:
        raise _Broken(f"the chain has more than {MOST_VALIDATED} sets")
    for number in range(1, count + 1):
        if any(number not in known for known in found.values()):
            raise _Broken(f"set {number} is not complete")
        seal = _read_seal(found[_SEAL][number])
        if seal.status != ("none" if number == 1 else "pass"):
            raise _Broken(f"the seal of set {number} says cv={seal.status}")
        yield ArcSet(found[_RESULTS][number], _read_signature(found[_SIGNATURE][number]), seal)


def _read_signature(raw: bytes) -> Signature:
    """Return an ARC-Message-Signature: a DKIM-Signature with an instance for i=, and without a version."""
    tags = raw.partition(b":")[2].split(b";")
    others = [tag for tag in tags if tag.partition(b"=")[0].strip() not in (b"i", b"v")]
    signature = parse_signature(b"DKIM-Signature: v=1;" + b";".join(others))
    return msgspec.structs.replace(signature, raw=raw)


def _read_seal(raw: bytes) -> Seal:
    try:
        tags = parse_tags(raw.partition(b":")[2])
        if "h" in tags:
            raise _Broken("a seal has h=")
        return Seal(
            raw,
            normalise_domain(tags["d"]),
            normalise_domain(tags["s"]),
            tags["a"].lower(),
            tags["cv"].lower(),
            base64.b64decode(without_blanks(tags["b"]), validate=True),
        )
    except (TagFault, AddressError, KeyError, ValueError) as fault:
        raise _Broken(f"a seal cannot be read: {fault}") from None


def validate(
    chain: Chain, header: bytes, bodies: BodyHashes, records: Mapping[str, Sequence[str] | None], now: float
) -> ArcResult:
    """Return whether a chain holds (section 5.2). `records` has the texts at each of its `key_names`, None: no answer.

    `header` is the one the chain was read from, `bodies` has hashed the body for its `signatures`.
    """
    sealers = tuple((each.seal.domain, _seen(each)) for each in chain.sets)
    if not chain.sets:
        return ArcResult("fail" if chain.fault else "none", chain.fault)
    newest = chain.sets[-1].signature
    signed = verify(newest, header, bodies, records.get(newest.key_name), now)
    if signed.verdict != "pass":
        return _failed(signed.verdict, f"the signature of set {len(chain.sets)}: {signed.reason}", sealers)
    for number in range(len(chain.sets), 0, -1):
        seal = chain.sets[number - 1].seal
        octets = _sealed_octets(chain.sets[:number])
        verdict, reason = verify_octets(octets, seal.value, seal.algorithm, records.get(seal.key_name))
        if verdict != "pass":
            return _failed(verdict, f"the seal of set {number}: {reason}", sealers)
    return ArcResult("pass", "", sealers)


def _failed(verdict: str, reason: str, sealers: tuple[tuple[str, frozenset[str]], ...]) -> ArcResult:
    return ArcResult("temperror" if verdict == "temperror" else "fail", reason, sealers)


def _seen(each: ArcSet) -> frozenset[str]:
    """Return what the maker of a set says DMARC came to; the instance stands where others have their first result."""
    value = each.results.partition(b":")[2].partition(b";")[2]
    return frozenset(verdicts_in(value).get("dmarc", ()))


def _sealed_octets(sets: Sequence[ArcSet]) -> bytes:
    """Return what the newest of these sets seals: all of them, itself with an empty b= (section 5.1.1)."""
    below = [raw for each in sets[:-1] for raw in each.raw]
    newest = sets[-1]
    emptied = _EMPTIED.sub(rb"\1", newest.seal.raw.removesuffix(b"\r\n"), count=1) + b"\r\n"
    octets = b"".join(map(relaxed_field, (*below, newest.results, newest.signature.raw, emptied)))
    return octets.removesuffix(b"\r\n")


def relaxed_field(raw: bytes) -> bytes:
    """Return a field in relaxed form."""
    ((relaxed,),) = relaxed_fields(raw).values()
    return relaxed
