"""What users do with their accounts, watched in a worker (see valija/conduct).

watching = Watching(number, shared, config, store, log)
watching.use(config, keys.for_domain, Voice(queue, address, announce))     # and again after a reload
site = build_site(..., conduct=watching.overseer)
outcomes = await watching.delivered(job, deliver)
for chore in watching.chores(): ...
watching.overseer.read_standings()             # when any worker has frozen an account
await watching.close()
"""

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

from valija.auth.database import AccountsUnusable
from valija.auth.standings import Freeze, Standings
from valija.conduct.ledger import Ledger
from valija.conduct.overseer import STOPS_FOR, Overseer
from valija.conduct.shared import SharedConduct
from valija.conduct.stopping import Office, hold_mail, notices, stopped
from valija.config import Config
from valija.content.dkim_key import DkimKey
from valija.logs import Log
from valija.mail.job import Job
from valija.mail.outcome import Outcome
from valija.queue.store import NewMessage, QueueStore
from valija.receive.site import Queue

HOLD_AGAIN: Final = 5.0  # seconds: what was being committed when the mail was held is there by then

Announce = Callable[[], None]
"""Has every worker look who is frozen now."""


@dataclass(frozen=True, slots=True)
class Voice:
    """How people and other workers are told of a freeze. `address` follows the aliases of a message of ours."""

    queue: Queue
    address: Callable[[NewMessage], NewMessage]
    announce: Announce


class Watching:
    """One worker's part. `number` is the worker's."""

    def __init__(self, number: int, shared: SharedConduct, config: Config, store: QueueStore, log: Log) -> None:
        ledger = Ledger(config.account_use_file, log)
        self.overseer = Overseer(shared, number, accounts_file=config.accounts_file, ledger=ledger, log=log)
        self._accounts_file = config.accounts_file
        self._store = store
        self._log = log
        self._tasks: set[asyncio.Task[None]] = set()

    def use(self, config: Config, keys: Callable[[str], Sequence[DkimKey]], voice: Voice) -> None:
        """Go by a configuration from now on."""
        domain = config.domains[0] if config.domains else config.hostname
        postmaster = f"postmaster@{domain}"
        language = config.reports.language
        office = Office(
            postmaster=postmaster,
            hostname=config.hostname,
            domain=domain,
            language=config.reports.fallback if language == "auto" else language,
            keys=keys,
            contact=partial(_contact, self._accounts_file, self._log),
        )
        self.overseer.on_freeze = partial(self._tell, office, voice)
        self.overseer.on_frozen = self._begin_to_hold
        self.overseer.use(config.conduct, postmaster)

    async def delivered(self, job: Job, deliver: Callable[[Job], Awaitable[list[Outcome]]]) -> list[Outcome]:
        """Have a user's message delivered, unless its login was frozen a moment ago, and count what became of it."""
        if self.overseer.stops(job):
            return stopped(job)
        outcomes = await deliver(job)
        self.overseer.ended(job, outcomes)
        return outcomes

    def chores(self) -> Iterator[Coroutine[Any, Any, None]]:
        """What goes on beside the mail."""
        yield self.overseer.run()

    async def close(self) -> None:
        """Write down what was counted."""
        for task in self._tasks:
            task.cancel()
        await self.overseer.close()

    def _begin_to_hold(self, login: str, freeze: Freeze) -> None:
        """Have what a login has in this worker's queue held, unless that was done long ago."""
        if time.time() < freeze.at + STOPS_FOR:
            holding = asyncio.create_task(self._hold_twice(login, freeze.began))
            self._tasks.add(holding)
            holding.add_done_callback(self._tasks.discard)

    async def _hold_twice(self, login: str, began: float) -> None:
        await self._hold(login, began)
        await asyncio.sleep(HOLD_AGAIN)
        if self.overseer.is_frozen(login):
            await self._hold(login, began)

    async def _hold(self, login: str, began: float) -> None:
        try:
            for queue_id in await hold_mail(self._store, login, began):
                self._log.info("held", queue_id=queue_id, login=login, reason="the account is frozen")
        except Exception:
            self._log.exception("mail of a frozen account not held", login=login)

    async def _tell(self, office: Office, voice: Voice, login: str, freeze: Freeze) -> None:
        """Tell all workers, the owner and the postmaster of an account that was just frozen here."""
        voice.announce()
        for notice in notices(login, freeze, office, now=time.time(), unique=partial(secrets.token_hex, 16)):
            queue_id, message = voice.queue.new_id(), voice.address(notice)
            await voice.queue.submit(queue_id, message)
            recipients = [recipient.address for recipient in message.envelope.recipients]
            self._log.info("notice queued", queue_id=queue_id, recipients=recipients, about=login)


def _contact(accounts_file: Path, log: Log, login: str) -> str | None:
    standings = Standings(accounts_file)
    try:
        return standings.contacts().get(login)
    except AccountsUnusable as unusable:
        log.error("contact can't be read", login=login, reason=str(unusable))
        return None
    finally:
        standings.close()
