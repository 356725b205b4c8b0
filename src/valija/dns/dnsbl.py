"""DNS block lists, asked and watched (RFC 5782).

    lists = BlockLists(("zen.example",), resolver, log, clock=time.monotonic)
    listed = await lists.find("192.0.2.7")      # Listed("zen.example", ("127.0.0.4",), "why, in the list's words")

Each list is tested before it is believed, and again every hour and after a strange answer: the test address has to be
listed, and the one that never is must not be. A list that fails is not asked, and the log says why, and what to do; the
first test that it passes brings it back. A list that does not answer lists nobody.

Known weakness: a list that is not tested yet makes its first client wait for the test. Each worker tests for itself.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from valija.dns.resolver import Answer, Resolver, Status
from valija.logs import Log
from valija.policy.dnsbl import FREE_TEST, LISTED_TEST, Listing, query_name, read_answer, shown_zone

TEST_INTERVAL: Final = 3600.0  # seconds
RETRY_INTERVAL: Final = 300.0
_LONGEST_WORDS: Final = 200  # characters of a list's own words

_REMEDY: Final = (
    "use a name server of your own ([dns] nameservers) instead of a public one, check the name, or take it out of "
    "[checks] dnsbl"
)


class Listed(msgspec.Struct, frozen=True):
    """A listing: by which list, shown without a key in its name, the codes, and the list's words, `""` for none."""

    zone: str
    codes: tuple[str, ...]
    words: str = ""


class _List:
    """One list, and whether it can be believed: for each family, None while that is not known."""

    def __init__(self, zone: str) -> None:
        self.zone = zone
        self.works: dict[int, bool] = {}
        self.test_at = float("-inf")
        self.tested_at = float("-inf")
        self.testing: asyncio.Task[None] | None = None


class BlockLists:
    """The lists that the postmaster named. `close` ends their tests."""

    def __init__(self, zones: Sequence[str], resolver: Resolver, log: Log, *, clock: Callable[[], float]) -> None:
        self._lists = [_List(zone) for zone in zones]
        self._resolver = resolver
        self._log = log
        self._clock = clock

    def begin(self) -> None:
        """Test the lists now, so that the first client does not wait for it."""
        for each in self._lists:
            self._test_soon(each)

    async def find(self, address: str) -> Listed | None:
        """Return the first listing of an address in the order of the lists, None where no list has it."""
        found = await asyncio.gather(*(self._ask(each, address) for each in self._lists))
        return next((listed for listed in found if listed is not None), None)

    async def close(self) -> None:
        """End the tests that run."""
        tests = [each.testing for each in self._lists if each.testing is not None]
        for test in tests:
            test.cancel()
        await asyncio.gather(*tests, return_exceptions=True)

    async def _ask(self, each: _List, address: str) -> Listed | None:
        if self._clock() >= each.test_at:
            self._test_soon(each)
        if not each.works and each.testing is not None:
            await asyncio.shield(each.testing)
        family = 6 if ":" in address else 4
        if not each.works.get(family):
            return None
        name = query_name(address, each.zone)
        listing = read_answer((await self._resolver.lookup(name, "A")).records)
        if listing.fault:
            if self._clock() - each.tested_at >= RETRY_INTERVAL:
                self._test_soon(each)
            return None
        return await self._listed(each, name, listing) if listing.codes else None

    async def _listed(self, each: _List, name: str, listing: Listing) -> Listed:
        words = (await self._resolver.lookup(name, "TXT")).records
        return Listed(shown_zone(each.zone), listing.codes, words[0][:_LONGEST_WORDS] if words else "")

    # The test

    def _test_soon(self, each: _List) -> None:
        if each.testing is None:
            each.testing = asyncio.create_task(self._test(each))

    async def _test(self, each: _List) -> None:
        try:
            fault4, fault6 = await asyncio.gather(self._fault(each.zone, 4), self._fault(each.zone, 6))
            self._note(each, fault4, works6=not fault6)
        finally:
            each.testing = None

    def _note(self, each: _List, fault: str, *, works6: bool) -> None:
        worked = each.works.get(4)
        each.works = {4: not fault, 6: not fault and works6}
        each.tested_at = self._clock()
        each.test_at = each.tested_at + (RETRY_INTERVAL if fault else TEST_INTERVAL)
        if fault and worked is not False:
            self._log.error("block list ignored", zone=shown_zone(each.zone), reason=fault, remedy=_REMEDY)
        elif not fault and worked is False:
            self._log.info("block list works again", zone=shown_zone(each.zone))

    async def _fault(self, zone: str, family: int) -> str:
        """Return what is wrong with a list for a family of addresses, `""` where it works."""
        listed, free = await asyncio.gather(
            self._resolver.lookup(query_name(LISTED_TEST[family], zone), "A"),
            self._resolver.lookup(query_name(FREE_TEST[family], zone), "A"),
        )
        return _fault_of(listed, free, family)


def _fault_of(listed: Answer[str], free: Answer[str], family: int) -> str:
    for answer in (listed, free):
        if answer.status is Status.FAILED:
            return f"its name server does not answer: {answer.detail}"
        if fault := read_answer(answer.records).fault:
            return fault
    if not listed.records:
        return f"it does not list its test address {LISTED_TEST[family]}: it is misspelt, or no list any more"
    if free.records:
        return f"it lists {FREE_TEST[family]}, and so everybody"
    return ""
