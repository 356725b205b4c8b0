"""What is remembered of the reverse names of our own addresses, by a clock of the test's own."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import cast

from tests.deliver.setting import MemoryLog, MemoryResolver
from valija.deliver.reverse_names import BAD_FOR, GOOD_FOR, ReverseNames
from valija.dns.resolver import Resolver
from valija.logs import Log

SOURCE, NAME = "192.0.2.7", "7.2.0.192.in-addr.arpa"
GOOD = {NAME: ["PTR mail.example.org"], "mail.example.org": [f"A {SOURCE}"]}


class Lab:
    """A memory, the DNS it asks, and its clock."""

    def __init__(self) -> None:
        self.zone: dict[str, list[str]] = {}
        self.resolver = MemoryResolver(self.zone)
        self.log = MemoryLog()
        self.now = 0.0
        self.names = ReverseNames(
            cast("Resolver", self.resolver), cast("Log", self.log), "mail.example.org", clock=lambda: self.now
        )

    def publish(self, zone: dict[str, list[str]]) -> None:
        self.zone.clear()
        self.zone.update(zone)

    @property
    def asked(self) -> int:
        return sum(rtype == "PTR" for _, rtype in self.resolver.asked)

    async def judge(self, source: str = SOURCE) -> tuple[bool, bool]:
        """Return what is said at once, and when the look-up has ended, if there was one."""
        at_once = self.names.is_missing(source)
        for _ in range(20):
            await asyncio.sleep(0)
        return at_once, self.names.is_missing(source)


def with_lab(test: Callable[[Lab], Awaitable[None]]) -> None:
    async def main() -> None:
        await test(Lab())

    asyncio.run(main())


def test_nobody_waits_and_what_is_not_known_counts_as_fine() -> None:
    async def test(lab: Lab) -> None:
        assert await lab.judge() == (False, True)

    with_lab(test)


def test_it_is_asked_for_once_however_often_mail_leaves() -> None:
    async def test(lab: Lab) -> None:
        for _ in range(5):
            lab.names.is_missing(SOURCE)
        await lab.judge()
        await lab.judge()
        assert lab.asked == 1

    with_lab(test)


def test_a_remedy_is_seen_after_a_while() -> None:
    async def test(lab: Lab) -> None:
        await lab.judge()
        lab.publish(GOOD)
        lab.now = BAD_FOR - 1
        assert await lab.judge() == (True, True)
        lab.now = BAD_FOR
        assert await lab.judge() == (True, False)

    with_lab(test)


def test_a_name_that_goes_is_seen_later() -> None:
    async def test(lab: Lab) -> None:
        lab.publish(GOOD)
        assert await lab.judge() == (False, False)
        lab.publish({})
        lab.now = GOOD_FOR - 1
        assert await lab.judge() == (False, False)
        lab.now = GOOD_FOR
        assert await lab.judge() == (False, True)

    with_lab(test)


def test_a_name_server_that_is_away_changes_no_verdict() -> None:
    async def test(lab: Lab) -> None:
        lab.publish({NAME: ["FAILED"]})
        assert await lab.judge() == (False, False)
        lab.publish({})
        lab.now += BAD_FOR
        assert await lab.judge() == (False, True)
        lab.publish({NAME: ["FAILED"]})
        lab.now += BAD_FOR
        assert await lab.judge() == (True, True)

    with_lab(test)


def test_it_is_told_once_and_again_when_it_was_good_in_between() -> None:
    async def test(lab: Lab) -> None:
        for zone in ({}, {}, GOOD, {}):
            lab.publish(zone)
            lab.now += GOOD_FOR
            if (await lab.judge())[1]:
                lab.names.is_avoided(SOURCE, "192.0.2.8")
        assert [line["reason"] for line in lab.log.of("source address avoided")] == ["it has no reverse name"] * 2

    with_lab(test)


def test_addresses_that_the_internet_does_not_know_are_not_judged() -> None:
    async def test(lab: Lab) -> None:
        for inner in ("127.0.0.1", "10.0.0.7", "192.168.1.7", "100.64.0.7", "::1", "fd00::7", "fe80::7"):
            assert await lab.judge(inner) == (False, False)
        assert lab.resolver.asked == []

    with_lab(test)


def test_the_memory_is_bounded() -> None:
    async def test(lab: Lab) -> None:
        for number in range(150):
            await lab.judge(f"2001:db8::{number:x}")
        before = lab.asked
        assert await lab.judge("2001:db8::95") == (True, True), "the latest is known"
        assert lab.asked == before
        assert await lab.judge("2001:db8::0") == (False, True), "the oldest was forgotten"

    with_lab(test)
