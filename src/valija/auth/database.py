"""The file that holds accounts and aliases: opened, made where it is missing, and refused where it is not ours.

    connection = open_database(data_dir / "accounts.sqlite3")

SQLite in WAL mode: a command may write while the server reads, and the server sees it with its next question. A
connection must not be carried over a fork.
"""

import os
import stat
from pathlib import Path
from typing import Final

import apsw

APPLICATION_ID: Final = 0x76616C61  # "vala"
SCHEMA_VERSION: Final = 1
BUSY_PATIENCE: Final = 2000  # milliseconds to wait for another writer

_SCHEMA: Final = f"""
    CREATE TABLE account (key TEXT PRIMARY KEY, hash TEXT NOT NULL) WITHOUT ROWID;
    CREATE TABLE alias (
        key TEXT NOT NULL, target TEXT NOT NULL, target_key TEXT NOT NULL, PRIMARY KEY (key, target)
    ) WITHOUT ROWID;
    CREATE INDEX alias_target ON alias (target_key);
    PRAGMA application_id = {APPLICATION_ID};
    PRAGMA user_version = {SCHEMA_VERSION};
"""


class AccountsUnusable(Exception):
    """The file of accounts cannot be read or written; the message names it and says why."""


def open_database(path: Path) -> apsw.Connection:
    """Open the file, readable for its owner alone. Raises AccountsUnusable."""
    try:
        _make_private(path)
        connection = apsw.Connection(str(path))
        try:
            _prepare(connection, path)
        except BaseException:
            connection.close()
            raise
    except apsw.NotADBError:
        raise AccountsUnusable(f"{path} is damaged or no database of accounts; {_remedy(path)}") from None
    except OSError as error:
        raise AccountsUnusable(
            f"{path} cannot be opened: {error.strerror}; let the service's user write there"
        ) from None
    except apsw.Error as error:
        raise unusable(path, error) from error
    return connection


def unusable(path: Path, error: apsw.Error) -> AccountsUnusable:
    """Return a database error in words."""
    remedy = f"; {_remedy(path)}" if isinstance(error, apsw.CorruptError | apsw.NotADBError) else ""
    return AccountsUnusable(f"{path} cannot be used: {error}{remedy}")


def _remedy(path: Path) -> str:
    return f"restore it from a backup, or move it away (mv {path} {path}.damaged) and add the users again"


def _make_private(path: Path) -> None:
    """Create the file 0600 before SQLite would create it wider; its companions take their mode from it."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        if stat.S_IMODE(os.fstat(descriptor).st_mode) & 0o077:
            os.fchmod(descriptor, 0o600)
    finally:
        os.close(descriptor)


def _prepare(connection: apsw.Connection, path: Path) -> None:
    connection.set_busy_timeout(BUSY_PATIENCE)
    connection.transaction_mode = "IMMEDIATE"
    application, version, is_new = _identity(connection)
    if not is_new and application != APPLICATION_ID:
        raise AccountsUnusable(f"{path} is another program's database; {_remedy(path)}")
    if version > SCHEMA_VERSION:
        raise AccountsUnusable(f"{path} was written by a newer valija (schema {version}); run that one")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    if is_new:
        with connection:
            if _identity(connection)[2]:  # nobody else was faster
                connection.execute(_SCHEMA)


def _identity(connection: apsw.Connection) -> tuple[int, int, bool]:
    """Return application id, schema version, and whether there is nothing in the file."""
    application = int(connection.pragma("application_id"))
    version = int(connection.pragma("user_version"))
    tables = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    return application, version, tables == (0,)
