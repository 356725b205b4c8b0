"""The root helper as the server sees it: when it is needed, its start, and its end.

    helper = start(config, path, account, log)       # as root, before anything is bound; None: not needed
    helper.lines[number]                             # worker `number`'s way to it, for a Link
    helper.watch(loop)                               # says so when it is gone
    helper.close()

It is there for logins by PAM, and where the service's user can't read what root read at the start: the configuration, a
certificate, a key. A reload that needs it first, needs a restart.
"""

import asyncio
import os
import select
import signal
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final, NoReturn

from valija.auth.pam_service import ServiceMissing, find_service, service_text
from valija.config import Config
from valija.logs import Log, LogBuffer
from valija.privileges import Account, PrivilegeError, first_barred, first_changeable
from valija.warden import pam_call, process
from valija.warden.chores import Source, files_of, is_roots
from valija.warden.confinement import JUDGING, READING, confine

NAME: Final = "valija-root"  # in lists of processes
GONE: Final = "the root helper is gone"
REMEDY: Final = "restart valija: only a start as root brings it back"
_PATIENCE: Final = 20.0  # seconds for its start
_READY: Final = b"ready"
_LONGEST_REFUSAL: Final = 4096


class RootHelper:
    """The helper that was started. `lines` lead to it from each worker, `line` from the supervisor."""

    def __init__(self, pid: int, line: socket.socket, lines: list[socket.socket], log: Log, *, judges: bool) -> None:
        self.pid = pid
        self.line = line
        self.lines = lines
        self.judges_logins = judges
        self._log = log
        self._pidfd = os.pidfd_open(pid)

    def watch(self, loop: asyncio.AbstractEventLoop) -> None:
        """Say so when it dies, and leave no zombie."""
        loop.add_reader(self._pidfd, self._reap, loop)

    def _reap(self, loop: asyncio.AbstractEventLoop) -> None:
        loop.remove_reader(self._pidfd)
        _, status = os.waitpid(self.pid, 0)
        code = os.waitstatus_to_exitcode(status)
        how = signal.Signals(-code).name if code < 0 else f"exit status {code}"
        affected = "files that only root may read are not read again"
        if self.judges_logins:
            affected = f"every login gets 454, and {affected}"
        self._log.critical(GONE, pid=self.pid, how=how, so=affected, remedy=REMEDY)
        self.pid = 0

    def close(self) -> None:
        """Let it go; it ends by itself."""
        for line in (self.line, *self.lines):
            line.close()
        if self.pid:
            if select.select([self._pidfd], [], [], 5)[0]:
                os.waitpid(self.pid, 0)
            self.pid = 0
        os.close(self._pidfd)


def needs(config: Config, path: Path | None, account: Account) -> Iterator[str]:
    """Yield why the helper is needed: each file that the service's user can't read, and logins by PAM."""
    if config.sasl.type == "pam":
        yield '[sasl] type = "pam"'
    named = [each for files in files_of(config) for each in files]
    for file in (*([str(path)] if path else []), *named):
        if not account.is_root and first_barred(Path(file), account):
            yield file


def start(config: Config, path: Path | None, account: Account, log: Log, buffer: LogBuffer) -> RootHelper | None:
    """Start the helper where it is needed. `path` is the configuration's file. Raises PrivilegeError."""
    why = list(needs(config, path, account))
    if not why:
        return None
    source = Source(path.absolute(), str(path)) if path else Source(None)
    if source.path and not is_roots(source, account):
        _warn_of_an_open_file(source.path, account, log)
    service = pam_service(config, log) if config.sasl.type == "pam" else ""
    duty = process.Duty(source, account, files_of(config), service)
    return _fork(duty, config.workers, log, buffer)


def pam_service(config: Config, log: Log) -> str:
    """Return the PAM service that judges logins. Raises PrivilegeError, with the remedy, where there is none."""
    try:
        service = find_service(config.sasl.pam_service)
    except ServiceMissing as missing:
        raise PrivilegeError(f'[sasl] pam_service = "{config.sasl.pam_service}": {missing}') from None
    if service.stands_in:
        lines = service_text().strip().replace("\n", "; ")
        remedy = f"write /etc/pam.d/{config.sasl.pam_service} with these lines: {lines}"
        log.warning("PAM has no service of valija's own", service=service.name, remedy=remedy)
    return service.name


def _warn_of_an_open_file(path: Path, account: Account, log: Log) -> None:
    changeable = first_changeable(path, account)
    what = "what it names from now on is not read as root, since the service's user could have written it"
    log.warning("configuration", warning=f"{path}: user {account.name!r} can change {changeable}: {what}")


def _fork(duty: process.Duty, workers: int, log: Log, buffer: LogBuffer) -> RootHelper:
    pairs = [socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET) for _ in range(1 + workers)]
    supervisor = os.pidfd_open(os.getpid())
    pid = os.fork()
    if pid == 0:
        _become(duty, [theirs for _, theirs in pairs], supervisor, log, buffer)
    os.close(supervisor)
    for ours, theirs in pairs:
        theirs.close()
        ours.setblocking(False)
    lines = [ours for ours, _ in pairs]
    helper = RootHelper(pid, lines[0], lines[1:], log, judges=bool(duty.pam_service))
    try:
        _await_word(helper.line)
    except PrivilegeError:
        helper.close()
        raise
    return helper


def _await_word(line: socket.socket) -> None:
    """Wait until it is at work. Raises PrivilegeError where it can't be."""
    said = line.recv(_LONGEST_REFUSAL) if select.select([line], [], [], _PATIENCE)[0] else b""
    if said != _READY:
        raise PrivilegeError(said.decode(errors="replace") or "the root helper did not start")


def _become(duty: process.Duty, lines: list[socket.socket], supervisor: int, log: Log, buffer: LogBuffer) -> NoReturn:
    """Be the helper, in a forked process."""
    try:
        process.ignore_signals()
        if duty.pam_service:
            pam_call.load()
        confine(
            JUDGING if duty.pam_service else READING,
            keep={supervisor, *(line.fileno() for line in lines)},
            name=NAME,
        )
    except Exception as error:
        with suppress(OSError):
            lines[0].send(f"the root helper cannot start: {error}".encode()[:_LONGEST_REFUSAL])
        os._exit(1)
    lines[0].send(_READY)
    try:
        process.run(duty, lines, supervisor, log)
    finally:
        buffer.flush()
        os._exit(1)
