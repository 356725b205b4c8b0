"""The files of a queue folder, and the lock that says that a worker lives.

paths = QueuePaths(Path("/var/lib/valija/queue"), worker=0)
paths.database                        # .../worker-0.sqlite3
lock = take_lock(paths.lock)          # raises QueueInUse
workers_in(folder)                    # [0, 1]: those that have a queue file
check_access(paths)                   # raises QueueBarred
"""

import fcntl
import os
import pwd
import re
import stat
from collections.abc import Iterator
from pathlib import Path

SPOOL_SUFFIX = ".spool"
COMPANIONS = ("-wal", "-shm")
"""What lies beside a database while it is open, or was left by a crash."""

_DATABASE = re.compile(r"worker-(\d{1,3})\.sqlite3", re.ASCII)


class QueueInUse(Exception):
    """A living process serves this queue file."""


class QueueBarred(Exception):
    """A part of a queue can't be used by this process, or not as it is; the message names it, and the remedy."""


class QueuePaths:
    """Where the parts of one worker's queue lie."""

    def __init__(self, folder: Path, worker: int) -> None:
        self.worker = worker
        self.folder = folder
        self.database = folder / f"worker-{worker}.sqlite3"
        self.spool = folder / f"worker-{worker}{SPOOL_SUFFIX}"
        self.flight = folder / f"worker-{worker}.flight"
        self.lock = folder / f"worker-{worker}.lock"
        self.suspect = suspect_of(self.database)

    @property
    def parts(self) -> Iterator[Path]:
        """All that a worker needs of the folder, itself first; which of them are there is not said."""
        yield from (self.folder, self.lock, self.flight, self.spool, self.database)
        yield from (self.database.with_name(self.database.name + suffix) for suffix in COMPANIONS)


def suspect_of(database: Path) -> Path:
    """Return what lies beside a database where damage in it was met."""
    return database.with_suffix(".suspect")


def workers_in(folder: Path) -> list[int]:
    """Return the numbers of the workers that have a queue file in a folder; none where there is no folder."""
    names = os.listdir(folder) if folder.is_dir() else []
    return sorted(int(found[1]) for name in names if (found := _DATABASE.fullmatch(name)))


def take_lock(path: Path) -> int:
    """Lock a file for this process and return its descriptor; the lock ends when it is closed, or with the process."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise QueueInUse(f"{path} is locked: another process of this server uses this queue; stop it first") from None
    return descriptor


def check_access(paths: QueuePaths) -> None:
    """Make sure that this process may use what there is of a queue. Raises QueueBarred, with the remedy."""
    for path in paths.parts:
        try:
            status = path.stat()
        except FileNotFoundError:
            continue
        except OSError as error:
            raise QueueBarred(f"{path} can't be reached ({error.strerror}); {_remedy(paths.folder)}") from None
        is_folder = stat.S_ISDIR(status.st_mode)
        if is_folder != (path in (paths.folder, paths.spool)) and path != paths.database:  # that one is set aside
            raise QueueBarred(f"{path} is {'a' if is_folder else 'no'} folder; move away what lies there")
        if not os.access(path, os.R_OK | os.W_OK | (os.X_OK if is_folder else 0), effective_ids=True):
            owner, mode = _name_of(status.st_uid), stat.S_IMODE(status.st_mode)
            raise QueueBarred(
                f"{path} can't be used: it belongs to {owner!r}, with mode {mode:04o}; {_remedy(paths.folder)}"
            )


def _remedy(folder: Path) -> str:
    return f"give it to the server's user: chown -R {_name_of(os.geteuid())} {folder} && chmod -R u+rwX {folder}"


def _name_of(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
