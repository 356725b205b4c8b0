"""A process to be killed: it does something to a queue, and says on standard output what is done.

    run = act("put", folder, failing="disk.write:kill@20", count=10)
    run.was_killed, run.said             # True, [the queue ids that were acknowledged]

Acts: `put` queues messages, every third of them large, and says each queue id once it is durable; `open` opens the
queue and closes it; `adopt` has worker 0 take over what the others left.
"""

import asyncio
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.queue.samples import NOW, LogLines, SetClock, message
from valija.mail.content import Content
from valija.mail.job import QueueId
from valija.queue.adoption import adopt
from valija.queue.sqlite import SqliteStore
from valija.queue.store import NewMessage

BODY: Final = b"body of a large message\r\n" * 12_000
WORKER: Final = {"put": 0, "open": 0, "adopt": 0, "put-as-1": 1}


@dataclass
class Run:
    """What a process said, and how it ended."""

    said: list[QueueId]
    status: int
    errors: str

    @property
    def was_killed(self) -> bool:
        """Whether a fault killed it."""
        return self.status == -signal.SIGKILL


def act(what: str, folder: Path, *, failing: str = "", count: int = 0) -> Run:
    """Have a process do something until it ends or is killed. One that ends otherwise than well is a fault."""
    done = subprocess.run(
        [sys.executable, "-m", __name__, what, folder, str(count)],
        capture_output=True,
        env=os.environ | {"VALIJA_FAULT": failing},
        cwd=Path(__file__).parent.parent.parent,
        timeout=60,
        check=False,
    )
    run = Run([QueueId(line) for line in done.stdout.decode().split()], done.returncode, done.stderr.decode())
    assert done.returncode == 0 or run.was_killed, run.errors
    return run


async def _main(what: str, folder: Path, count: int) -> None:
    store = SqliteStore.open(folder, WORKER[what], clock=SetClock(), log=LogLines().log)
    if what.startswith("put"):
        await asyncio.gather(*(_put(store, number) for number in range(count)))
    elif what == "adopt":
        await adopt(store, folder, 1, NOW, LogLines().log)
    await store.close()


async def _put(store: SqliteStore, number: int) -> None:
    queue_id = store.new_id()
    await store.put(queue_id, _message(store, queue_id, is_large=number % 3 == 2), claim=True)
    os.write(1, f"{queue_id}\n".encode())


def _message(store: SqliteStore, queue_id: QueueId, *, is_large: bool) -> NewMessage:
    head = f"Subject: {queue_id}\r\n\r\n".encode()
    if not is_large:
        return message(content=Content.of(head + b"small"))
    file = store.spool.create()
    file.write(BODY)
    return message(content=file.finish(head))


if __name__ == "__main__":
    asyncio.run(_main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])))
