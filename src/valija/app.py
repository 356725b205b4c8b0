"""One worker: the parts of valija/wiring, and their life from start to stop.

    run_worker(ground, number, sockets, table, line)      # in a forked process; returns its exit status

The supervisor speaks to it over a line (valija/channel). A reload builds what a new configuration changes and swaps it
in; what can't change while running (listeners, workers, data_dir, user) is named in the log.
"""

import asyncio
import gc
import random
import signal
import socket
import ssl
import time
from collections.abc import Awaitable, Coroutine, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import uvloop

from valija.auth.accounts import Accounts
from valija.auth.protection import LoginProtection, SharedLogins
from valija.auth.system_users import SystemUsers, is_system_user
from valija.capacity import session_limit
from valija.channel import Channel
from valija.conduct.shared import SharedConduct
from valija.config import MACHINE, Config, parse
from valija.deliver.health import Health
from valija.deliver.memory import Memory
from valija.dkim_keys import DkimKeys
from valija.dkim_rotation import DkimRotation
from valija.dns.mta_sts import LOOK_INTERVAL
from valija.examining import Examining
from valija.fixed_settings import fixed_settings_changed, with_fixed_settings
from valija.history.recorder import Recorder
from valija.hosting import Hosting
from valija.local_serving import build_maildrop
from valija.logs import Log, LogBuffer
from valija.mail.envelope import Envelope
from valija.mail.job import Job, Route
from valija.mail.origin import Role
from valija.mail.outcome import Outcome
from valija.queue.adoption import adopt
from valija.queue.paths import QueueBarred, QueueInUse
from valija.queue.scheduler import Scheduler
from valija.queue.sqlite import SqliteStore
from valija.queue.store import NewMessage
from valija.receive.doorkeeper import Doorkeeper, SharedArrivals
from valija.receive.listener import Listener
from valija.receive.local import LocalListener
from valija.receive.maildrop import Maildrop
from valija.recording import flushed_often, record
from valija.served_certificates import ServedCertificates
from valija.sockets import BoundSockets
from valija.supervisor import STOP_PATIENCE
from valija.tls.certificates import CertificateFaults
from valija.tls.sni import Certificates
from valija.tls_reporting import TlsReporting
from valija.tls_reports.options import Wish
from valija.warden.lent import LentFiles
from valija.warden.link import Link
from valija.watching import Voice, Watching
from valija.wiring import (
    Delivery,
    Household,
    build_backend,
    build_site,
    connection_share,
    jobs_to_one,
    report_content,
    set_pace,
)

CERTIFICATE_INTERVAL: Final = 5.0  # seconds between two looks at the certificate's files
STATUS_INTERVAL: Final = 1.0
_OLD_BACKEND_STAYS: Final = 300.0  # seconds after a reload that names another one


@dataclass(frozen=True, slots=True)
class Ground:
    """What the supervisor made before it forked, for every worker to stand on."""

    config: Config
    certificates: Certificates
    log: Log
    buffer: LogBuffer
    logins: SharedLogins
    conduct: SharedConduct
    lent: LentFiles | None = None
    lines: tuple[socket.socket, ...] = ()
    may_ask_pam: bool = False
    """Where there is a root helper: what it reads for others, each worker's way to it, and whether it judges logins."""


def run_worker(
    ground: Ground, number: int, sockets: BoundSockets, arrivals: SharedArrivals, line: socket.socket
) -> int:
    """Be worker `number` until told to stop; return the exit status of its process."""
    recorder = record(ground.config, f"worker-{number}", ground.log, ground.buffer)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(Worker(ground, number, sockets, arrivals, recorder).run(line))
    except Exception:
        ground.log.exception("worker fault", worker=number)
        return 1
    finally:
        ground.buffer.flush()


class Worker:
    """One process that receives, queues and delivers."""

    def __init__(
        self, ground: Ground, number: int, sockets: BoundSockets, arrivals: SharedArrivals, recorder: Recorder
    ) -> None:
        self._recorder = recorder
        self._config = ground.config
        self._log = ground.log
        self._buffer = ground.buffer
        self._number = number
        self._sockets = sockets
        self._doorkeeper = Doorkeeper(arrivals, number)
        self._protection = LoginProtection(ground.logins, number, ground.config.known_networks_file, ground.log)
        self._conduct = ground.conduct
        self._stop = asyncio.Event()
        self._status = 0
        self._listeners: dict[Role, Listener] = {}
        self._retired: set[asyncio.Task[None]] = set()
        self._ground = ground
        self._helper: Link | None = None

    async def run(self, line: socket.socket) -> int:
        """Start, serve, stop; return the exit status."""
        channel = self._channel = await Channel.over(line)
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, self._stop.set)
        with flushed_often(self._buffer):
            if why := await self._refusal():
                channel.send({"is": "refused", "why": why})
                await channel.close()
                return 1
            channel.send({"is": "ready"})
            chores = [asyncio.create_task(chore) for chore in self._chores(channel)]
            await self._stop.wait()
            await self._end()
            for chore in chores:
                chore.cancel()
        await channel.close()
        return self._status

    def _chores(self, channel: Channel) -> Iterator[Coroutine[Any, Any, None]]:
        """What goes on beside the mail."""
        yield self._listen(channel)
        yield self._look_after(channel)
        yield self._mind_damage()
        yield from self._reporting.chores()
        yield from self._watching.chores()
        if self._number == 0:
            yield self._adopt()
            if maildrop := self._maildrop():
                yield maildrop.watch()
            yield self._refresh_policies()
            yield self._rotation.run()

    # Start and end

    async def _refusal(self) -> str:
        """Start; return why that can't be, "" if it can."""
        try:
            await self._start()
        except (QueueBarred, QueueInUse) as refusal:
            self._log.error("worker cannot start", worker=self._number, reason=str(refusal))
            return str(refusal)
        except Exception as error:
            self._log.exception("worker cannot start", worker=self._number)
            return f"{type(error).__name__}: {error}"
        return ""

    async def _start(self) -> None:
        config, log = self._config, self._log
        lines, number = self._ground.lines, self._number
        self._helper = Link(lines[number], log) if lines else None
        self._served = ServedCertificates(
            self._ground.certificates, config, log, lent=self._ground.lent, helper=self._helper
        )
        await self._served.refresh()  # the supervisor's certificates may be some seconds old
        self._store = SqliteStore.open(
            config.queue_dir, self._number, clock=time.time, log=log, next_hop=self._next_hop
        )
        accounts = Accounts(config.accounts_file, create=False, delimiter=config.recipient_delimiter)
        signer = DkimKeys(config.dkim_dir, complain=lambda problem: log.error("DKIM key unusable", reason=problem))
        self._health = Health()
        self._memory = Memory(connection_share(config))
        self._reporting = TlsReporting(self._number, config, log)
        self._delivery = self._delivery_by(config)
        self._scheduler = Scheduler(
            self._store,
            deliver=self._deliver,
            route=self._route,
            make_report=self._make_report,
            policy=config.queue,
            clock=time.time,
            random=random.random,
            log=log,
            address_report=self._address_report,
        )
        self._scheduler.limit_destinations(jobs_to_one(config))
        users = SystemUsers(is_system_user, time.monotonic)
        set_pace(config, self._protection)
        backend = await build_backend(config, accounts, users, self._protection, judge=self._helper, log=log)
        self._watching = Watching(self._number, self._conduct, config, self._store, log)
        self._house = Household(
            accounts, users, backend, signer, self._scheduler, self._store.spool, log, self._watching.overseer
        )
        self._watch(config)
        self._reporting.use(config, signer.for_domain, self._scheduler)
        self._rotation = DkimRotation(signer, log)
        self._rotation.use(config)
        self._delivering = asyncio.create_task(self._scheduler.run())
        self._examining = Examining(config, log)
        for role in config.listeners:
            await self._listen_as(role)
        if "local" in self._sockets or config.local.maildrop:
            await self._listen_locally()
        gc.freeze()  # what stands now lives as long as the process
        gc.set_threshold(50_000, 20, 20)

    def _delivery_by(self, config: Config) -> Delivery:
        return Delivery(
            config,
            self._store.spool,
            self._log,
            note_tls=self._reporting.note,
            health=self._health,
            memory=self._memory,
        )

    def _watch(self, config: Config) -> None:
        """Have users' conduct watched by what a configuration says."""
        voice = Voice(self._scheduler, self._address_report, self._announce_freeze)
        self._watching.use(config, self._house.signer.for_domain, voice)

    def _announce_freeze(self) -> None:
        self._channel.send({"is": "frozen"})

    async def _listen_as(self, role: Role) -> None:
        site = build_site(self._config, role, self._house, self._examining.checks_for(role))
        limit = self._session_limit(role)
        listener = Listener(site, partial(self._context_for, role), self._doorkeeper, limit)
        await listener.serve(self._sockets[role])
        self._listeners[role] = listener

    async def _listen_locally(self) -> None:
        site = build_site(self._config, "local", self._house, self._examining.checks_for("local"))
        limit = self._session_limit("local")
        self._listeners["local"] = listener = LocalListener(site, self._doorkeeper, limit)
        await listener.serve(self._sockets.get("local", ()))

    def _session_limit(self, role: Role) -> int:
        own_and_filters = 1 + len(self._config.milters.of(role))
        return session_limit(role, self._config.workers, own_and_filters)

    def _context_for(self, role: Role) -> ssl.SSLContext:
        return self._served.context_for(role)

    async def _end(self) -> None:
        """Stop taking mail, let what runs end, and leave the rest in the queue."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + STOP_PATIENCE
        await asyncio.gather(*(listener.stop(STOP_PATIENCE / 2) for listener in self._listeners.values()))
        await self._scheduler.stop(max(1.0, deadline - loop.time()))
        await self._delivery.close(max(1.0, deadline - loop.time()))
        await self._reporting.close()
        await self._watching.close()
        await self._examining.close()
        await self._store.close()
        self._house.backend.close()
        if self._helper is not None:
            self._helper.close()
        self._protection.close()
        self._house.accounts.close()

    # What the scheduler asks; the answers change with the configuration

    def _deliver(self, job: Job) -> Awaitable[list[Outcome]]:
        if job.origin.login and job.origin.role != "local":
            return self._watching.delivered(job, self._delivery.deliver)
        return self._delivery.deliver(job)

    def _route(self, envelope: Envelope, address: str) -> Route:
        return self._delivery.route(envelope, address)

    def _next_hop(self, envelope: Envelope, address: str) -> str:
        return self._delivery.route(envelope, address).lane

    def _address_report(self, report: NewMessage) -> NewMessage:
        house = self._house
        return Hosting(self._config, house.accounts, house.users, self._log).address(report)

    def _make_report(self, *facts: Any) -> Any:
        return report_content(self._config, *facts)

    def _maildrop(self) -> Maildrop | None:
        return build_maildrop(
            self._config.local,
            site=lambda: self._listeners["local"].site,
            report=self._make_report,
            lifetime=lambda: self._config.queue.lifetime,
            log=self._log,
        )

    # What the supervisor says

    async def _listen(self, channel: Channel) -> None:
        async for message in channel.messages():
            match message.get("do"):
                case "stop":
                    break
                case "reload":
                    await self._reload(str(message["text"]))
                case "queue-changed":
                    self._memory.look_again()
                    self._delivery.look_again()
                    self._store.poke()
                case "destinations":
                    rows = self._delivery.census(message["name"])
                    channel.send({"is": "answer", "to": message["ask"], "answer": rows})
                case "standings":
                    self._watching.overseer.read_standings()
                    channel.send({"is": "answer", "to": message["ask"], "answer": True})
                case "tls-report":
                    await self._reporting.ask(Wish(message["domain"], message["day"]))
                case "certificates":
                    await self._served.refresh()
                    channel.send({"is": "certificates", "sha256": self._served.fingerprints()})
        self._stop.set()  # told to, or the supervisor is gone

    async def _reload(self, text: str) -> None:
        """Live by a new configuration, or, whatever is wrong with it, by the one in force."""
        try:
            await self._take_up(text)
        except CertificateFaults as faults:
            self._log.error("reload refused, the configuration in force stays", reason=str(faults))
        except Exception:
            self._log.exception("reload failed, the configuration in force stays")

    async def _take_up(self, text: str) -> None:
        """Swap a new configuration in. Sessions and attempts that run go on under the old one."""
        written = self._parsed(text)
        config = with_fixed_settings(written, self._config)
        served = await self._served.under(config)
        for setting in fixed_settings_changed(self._config, written):
            self._log.warning("this change needs a restart", setting=setting)
        if config.sasl != self._config.sasl:
            await self._change_backend(config)
        set_pace(config, self._protection)
        retired = asyncio.create_task(self._delivery.retire())
        self._retired.add(retired)
        retired.add_done_callback(self._retired.discard)
        self._config, self._served = config, served
        self._recorder.use(config.history, config.workers + 1)
        self._memory.use(connection_share(config))
        self._delivery = self._delivery_by(config)
        self._reporting.use(config, self._house.signer.for_domain, self._scheduler)
        self._rotation.use(config)
        self._watch(config)
        self._scheduler.policy = config.queue
        self._scheduler.limit_destinations(jobs_to_one(config))
        self._change_examining(config)
        for role, listener in self._listeners.items():
            listener.use(build_site(config, role, self._house, self._examining.checks_for(role)))

    def _parsed(self, text: str) -> Config:
        source = Path(self._config.source)
        return parse(text, self._config.source, source.absolute().parent, MACHINE)

    async def _change_backend(self, config: Config) -> None:
        """Ask somebody else about logins; sessions that are open may go on asking the old one for a while."""
        former = self._house.backend
        house = self._house
        backend = await build_backend(
            config, house.accounts, house.users, self._protection, judge=self._helper, log=self._log
        )
        self._house = replace(self._house, backend=backend)
        self._log.info("logins are judged by another", type=config.sasl.type)
        asyncio.get_running_loop().call_later(_OLD_BACKEND_STAYS, former.close)

    def _change_examining(self, config: Config) -> None:
        """Have new sessions examined by a configuration's checks; those that are open keep theirs for a while."""
        former, self._examining = self._examining, Examining(config, self._log)

        def close() -> None:
            closing = asyncio.create_task(former.close())
            self._retired.add(closing)
            closing.add_done_callback(self._retired.discard)

        asyncio.get_running_loop().call_later(_OLD_BACKEND_STAYS, close)

    async def _mind_damage(self) -> None:
        """Where the queue's file turns out to be damaged, end: the worker that comes next sets it aside."""
        reason = await self._store.damaged()
        self._log.error("queue file is damaged", worker=self._number, reason=reason, remedy="the worker starts anew")
        self._status = 1
        self._stop.set()

    async def _adopt(self) -> None:
        """Take over what workers left behind that are no longer configured."""
        try:
            await adopt(self._store, self._config.queue_dir, self._config.workers, time.time(), self._log)
        except Exception:
            self._log.exception("queue not adopted")

    async def _refresh_policies(self) -> None:
        """Keep the MTA-STS policies of the domains that mail goes to fresh, for all workers."""
        while True:
            try:
                await self._delivery.refresh_policies()
            except Exception:
                self._log.exception("MTA-STS policies not refreshed")
            await asyncio.sleep(LOOK_INTERVAL)

    async def _look_after(self, channel: Channel) -> None:
        """Now and then: take up a renewed certificate, and tell the supervisor how things are."""
        loop = asyncio.get_running_loop()
        look = loop.time() + CERTIFICATE_INTERVAL
        while True:
            channel.send({"is": "status", "counts": self._counts(), "lost_log_lines": self._buffer.lost})
            await asyncio.sleep(STATUS_INTERVAL)
            self._recorder.look()
            if loop.time() >= look:
                look = loop.time() + CERTIFICATE_INTERVAL
                await self._served.refresh()

    def _counts(self) -> dict[str, int]:
        sessions = sum(listener.session_count for listener in self._listeners.values())
        recovery = self._store.recovery
        return {
            "sessions": sessions,
            "throttled": self._protection.refused,
            "found": recovery.messages,
            "unfinished": recovery.unfinished,
            "incomplete": len(recovery.incomplete),
        }
