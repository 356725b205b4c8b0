"""Who examines the mail of one worker under one configuration: the checks, and the resolver that they ask.

    examining = Examining(config, log)
    site = build_site(config, role, house, examining.checks)
    await examining.close()

Everything here is built anew by a reload. Sessions that are open go on with the checks they began with.
"""

import time

from valija.config import Config
from valija.dns.caching import CachingResolver
from valija.logs import Log
from valija.receive.checks import NO_CHECKS, Checks
from valija.receive.standard_checks import StandardChecks


class Examining:
    """The checks that a configuration switches on. Made inside a running event loop."""

    def __init__(self, config: Config, log: Log) -> None:
        self._resolver = CachingResolver(config.dns, log)
        self._standard = StandardChecks(
            config.checks,
            self._resolver,
            log,
            hostname=config.hostname,
            clock=time.time,
            monotonic=time.monotonic,
        )
        offers = self._standard.offers
        self.checks = Checks(offers) if offers else NO_CHECKS

    async def close(self) -> None:
        """End what runs in the background."""
        await self._standard.close()
        await self._resolver.close()
