"""The files of a queue folder, and the lock that says that a worker lives.

paths = QueuePaths(Path("/var/lib/valija/queue"), worker=0)
paths.database                        # .../worker-0.sqlite3
lock = take_lock(paths.lock)          # raises QueueInUse
workers_in(folder)                    # [0, 1]: those that have a queue file
"""

import fcntl
import os
import re
from pathlib import Path

_DATABASE = re.compile(r"worker-(\d{1,3})\.sqlite3", re.ASCII)


class QueueInUse(Exception):
    """A living process serves this queue file."""


class QueuePaths:
    """Where the parts of one worker's queue lie."""

    def __init__(self, folder: Path, worker: int) -> None:
        self.worker = worker
        self.database = folder / f"worker-{worker}.sqlite3"
        self.spool = folder / f"worker-{worker}.spool"
        self.flight = folder / f"worker-{worker}.flight"
        self.lock = folder / f"worker-{worker}.lock"


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
