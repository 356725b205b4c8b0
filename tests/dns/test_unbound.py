"""What a real validating resolver vouches for, as the tests of DANE rely on it."""

import asyncio
from collections.abc import Iterator
from typing import Any, cast

import pytest

from tests.deliver.setting import MemoryLog
from tests.unbound import MISSING, LiveUnbound, Zone
from valija.dns.caching import CachingResolver
from valija.dns.options import DnsOptions
from valija.dns.resolver import Answer, RecordType, Status
from valija.logs import Log

pytestmark = [pytest.mark.interop, pytest.mark.skipif(bool(MISSING), reason=MISSING)]

ZONES = {
    "signed.example": Zone(
        "@ MX 10 mx",
        "mx A 127.0.0.2",
        f"_25._tcp.mx TLSA 3 1 1 {'6a' * 32}",
        "in CNAME mx",
        "out CNAME mx.plain.example.",
        signed=True,
    ),
    "plain.example": Zone("@ MX 10 mx", "mx A 127.0.0.3"),
    "bogus.example": Zone("@ MX 10 mx", "mx A 127.0.0.4", bogus=["mx A"]),
}


@pytest.fixture(scope="module")
def unbound() -> Iterator[LiveUnbound]:
    with LiveUnbound(ZONES) as dns:
        yield dns


def ask(unbound: LiveUnbound, name: str, rtype: RecordType) -> Answer[Any]:
    async def main() -> Answer[Any]:
        resolver = CachingResolver(DnsOptions(nameservers=(unbound.endpoint,)), cast("Log", MemoryLog()))
        try:
            return await resolver.lookup(name, rtype)
        finally:
            await resolver.close()

    return asyncio.run(main())


@pytest.mark.parametrize(
    ("name", "rtype", "status", "authentic"),
    [
        ("signed.example", "MX", Status.FOUND, True),
        ("mx.signed.example", "A", Status.FOUND, True),
        ("mx.signed.example", "AAAA", Status.NO_DATA, True),
        ("_25._tcp.mx.signed.example", "TLSA", Status.FOUND, True),
        ("_26._tcp.mx.signed.example", "TLSA", Status.NO_DOMAIN, True),
        ("in.signed.example", "A", Status.FOUND, True),
        ("out.signed.example", "A", Status.FOUND, False),  # the chain is as good as its worst link
        ("out.signed.example", "CNAME", Status.FOUND, True),
        ("plain.example", "MX", Status.FOUND, False),
        ("mx.plain.example", "A", Status.FOUND, False),
        ("bogus.example", "MX", Status.FOUND, True),
        ("mx.bogus.example", "A", Status.FAILED, False),
        ("nowhere.example", "A", Status.NO_DOMAIN, False),
    ],
)
def test_what_is_vouched_for(
    unbound: LiveUnbound, name: str, rtype: RecordType, status: Status, authentic: bool
) -> None:
    answer = ask(unbound, name, rtype)
    assert (answer.status, answer.authentic) == (status, authentic)


def test_a_zone_can_be_changed() -> None:
    with LiveUnbound({"d.example": Zone("@ A 127.0.0.2")}) as dns:
        assert ask(dns, "d.example", "A").records == ("127.0.0.2",)
        dns.change({"d.example": Zone("@ A 127.0.0.3", signed=True)})
        assert ask(dns, "d.example", "A") == Answer(Status.FOUND, ("127.0.0.3",), True, "d.example")
