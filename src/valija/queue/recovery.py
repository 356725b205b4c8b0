"""The start of a queue: what the process before left unfinished is counted, and what nobody needs is removed.

    connection, recovery = recover(QueuePaths(folder, 0), now)
    recovery.pending      # recipients that wait
    tell(recovery, paths, log)

Where the file can't be used, or turns out to be damaged here, it is set aside with its bodies, and a new one begun: a
sweep must never meet the bodies of a file that is not there to name them.

Nothing here reads the whole queue: with a million recipients it takes as long as counting an index.
"""

from typing import Final

import apsw
import msgspec

from valija.faults.points import fault_point
from valija.logs import Log
from valija.mail.job import QueueId
from valija.queue.flight import Flight
from valija.queue.identity import from_number
from valija.queue.paths import QueuePaths
from valija.queue.rows import Rows
from valija.queue.schema import Opened, open_or_replace, replace
from valija.queue.spool import Spool

_counted = fault_point("recovery.counted")

_MOST_TOLD: Final = 20  # messages named one by one


class Recovery(msgspec.Struct, frozen=True):
    """What was found at the start.

    `messages` are there, of which `pending` recipients wait (those on hold are not counted). `unfinished` messages were
    being attempted when the process before this one died, and those in `held` went on hold because it was not the first
    time. `orphans` are files of contents that were never queued, `incomplete` the messages whose file is gone, which
    only a hand or a disk can have removed. `set_aside` tells why a file and its bodies were renamed, and how, "" where
    none were.
    """

    messages: int
    pending: int
    unfinished: int
    held: tuple[QueueId, ...]
    orphans: int
    incomplete: tuple[QueueId, ...]
    set_aside: str


def recover(paths: QueuePaths, now: float) -> tuple[apsw.Connection, Recovery]:
    """Open a worker's queue file, which this process has locked, and put its affairs in order. Raises QueueBarred."""
    opened = open_or_replace(paths, now)
    try:
        recovery = _put_in_order(opened, paths)
    except (apsw.CorruptError, apsw.NotADBError) as damage:
        opened.connection.close()
        opened = replace(paths, now, f"it is damaged: {damage}")
        recovery = _put_in_order(opened, paths)
    paths.suspect.unlink(missing_ok=True)
    return opened.connection, recovery


def _put_in_order(opened: Opened, paths: QueuePaths) -> Recovery:
    rows = Rows(opened.connection)
    unfinished, held = _count_crashes(rows, paths)
    _counted()
    spool = Spool(paths.spool)
    orphans = spool.sweep(rows.names_file)
    incomplete = tuple(from_number(number) for number, name in rows.files() if not spool.has(name))
    return Recovery(rows.count(), rows.pending(), unfinished, held, orphans, incomplete, opened.reason)


def _count_crashes(rows: Rows, paths: QueuePaths) -> tuple[int, tuple[QueueId, ...]]:
    flight = Flight(paths.flight)
    with rows.transaction():
        held = tuple(from_number(number) for number in sorted(flight.unfinished) if rows.count_crash(number))
    flight.clear()
    flight.close()
    return len(flight.unfinished), held


def tell(recovery: Recovery, paths: QueuePaths, log: Log) -> None:
    """Write to the log what was found."""
    if recovery.set_aside:
        log.error("queue file set aside", path=str(paths.database), reason=recovery.set_aside)
    for queue_id in recovery.held:
        log.error(
            "message put on hold", queue_id=queue_id, reason="the server crashed in attempts at it, again and again"
        )
    for queue_id in recovery.incomplete[:_MOST_TOLD]:
        log.error("message incomplete", queue_id=queue_id, reason=f"its file in {paths.spool} is gone")
    log.info(
        "queue opened",
        path=str(paths.database),
        messages=recovery.messages,
        pending=recovery.pending,
        unfinished=recovery.unfinished,
        held=len(recovery.held),
        orphans=recovery.orphans,
        incomplete=len(recovery.incomplete),
    )
