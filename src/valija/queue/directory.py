"""All queue files of a server, for the command line: while the server runs, and when it is stopped.

    with QueueDirectory(Path("/var/lib/valija/queue")) as queue:
        for message in queue.list(limit=100):
            print(message.queue_id, message.reverse_path)
        queue.retry(QueueId("bmmm9v73d3tbp"))        # True; False if there is no such message

Each change is one short transaction, durable when the call returns; a worker that lives notices it within a second.
What is being attempted meanwhile ends as it would: a hold counts from the next attempt on, and the effect of an attempt
at a message that was deleted is dropped, its reports too.

Known weakness: a page of the list is read file by file, so that it can tell of a message twice that a worker just
adopted.
"""

import builtins
import heapq
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

import apsw

from valija.mail.job import QueueId
from valija.queue.identity import parse, to_number
from valija.queue.paths import QueueBarred, QueuePaths, check_access, workers_in
from valija.queue.rows import Rows
from valija.queue.schema import Unusable, open_file
from valija.queue.spool import Spool
from valija.queue.store import Listed, NewMessage

T = TypeVar("T")

_CACHE_KIB = 512  # per file: all of them are open at once


class _File:
    """One worker's queue file and the folder of its large bodies."""

    def __init__(self, paths: QueuePaths) -> None:
        check_access(paths)
        self.connection = open_file(paths.database)
        self.connection.pragma("cache_size", -_CACHE_KIB)
        self.rows = Rows(self.connection)
        self.spool_folder = paths.spool


class QueueDirectory:
    """The queue files in a folder. `problems` names those that can't be read, and why. A context manager."""

    def __init__(self, folder: Path, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._files: list[_File] = []
        self.problems: list[str] = []
        for worker in workers_in(folder):
            paths = QueuePaths(folder, worker)
            try:
                self._files.append(_File(paths))
            except QueueBarred as barred:
                self.problems.append(str(barred))
            except (Unusable, OSError, apsw.Error) as error:
                self.problems.append(f"{paths.database}: {error}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the files."""
        for file in self._files:
            file.connection.close()

    def list(self, limit: int, after: QueueId | None = None) -> Sequence[Listed]:
        """Return up to `limit` messages in the order of their queue ids, those after `after`."""
        number = _number(after) if after else 0
        pages = [file.rows.list(limit, number) for file in self._files]
        return builtins.list(heapq.merge(*pages, key=lambda listed: listed.queue_id))[:limit]

    def show(self, queue_id: QueueId) -> tuple[Listed, NewMessage] | None:
        """Return one message, None if it is not there."""
        found = (file.rows.show(_number(queue_id)) for file in self._files)
        return next((message for message in found if message is not None), None)

    def read(self, queue_id: QueueId) -> Iterator[bytes]:
        """Yield the content of a message; nothing if it is not there. Raises OSError where its file can't be read."""
        for file in self._files:
            stored = file.rows.load(_number(queue_id))
            if stored is not None:
                yield from Spool(file.spool_folder).read(stored.message.content)
                return

    def hold(self, queue_id: QueueId) -> bool:
        """Keep a message for a human. False if it is not there."""
        return self._any(lambda rows: rows.hold(_number(queue_id)))

    def release(self, queue_id: QueueId) -> bool:
        """End a hold; the recipients are due now. False if the message is not there."""
        return self._any(lambda rows: rows.release_hold(_number(queue_id), self._clock()))

    def retry(self, queue_id: QueueId) -> bool:
        """Make the pending recipients due now. False if the message is not there."""
        return self._any(lambda rows: rows.retry(_number(queue_id), self._clock()))

    def is_held(self, queue_id: QueueId) -> bool:
        """Whether a message is on hold."""
        return any(file.rows.is_held(_number(queue_id)) for file in self._files)

    def delete(self, queue_id: QueueId) -> bool:
        """Remove a message without a report. False if it is not there."""
        deleted = False
        for file in self._files:
            body_file = _in_transaction(file, lambda rows: rows.delete(_number(queue_id)))
            if body_file:
                Spool(file.spool_folder).remove(body_file)
            deleted |= body_file is not None
        return deleted

    def _any(self, change: Callable[[Rows], bool]) -> bool:
        """Make a change in the file that has the message."""
        return any(builtins.list(_in_transaction(file, change) for file in self._files))


def _number(queue_id: QueueId) -> int:
    """Return the number of an id, -1, which no message has, for what is no id."""
    try:
        return to_number(parse(queue_id))
    except ValueError:
        return -1


def _in_transaction(file: _File, change: Callable[[Rows], T]) -> T:
    with file.rows.transaction():
        return change(file.rows)
