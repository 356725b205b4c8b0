"""Looking names up: the Resolver protocol and the values it answers with. The real one stands in dns/caching."""

from enum import StrEnum
from typing import Generic, Literal, Protocol, TypeVar, overload

import msgspec

TextType = Literal["A", "AAAA", "TXT", "PTR", "TLSA", "CNAME", "NS", "SRV"]
RecordType = Literal["MX"] | TextType
R = TypeVar("R")


class Status(StrEnum):
    """What a look-up came to. FAILED is transient: no answer, SERVFAIL, or a bogus one (RFC 4035)."""

    FOUND = "found"
    NO_DATA = "no data"
    NO_DOMAIN = "no such domain"
    FAILED = "failed"


class MxRecord(msgspec.Struct, frozen=True, gc=False):
    """One MX record; `host` in lower-case A-labels without the trailing dot, `""` for the root (RFC 7505)."""

    preference: int
    host: str


class Answer(msgspec.Struct, Generic[R], frozen=True, gc=False):
    """The end of a look-up. `authentic`: DNSSEC-validated, told by a resolver that is trusted to say so.

    `canonical_name` is where CNAMEs led; `detail` says in words what failed.
    """

    status: Status
    records: tuple[R, ...] = ()
    authentic: bool = False
    canonical_name: str = ""
    detail: str = ""


class Resolver(Protocol):
    """Asks the DNS. Never raises for what the network does: see Status.FAILED."""

    @overload
    async def lookup(self, name: str, rtype: Literal["MX"]) -> Answer[MxRecord]: ...
    @overload
    async def lookup(self, name: str, rtype: TextType) -> Answer[str]: ...
