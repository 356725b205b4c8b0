"""Who examines the mail of one worker under one configuration: the checks, and the resolver that they ask.

    examining = Examining(config, log)
    site = build_site(config, role, house, examining.checks_for(role))
    await examining.close()

Everything here is built anew by a reload. Sessions that are open go on with the checks they began with.
"""

import time
from typing import TYPE_CHECKING

from valija.config import Config
from valija.dns.caching import CachingResolver
from valija.logs import Log
from valija.mail.origin import Role
from valija.receive.checks import NO_CHECKS, Checks
from valija.receive.milter_check import MilterGround, milter_offer
from valija.receive.standard_checks import StandardChecks

if TYPE_CHECKING:
    from valija.receive.rspamd_scanning import RspamdScanning


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
        self._rspamd = _rspamd(config, self._resolver, log)
        self._offers = (*self._standard.offers, *(self._rspamd.offers if self._rspamd else ()))
        self._milters = config.milters
        self._ground = MilterGround(self._resolver, log, config.hostname, frozenset(config.domains))

    def checks_for(self, role: Role) -> Checks:
        """Return the checks of the mail that comes in by a role's listener; filters are asked last."""
        filters = (milter_offer(self._ground, each) for each in self._milters.of(role))
        offers = (*self._offers, *filters)
        return Checks(offers) if offers else NO_CHECKS

    async def close(self) -> None:
        """End what runs in the background."""
        await self._standard.close()
        if self._rspamd is not None:
            await self._rspamd.close()
        await self._resolver.close()


def _rspamd(config: Config, resolver: CachingResolver, log: Log) -> "RspamdScanning | None":
    if not config.rspamd.url:
        return None
    from valija.receive.rspamd_scanning import RspamdScanning  # with its HTTP client, which is slow to import

    return RspamdScanning(config.rspamd, resolver, log, hostname=config.hostname)
