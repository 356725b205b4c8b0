"""The works: each a named benchmark in a file of its own, and all of them in WORKS.

A work's `measure(setting, server)` starts the server, loads it, and yields what it measured, case by case. It raises
ServerFault or LoadFault where nothing can be measured; bench/rounds notes that down and goes on.
"""

from typing import Final

from bench.works import crowd, deep, large, latency, memory, relay, slow, submission, workers
from bench.works.work import Work

__all__ = ["WORKS", "Work"]

WORKS: Final = {
    work.name: work
    for work in (
        relay.NEW,
        relay.KEEP,
        submission.WORK,
        large.WORK,
        memory.WORK,
        latency.WORK,
        crowd.WORK,
        deep.WORK,
        slow.WORK,
        workers.WORK,
    )
}
