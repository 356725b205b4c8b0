"""TLS reports in a worker: every one counts, and the first sends, for all (see valija/tls_reports).

reporting = TlsReporting(number, config, log)
delivery = Delivery(config, spool, log, note_tls=reporting.note)
reporting.use(config, keys.for_domain, queue)    # and again after a reload
for chore in reporting.chores(): ...
await reporting.close()
"""

import secrets
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from functools import partial
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

from valija.config import Config
from valija.content.dkim_key import DkimKey
from valija.dns.caching import CachingResolver
from valija.dns.resolver import Resolver
from valija.logs import Log
from valija.policy.tls_report import TlsResult
from valija.queue.store import NewMessage
from valija.receive.site import Queue
from valija.tls_reports.ledger import Ledger
from valija.tls_reports.options import Wish
from valija.tls_reports.reporter import Office, Reporter
from valija.tls_reports.tally import Tally

if TYPE_CHECKING:
    from valija.dns.https import Https


class TlsReporting:
    """One worker's part. `number` is the worker's; the first one sends."""

    def __init__(self, number: int, config: Config, log: Log) -> None:
        self._ledger = Ledger(config.tls_report_file, log)
        self._tally = Tally(self._ledger, time.time, log)
        self._sends = number == 0
        self._log = log
        self._is_on = config.tls_report.is_on
        self._reporter: Reporter | None = None

    def note(self, result: TlsResult) -> None:
        """Count how a session opened."""
        if self._is_on:
            self._tally.note(result)

    def use(self, config: Config, keys: Callable[[str], Sequence[DkimKey]], queue: Queue) -> None:
        """Go by a configuration from now on."""
        self._is_on = config.tls_report.is_on
        if not self._sends:
            return
        # Not the one that mail is sent by: a reload would close it in the middle of a look-up.
        resolver = CachingResolver(config.dns, self._log)
        office = Office(
            options=config.tls_report,
            hostname=config.hostname,
            resolver=resolver,
            keys=keys,
            enqueue=partial(_enqueue, queue),
            https=partial(_client, resolver),
        )
        if self._reporter is None:
            unique = partial(secrets.token_hex, 8)
            self._reporter = Reporter(self._ledger, office, self._log, clock=time.time, unique=unique)
        else:
            self._reporter.use(office)

    def chores(self) -> Iterator[Coroutine[Any, Any, None]]:
        """What goes on beside the mail."""
        yield self._tally.run()
        if self._reporter is not None:
            yield self._reporter.run()

    async def ask(self, wish: Wish) -> None:
        """Take the supervisor's word that reports are wanted now; who does not send writes down what it has."""
        await self._tally.flush()
        if self._reporter is not None:
            self._reporter.ask(wish)

    async def close(self) -> None:
        """Write down what was counted."""
        await self._tally.flush()
        self._ledger.close()


async def _enqueue(queue: Queue, message: NewMessage) -> str:
    queue_id = queue.new_id()
    await queue.submit(queue_id, message)
    return queue_id


def _client(resolver: Resolver) -> "Https":
    """Return who hands reports over: to others only, as the URL is a stranger's word."""
    from valija.dns.https import Https

    return Https(resolver, may_reach=_is_elsewhere)


def _is_elsewhere(address: str) -> bool:
    found = ip_address(address)
    return not (found.is_loopback or found.is_link_local or found.is_unspecified or found.is_multicast)
