"""From a sound configuration to a running server: what happens once, in this order, and may refuse.

As root the sockets are bound and the key files read; then privileges are dropped for good, and everything else (the
data folder's lock, the self-signed certificate, the workers) is done by the service's user. A refusal is one line per
fault on standard error, and exit status 1.
"""

import asyncio
import contextlib
import fcntl
import os
import resource
import socket
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final

import msgspec

from valija import local_places
from valija.app import CERTIFICATE_INTERVAL, Ground, run_worker
from valija.auth import known_networks
from valija.auth.database import AccountsUnusable, open_database
from valija.auth.protection import SharedLogins
from valija.capacity import WANTED_DESCRIPTORS
from valija.conduct.shared import SharedConduct
from valija.config import MACHINE, Config, find, parse, read_text, trust_fault
from valija.dkim_keys import DkimKeys
from valija.faults import points as faults
from valija.fixed_settings import with_fixed_settings
from valija.history.keeper import Keeper
from valija.https_service import HttpsService
from valija.logs import Log, LogBuffer, build_log, take_in_libraries
from valija.mail.endpoint import Endpoint
from valija.privileges import (
    Account,
    PrivilegeError,
    check_data_dir,
    drop,
    find_account,
    keep_to_ourselves,
    prepare_data_dir,
    running_as_root,
    unreadable_code,
)
from valija.queue.paths import QueuePaths
from valija.receive.doorkeeper import SharedArrivals
from valija.recording import flushed_often, hides_lines, record
from valija.renewing import Renewing
from valija.sockets import BoundSockets, PortTaken, bind_all, bind_alone, bind_challenges, close_all
from valija.supervisor import Supervisor
from valija.systemd.activation import handed_sockets, place_sockets
from valija.systemd.notify import ServiceManager
from valija.tls.certificates import DIRECT, CertificateFaults
from valija.tls.pair import CertificatePair, check_pair, read_pair
from valija.tls.sni import Certificates, alone
from valija.warden.confinement import forbid_new_rights, give_up_all
from valija.warden.lent import LentFiles
from valija.warden.link import Link
from valija.warden.start import RootHelper
from valija.warden.start import start as start_helper

LOCK_NAME: Final = "lock"


class ConfigurationRefused(Exception):
    """The configuration that was read again is not sound; a line per fault."""


class Refusal(Exception):
    """The server can't start; one line per fault, each with its remedy."""


def serve(config: Config, path: Path | None) -> int:
    """Run the server in the foreground until SIGTERM; return the exit status."""
    buffer = LogBuffer(2, config.log.level)
    level = "info" if config.history.is_on and hides_lines(config) else config.log.level
    log = build_log(level, config.log.format, buffer)
    take_in_libraries(log)
    try:
        with contextlib.ExitStack() as held:
            return _serve(config, path, log, buffer, held)
    except (Refusal, PrivilegeError, PortTaken, CertificateFaults) as refusal:
        for line in str(refusal).splitlines():
            print(f"valija: {line}", file=sys.stderr)
        return 1
    finally:
        buffer.flush()


def _serve(config: Config, path: Path | None, log: Log, buffer: LogBuffer, held: contextlib.ExitStack) -> int:
    if faults.COMPLAINT:
        raise Refusal(faults.COMPLAINT)
    for fault in faults.armed_in_words():
        log.warning("fails on purpose, as a test wants it", fault=fault, remedy=f"unset {faults.VARIABLE}")
    for warning in config.warnings:
        log.warning("configuration", warning=str(warning))
    for address in config.networks.exceptions:
        log.warning("a gateway inside mynetworks is not trusted", address=address)
    _raise_descriptor_limit()
    account = _service_account(config, log)
    pairs = _read_files(config)
    helper = _start_helper(config, path or find(), account, log, buffer)
    if helper:
        held.callback(helper.close)
    prepare_data_dir(config.data_dir, account or _this_user())
    local_places.prepare(config.local, account or _this_user(), log)
    config, handed = _take_handed(config, log)
    bound = bind_all({role: options.listen for role, options in config.listeners.items()}, config.workers, handed)
    held.callback(close_all, bound)
    if local := local_places.listen(config.local, log):
        held.callback(local_places.remove, config.local, local)
        for sockets in bound:
            sockets["local"] = [local]
    challenge_sockets = _bind_challenges(config, log)
    https_sockets = _bind_https(config, log)
    if account:
        drop(account)
    else:
        give_up_all()
    forbid_new_rights()
    keep_to_ourselves()
    _check_readable(config)
    check_data_dir(config.data_dir, _queue_files(config))
    held.enter_context(_locked(config.data_dir))
    lent = LentFiles(log) if helper else None
    certificates = Certificates(
        config.tls, config.hostname, config.data_dir, log, time.time, read=pairs, files=lent or DIRECT
    )
    certificates.load()
    _check_data(config)
    known_networks.prepare(config.known_networks_file, time.time(), log)
    conduct = SharedConduct(config.workers)
    conduct.load(config.account_use_file, log)
    ground = Ground(config, certificates, log, buffer, SharedLogins(config.workers), conduct)
    if helper:
        lines, may_ask_pam = tuple(helper.lines), helper.judges_logins
        ground = replace(ground, lent=lent, lines=lines, may_ask_pam=may_ask_pam)
    serving = _supervise(path or find(), bound, challenge_sockets, https_sockets, helper=helper, ground=ground)
    return asyncio.run(serving)


def _start_helper(
    config: Config, path: Path | None, account: Account | None, log: Log, buffer: LogBuffer
) -> RootHelper | None:
    """Start the root helper, where root's rights will be missed. Raises PrivilegeError, Refusal."""
    if account is not None:
        return start_helper(config, path, account, log, buffer)
    if config.sasl.type == "pam":
        raise Refusal('[sasl] type = "pam": only root may ask PAM of others; start valija as root, it becomes `user`')
    return None


def _take_handed(config: Config, log: Log) -> tuple[Config, dict[tuple[str, Endpoint], int]]:
    """Return where the server listens with the sockets that systemd has bound for it, and their descriptors."""
    handed = handed_sockets(os.environ, os.getpid())
    placed = place_sockets(handed, {role: options.listen for role, options in config.listeners.items()})
    for each in placed.unused:
        with contextlib.suppress(OSError):  # there may be nothing at all under that number
            os.close(each.descriptor)
        remedy = "take it out of the socket unit, or name its address in a listen of the configuration"
        if each.endpoint in config.tls.challenge_listen:
            remedy = "take it out of the socket unit: the server binds it itself, and listens only while it needs to"
        log.warning("a socket that was passed in is for no listener", socket=str(each), remedy=remedy)
    listeners = {}
    for role, options in config.listeners.items():
        if placed.listen[role] != options.listen:
            listen = [str(endpoint) for endpoint in placed.listen[role]]
            log.warning("listening where sockets were passed in", setting=f"[{role}] listen", listen=listen)
        listeners[str(role)] = msgspec.structs.replace(options, listen=placed.listen[role])
    sockets = {key: each.descriptor for key, each in placed.sockets.items()}
    return msgspec.structs.replace(config, **listeners), sockets


def _bind_challenges(config: Config, log: Log) -> list[socket.socket]:
    """Bind where an authority will ask. A port that another program has keeps no mail waiting: orders will fail."""
    setting = "acme_alpn_listen" if config.tls.acme_challenge == "tls-alpn-01" else "acme_http_listen"
    try:
        return bind_challenges(setting, config.tls.challenge_listen)
    except PortTaken as problem:
        remedy = "or prove the names by acme_webroot or dns-01"
        log.error("certificates cannot be ordered", reason=f"{problem}; {remedy}")
        return []


def _bind_https(config: Config, log: Log) -> list[socket.socket]:
    """Bind where HTTPS is to be served. A port that another program has keeps no mail waiting."""
    try:
        return bind_alone("[https] listen", config.https.listen)
    except PortTaken as problem:
        log.error("HTTPS is not served", reason=str(problem))
        return []


def _queue_files(config: Config) -> Iterator[Path]:
    """Yield what the workers' queues are made of."""
    for worker in range(config.workers):
        yield from QueuePaths(config.queue_dir, worker).parts


def _check_readable(config: Config) -> None:
    """See that the service's user can read what root could and nobody reads again for it. Raises Refusal."""
    trusted = config.smtp.tls_ca_file
    if trusted and (fault := trust_fault(trusted)):
        raise Refusal(f'[smtp] tls_ca_file = "{trusted}": {"; ".join(fault)}')


def _check_data(config: Config) -> None:
    """Make the file of accounts where it is missing. Raises Refusal for what lies in the data folder and is damaged."""
    problems: list[str] = []
    try:
        open_database(config.accounts_file).close()
    except AccountsUnusable as unusable:
        problems.append(str(unusable))
    DkimKeys(config.dkim_dir, complain=problems.append).check()
    if problems:
        raise Refusal("\n".join(problems))


async def _supervise(
    path: Path | None,
    bound: list[BoundSockets],
    challenge_sockets: list[socket.socket],
    https_sockets: list[socket.socket],
    *,
    helper: RootHelper | None,
    ground: Ground,
) -> int:
    config = ground.config
    link = Link(helper.line, ground.log) if helper else None
    if helper:
        helper.watch(asyncio.get_running_loop())
    standing = Standing(ground, path, link)
    renewing = Renewing(standing, config.tls.challenge_listen, challenge_sockets, ground.log)
    https = HttpsService(standing, https_sockets, ground.log)

    async def read() -> str:
        text = await standing.read()
        renewing.use_what_is_in_force()
        return text

    supervisor = Supervisor(
        config,
        bound,
        run_worker=standing.run_worker,
        read_configuration=read,
        in_force=standing.config,
        certificates=renewing.statuses,
        handlers=renewing.handlers,
        log=ground.log,
        buffer=ground.buffer,
        manager=ServiceManager.from_environment(os.environ, os.getpid()),
        lines=ground.lines,
    )
    keeper = Keeper(
        config.history_dir,
        record(config, "server", ground.log, ground.buffer),
        in_force=lambda: standing.config().history,
        workers=config.workers,
        log=ground.log,
    )
    with flushed_often(ground.buffer):
        running = (standing.keep_fresh(), renewing.run(supervisor), https.run(supervisor), keeper.run())
        chores = [asyncio.create_task(chore) for chore in running]
        try:
            return await supervisor.run()
        finally:
            for chore in chores:
                chore.cancel()
            await asyncio.gather(*chores, return_exceptions=True)
            if link:
                link.close()


class Standing:
    """What the next worker starts with: the configuration and the certificate in force, not those of the start.

    A worker that dies after a reload must not bring back what the reload took away.
    """

    def __init__(self, ground: Ground, path: Path | None, helper: Link | None = None) -> None:
        self._ground = ground
        self._path = path.absolute() if path else None
        self._helper = helper

    def run_worker(self, number: int, sockets: BoundSockets, arrivals: SharedArrivals, line: socket.socket) -> int:
        """Be a worker, in a forked process; return its exit status."""
        return run_worker(self._ground, number, sockets, arrivals, line)

    def config(self) -> Config:
        """Return the configuration in force."""
        return self._ground.config

    def certificates(self) -> Certificates:
        """Return the certificates in force."""
        return self._ground.certificates

    async def read(self) -> str:
        """Return the configuration's text, read again, once it is known to be sound. Raises what is wrong with it."""
        ground = self._ground
        text = await self._text()
        folder = self._path.parent if self._path else Path.cwd()
        config = with_fixed_settings(parse(text, ground.config.source, folder, MACHINE), ground.config)
        self._refuse_pam_without_root(config)
        certificates = ground.certificates
        if (config.tls, config.hostname) != (ground.config.tls, ground.config.hostname):
            await self._renew_lent()
            files = ground.lent or DIRECT
            certificates = Certificates(
                config.tls, config.hostname, config.data_dir, ground.log, time.time, files=files
            )
            certificates.load()
        self._ground = replace(ground, config=config, certificates=certificates)
        return text

    async def _text(self) -> str:
        if self._helper is None or not self._helper.is_open:
            return read_text(self._path) if self._path else ""
        read = await self._helper.configuration()
        if read.faults:
            raise ConfigurationRefused(read.faults)
        return read.text

    def _refuse_pam_without_root(self, config: Config) -> None:
        if config.sasl.type == "pam" and not self._ground.may_ask_pam:
            what = "a reload can't begin with it, since only root may ask PAM of others"
            raise ConfigurationRefused(f'[sasl] type = "pam": {what}; restart valija as root')

    async def _renew_lent(self) -> None:
        if self._ground.lent is not None and self._helper is not None:
            await self._ground.lent.renew(self._helper)

    async def keep_fresh(self) -> None:
        """Take up a renewed certificate, as the workers do."""
        while True:
            await self._renew_lent()
            self._ground.certificates.refresh()
            await asyncio.sleep(CERTIFICATE_INTERVAL)


def _service_account(config: Config, log: Log) -> Account | None:
    """Return who the server will be, None where it was not started as root and stays who it is."""
    if not running_as_root():
        return None
    account = find_account(config.user)
    if account.is_root:
        log.warning("running as root, because the configuration says so", remedy='user = "valija"')
    elif reason := unreadable_code(account):
        raise Refusal(reason)
    return account


def _this_user() -> Account:
    return Account("", os.geteuid(), os.getegid(), ())


def _read_files(config: Config) -> dict[int, CertificatePair]:
    """Read the certificates' files while root's are readable; return them by their place. Raises CertificateFaults."""
    pairs: dict[int, CertificatePair] = {}
    for place, wanted in enumerate(config.tls.wanted(config.hostname)):
        if wanted.certificate != "files":
            continue
        pairs[place], faults = read_pair(wanted.cert_file, wanted.key_file)
        faults += check_pair(pairs[place], wanted.names[0], time.time())
        if any(fault.is_fatal for fault in faults):
            raise CertificateFaults(faults, alone(config.tls, wanted))
    return pairs


@contextlib.contextmanager
def _locked(data_dir: Path) -> Iterator[None]:
    """Make sure that no other server works in the data folder, as long as this one lives."""
    descriptor = os.open(data_dir / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise Refusal(f"another valija is running on {data_dir}: stop it, or choose another data_dir") from None
    try:
        yield
    finally:
        os.close(descriptor)


def _raise_descriptor_limit() -> None:
    """Ask for room for many sessions; what the system allows is what the listeners will count with."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = WANTED_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(WANTED_DESCRIPTORS, hard)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
