"""The networks where each user has logged in before: kept in a file, so that a restart makes no strangers of users.

    prepare(path, time.time(), log)                # in the supervisor: a damaged file is set aside
    known = KnownNetworks(path, recent, log, time.time)     # in a worker
    known.saw("alice@example.org", "192.0.2.0/24")          # a right login
    await known.holds("alice@example.org", "192.0.2.0/24")  # True, in every worker, and after a restart

The file (SQLite, in WAL mode) is touched in a thread of its own, never in the loop's: written when a network is new or
was last noted half a day ago, read for networks that were not seen since. It holds what the log holds too (who was
where), in clear, for its owner alone. A network is forgotten after KEPT_FOR; of one login's the newest KEPT_AT_MOST
stay.

Whatever is wrong with the file is said once, and the server does without: users are known again as they log in.
"""

import asyncio
import contextlib
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import chain, count
from pathlib import Path
from typing import Final

import apsw

from valija.auth.digests import DigestTable
from valija.logs import Log

KEPT_FOR: Final = 90 * 86_400.0  # seconds since the last login from there
KEPT_AT_MOST: Final = 50  # networks of one login
RECENT: Final = 86_400.0  # seconds a login is taken as noted, at most
_APPLICATION_ID: Final = 0x76616C6E  # "valn"
_BUSY_PATIENCE: Final = 2000  # milliseconds to wait for another worker
_SCHEMA: Final = f"""
    CREATE TABLE IF NOT EXISTS known (
        login TEXT NOT NULL, network TEXT NOT NULL, seen INTEGER NOT NULL, PRIMARY KEY (login, network)
    ) WITHOUT ROWID;
    PRAGMA application_id = {_APPLICATION_ID};
"""
_NOTE: Final = "INSERT INTO known VALUES (?1, ?2, ?3) ON CONFLICT DO UPDATE SET seen = ?3"
_TRIM: Final = """
    DELETE FROM known WHERE login = ?1 AND network NOT IN
        (SELECT network FROM known WHERE login = ?1 ORDER BY seen DESC LIMIT ?2)"""
_HOLDS: Final = "SELECT EXISTS (SELECT 1 FROM known WHERE login = ? AND network = ? AND seen >= ?)"


class Foreign(Exception):
    """The file is somebody else's."""


def prepare(path: Path, now: float, log: Log) -> None:
    """Make the file where it is missing, and set a damaged one aside; `now` in epoch seconds. Never raises."""
    try:
        try:
            _put_in_order(path, now)
        except (apsw.CorruptError, apsw.NotADBError, Foreign) as damage:
            kept = _set_aside(path, now)
            log.error("file of known networks set aside", path=str(path), kept=str(kept), reason=str(damage))
            _put_in_order(path, now)
    except (apsw.Error, OSError) as error:
        log.error("networks of logins are not remembered", path=str(path), reason=str(error))


def _put_in_order(path: Path, now: float) -> None:
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    with contextlib.closing(_connect(path)) as connection:
        if connection.pragma("application_id") not in (_APPLICATION_ID, 0):
            raise Foreign("it is another program's")
        if (found := connection.pragma("quick_check")) != "ok":
            raise apsw.CorruptError(str(found))
        if connection.pragma("application_id") == 0:
            if connection.execute("SELECT count(*) FROM sqlite_schema").get:
                raise Foreign("it is another program's")
            connection.pragma("journal_mode", "wal")
            connection.execute(_SCHEMA)
        connection.execute("DELETE FROM known WHERE seen < ?", (int(now - KEPT_FOR),))


def _set_aside(path: Path, now: float) -> Path:
    endings = chain([f".damaged-{now:.0f}"], (f".damaged-{now:.0f}-{number}" for number in count(2)))
    kept = next(target for ending in endings if not (target := path.with_name(path.name + ending)).exists())
    for companion in ("-wal", "-shm"):
        with contextlib.suppress(FileNotFoundError):
            path.with_name(path.name + companion).rename(kept.with_name(kept.name + companion))
    return path.rename(kept)


def _connect(path: Path) -> apsw.Connection:
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)
    connection.set_busy_timeout(_BUSY_PATIENCE)
    connection.transaction_mode = "IMMEDIATE"
    connection.pragma("synchronous", "normal")  # what a crash takes away, the next login brings back
    return connection


class KnownNetworks:
    """One worker's way to the file. `recent` is shared by all workers; `clock` gives epoch seconds."""

    def __init__(self, path: Path, recent: DigestTable, log: Log, clock: Callable[[], float]) -> None:
        self._path = path
        self._recent = recent
        self._log = log
        self._clock = clock
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="known networks")
        self._connection: apsw.Connection | None = None  # the thread's alone, while it lives
        self._complained = False

    def is_noted(self, login: str, network: str) -> bool:
        """Whether the login was right from the network within RECENT. Needs no file."""
        return self._recent.holds(login, network)

    async def holds(self, login: str, network: str) -> bool:
        """Whether the login was right from the network before; False where the file can't tell."""
        if self.is_noted(login, network):
            return True
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, self._look_up, login, network)
        except (apsw.Error, OSError, RuntimeError) as error:  # RuntimeError: closed
            self._complain(error)
            return False

    def saw(self, login: str, network: str) -> None:
        """Note that the login is right from the network. Called in the loop; the file is written later."""
        if self.is_noted(login, network):
            return
        self._recent.remember(login, network)
        try:
            noting = asyncio.get_running_loop().run_in_executor(self._thread, self._note, login, network)
        except RuntimeError:
            return  # closed
        noting.add_done_callback(self._noted)

    def close(self) -> None:
        """Write what waits, and leave the file."""
        self._thread.shutdown(wait=True)
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _noted(self, noting: asyncio.Future[None]) -> None:
        if not noting.cancelled() and (error := noting.exception()):
            self._complain(error)

    def _complain(self, error: BaseException) -> None:
        if not self._complained:
            self._complained = True
            self._log.error("networks of logins are not remembered", path=str(self._path), reason=str(error))

    # In the thread

    def _open(self) -> apsw.Connection:
        if self._connection is None:
            self._connection = _connect(self._path)
        return self._connection

    def _look_up(self, login: str, network: str) -> bool:
        rows = self._open().execute(_HOLDS, (login, network, int(self._clock() - KEPT_FOR)))
        return bool(rows.get)

    def _note(self, login: str, network: str) -> None:
        connection = self._open()
        with connection:
            connection.execute(_NOTE, (login, network, int(self._clock())))
            if connection.execute("SELECT count(*) FROM known WHERE login = ?", (login,)).get > KEPT_AT_MOST:
                connection.execute(_TRIM, (login, KEPT_AT_MOST))
