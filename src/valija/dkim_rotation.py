"""DKIM keys in the first worker: successors made and activated in time, and old keys watched until they may go.

    rotation = DkimRotation(keys, log)
    rotation.use(config)                           # and again after a reload
    await rotation.run()                           # a chore that never ends

With `[dkim] rotate` a key that has signed for so long gets a successor; its record is told in the log, once a day, till
all name servers of the domain serve it, and then it signs. Whether that is configured or not, retired keys are watched:
as long as mail signed by them is queued their records are needed.

Known weakness: the record itself has to be published by a human, or by whoever reads the log.
"""

import asyncio
import time
from collections.abc import Callable
from functools import partial
from typing import Final

from valija.admin.dkim_publication import Found, look_up_all
from valija.admin.signed_mail import note_queued
from valija.config import Config
from valija.content.dkim_key import DkimKey, Kind, dns_record
from valija.dkim_keys import DkimKeys
from valija.dns.authorities import Authorities
from valija.dns.caching import CachingResolver
from valija.logs import Log
from valija.policy.dkim_stages import activated, due, may_go

LOOK_INTERVAL: Final = 3600.0  # seconds
_TELL_AGAIN: Final = 86_400.0


class DkimRotation:
    """The chore. `port` is where name servers listen; tests use another."""

    def __init__(self, keys: DkimKeys, log: Log, *, clock: Callable[[], float] = time.time, port: int = 53) -> None:
        self._keys = keys
        self._log = log
        self._clock = clock
        self._port = port
        self._told: dict[tuple[str, str, str], float] = {}

    def use(self, config: Config) -> None:
        """Go by a configuration from now on."""
        self._config = config

    async def run(self) -> None:
        """Look every hour."""
        while True:
            try:
                await self.look()
            except Exception:
                self._log.exception("DKIM keys not looked after")
            await asyncio.sleep(LOOK_INTERVAL)

    async def look(self) -> None:
        """Do what is due now."""
        now = self._clock()
        domains = await asyncio.to_thread(self._keys.domains)
        if not domains:
            return
        await asyncio.to_thread(note_queued, self._keys, self._config.queue_dir, now)
        await asyncio.to_thread(self._tell_what_may_go, domains, now)
        if self._config.dkim.rotate:
            await asyncio.to_thread(self._make_successors, domains, now)
            await self._activate(domains, now)

    def _tell_what_may_go(self, domains: list[str], now: float) -> None:
        for domain in domains:
            for stage in self._keys.retired(domain):
                if may_go(stage, now) and self._is_news(domain, stage.selector, "may go", now):
                    name = f"{stage.selector}._domainkey.{domain}"
                    self._log.info("DKIM record needed no more", name=name, remedy="take it out of the DNS")

    def _make_successors(self, domains: list[str], now: float) -> None:
        for domain in domains:
            stages = list(self._keys.stages(domain).values())
            for kind in due(stages, now, self._config.dkim.rotate):
                key = self._keys.create_dated(domain, _kind(kind), "waiting", now)
                self._log.info("DKIM key made", domain=domain, selector=key.selector, kind=kind)

    async def _activate(self, domains: list[str], now: float) -> None:
        """Have those keys sign that wait and that the whole world can have; tell of the others."""
        waiting = [domain for domain in domains if self._waits(domain)]
        if not waiting:
            return
        resolver = CachingResolver(self._config.dns, self._log)
        try:
            authorities = Authorities(resolver, port=self._port)
            found = await look_up_all(self._keys, waiting, authorities, now)
        finally:
            await resolver.close()
        for each in found:
            if each.stage.stage == "waiting":
                await asyncio.to_thread(self._settle, each, now)

    def _waits(self, domain: str) -> bool:
        return any(stage.stage == "waiting" for stage in self._keys.stages(domain).values())

    def _settle(self, found: Found, now: float) -> None:
        key = found.key
        if found.publication.is_complete:
            self._keys.change(key.domain, partial(activated, selector=key.selector, now=now))
            self._log.info("DKIM key signs", domain=key.domain, selector=key.selector, kind=key.kind)
        elif self._is_news(key.domain, key.selector, "waits", now):
            self._tell_to_publish(key, " / ".join(found.publication.lines()))

    def _tell_to_publish(self, key: DkimKey, found: str) -> None:
        name, value = dns_record(key)
        self._log.warning("DKIM key waits for its record", name=name, value=value, found=found)

    def _is_news(self, domain: str, selector: str, what: str, now: float) -> bool:
        """Whether this was not told within the day."""
        if now - self._told.get((domain, selector, what), float("-inf")) < _TELL_AGAIN:
            return False
        self._told[domain, selector, what] = now
        return True


def _kind(kind: str) -> Kind:
    return "rsa" if kind == "rsa" else "ed25519"
