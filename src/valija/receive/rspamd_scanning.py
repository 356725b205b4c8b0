"""Scanning by rspamd, as `[rspamd]` switches it on.

scanning = RspamdScanning(options, resolver, log, hostname=...)
scanning.offers
await scanning.close()
"""

from valija.dns.resolver import Resolver
from valija.logs import Log
from valija.receive.checks import Offer
from valija.receive.rspamd_check import STAGES, RspamdCheck, RspamdGround
from valija.rspamd.client import RspamdClient
from valija.rspamd.condition import Condition
from valija.rspamd.options import RspamdOptions


class RspamdScanning:
    """The check, and the connections that its sessions share. Made inside a running event loop."""

    def __init__(self, options: RspamdOptions, resolver: Resolver, log: Log, *, hostname: str) -> None:
        self._client = RspamdClient(options)
        condition = Condition(log, place=options.url, on_failure=options.on_failure)
        ground = RspamdGround(self._client, condition, options, resolver, hostname)
        self.offers = (Offer("rspamd", lambda client: RspamdCheck(ground), STAGES, of_users=options.users),)

    async def close(self) -> None:
        """Let go of the connections."""
        await self._client.close()
