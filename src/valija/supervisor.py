"""The supervisor: one process that binds, drops privileges, starts the workers and keeps them running.

    root: bind the sockets, read the key files  ->  become `user` for good  ->  fork one process per worker

It does no mail itself. It restarts a worker that dies (more slowly when it keeps dying), ends one that hangs
(valija/watchdog), hosts the control socket, passes SIGHUP and SIGTERM on, and leaves last, 30 seconds after SIGTERM at
most. The sockets stay open here, so that connections waiting for a dead worker are accepted by its successor.
"""

import asyncio
import contextlib
import gc
import os
import signal
import socket
import time
import traceback
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from valija import __version__
from valija.admin import by_hand
from valija.admin.certificates import CertificateStatus
from valija.admin.control import SOCKET_NAME, Arguments, ControlError, ControlServer, Handler
from valija.admin.destinations import Destinations, merged
from valija.admin.status import Status, WorkerStatus
from valija.channel import Channel
from valija.config import Config
from valija.deliver.census import Row
from valija.logs import Log, LogBuffer
from valija.questions import Questions
from valija.receive.doorkeeper import SharedArrivals
from valija.sockets import BoundSockets, close_all
from valija.systemd.notify import ServiceManager
from valija.tls_reports.options import Wish
from valija.watchdog import LOOK_INTERVAL, PATIENCE, Watch

STOP_PATIENCE: Final = 25.0  # seconds for the workers to end their sessions and attempts
LAST_CALL: Final = 29.0  # after which a worker that still runs is killed
LONGEST_PAUSE: Final = 30.0  # between two starts of a worker that keeps dying
STEADY: Final = 60.0  # seconds of life after which a worker's earlier deaths are forgotten
FIRST_START: Final = 30.0  # seconds for a worker to become ready
DESTINATIONS_PATIENCE: Final = 5.0  # seconds for all workers to tell how mail fares
STANDINGS_PATIENCE: Final = 1.0  # seconds for all workers to take up who is frozen; they look by themselves, too
CERTIFICATE_PATIENCE: Final = 10.0  # seconds for all workers to look at a new certificate

WorkerMain = Callable[[int, BoundSockets, SharedArrivals, socket.socket], int]


@dataclass
class _Worker:
    """One worker's place: its sockets stay, its process may change."""

    number: int
    sockets: BoundSockets
    pid: int = 0
    channel: Channel | None = None
    started: float = 0.0  # by the loop's clock
    since: float = 0.0  # by the calendar
    deaths: int = 0
    is_ready: asyncio.Event = field(default_factory=asyncio.Event)
    gone: asyncio.Event = field(default_factory=asyncio.Event)
    counts: dict[str, int] = field(default_factory=dict)
    lost_log_lines: int = 0
    certificates: list[str] = field(default_factory=list)  # fingerprints of what it serves, once it has told
    has_told: asyncio.Event = field(default_factory=asyncio.Event)
    refusal: str = ""
    is_condemned: bool = False  # it hangs, and was sent SIGKILL

    @property
    def status(self) -> WorkerStatus:
        """What is known of the worker."""
        return WorkerStatus(self.number, self.pid, self.since, self.deaths, **self.counts)


class Supervisor:
    """Keeps the workers running. `run_worker` is what a forked process does; it returns its exit status.

    `read_configuration` reads it anew, as text, and raises what is wrong with it; `in_force` tells which one holds, and
    `certificates` what serves. `handlers` are more commands for the control socket. `ready` is set when mail is taken.
    `manager` hears how it goes; a worker that is silent for `patience` seconds is ended. `lines` lead from each worker
    to the root helper, where there is one.
    """

    def __init__(
        self,
        config: Config,
        bound: list[BoundSockets],
        *,
        run_worker: WorkerMain,
        read_configuration: Callable[[], Awaitable[str]],
        in_force: Callable[[], Config],
        certificates: Callable[[], list[CertificateStatus]],
        handlers: Mapping[str, Handler],
        log: Log,
        buffer: LogBuffer,
        manager: ServiceManager,
        patience: float = PATIENCE,
        lines: Sequence[socket.socket] = (),
    ) -> None:
        self._buffer = buffer
        self._manager = manager
        self._look_interval = min(LOOK_INTERVAL, patience / 4, manager.watchdog / 4 or LOOK_INTERVAL)
        self._silence = Watch(patience, time.monotonic, self._look_interval)
        self._since = time.time()
        self._workers = [_Worker(number, sockets) for number, sockets in enumerate(bound)]
        self._arrivals = SharedArrivals(len(bound))
        self._run_worker = run_worker
        self._lines = lines
        self._reloading = asyncio.Lock()
        self._read_configuration = read_configuration
        self._in_force = in_force
        self._log = log
        self._certificates = certificates
        self._questions = Questions()
        self._stop = asyncio.Event()
        self.ready = asyncio.Event()
        self._failed = False
        own = {
            "reload": self._on_reload,
            by_hand.COMMAND: self._on_queue_changed,
            "status": self._on_status,
            "tls-report": self._on_tls_report,
            "standings": self._on_standings,
            "destinations": self._on_destinations,
        }
        self._control = ControlServer(config.data_dir / SOCKET_NAME, {**own, **handlers}, log)
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> int:
        """Run until told to stop; return the exit status."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)
        loop.add_signal_handler(signal.SIGHUP, lambda: self._keep(loop.create_task(self._reload())))
        gc.freeze()  # what is loaded now is shared by all workers: keep their collectors from touching it
        for worker in self._workers:
            await self._start(worker)
        if not await self._all_ready():
            self._failed = True
        else:
            await self._control.start()
            self._log.info("ready", pid=os.getpid(), workers=[worker.pid for worker in self._workers])
            self._manager.ready(self._in_words())
            watching = asyncio.create_task(self._watch_over())
            self.ready.set()
            await self._stop.wait()
            watching.cancel()
            await self._control.close()
        await self._end()
        return 1 if self._failed else 0

    @property
    def stopping(self) -> asyncio.Event:
        """Set when the server has been told to stop."""
        return self._stop

    # What the control socket asks

    async def reload(self) -> list[str]:
        """Pass a new configuration on; on any fault keep the old one. Returns the faults."""
        async with self._reloading:
            return await self._pass_on()

    async def _pass_on(self) -> list[str]:
        self._manager.reloading(time.monotonic_ns())
        try:
            text = await self._read_configuration()
        except Exception as error:
            faults = str(error).splitlines() or [type(error).__name__]
            for fault in faults:
                self._log.error("reload refused, the configuration in force stays", fault=fault)
            self._manager.ready(f"{self._in_words()}; reload refused: {faults[0]}")
            return faults
        self._tell({"do": "reload", "text": text})
        self._log.info("reloaded")
        self._manager.ready(self._in_words())
        return []

    async def _reload(self) -> None:
        await self.reload()

    async def _on_reload(self, _: Arguments) -> None:
        if faults := await self.reload():
            raise ControlError("\n".join(faults))

    async def _on_queue_changed(self, arguments: Arguments) -> None:
        by_hand.write(self._log, arguments)
        self._tell({"do": "queue-changed"})

    async def _on_destinations(self, arguments: Arguments) -> Destinations:
        channels = {worker.number: worker.channel for worker in self._workers if worker.channel is not None}
        question = {"do": "destinations", "name": str(arguments.get("of", ""))}
        answers = await self._questions.ask(channels, question, patience=DESTINATIONS_PATIENCE)
        parts = [msgspec.convert(rows, list[Row]) for rows in answers.values()]
        return merged(parts, silent=len(self._workers) - len(answers))

    async def _on_standings(self, _: Arguments) -> None:
        """Have every worker take up what the file of accounts says of logins now."""
        channels = {worker.number: worker.channel for worker in self._workers if worker.channel is not None}
        await self._questions.ask(channels, {"do": "standings"}, patience=STANDINGS_PATIENCE)

    async def _on_tls_report(self, arguments: Arguments) -> None:
        try:
            wish = msgspec.convert(dict(arguments), Wish)
        except msgspec.ValidationError as error:
            raise ControlError(f"no report: {error}") from None
        self._tell({"do": "tls-report", "domain": wish.domain, "day": wish.day})

    async def _on_status(self, _: Arguments) -> Status:
        config = self._in_force()
        return Status(
            version=__version__,
            pid=os.getpid(),
            since=self._since,
            hostname=config.hostname,
            listening={role: [str(each) for each in o.listen] for role, o in config.listeners.items()},
            workers=[worker.status for worker in self._workers],
            lost_log_lines=self._buffer.lost + sum(worker.lost_log_lines for worker in self._workers),
            certificates=self._certificates(),
        )

    def _in_words(self) -> str:
        return f"{self._in_force().hostname} serves, workers: {len(self._workers)}"

    async def certificates_of_workers(self) -> dict[int, list[str]]:
        """Have every worker look at its certificates now; return the fingerprints that each one serves.

        One that dies meanwhile is left out: it comes back with what lies on disk. One that is silent serves nothing.
        """
        asked = [worker for worker in self._workers if worker.channel is not None]
        for worker in asked:
            worker.certificates = []
            worker.has_told.clear()
        self._tell({"do": "certificates"})
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CERTIFICATE_PATIENCE):
                await asyncio.gather(*(worker.has_told.wait() for worker in asked))
        return {worker.number: worker.certificates for worker in asked if worker.channel is not None}

    def _tell(self, message: dict[str, Any]) -> None:
        for worker in self._workers:
            if worker.channel is not None:
                worker.channel.send(message)

    # Starting

    async def _start(self, worker: _Worker) -> None:
        ours, theirs = socket.socketpair()
        worker.is_ready.clear()
        worker.gone.clear()
        worker.is_condemned = False
        self._silence.expect(worker.number)
        worker.started = asyncio.get_running_loop().time()
        worker.since = time.time()
        keep = {each.fileno() for sockets in worker.sockets.values() for each in sockets} | {theirs.fileno()}
        keep |= {line.fileno() for line in self._lines[worker.number : worker.number + 1]}
        pid = os.fork()
        if pid == 0:
            _become_worker(lambda: self._run_worker(worker.number, worker.sockets, self._arrivals, theirs), keep)
        theirs.close()
        worker.pid = pid
        worker.channel = await Channel.over(ours)
        self._watch(worker, os.pidfd_open(pid))
        self._keep(asyncio.create_task(self._listen(worker, worker.channel)))

    async def _listen(self, worker: _Worker, channel: Channel) -> None:
        async for message in channel.messages():
            self._silence.heard(worker.number)
            match message.get("is"):
                case "ready":
                    worker.is_ready.set()
                case "refused":
                    worker.refusal = str(message.get("why"))
                case "status":
                    worker.counts = message["counts"]
                    worker.lost_log_lines = message["lost_log_lines"]
                case "frozen":
                    self._tell({"do": "standings", "ask": 0})
                case "answer":
                    self._questions.answered(worker.number, message)
                case "certificates":
                    worker.certificates = message["sha256"]
                    worker.has_told.set()
        await channel.close()

    async def _all_ready(self) -> bool:
        """Wait for every worker's word; False where one has died or is silent for too long."""
        everyone = asyncio.gather(*(worker.is_ready.wait() for worker in self._workers))
        ends = [asyncio.ensure_future(worker.gone.wait()) for worker in self._workers]
        stop = asyncio.ensure_future(self._stop.wait())
        waits: list[asyncio.Future[Any]] = [everyone, stop, *ends]
        await asyncio.wait(waits, timeout=FIRST_START, return_when=asyncio.FIRST_COMPLETED)
        ready = everyone.done() or stop.done()
        for wait in waits:
            wait.cancel()
        await asyncio.gather(*waits, return_exceptions=True)
        if not ready:
            for worker in self._workers:
                self._log.error("worker did not start", worker=worker.number, reason=worker.refusal or "see above")
        return ready

    # Ends

    async def _watch_over(self) -> None:
        """End workers that hang; where none does, tell the service manager. One that cannot be ended is its to end."""
        while True:
            await asyncio.sleep(self._look_interval)
            overdue = self._silence.overdue()
            for number, seconds in overdue.items():
                self._condemn(self._workers[number], seconds)
            if not overdue:
                self._manager.alive(time.monotonic())

    def _condemn(self, worker: _Worker, silence: float) -> None:
        if worker.is_condemned or not worker.pid:
            return
        worker.is_condemned = True
        self._log.error("worker killed, it hangs", worker=worker.number, pid=worker.pid, silent=f"{silence:.0f} s")
        os.kill(worker.pid, signal.SIGKILL)

    def _watch(self, worker: _Worker, pidfd: int) -> None:
        loop = asyncio.get_running_loop()

        def reap() -> None:
            loop.remove_reader(pidfd)
            os.close(pidfd)
            _, status = os.waitpid(worker.pid, 0)
            self._has_ended(worker, os.waitstatus_to_exitcode(status))

        loop.add_reader(pidfd, reap)

    def _has_ended(self, worker: _Worker, code: int) -> None:
        worker.gone.set()
        worker.has_told.set()
        worker.channel = None
        self._questions.gone(worker.number)
        self._silence.forget(worker.number)
        was_ready = worker.is_ready.is_set()
        if self._stop.is_set():
            return
        how = signal.Signals(-code).name if code < 0 else f"exit status {code}"
        self._log.error("worker died", worker=worker.number, pid=worker.pid, how=how)
        worker.pid = 0
        if not was_ready and worker.deaths == 0:
            return  # the first start: _all_ready gives up
        loop = asyncio.get_running_loop()
        lived = loop.time() - worker.started
        worker.deaths = 1 if lived > STEADY else worker.deaths + 1
        pause = 0.0 if worker.deaths == 1 else min(LONGEST_PAUSE, 0.1 * 2**worker.deaths)
        loop.call_later(pause, self._restart, worker)

    def _restart(self, worker: _Worker) -> None:
        if not self._stop.is_set():
            self._keep(asyncio.create_task(self._start(worker)))

    def _keep(self, task: asyncio.Task[None]) -> None:
        """Hold on to a task until it ends: the loop itself does not."""
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _end(self) -> None:
        self._stop.set()
        self._manager.stopping()
        self._log.info("stopping")
        running = [worker for worker in self._workers if worker.pid and not worker.gone.is_set()]
        close_all([worker.sockets for worker in self._workers])  # or clients would go on to join their backlogs
        self._tell({"do": "stop"})
        ends = [asyncio.create_task(worker.gone.wait()) for worker in running]
        if ends:
            _, late = await asyncio.wait(ends, timeout=LAST_CALL)
            if late:
                for worker in running:
                    if not worker.gone.is_set():
                        self._log.error("worker killed, it did not stop in time", worker=worker.number, pid=worker.pid)
                        os.kill(worker.pid, signal.SIGKILL)
                await asyncio.wait(late, timeout=5)
        self._log.info("stopped")


def _become_worker(run: Callable[[], int], keep: set[int]) -> None:
    """Leave the supervisor's loop behind in a forked process, run, and end the process. Never returns."""
    status = 1
    try:
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal's Ctrl-C reaches all; the supervisor decides
        asyncio._set_running_loop(None)
        asyncio.set_event_loop(None)
        _close_all_but(keep | {0, 1, 2})
        status = run()
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)


def _close_all_but(keep: set[int]) -> None:
    """Close what belongs to the supervisor or to other workers: their ends must close when they die."""
    for name in os.listdir("/proc/self/fd"):
        if int(name) not in keep:
            with contextlib.suppress(OSError):  # the listing's own
                os.close(int(name))
