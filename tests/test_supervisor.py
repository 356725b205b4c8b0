"""The supervisor with processes that are no mail servers: how it treats those that hang."""

import asyncio
import os
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from tests.systemd.listening_manager import Manager
from valija.config import Config, load
from valija.logs import LogBuffer, build_log
from valija.receive.doorkeeper import SharedArrivals
from valija.sockets import BoundSockets
from valija.supervisor import Supervisor
from valija.systemd.notify import ServiceManager

PATIENCE = 0.6  # seconds


def say(line: socket.socket, **message: object) -> None:
    line.sendall(msgspec.json.encode(message) + b"\n")


def chatty(_: int, __: BoundSockets, ___: SharedArrivals, line: socket.socket) -> int:
    """Be a worker that is well, until it is told to stop."""
    say(line, **{"is": "ready"})
    line.settimeout(0.05)
    while True:
        say(line, **{"is": "status", "counts": {"sessions": 0, "throttled": 0}, "lost_log_lines": 0})
        try:
            if b'"stop"' in line.recv(4096):
                return 0
        except TimeoutError:
            continue


async def _nothing() -> str:
    """An empty configuration."""
    return ""


class Setting:
    """A supervisor's surroundings; its log lies in a file."""

    def __init__(self, folder: Path, address: str = "") -> None:
        configuration = folder / "valija.toml"
        configuration.write_text(f'hostname = "mail.example.org"\ndata_dir = "{folder}"\n')
        self.config: Config = load(configuration)
        self.log_file = folder / "log"
        self.descriptor = os.open(self.log_file, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        buffer = LogBuffer(self.descriptor)
        self.supervisor = Supervisor(
            self.config,
            [{}, {}],
            run_worker=chatty,
            read_configuration=_nothing,
            in_force=lambda: self.config,
            certificates=list,
            handlers={},
            log=build_log("info", "text", buffer),
            buffer=buffer,
            manager=ServiceManager(address, watchdog=0.4),
            patience=PATIENCE,
        )

    def workers(self) -> list[int]:
        return [worker.pid for worker in self.supervisor._workers if worker.pid]

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(10):
            while not condition():
                await asyncio.sleep(0.01)


def test_a_worker_that_hangs_is_ended_and_replaced(tmp_path: Path) -> None:
    setting = Setting(tmp_path)

    async def story() -> None:
        running = asyncio.create_task(setting.supervisor.run())
        await setting.supervisor.ready.wait()
        before = set(setting.workers())
        hung = min(before)
        started = time.monotonic()
        os.kill(hung, signal.SIGSTOP)
        await setting.until(lambda: hung not in setting.workers() and len(setting.workers()) == 2)
        assert time.monotonic() - started >= PATIENCE * 0.9
        assert before - {hung} < set(setting.workers()), "the other one was left in peace"
        os.kill(os.getpid(), signal.SIGTERM)
        assert await running == 0

    asyncio.run(story())
    told = setting.log_file.read_text()
    assert told.count("worker killed, it hangs") == 1
    assert "how=SIGKILL" in told


def test_workers_that_are_well_live(tmp_path: Path) -> None:
    setting = Setting(tmp_path)

    async def story() -> None:
        running = asyncio.create_task(setting.supervisor.run())
        await setting.supervisor.ready.wait()
        before = setting.workers()
        await asyncio.sleep(3 * PATIENCE)  # that nothing happens takes time
        assert setting.workers() == before
        os.kill(os.getpid(), signal.SIGTERM)
        assert await running == 0

    asyncio.run(story())


def test_the_watchdog_is_told_while_all_are_well(tmp_path: Path) -> None:
    manager = Manager(f"@valija-supervisor-{os.getpid()}")
    setting = Setting(tmp_path, manager.address)

    async def story() -> None:
        running = asyncio.create_task(setting.supervisor.run())
        await setting.supervisor.ready.wait()
        await asyncio.to_thread(manager.hear_watchdog)
        # A worker that cannot be ended, as one is that waits for a dead disk: the service manager has to act.
        stuck = min(setting.workers())
        setting.supervisor._condemn = lambda worker, silence: None  # type: ignore[method-assign]  # SIGKILL always works here
        os.kill(stuck, signal.SIGSTOP)
        await asyncio.to_thread(manager.wait_for_silence, 3 * PATIENCE)
        os.kill(stuck, signal.SIGCONT)
        await asyncio.to_thread(manager.hear_watchdog)
        os.kill(os.getpid(), signal.SIGTERM)
        assert await running == 0

    asyncio.run(story())
    manager.socket.close()
