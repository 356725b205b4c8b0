"""The log: structured lines on standard error, readable or JSON, with nothing in them that a peer could misuse.

    buffer = LogBuffer(2)
    log = build_log("info", "text", buffer)
    log.info("attempt", queue_id="3f2a", recipient="bob@example.net", seconds=0.12)
    buffer.flush()
    # 2026-11-25T02:30:14.123Z info  attempt  queue_id=3f2a recipient=bob@example.net seconds=0.12

What holds for every line, whatever was logged:

- It is one line of at most 8 KiB; long values are cut and say so.
- It holds printable characters only: controls, bidirectional marks, line separators and surrogates are escaped as in
  Python's string literals, in JSON too (there the escape is the value, so that printing the value is safe as well).
- In text, a value with blanks, quotes, `=` or a backslash stands in quotes: no value can look like another key.
- The value of a key that names a secret is not printed.
- Logging never raises, and what cannot be written is dropped and counted.

What is written may be handed on to somebody who keeps it (`tell`), what is below `least` to that one alone.

Lines are gathered and written in batches: `LogBuffer.flush` is called by a timer and at exit; a warning or worse is
written at once. A forked process begins with an empty buffer: the lines that wait are its parent's.

Known weakness: a pipe that nobody reads stops the writer, as it does for every program.
"""

import os
import select
import threading
import weakref
from collections import deque
from collections.abc import Callable
from typing import Final, Literal

from valija.log_forms import MAX_LINE, JsonLines, TextLines

__all__ = ["MAX_LINE", "Format", "Level", "Log", "LogBuffer", "build_log", "take_in_libraries"]

Level = Literal["debug", "info", "warning", "error"]
Format = Literal["text", "json"]

_FLUSH_SIZE: Final = 32 * 1024
_WRITE_PATIENCE: Final = 0.1  # seconds to wait for a non-blocking descriptor

_DEBUG, _INFO, _WARNING, _ERROR = range(4)
_RANKS: Final[dict[Level, int]] = {"debug": _DEBUG, "info": _INFO, "warning": _WARNING, "error": _ERROR}

Form = Callable[[str, str, dict[str, object]], bytes]
"""Writes a line: of a level, about an event, with values."""


class Log:
    """Writes lines: an event and its values, which may be of any type. Those below `level` are not even made."""

    __slots__ = ("_buffer", "_form", "_rank")

    def __init__(self, level: Level, form: Form, buffer: "LogBuffer") -> None:
        self._rank = _RANKS[level]
        self._form = form
        self._buffer = buffer

    def debug(self, event: str, /, **values: object) -> None:
        """Tell what only a developer wants to know."""
        if self._rank <= _DEBUG:
            self._buffer.gather(self._form("debug", event, values))

    def info(self, event: str, /, **values: object) -> None:
        """Tell what has happened."""
        if self._rank <= _INFO:
            self._buffer.gather(self._form("info", event, values))

    def warning(self, event: str, /, **values: object) -> None:
        """Tell what somebody should look at."""
        if self._rank <= _WARNING:
            self._buffer.warn(self._form("warning", event, values))

    def error(self, event: str, /, **values: object) -> None:
        """Tell what went wrong."""
        self._buffer.write(self._form("error", event, values))

    def exception(self, event: str, /, **values: object) -> None:
        """Tell what went wrong, and of the exception that is being handled."""
        self.error(event, exc_info=True, **values)

    def critical(self, event: str, /, **values: object) -> None:
        """Tell what nothing but a human can mend."""
        self._buffer.write(self._form("critical", event, values))


def build_log(level: Level, form: Format, buffer: "LogBuffer") -> Log:
    """Return a logger that writes lines of `level` and above to `buffer`."""
    return Log(level, (JsonLines() if form == "json" else TextLines()).line, buffer)


def take_in_libraries(log: Log) -> None:
    """Have what libraries say by Python's own logging, the event loop's complaints among it, become lines of ours."""
    import logging

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            log.warning("library", logger=record.name, message=record.getMessage(), exc_info=record.exc_info or None)

    logging.basicConfig(handlers=[Handler(logging.WARNING)], level=logging.WARNING, force=True)


class LogBuffer:
    """Where lines are gathered and written: a file descriptor, 2 for standard error. Safe to use from any thread.

    Lines below `least` are not written. `tell` is handed each batch, those lines among it; it must not raise.
    """

    def __init__(self, descriptor: int, least: Level = "debug") -> None:
        self._descriptor = descriptor
        self.tell: Callable[[bytes], None] | None = None
        self._hidden: deque[bytes] = deque()
        self._lines: deque[bytes] = deque()
        self._information = self._hidden if _RANKS[least] > _INFO else self._lines
        self._warnings = self._hidden if _RANKS[least] > _WARNING else self._lines
        self._size = 0
        self._writing = threading.Lock()
        self.lost = 0  # lines that could not be written
        begin_anew = weakref.WeakMethod(self._begin_anew)
        os.register_at_fork(after_in_child=lambda: (method := begin_anew()) and method())

    def _begin_anew(self) -> None:
        """Leave the waiting lines, and a lock that nobody here would free, to the process that was forked from."""
        self.tell = None
        self._hidden.clear()
        self._lines.clear()
        self._size = self.lost = 0
        self._writing = threading.Lock()

    def gather(self, line: bytes) -> None:
        """Keep a line for the next flush."""
        self._information.append(line)
        self._size += len(line)
        if self._size >= _FLUSH_SIZE:
            self.flush()

    def warn(self, line: bytes) -> None:
        """Write a warning at once, after the lines that wait."""
        self._warnings.append(line)
        self.flush()

    def write(self, line: bytes) -> None:
        """Write a line at once, after those that wait."""
        self._lines.append(line)
        self.flush()

    def flush(self) -> None:
        """Write what waits. Never raises; returns at once where a flush is under way, which takes these lines too."""
        if not self._writing.acquire(blocking=False):
            return
        try:
            while self._lines or self._hidden:
                self._size = 0
                batch = [self._lines.popleft() for _ in range(len(self._lines))]
                data = b"".join(batch)
                if self.tell is not None:
                    self.tell(data)  # first, so that what was seen in the log is kept, whatever happens now
                if self._hidden:
                    self._tell_hidden()
                if not self._write(data):
                    self.lost += len(batch)
        finally:
            self._writing.release()

    def _tell_hidden(self) -> None:
        lines = b"".join([self._hidden.popleft() for _ in range(len(self._hidden))])
        if self.tell is not None:
            self.tell(lines)

    def _write(self, data: bytes) -> bool:
        view = memoryview(data)
        while view:
            try:
                view = view[os.write(self._descriptor, view) :]
            except BlockingIOError:
                if not select.select([], [self._descriptor], [], _WRITE_PATIENCE)[1]:
                    return False
            except (OSError, ValueError):
                return False
        return True
