"""Keeps the history within its bounds: what is too old or too much goes, what is closed is packed. In the supervisor.

    keeper = Keeper(folder, recorder, in_force=lambda: config.history, workers=2, log=log)
    await keeper.run()                    # beside all else; what packs is waited for nowhere

    plan = planned(files, options, now=now, processes=processes_of(2))      # purely

Files go whole: by age when their last line is too old, by size the oldest first. Those that a process writes to stay,
but for the ones of workers that are no more.
"""

import asyncio
import contextlib
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import msgspec

from valija.history.options import HistoryOptions
from valija.history.recorder import LEAST_FREE, Recorder
from valija.history.segments import Segment
from valija.logs import Log

LOOK_INTERVAL: Final = 5.0  # seconds
_SEALING_PATIENCE: Final = 600.0  # seconds: with what CPU is left it may take long
_LAST_WORDS: Final = 3  # lines of that process
_MOST_TROUBLES: Final = 10  # told, each of them once
_DRAFT_AGE: Final = 3600.0  # seconds after which a draft is what a crash left


class File(msgspec.Struct, frozen=True):
    """A file of the folder: when its last line was written, and its size."""

    segment: Segment
    ends: float
    size: int


class Plan(msgspec.Struct, frozen=True):
    """What is to be done: files to remove, files to close by another name, and whether there is anything to pack."""

    remove: tuple[Path, ...] = ()
    close: tuple[Segment, ...] = ()
    seals: bool = False


def planned(
    files: Sequence[File], options: HistoryOptions, *, now: float, processes: Sequence[str], wanting: int = 0
) -> Plan:
    """Return what is to be done. `processes` are those that may be writing; `wanting` octets the disk is short of."""
    if not options.is_on:
        return Plan(remove=tuple(file.segment.path for file in files))
    written = [file for file in files if file.segment.kind == "open" and file.segment.source in processes]
    left = sorted((file for file in files if file not in written), key=lambda file: file.ends)
    room = options.size_limit - sum(file.size for file in written)
    excess = max(sum(file.size for file in left) - room, wanting)
    remove = []
    for file in left:
        if excess > 0 or file.ends < now - options.keep:
            remove.append(file.segment.path)
            excess -= file.size
    kept = [file.segment for file in left if file.segment.path not in remove]
    orphans = tuple(segment for segment in kept if segment.kind == "open")
    return Plan(tuple(remove), orphans, seals=any(segment.kind != "sealed" for segment in kept))


class Keeper:
    """The supervisor's part. `in_force` tells the options, `workers` how many there are; `recorder` is its own."""

    def __init__(
        self, folder: Path, recorder: Recorder, *, in_force: Callable[[], HistoryOptions], workers: int, log: Log
    ) -> None:
        self._folder = folder
        self._recorder = recorder
        self._in_force = in_force
        self._processes = processes_of(workers)
        self._log = log
        self._troubles: set[str] = set()
        self._sealing: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Look again and again, until cancelled."""
        try:
            while True:
                self._look_and_tell()
                await asyncio.sleep(LOOK_INTERVAL)
        finally:
            if self._sealing is not None:
                self._sealing.cancel()
                await asyncio.gather(self._sealing, return_exceptions=True)

    def _look_and_tell(self) -> None:
        try:
            self.look()
        except Exception:
            self._log.exception("history not looked after")

    def look(self) -> asyncio.Task[None] | None:
        """Do once what is to be done now; return the packing that goes on, if any does."""
        options = self._in_force()
        self._recorder.use(options, len(self._processes))
        self._recorder.look()
        files, drafts = self._files()
        now = time.time()
        plan = planned(files, options, now=now, processes=self._processes, wanting=self._wanting(files))
        for path in (*plan.remove, *(path for path, since in drafts if since < now - _DRAFT_AGE)):
            with contextlib.suppress(FileNotFoundError):
                path.unlink()
        for orphan in plan.close:
            orphan.path.rename(self._folder / f"{orphan.source}-{int(now * 1000):013}.log")
        if plan.seals and (self._sealing is None or self._sealing.done()):
            self._sealing = asyncio.create_task(self._seal())
        return self._sealing

    def _files(self) -> tuple[list[File], list[tuple[Path, float]]]:
        files, drafts = [], []
        with contextlib.suppress(FileNotFoundError):
            for entry in os.scandir(self._folder):
                path = Path(entry.path)
                with contextlib.suppress(FileNotFoundError):  # packed meanwhile
                    found = entry.stat(follow_symlinks=False)
                    if (segment := Segment.of(path)) is not None:
                        files.append(File(segment, found.st_mtime, found.st_blocks * 512))
                    elif path.suffix == ".draft":
                        drafts.append((path, found.st_mtime))
        return files, drafts

    def _wanting(self, files: Sequence[File]) -> int:
        """Return how many octets the disk is short of: history gives way before mail does."""
        if not files:
            return 0
        found = os.statvfs(self._folder)
        return max(0, LEAST_FREE * 2 - found.f_bavail * found.f_frsize)

    async def _seal(self) -> None:
        try:
            for trouble in await self._troubles_of_sealing():
                if trouble not in self._troubles and len(self._troubles) < _MOST_TROUBLES:
                    self._troubles.add(trouble)
                    self._log.error("history not packed", reason=trouble)
        except (OSError, TimeoutError) as error:
            self._log.error("history not packed", reason=f"{type(error).__name__}: {error}")

    async def _troubles_of_sealing(self) -> list[str]:
        """Have it done by a process of its own; return what it has to say."""
        command = [sys.executable, "-P", "-m", "valija.history.sealing", str(self._folder)]
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            async with asyncio.timeout(_SEALING_PATIENCE):
                said, _ = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        return said.decode("utf-8", "backslashreplace").splitlines()[-_LAST_WORDS:]


def processes_of(workers: int) -> tuple[str, ...]:
    """Return the names of the processes that keep a history."""
    return "server", *(f"worker-{number}" for number in range(workers))
