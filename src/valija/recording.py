"""What a process says while it runs: into the log within moments, and into the history where that is kept.

recorder = record(config, "worker-0", log, buffer)
with flushed_often(buffer):
    ...
"""

import asyncio
import contextlib
from collections.abc import Iterator
from typing import Final

from valija.config import Config
from valija.history.recorder import Recorder
from valija.logs import Log, LogBuffer

FLUSH_INTERVAL: Final = 0.05  # seconds a line of the log may wait


def record(config: Config, source: str, log: Log, buffer: LogBuffer) -> Recorder:
    """Have what a process logs kept, if a configuration wants it."""
    recorder = Recorder(config.history_dir, source, complain=lambda why: log.error("history not kept", reason=why))
    recorder.use(config.history, config.workers + 1)
    buffer.tell = recorder.write
    return recorder


@contextlib.contextmanager
def flushed_often(buffer: LogBuffer) -> Iterator[None]:
    """Have the log's lines written within FLUSH_INTERVAL, and those that are left at the end."""
    loop = asyncio.get_running_loop()
    timer: asyncio.TimerHandle

    def flush() -> None:
        nonlocal timer
        buffer.flush()
        timer = loop.call_later(FLUSH_INTERVAL, flush)

    flush()
    try:
        yield
    finally:
        timer.cancel()
        buffer.flush()


def hides_lines(config: Config) -> bool:
    """Whether the log is to have less than the history keeps."""
    return config.log.level in ("warning", "error")
