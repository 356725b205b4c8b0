"""The start of a queue: what the process before left unfinished is counted, and what nobody needs is removed.

    connection, recovery = recover(QueuePaths(folder, 0), now)
    recovery.pending      # recipients that wait

Nothing here reads the whole queue: with a million recipients it takes as long as counting an index.
"""

import apsw
import msgspec

from valija.mail.job import QueueId
from valija.queue.flight import Flight
from valija.queue.identity import from_number
from valija.queue.paths import QueuePaths
from valija.queue.rows import Rows
from valija.queue.schema import open_or_replace
from valija.queue.spool import Spool


class Recovery(msgspec.Struct, frozen=True):
    """What was found at the start.

    `pending` recipients wait (those on hold are not counted). `unfinished` messages were being attempted when the
    process before this one died, and those in `held` went on hold because it was not the first time. `orphans` are
    files of contents that were never queued. `set_aside` tells which file was renamed and why, "" if none was.
    """

    pending: int
    unfinished: int
    held: tuple[QueueId, ...]
    orphans: int
    set_aside: str


def recover(paths: QueuePaths, now: float) -> tuple[apsw.Connection, Recovery]:
    """Open a worker's queue file, which this process has locked, and put its affairs in order."""
    connection, set_aside = open_or_replace(paths.database, now)
    rows = Rows(connection)
    unfinished, held = _count_crashes(rows, paths)
    orphans = 0 if set_aside else Spool(paths.spool).sweep(rows.names_file)  # the file set aside may name them
    return connection, Recovery(rows.pending(), unfinished, held, orphans, set_aside)


def _count_crashes(rows: Rows, paths: QueuePaths) -> tuple[int, tuple[QueueId, ...]]:
    flight = Flight(paths.flight)
    with rows.transaction():
        held = tuple(from_number(number) for number in sorted(flight.unfinished) if rows.count_crash(number))
    flight.clear()
    flight.close()
    return len(flight.unfinished), held
