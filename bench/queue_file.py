"""A deep queue, made by the store's own code: deferred messages of one recipient each, over many domains.

    fill(data_dir / "queue", workers=2, recipients=1_000_000, domains=10_000, now=time.time())
    give(data_dir, "nobody")                           # the files are the caller's: the server becomes another user
    add(data_dir / "queue", "b@dst.test", 10, next_attempt=time.time() + 5)

A server must not run while its queue is filled; a few messages may be added while it runs.
"""

import os
import pwd
import time
from collections.abc import Iterator
from pathlib import Path

import apsw

from bench.load.talk import message
from bench.names import REFUSED_DOMAIN
from valija.mail.address import domain_of
from valija.mail.content import Content
from valija.mail.envelope import Envelope, Recipient
from valija.mail.origin import Origin
from valija.mail.outcome import State
from valija.queue.identity import IdSource, to_number
from valija.queue.paths import QueuePaths
from valija.queue.recovery import recover
from valija.queue.rows import Rows, new_row
from valija.queue.schema import open_file
from valija.queue.spool import sync_path
from valija.queue.store import NewMessage, Settled

_BATCH = 5000  # messages a transaction
_OCTETS = 1024
_AGE = 3600.0  # seconds since they came
_FIRST, _LAST = 1800.0, 4 * 3600.0  # seconds until the next attempts: none falls due while the queue is measured
_REPLY = "451 4.4.1 mx.refused.test [127.0.0.9]: connection refused"


def fill(folder: Path, workers: int, recipients: int, domains: int, now: float) -> None:
    """Write the queue files of so many workers, which together hold all recipients."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for worker in range(workers):
        share = range(worker, recipients, workers)
        _fill_one(QueuePaths(folder, worker), share, domains, now)


def add(folder: Path, address: str, count: int, next_attempt: float) -> None:
    """Add deferred messages to the first worker's file, due at `next_attempt`."""
    connection = open_file(QueuePaths(folder, 0).database)
    rows = Rows(connection)
    ids = IdSource(0, time.time, rows.largest())
    with rows.transaction():
        for _ in range(count):
            _add(rows, ids, _message(address, next_attempt - _AGE), next_attempt)
    connection.close()


def give(folder: Path, user: str) -> None:
    """Hand a folder with all that is in it to a user of the system."""
    if os.geteuid() != 0:
        return
    entry = pwd.getpwnam(user)
    for path in (folder, *folder.rglob("*")):
        os.chown(path, entry.pw_uid, entry.pw_gid)


def _fill_one(paths: QueuePaths, numbers: range, domains: int, now: float) -> None:
    connection, _ = recover(paths, now)
    connection.pragma("synchronous", 0)  # nobody relies on it yet
    rows = Rows(connection)
    ids = IdSource(paths.worker, lambda: now - _AGE, rows.largest())
    step = (_LAST - _FIRST) / len(numbers)
    for batch in _batches(numbers):
        with rows.transaction():
            for number in batch:
                address = f"u{number}@d{number % domains}.{REFUSED_DOMAIN}"
                place = number * 7919 % len(numbers)  # next attempts in another order than arrivals
                _add(rows, ids, _message(address, now - _AGE), now + _FIRST + place * step)
    connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
    connection.close()
    sync_path(paths.database)  # or the disk would still be writing it while fresh mail is measured


def _add(rows: Rows, ids: IdSource, new: NewMessage, next_attempt: float) -> None:
    number = to_number(ids.next())
    rows.insert(new_row(number, new, lambda _, address: domain_of(address)))
    rows.settle(number, (Settled(0, State.DEFERRED, _REPLY, next_attempt),), ())


def _message(address: str, arrived: float) -> NewMessage:
    content = Content.of(message(_OCTETS).removesuffix(b".\r\n"))
    origin = Origin("smtpd", arrived, "127.0.0.1", "c.test", "ESMTP", rule="mynetworks 127.0.0.0/8")
    return NewMessage(Envelope("a@src.test", (Recipient(address),)), content, origin)


def _batches(numbers: range) -> Iterator[range]:
    for start in range(0, len(numbers), _BATCH):
        yield numbers[start : start + _BATCH]
