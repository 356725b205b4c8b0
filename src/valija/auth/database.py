"""The file that holds accounts and aliases: opened, made where it is missing, and refused where it is not ours.

    connection = open_database(data_dir / "accounts.sqlite3")

SQLite in WAL mode: a command may write while the server reads, and the server sees it with its next question. A
connection must not be carried over a fork.

A file of an older version is brought up to date when it is opened, in one transaction: it is seen as it was, or as it
is to be. What an older version that still runs reads stays where it was.
"""

import contextlib
import os
import stat
import tempfile
from pathlib import Path
from typing import Final

import apsw

APPLICATION_ID: Final = 0x76616C61  # "vala"
BUSY_PATIENCE: Final = 2000  # milliseconds to wait for another writer

# What leads from each version of the file to the next, from an empty one on.
_STEPS: Final = (
    f"""
    CREATE TABLE account (key TEXT PRIMARY KEY, hash TEXT NOT NULL) WITHOUT ROWID;
    CREATE TABLE alias (
        key TEXT NOT NULL, target TEXT NOT NULL, target_key TEXT NOT NULL, PRIMARY KEY (key, target)
    ) WITHOUT ROWID;
    CREATE INDEX alias_target ON alias (target_key);
    PRAGMA application_id = {APPLICATION_ID};
    """,
    """
    ALTER TABLE account ADD COLUMN scram TEXT;
    CREATE INDEX account_without_scram ON account (key) WHERE scram IS NULL;
    CREATE TABLE salt_key (value BLOB NOT NULL);
    INSERT INTO salt_key VALUES (randomblob(32));
    """,
    """
    CREATE TABLE delegation (login TEXT NOT NULL, granted TEXT NOT NULL, PRIMARY KEY (login, granted)) WITHOUT ROWID;
    CREATE TABLE own_limit (
        login TEXT NOT NULL, name TEXT NOT NULL, value INTEGER NOT NULL, PRIMARY KEY (login, name)
    ) WITHOUT ROWID;
    CREATE TABLE contact (login TEXT PRIMARY KEY, address TEXT NOT NULL) WITHOUT ROWID;
    CREATE TABLE frozen (
        login TEXT PRIMARY KEY, at REAL NOT NULL, began REAL NOT NULL, reason TEXT NOT NULL
    ) WITHOUT ROWID;
    """,
)
SCHEMA_VERSION: Final = len(_STEPS)


class AccountsUnusable(Exception):
    """The file of accounts cannot be read or written; the message names it and says why."""


def open_database(path: Path, *, create: bool = True) -> apsw.Connection:
    """Open the file, readable for its owner alone; with `create` it is made where it is missing.

    Raises AccountsUnusable.
    """
    try:
        if create and not path.exists():
            _create(path)
        if stat.S_IMODE(path.stat().st_mode) & 0o077:
            path.chmod(0o600)
        connection = _connect(path)
        try:
            _check_identity(connection, path)
            _bring_up_to_date(connection)
        except BaseException:
            connection.close()
            raise
    except OSError as error:
        why = error.strerror
        raise AccountsUnusable(f"{path} cannot be opened: {why}; let the service's user write there") from None
    except apsw.Error as error:
        raise unusable(path, error) from error
    return connection


def unusable(path: Path, error: apsw.Error) -> AccountsUnusable:
    """Return a database error in words."""
    if isinstance(error, apsw.NotADBError):
        return AccountsUnusable(f"{path} is damaged or no database of accounts; {_remedy(path)}")
    remedy = f"; {_remedy(path)}" if isinstance(error, apsw.CorruptError) else ""
    return AccountsUnusable(f"{path} cannot be used: {error}{remedy}")


def _remedy(path: Path) -> str:
    return f"restore it from a backup, or move it away (mv {path} {path}.damaged) and add the users again"


def _create(path: Path) -> None:
    """Make the file elsewhere and link it into its place: nobody ever sees it half made, or made twice."""
    descriptor, draft = tempfile.mkstemp(prefix=f"{path.name}.", suffix=".new", dir=path.parent)  # 0600
    os.close(descriptor)
    try:
        connection = _connect(Path(draft))
        connection.execute("PRAGMA journal_mode = WAL")  # kept by the file; its companions take its mode
        _bring_up_to_date(connection)
        connection.close()
        with contextlib.suppress(FileExistsError):  # another process was faster
            os.link(draft, path)
    finally:
        os.unlink(draft)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)  # or an account that is on the disk may have no file to be in after a crash
    finally:
        os.close(folder)


def _connect(path: Path) -> apsw.Connection:
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)
    connection.set_busy_timeout(BUSY_PATIENCE)
    connection.transaction_mode = "IMMEDIATE"
    connection.execute("PRAGMA synchronous = FULL")
    return connection


def _check_identity(connection: apsw.Connection, path: Path) -> None:
    if connection.pragma("application_id") != APPLICATION_ID:
        raise AccountsUnusable(f"{path} is no database of accounts; {_remedy(path)}")
    version = connection.pragma("user_version")
    if version > SCHEMA_VERSION:
        raise AccountsUnusable(f"{path} was written by a newer valija (schema {version}); run that one")


def _bring_up_to_date(connection: apsw.Connection) -> None:
    """Take the steps that are missing, unless another process has done so meanwhile."""
    if connection.pragma("user_version") == SCHEMA_VERSION:
        return
    with connection:
        for step in _STEPS[connection.pragma("user_version") :]:
            connection.execute(step)
        connection.pragma("user_version", SCHEMA_VERSION)
