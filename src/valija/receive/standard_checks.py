"""The checks that are built in, as `[checks]` switches them: who is at the door, and where its mail comes from.

    checks = StandardChecks(options, resolver, log, hostname=..., clock=..., monotonic=...)
    checks.offers           # in the order in which they are asked
    await checks.close()

All of them examine strangers on port 25 only. With everything off there are no offers, and a session costs nothing.
"""

from collections.abc import Callable, Iterator

from valija.dns.dnsbl import BlockLists
from valija.dns.resolver import Resolver
from valija.logs import Log
from valija.receive.authentication import Authentication, Ground, stages
from valija.receive.block_list_check import BlockListCheck
from valija.receive.check_options import CheckOptions
from valija.receive.checks import Offer, Stage
from valija.receive.helo_check import HeloCheck, HeloGround


class StandardChecks:
    """What is switched on, and what it shares between sessions. Made inside a running event loop."""

    def __init__(
        self,
        options: CheckOptions,
        resolver: Resolver,
        log: Log,
        *,
        hostname: str,
        clock: Callable[[], float],
        monotonic: Callable[[], float],
    ) -> None:
        self._options = options
        self._resolver = resolver
        self._hostname = hostname
        self._clock = clock
        self._lists = BlockLists(options.dnsbl, resolver, log, clock=monotonic)
        self._lists.begin()
        self.offers = tuple(self._made())

    async def close(self) -> None:
        """End what runs in the background."""
        await self._lists.close()

    def _made(self) -> Iterator[Offer]:
        options = self._options
        if options.dnsbl:
            yield self._block_lists(options)
        if options.helo != "off":
            yield self._helo(options)
        if options.authenticates:
            ground = Ground(options, self._resolver, self._hostname, self._clock)
            yield Offer("authentication", lambda client: Authentication(ground, client), stages(options))

    def _block_lists(self, options: CheckOptions) -> Offer:
        refuses = options.dnsbl_action == "reject"
        return Offer(
            "dnsbl",
            lambda client: BlockListCheck(self._lists, client, patience=options.timeout, refuses=refuses),
            Stage.RCPT | Stage.CONTENT if refuses else Stage.CONTENT,
        )

    def _helo(self, options: CheckOptions) -> Offer:
        ground = HeloGround(self._resolver, self._hostname, refuses=options.helo == "reject", patience=options.timeout)
        return Offer("helo", lambda client: HeloCheck(ground), Stage.MAIL | Stage.CONTENT)
