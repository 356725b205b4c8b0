"""What a command costs, whatever else the machine is busy with.

    assert processor_time(lambda: run("valija", "queue", "list")) < 0.4

Known weakness: processes of others that end meanwhile, and that this process waits for, are counted too.
"""

import resource
from collections.abc import Callable


def processor_time(run: Callable[[], object], times: int = 5) -> float:
    """Run something that waits for its processes; return the seconds of processor time they took, at best."""
    return min(_once(run) for _ in range(times))


def _once(run: Callable[[], object]) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    run()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
