"""The start of a queue: what the process before left unfinished is counted, and what nobody needs is removed.

    connection, recovery = recover(QueuePaths(folder, 0), now)
    recovery.pending      # recipients that wait

Where the file can't be used, or turns out to be damaged here, it is set aside with its bodies, and a new one begun: a
sweep must never meet the bodies of a file that is not there to name them.

Nothing here reads the whole queue: with a million recipients it takes as long as counting an index.
"""

import apsw
import msgspec

from valija.mail.job import QueueId
from valija.queue.flight import Flight
from valija.queue.identity import from_number
from valija.queue.paths import QueuePaths
from valija.queue.rows import Rows
from valija.queue.schema import Opened, open_or_replace, replace
from valija.queue.spool import Spool


class Recovery(msgspec.Struct, frozen=True):
    """What was found at the start.

    `pending` recipients wait (those on hold are not counted). `unfinished` messages were being attempted when the
    process before this one died, and those in `held` went on hold because it was not the first time. `orphans` are
    files of contents that were never queued. `set_aside` tells why a file and its bodies were renamed, and how, "" if
    none were.
    """

    pending: int
    unfinished: int
    held: tuple[QueueId, ...]
    orphans: int
    set_aside: str


def recover(paths: QueuePaths, now: float) -> tuple[apsw.Connection, Recovery]:
    """Open a worker's queue file, which this process has locked, and put its affairs in order. Raises QueueBarred."""
    opened = open_or_replace(paths, now)
    try:
        return opened.connection, _put_in_order(opened, paths)
    except (apsw.CorruptError, apsw.NotADBError) as damage:
        opened.connection.close()
        opened = replace(paths, now, f"it is damaged: {damage}")
        return opened.connection, _put_in_order(opened, paths)


def _put_in_order(opened: Opened, paths: QueuePaths) -> Recovery:
    rows = Rows(opened.connection)
    unfinished, held = _count_crashes(rows, paths)
    orphans = Spool(paths.spool).sweep(rows.names_file)
    return Recovery(rows.pending(), unfinished, held, orphans, opened.reason)


def _count_crashes(rows: Rows, paths: QueuePaths) -> tuple[int, tuple[QueueId, ...]]:
    flight = Flight(paths.flight)
    with rows.transaction():
        held = tuple(from_number(number) for number in sorted(flight.unfinished) if rows.count_crash(number))
    flight.clear()
    flight.close()
    return len(flight.unfinished), held
