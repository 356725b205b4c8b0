"""A small SQLite file beside the queue, for what is good to remember and can be done without.

    file = SideFile(data_dir / "mta-sts.sqlite3", identity=0x76616C73, schema="CREATE TABLE ...;", log=log)
    rows = await file.run(lambda connection: connection.execute("SELECT ...").fetchall())    # None where that failed
    file.close()

All workers, and commands, may have it open at once. It is made where it is missing, for its owner alone, and set aside
where it is damaged or somebody else's: whoever asks for it goes on without what was in it. What goes wrong is logged
once per cause, and never raised. It has an end at 256 MiB.

Each SideFile works in a thread of its own, one call after the other, so that the loop never waits for a disk.
"""

import asyncio
import contextlib
import fcntl
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import chain, count
from pathlib import Path
from time import sleep, time
from typing import Final, TypeVar

import apsw

from valija.logs import Log

T = TypeVar("T")

_BUSY_PATIENCE: Final = 5.0  # seconds to wait for another process
_BUSY_PAUSE: Final = 0.005
_MOST_PAGES: Final = 65_536  # of 4 KiB: what can be done without must not fill the disk
_COMPANIONS: Final = ("-wal", "-shm")


class Foreign(Exception):
    """The file is another program's."""


class SideFile:
    """A file at `path`. `identity` tells its kind (SQLite's application_id); `schema` is run where it is new."""

    def __init__(self, path: Path, *, identity: int, schema: str, log: Log) -> None:
        self._path = path
        self._identity = identity
        self._schema = schema
        self._log = log
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=path.stem)
        self._connection: apsw.Connection | None = None  # the thread's alone, while it lives
        self._complaints: set[str] = set()

    async def run(self, work: Callable[[apsw.Connection], T]) -> T | None:
        """Return what `work` makes of the file, in one transaction; None where the file is of no use now."""
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, self.run_here, work)
        except RuntimeError:  # closed
            return None

    def run_here(self, work: Callable[[apsw.Connection], T]) -> T | None:
        """Do the same in the calling thread: for commands, which have nothing else to do."""
        try:
            connection = self._opened()
            with _transaction(connection):
                return work(connection)
        except (apsw.CorruptError, apsw.NotADBError) as damage:
            self._leave()  # the next call looks at it closely, and sets it aside
            self._complain(damage)
        except (apsw.Error, OSError) as error:
            self._complain(error)
        return None

    def close(self) -> None:
        """Do what waits, and leave the file."""
        self._thread.shutdown(wait=True)
        self._leave()

    def _leave(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _complain(self, error: Exception) -> None:
        reason = f"{type(error).__name__}: {error}"
        if reason not in self._complaints and len(self._complaints) < 10:
            self._complaints.add(reason)
            self._log.error("file can't be used", path=str(self._path), reason=reason)

    # Opening

    def _opened(self) -> apsw.Connection:
        if self._connection is None:
            with _one_at_a_time(self._path.parent):
                try:
                    self._connection = self._open()
                except (apsw.CorruptError, apsw.NotADBError, Foreign) as damage:
                    kept = _set_aside(self._path)
                    self._log.error("file set aside", path=str(self._path), kept=str(kept), reason=str(damage))
                    self._connection = self._open()
        return self._connection

    def _open(self) -> apsw.Connection:
        with contextlib.suppress(FileExistsError):  # to open and close it would end the locks this process has on it
            os.close(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        connection = apsw.Connection(str(self._path), flags=apsw.SQLITE_OPEN_READWRITE)
        try:
            # Not SQLite's own time-out, by which two connections of one process can hold each other up until it ends;
            # a reload has two for a while.
            connection.set_busy_handler(_wait_for_others)
            self._put_in_order(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _put_in_order(self, connection: apsw.Connection) -> None:
        found = connection.pragma("application_id")
        if (state := connection.pragma("quick_check")) != "ok":
            raise apsw.CorruptError(str(state))
        if found == 0 and not connection.execute("SELECT count(*) FROM sqlite_schema").get:
            connection.pragma("journal_mode", "wal")
            with _transaction(connection):
                connection.execute(self._schema)
                connection.pragma("application_id", self._identity)
        elif found != self._identity:
            raise Foreign("it is another program's")
        connection.pragma("max_page_count", _MOST_PAGES)
        connection.pragma("synchronous", "normal")  # a power cut may take the last seconds, never the file


@contextlib.contextmanager
def _transaction(connection: apsw.Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:  # a full disk ends it by itself
            connection.execute("ROLLBACK")
        raise


def _wait_for_others(waits: int) -> bool:
    """Wait a little for a lock, in the file's own thread; False when it has been long enough."""
    sleep(_BUSY_PAUSE)
    return waits * _BUSY_PAUSE < _BUSY_PATIENCE


@contextlib.contextmanager
def _one_at_a_time(folder: Path) -> Iterator[None]:
    """Keep other processes from opening files of the folder in this way: two would set the same one aside."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _set_aside(path: Path) -> Path:
    mark = f".damaged-{time():.0f}"
    endings = chain([mark], (f"{mark}-{number}" for number in count(2)))
    kept = next(target for ending in endings if not (target := path.with_name(path.name + ending)).exists())
    for companion in _COMPANIONS:
        with contextlib.suppress(FileNotFoundError):
            path.with_name(path.name + companion).rename(kept.with_name(kept.name + companion))
    return path.rename(kept)
