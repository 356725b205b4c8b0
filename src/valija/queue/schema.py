"""A queue file: its tables, how it is opened, and what happens to one that is no queue file or a damaged one.

    connection = open_file(Path("worker-0.sqlite3"))            # raises Unusable
    opened = open_or_replace(paths, stamp=now)                  # sets an unusable one aside, and says why

A message has one row in `message` and one row in `recipient` for each recipient that is pending; `held` repeats the
message's hold, so that what is on hold costs the search for due recipients nothing. `next_hop` is what the store was
told about the way to it when it was put: it is only used to leave out next hops that are full at the moment. `warned`
has a bit for each thing reported that is not the recipient's end (see store.Due). What is to be reported when the other
attempts of a round have ended waits in `news`.

A file of an earlier version is brought up to this one where it lies, in one transaction. An earlier server can't use it
any more, and sets it aside.

A file set aside keeps its companions and its large bodies: `worker-0.sqlite3.damaged-1800000000` and
`worker-0.spool.damaged-1800000000`. They are never touched again, and are a human's to look at. Bodies that lie where
there is no queue file, or an empty one, are set aside too: somebody took the file away.

Known weakness: a file above 64 MiB is not read through at the start; damage in the midst of it shows later. Where it
was met, a file `worker-0.suspect` says so, and the next start reads all of it.
"""

import os
from collections.abc import Iterator
from itertools import chain, count
from pathlib import Path
from typing import Final

import apsw
import msgspec

from valija.faults.disk import queue_disk
from valija.faults.points import fault_point
from valija.queue.paths import COMPANIONS, SPOOL_SUFFIX, QueueBarred, QueuePaths, suspect_of
from valija.queue.rows import Rows
from valija.queue.spool import sync_path

_aside = fault_point("recovery.aside")

APPLICATION_ID: Final = 0x56414C4A  # "VALJ", seen by file(1)
VERSION: Final = 2

BUSY_TIMEOUT: Final = 5000  # milliseconds to wait for another process's transaction, which take far less
_CHECKPOINT_PAGES: Final = 4000  # of 4 KiB, in the write-ahead log
_CACHE_KIB: Final = 8192
_CHECKED_SIZE: Final = 64 * 1024 * 1024  # octets

_NEWS: Final = """
CREATE TABLE news (
    message INTEGER NOT NULL,
    kind TEXT NOT NULL,
    number INTEGER NOT NULL,
    facts BLOB NOT NULL,
    PRIMARY KEY (message, kind, number)
) WITHOUT ROWID;
"""
_UPGRADES: Final = {1: _NEWS}
"""What makes a file of a version one of the next."""

_TABLES: Final = f"""
CREATE TABLE message (
    id INTEGER PRIMARY KEY,
    hold INTEGER NOT NULL,
    crashes INTEGER NOT NULL,
    size INTEGER NOT NULL,
    body_file TEXT NOT NULL,
    facts BLOB NOT NULL,
    head BLOB NOT NULL
);
CREATE INDEX body ON message (body_file) WHERE body_file <> '';
CREATE TABLE recipient (
    message INTEGER NOT NULL,
    number INTEGER NOT NULL,
    next_hop TEXT NOT NULL,
    next_attempt REAL NOT NULL,
    held INTEGER NOT NULL,
    attempts INTEGER NOT NULL,
    warned INTEGER NOT NULL,
    last_reply TEXT NOT NULL,
    PRIMARY KEY (message, number)
) WITHOUT ROWID;
CREATE INDEX due ON recipient (next_attempt, next_hop) WHERE held = 0;
{_NEWS}
PRAGMA application_id = {APPLICATION_ID};
PRAGMA user_version = {VERSION};
"""

_PROBES: Final = (
    "SELECT max(id) FROM message",
    "SELECT message FROM recipient WHERE held = 0 ORDER BY next_attempt LIMIT 1",
)


class Unusable(Exception):
    """A file that this version can't use as a queue; the message says why."""


class Opened(msgspec.Struct, frozen=True):
    """An open queue file. Where one was set aside, `reason` says why and where it and its bodies are kept, else ""."""

    connection: apsw.Connection
    reason: str = ""


def open_or_replace(paths: QueuePaths, stamp: float) -> Opened:
    """Open a queue file, made where it is missing. One that can't be used is set aside. Raises QueueBarred."""
    try:
        try:
            if _is_there(paths.database):
                return Opened(open_file(paths.database))
            reason = "the queue file was missing or empty"
        except Unusable as unusable:
            reason = str(unusable)
        return replace(paths, stamp, reason)
    except apsw.Error as error:
        raise QueueBarred(f"{paths.database} can't be opened: {error}; mend this, its messages wait there") from None


def replace(paths: QueuePaths, stamp: float, reason: str) -> Opened:
    """Set aside what lies in the place of a queue, and open a new one."""
    kept = set_aside(paths, stamp)
    _create(paths.database)
    return Opened(open_file(paths.database), f"{reason}; kept as {' and '.join(kept)}" if kept else "")


def open_file(path: Path) -> apsw.Connection:
    """Open a queue file that is there already. Raises Unusable, or FileNotFoundError."""
    if not path.exists():
        raise FileNotFoundError(path)
    if not path.is_file():
        raise Unusable("it is no file")
    connection = _connect(path)
    try:
        _check_kind(connection)
        _configure(connection)
        _check_health(connection, path)
        _upgrade(connection)
    except (apsw.NotADBError, apsw.CorruptError, apsw.SQLError, Unusable) as error:
        connection.close()
        raise Unusable(str(error)) from None
    except apsw.Error:
        connection.close()
        raise
    return connection


def _create(path: Path) -> None:
    """Make an empty queue file. The owner and the mode of its companions follow from those of this file."""
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    connection = _connect(path)
    with connection:
        connection.execute(_TABLES).fetchall()
    connection.close()
    sync_path(path.parent)


def _connect(path: Path) -> apsw.Connection:
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE, vfs=queue_disk())
    connection.set_busy_timeout(BUSY_TIMEOUT)
    return connection


def _configure(connection: apsw.Connection) -> None:
    settings = f"""
        PRAGMA mmap_size = 0;
        PRAGMA journal_mode = WAL;
        PRAGMA synchronous = FULL;
        PRAGMA wal_autocheckpoint = {_CHECKPOINT_PAGES};
        PRAGMA cache_size = -{_CACHE_KIB};
        PRAGMA temp_store = MEMORY;
        """
    connection.execute(settings).fetchall()  # a statement is run only when the rows of the one before are taken
    if connection.pragma("journal_mode") != "wal":
        raise OSError("the file system of the queue allows no write-ahead log: put data_dir on a local disk")


def _check_kind(connection: apsw.Connection) -> None:
    """Raise Unusable for a file of somebody else's, before it is touched."""
    if connection.pragma("application_id") != APPLICATION_ID:
        raise Unusable("it is not a queue file of this server")
    version = connection.pragma("user_version")
    if version != VERSION and version not in _UPGRADES:
        raise Unusable("it was written by another version of this server")


def _upgrade(connection: apsw.Connection) -> None:
    """Bring a file of an earlier version up to this one. Another process may do the same at this moment."""
    if connection.pragma("user_version") == VERSION:
        return
    with Rows(connection).transaction():
        for version in range(connection.pragma("user_version"), VERSION):
            connection.execute(f"{_UPGRADES[version]} PRAGMA user_version = {version + 1};").fetchall()


def _check_health(connection: apsw.Connection, path: Path) -> None:
    if suspect_of(path).exists():
        check = "integrity_check"  # which sees all that can be wrong, however long it takes
    else:
        check = "quick_check" if path.stat().st_size <= _CHECKED_SIZE else ""
    if check and (found := connection.execute(f"PRAGMA {check}(1)").get) != "ok":
        raise Unusable(f"it is damaged: {found}")
    for statement in _PROBES:
        connection.execute(statement).fetchall()


def set_aside(paths: QueuePaths, stamp: float) -> list[str]:
    """Rename a file with its companions and bodies, so that a human can look at them; return the new names.

    The bodies go first, and the file last: cut off in between, what is left is set aside at the next start.
    """
    endings = chain([f".damaged-{stamp:.0f}"], (f".damaged-{stamp:.0f}-{number}" for number in count(2)))
    free = next(ending for ending in endings if not any(new.exists() for _, new in _places(paths, ending)))
    kept = [_move(old, new) for old, new in _places(paths, free) if _is_there(old)]
    sync_path(paths.folder)
    return kept[::-1]


def _move(old: Path, new: Path) -> str:
    name = old.rename(new).name
    _aside()
    return name


def _places(paths: QueuePaths, ending: str) -> Iterator[tuple[Path, Path]]:
    """Yield the parts of a queue that can be set aside, and where each goes: a rename would replace what is there."""
    database = paths.database.name
    yield paths.spool, paths.spool.with_name(paths.spool.name + ending)
    for companion in (*COMPANIONS, ""):
        yield paths.folder / (database + companion), paths.folder / (database + ending + companion)


def _is_there(path: Path) -> bool:
    """Whether there is something to keep: an empty file, and a folder of no bodies, are as good as none."""
    if path.is_dir():
        return path.suffix != SPOOL_SUFFIX or any(path.iterdir())
    return path.exists() and path.stat().st_size > 0
