"""How the parts are put together under one configuration: the site of each listener, and the ways out.

Everything here is built anew by a reload and swapped in whole. What lives longer (the queue, the accounts, the
listeners) is handed in by the worker.
"""

import asyncio
import contextlib
import os
import random
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from valija.auth.accounts import Accounts
from valija.auth.backend import AuthBackend
from valija.auth.chain import ChainedBackend
from valija.auth.dovecot import DovecotBackend
from valija.auth.external import ExternalBackend
from valija.auth.identities import LoginOf, account_logins, system_logins
from valija.auth.local import AccountsBackend
from valija.auth.pam import Judge, Nobody, PamBackend
from valija.auth.password import Passwords
from valija.auth.protection import LoginProtection, account_name, system_name
from valija.auth.system_users import SystemUsers
from valija.config import Config
from valija.content.bounce import report
from valija.content.reported import Reported, ReportKind
from valija.deliver.agent import DeliveryAgent
from valija.deliver.census import Row
from valija.deliver.health import Health
from valija.deliver.hosts import Surroundings, no_sts_policy
from valija.deliver.lmtp import LmtpAgent
from valija.deliver.login import Logins
from valija.deliver.maildir import MaildirAgent
from valija.deliver.memory import Memory, share_of
from valija.deliver.refusing import RefusingAgent
from valija.deliver.remote import RemoteAgent
from valija.dkim_keys import DkimKeys
from valija.dns.caching import CachingResolver
from valija.dns.mta_sts import StsPolicies
from valija.dns.mta_sts_file import StsFile
from valija.hosting import Hosting
from valija.local_serving import LISTENING, as_local
from valija.logs import Log
from valija.machine import gateways, is_local_address
from valija.mail.content import Content
from valija.mail.job import Job, QueueId, Transport
from valija.mail.origin import Role
from valija.mail.outcome import Outcome
from valija.policy.login_pace import PaceLimits, SharedByMany
from valija.policy.ourselves import Ourselves
from valija.policy.relay import RelayFacts
from valija.policy.tls_report import TlsResult
from valija.queue.options import SchedulerOptions
from valija.queue.spool import Spool
from valija.queue.store import NewMessage
from valija.receive.checks import NO_CHECKS, Checks
from valija.receive.site import Conduct, Queue, Site

MINIMUM_FREE: Final = 8 * 1024 * 1024  # octets of disk kept free for the queue's own work
MINIMUM_INODES: Final = 64
_DOVECOT_PATIENCE: Final = 2.0  # seconds
_LOOK_AGAIN: Final = 1.0  # seconds between two looks at the disk


@dataclass(frozen=True, slots=True)
class Household:
    """What belongs to the worker and outlives reloads."""

    accounts: Accounts
    users: SystemUsers
    backend: AuthBackend
    signer: DkimKeys
    queue: Queue
    spool: Spool
    log: Log
    conduct: Conduct | None = None


def build_site(config: Config, role: Role, house: Household, checks: Checks = NO_CHECKS) -> Site:
    """Return the surroundings of the sessions of one role."""
    hosting = Hosting(config, house.accounts, house.users, house.log)
    directory = hosting.directory
    facts = RelayFacts(config.networks, frozenset(config.domains), _postmaster_domain(config), directory.exists)
    site = Site(
        hostname=config.hostname,
        role=role,
        options=LISTENING if role == "local" else config.listeners[role],
        size_limit=config.message_size_limit,
        relay=facts,
        directory=directory,
        backend=house.backend,
        queue=house.queue,
        spool=house.spool,
        signer=house.signer,
        has_room=Disk(config.data_dir, time.monotonic).has_room,
        clock=time.time,
        unique=partial(secrets.token_hex, 16),
        log=house.log,
        checks=hosting.checked(checks),
        conduct=house.conduct if role != "smtpd" else None,
        delimiter=config.recipient_delimiter,
        return_path=hosting.return_path,
        seals=config.forwarding.arc,
        is_shared=_shared_by_many(config),
    )
    return as_local(site, config.local, house.users) if role == "local" else site


async def build_backend(
    config: Config,
    accounts: Accounts,
    users: SystemUsers,
    protection: LoginProtection,
    *,
    judge: Judge | None,
    log: Log,
) -> AuthBackend:
    """Return who tells whether a login is right; waits for it a little, so that the first EHLO can name mechanisms.

    `judge` is who may ask PAM, None where nobody may.
    """
    of_system = system_logins(accounts, users, frozenset(config.domains))
    if config.sasl.type == "dovecot":
        dovecot = DovecotBackend(config.sasl.path, log)
        await dovecot.connected(_DOVECOT_PATIENCE)
        # Dovecot has a memory of its own (auth_cache_size); ours would hide that it is away, or has barred somebody.
        return protection.guard(_with_others(dovecot, config, of_system, log), name=system_name, remembers=False)
    if config.sasl.type == "pam":
        pam = PamBackend(judge or Nobody(), config.domains, log)
        return protection.guard(_with_others(pam, config, of_system, log), name=system_name, remembers=True)
    threads = max(1, (os.cpu_count() or 1) // config.workers)
    passwords = Passwords(threads, good=protection.good)
    embedded = AccountsBackend(accounts, passwords, binds=config.sasl.scram_channel_binding)
    beside = _with_others(embedded, config, account_logins(accounts), log)
    # Its memory is bound to the stored hash.
    return protection.guard(beside, name=account_name, remembers=False, places=threads)


def _with_others(backend: AuthBackend, config: Config, login_of: LoginOf, log: Log) -> AuthBackend:
    """Return a back end and what is configured beside it: tokens, client certificates."""
    others: list[AuthBackend] = []
    if config.sasl.oauth.sources:
        from valija.auth.oauth import oauth_backend  # with its HTTP client, which few need and is slow to import

        others.append(oauth_backend(config.sasl.oauth, login_of, log))
    if config.sasl.external_ca_file:
        others.append(ExternalBackend(login_of))
    return ChainedBackend(backend, *others) if others else backend


def set_pace(config: Config, protection: LoginProtection) -> None:
    """Have logins live by a configuration's limits."""
    protection.use(PaceLimits(config.sasl.failed_login_limit), _shared_by_many(config))


def _shared_by_many(config: Config) -> Callable[[str], bool]:
    return SharedByMany(config.networks, [gateway.address for gateway in gateways()]).covers


def _postmaster_domain(config: Config) -> str:
    return config.domains[0] if config.domains else config.hostname


class Disk:
    """The room left where the queue lies, looked at once a second at most."""

    def __init__(self, folder: Path, clock: Callable[[], float]) -> None:
        self._folder = folder
        self._clock = clock
        self._looked = float("-inf")
        self._free = 0

    def has_room(self, size: int) -> bool:
        """Whether a content of `size` octets can be taken (0: of unknown size)."""
        now = self._clock()
        if now - self._looked >= _LOOK_AGAIN:
            self._looked = now
            self._free = self._measure()
        return self._free >= size

    def _measure(self) -> int:
        found = os.statvfs(self._folder)
        out_of_inodes = found.f_files and found.f_favail < MINIMUM_INODES
        return -1 if out_of_inodes else found.f_bavail * found.f_frsize - MINIMUM_FREE


def connection_share(config: Config) -> int:
    """Return how many connections to one operator a worker may have, of those that the whole server may."""
    return share_of(config.smtp.destination_concurrency_limit, config.workers)


def jobs_to_one(config: Config) -> int:
    """Return how many jobs to one next hop a worker has under way: enough for all its connections there."""
    return max(SchedulerOptions().destination_jobs, connection_share(config))


class Delivery:
    """The ways out: routes, and the agent of each transport."""

    def __init__(
        self,
        config: Config,
        spool: Spool,
        log: Log,
        *,
        note_tls: Callable[[TlsResult], None] = lambda _: None,
        health: Health | None = None,
        memory: Memory | None = None,
    ) -> None:
        ourselves = Ourselves(config.hostname, config.endpoints, is_local_address)
        self._resolver = CachingResolver(config.dns, log)
        self._policies = _sts_policies(config, self._resolver, note_tls, log)
        self._logins = Logins(config.logins, config.tokens_dir, log) if config.logins else None
        ask = Surroundings(
            self._resolver,
            random.shuffle,
            ourselves.is_own_name,
            ourselves.is_own_listener,
            sts_policy=self._policies.policy if self._policies else no_sts_policy,
            note_tls=note_tls,
            logins=self._logins,
            health=health or Health(),
        )
        self._remote = RemoteAgent(config.smtp, ask, config.hostname, read=spool.read, log=log, memory=memory)
        maildir = MaildirAgent(
            config.data_dir / "mail",
            config.hostname,
            read=spool.read,
            log=log,
            clock=time.time,
            delimiter=config.recipient_delimiter,
        )
        self._agents: dict[Transport, DeliveryAgent] = {
            "error": RefusingAgent(log),
            "remote": self._remote,
            "maildir": maildir,
        }
        if place := config.mailbox.lmtp:
            self._agents["lmtp"] = LmtpAgent(place, config.hostname, read=spool.read, log=log, keep_postmaster=maildir)
        self._running = 0
        self._retired = False
        self._idle = asyncio.Event()
        self.route = config.router.route

    async def deliver(self, job: Job) -> list[Outcome]:
        """Return one outcome for each recipient of the job."""
        self._running += 1
        try:
            return await self._agents[job.route.transport].deliver(job)
        finally:
            self._running -= 1
            if self._retired and not self._running:
                self._idle.set()

    def look_again(self) -> None:
        """Have logins that were refused tried at once, as somebody asks for it."""
        if self._logins:
            self._logins.look_again()

    def census(self, name: str) -> list[Row]:
        """Return how mail fares at each next hop, or at the one called `name`."""
        return self._remote.census(name)

    async def retire(self) -> None:
        """Let the attempts that run end, and close; others have taken over."""
        self._retired = True
        if self._running:
            await self._idle.wait()
        await self.close()

    async def close(self, patience: float | None = None) -> None:
        """End what is under way; a transaction that takes longer than `patience` seconds is not waited for."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience):
                await asyncio.gather(*(agent.close() for agent in self._agents.values()))
        if self._policies:
            await self._policies.close()
        await self._resolver.close()

    async def refresh_policies(self) -> None:
        """Fetch again the MTA-STS policies that are due for it; called now and then in one of the workers."""
        if self._policies:
            await self._policies.refresh()


def _sts_policies(
    config: Config, resolver: CachingResolver, note: Callable[[TlsResult], None], log: Log
) -> StsPolicies | None:
    """Return who knows the policies of domains, None where none are asked for."""
    if not config.smtp.mta_sts or config.smtp.tls_security_level == "none":
        return None
    file = StsFile(config.mta_sts_file, log)
    return StsPolicies(resolver, file, note=note, log=log, is_ours=frozenset(config.domains).__contains__)


def report_content(
    config: Config, kind: ReportKind, queue_id: QueueId, message: NewMessage, reported: Sequence[Reported]
) -> Content:
    """Return the content of a report on a message."""
    content = message.content
    return Content.of(
        report(
            kind,
            message.envelope,
            content.head,
            message.origin.received_at,
            queue_id,
            reported,
            hostname=config.hostname,
            now=time.time(),
            unique=secrets.token_hex(16),
            full_content=content.head if not content.body_file else None,
            options=config.reports,
        )
    )
