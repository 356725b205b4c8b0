"""A queue file: its tables, how it is opened, and what happens to one that is no queue file or a damaged one.

    connection = open_file(Path("worker-0.sqlite3"))            # raises Unusable
    connection, reason = open_or_replace(path, stamp=now)       # sets an unusable one aside, with the reason why

A message has one row in `message` and one row in `recipient` for each recipient that is pending; `held` repeats the
message's hold, so that what is on hold costs the search for due recipients nothing. `next_hop` is what the store was
told about the way to it when it was put: it is only used to leave out next hops that are full at the moment.

Known weakness: a file above 64 MiB is not read through at the start; damage in the midst of it shows later.
"""

import os
from pathlib import Path
from typing import Final

import apsw

from valija.queue.spool import sync_path

APPLICATION_ID: Final = 0x56414C4A  # "VALJ", seen by file(1)
VERSION: Final = 1

BUSY_TIMEOUT: Final = 5000  # milliseconds to wait for another process's transaction, which take far less
_CHECKPOINT_PAGES: Final = 4000  # of 4 KiB, in the write-ahead log
_CACHE_KIB: Final = 8192
_CHECKED_SIZE: Final = 64 * 1024 * 1024  # octets

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
PRAGMA application_id = {APPLICATION_ID};
PRAGMA user_version = {VERSION};
"""

_PROBES: Final = (
    "SELECT max(id) FROM message",
    "SELECT message FROM recipient WHERE held = 0 ORDER BY next_attempt LIMIT 1",
)


class Unusable(Exception):
    """A file that this version can't use as a queue; the message says why."""


def open_or_replace(path: Path, stamp: float) -> tuple[apsw.Connection, str]:
    """Open a queue file, made where it is missing. One that can't be used is set aside.

    Returns the connection, and the reason why a file was set aside, or "".
    """
    reason = ""
    try:
        return _open_or_create(path), reason
    except Unusable as unusable:
        reason = str(unusable)
    kept = set_aside(path, stamp)
    return _open_or_create(path), f"{reason}; kept as {kept}"


def open_file(path: Path) -> apsw.Connection:
    """Open a queue file that is there already. Raises Unusable, or FileNotFoundError."""
    if not path.exists():
        raise FileNotFoundError(path)
    connection = _connect(path)
    try:
        _check_kind(connection)
        _configure(connection)
        _check_health(connection, path)
    except (apsw.NotADBError, apsw.CorruptError, Unusable) as error:
        connection.close()
        raise Unusable(str(error)) from None
    except apsw.Error:
        connection.close()
        raise
    return connection


def _open_or_create(path: Path) -> apsw.Connection:
    if not path.exists() or not path.stat().st_size:
        _create(path)
    return open_file(path)


def _create(path: Path) -> None:
    """Make an empty queue file. The owner and the mode of its companions follow from those of this file."""
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    connection = _connect(path)
    with connection:
        connection.execute(_TABLES).fetchall()
    connection.close()
    sync_path(path.parent)


def _connect(path: Path) -> apsw.Connection:
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)
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
    if connection.pragma("user_version") != VERSION:
        raise Unusable("it was written by another version of this server")


def _check_health(connection: apsw.Connection, path: Path) -> None:
    if path.stat().st_size <= _CHECKED_SIZE and connection.execute("PRAGMA quick_check(1)").get != "ok":
        raise Unusable("it is damaged")
    for statement in _PROBES:
        connection.execute(statement).fetchall()


def set_aside(path: Path, stamp: float) -> str:
    """Rename a file and its companions, so that a human can look at them; return its new name."""
    kept = path.with_name(f"{path.name}.damaged-{stamp:.0f}")
    for companion in ("-wal", "-shm", ""):
        source = path.with_name(path.name + companion)
        if source.exists():
            source.rename(kept.with_name(kept.name + companion))
    return kept.name
