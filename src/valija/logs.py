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
import re
import select
import sys
import threading
import time
import traceback
import weakref
from collections import deque
from collections.abc import Callable
from enum import Enum
from functools import lru_cache
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Literal

import msgspec

if TYPE_CHECKING:
    from structlog.typing import EventDict, FilteringBoundLogger

    Log = FilteringBoundLogger
else:
    Log = EventDict = Any  # structlog takes long to import, and most commands log nothing: see build_log
Level = Literal["debug", "info", "warning", "error"]
Format = Literal["text", "json"]

MAX_LINE: Final = 8192  # octets, the line end included
_FLUSH_SIZE: Final = 32 * 1024
_CUTS: Final = (8192, 2048, 512, 128, 32)  # characters a value may keep, tried until the line is short enough
_WRITE_PATIENCE: Final = 0.1  # seconds to wait for a non-blocking descriptor

_RANKS: Final = {"debug": 0, "info": 1, "warning": 2, "error": 3}
_SECRET_WORDS: Final = frozenset({"password", "passwd", "secret", "token", "response"})
_SHORT: Final = 64  # characters of a text whose written form is worth keeping
_HIDDEN: Final = "[hidden]"
_BARE = re.compile(r"[!#-<>-\[\]-~]+", re.ASCII)  # printable ASCII but blank, quote, equals sign, backslash
_TEXT_LEVELS: Final = {"debug": "debug", "info": "info ", "warning": "warn ", "error": "error", "critical": "fatal"}
_ESCAPES: Final = {"\n": "\\n", "\r": "\\r", "\t": "\\t", "\\": "\\\\"}

Render = Callable[[Any, str, EventDict], bytes]


def build_log(level: Level, form: Format, buffer: "LogBuffer") -> Log:
    """Return a logger that writes lines of `level` and above to `buffer`."""
    import structlog

    render: Render = _JsonLines() if form == "json" else _TextLines()
    log: Log = structlog.wrap_logger(
        buffer, (render,), structlog.make_filtering_bound_logger(level), context_class=dict
    ).bind()
    return log


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
        self._hides_info = _RANKS[least] > _RANKS["info"]
        self._hides_warnings = _RANKS[least] > _RANKS["warning"]
        self.tell: Callable[[bytes], None] | None = None
        self._hidden: deque[bytes] = deque()
        self._lines: deque[bytes] = deque()
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

    def debug(self, line: bytes) -> None:
        """Keep a line for the next flush."""
        (self._hidden if self._hides_info else self._lines).append(line)
        self._size += len(line)
        if self._size >= _FLUSH_SIZE:
            self.flush()

    info = debug

    def warning(self, line: bytes) -> None:
        """Write a line at once, after those that wait."""
        (self._hidden if self._hides_warnings else self._lines).append(line)
        self.flush()

    def error(self, line: bytes) -> None:
        """Write a line at once, after those that wait."""
        self._lines.append(line)
        self.flush()

    critical = error

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


class _Clock:
    """Writes the time (RFC 3339, UTC, milliseconds), keeping the text while it does not change."""

    def __init__(self) -> None:
        self._second = self._millisecond = -1
        self._prefix = self._text = ""

    def now(self) -> str:
        millisecond = time.time_ns() // 1_000_000
        if millisecond != self._millisecond:
            second, rest = divmod(millisecond, 1000)
            if second != self._second:
                self._prefix = time.strftime("%Y-%m-%dT%H:%M:%S.", time.gmtime(second))
                self._second = second
            self._text = f"{self._prefix}{rest:03d}Z"
            self._millisecond = millisecond
        return self._text


class _TextLines:
    """The form for people: time, level, event, then key=value pairs."""

    def __init__(self) -> None:
        self._clock = _Clock()

    def __call__(self, _buffer: Any, level: str, values: EventDict) -> bytes:
        event = str(values.pop("event", ""))
        if "exc_info" in values:
            _tell_exception(values)
        head = f"{self._clock.now()} {_TEXT_LEVELS.get(level, level)} "
        for limit in _CUTS:
            try:
                line = _text_line(head, event, values, limit)
            except Exception as error:  # a value whose own str() fails must not take the caller down
                line = _text_line(head, event, {"unprintable": type(error).__name__}, limit)
            if len(line) <= MAX_LINE:
                return line
        return _text_line(head, event, {"cut": len(values)}, _CUTS[-1])


def _text_line(head: str, event: str, values: EventDict, limit: int) -> bytes:
    parts = [head, _text_event(event if len(event) <= limit else _cut(event, limit))]
    separator = "  "
    for key, value in values.items():
        text = value if type(value) is str else _text_of(value)
        if len(text) > limit:
            text = _cut(text, limit)
        parts.append(separator + (_short_pair(key, text) if len(text) <= _SHORT else _pair(key, text)))
        separator = " "
    parts.append("\n")
    return "".join(parts).encode()


def _pair(key: str, text: str) -> str:
    name, hidden = _key(key)
    if hidden:
        text = _HIDDEN
    return f"{name}={text if _BARE.fullmatch(text) else _quoted(text)}"


_short_pair = lru_cache(maxsize=4096)(_pair)  # most of a line's pairs stand in the next one again


@lru_cache(maxsize=256)
def _text_event(event: str) -> str:
    return event if event.isprintable() and not re.search(r'["=\\]|  ', event) else _quoted(event)


def _text_of(value: object) -> str:
    plain = _builtin(value)
    if plain is None:
        return "-"
    if isinstance(plain, bool):
        return "true" if plain else "false"
    if isinstance(plain, list):
        return ",".join(_text_of(item) for item in plain)
    return str(plain)


class _JsonLines:
    """The form for programs: one JSON object per line."""

    def __init__(self) -> None:
        self._clock = _Clock()
        self._encode = msgspec.json.Encoder().encode

    def __call__(self, _buffer: Any, level: str, values: EventDict) -> bytes:
        event = str(values.pop("event", ""))
        if "exc_info" in values:
            _tell_exception(values)
        now = self._clock.now()
        for limit in _CUTS:
            try:
                line = self._encode(_json_fields(now, level, event, values, limit))
            except Exception as error:  # a value whose own str() fails must not take the caller down
                line = self._encode(_json_fields(now, level, event, {"unprintable": type(error).__name__}, limit))
            if len(line) < MAX_LINE:
                return line + b"\n"
        return self._encode(_json_fields(now, level, event, {"cut": len(values)}, _CUTS[-1])) + b"\n"


def _json_fields(now: str, level: str, event: str, values: EventDict, limit: int) -> dict[str, object]:
    fields: dict[str, object] = {"time": now, "level": level, "event": _shown(event, limit)}
    for key, value in values.items():
        name, hidden = _key(key)
        if name in ("time", "level", "event"):
            name += "_"
        fields[name] = _HIDDEN if hidden else _json_value(value, limit)
    return fields


def _json_value(value: object, limit: int) -> object:
    plain = value if type(value) is str else _builtin(value)
    if isinstance(plain, str):
        return _shown(plain, limit)
    if isinstance(plain, list):
        return [_json_value(item, limit) for item in plain[:limit]]
    return plain


def _builtin(value: object) -> str | int | float | list[object] | None:
    """Return a value as one that both forms know how to write."""
    if isinstance(value, Enum):
        value = value.value
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, int):
        return value if -(2**63) <= value < 2**63 else str(value)
    if isinstance(value, float):
        return round(value, 3)
    if isinstance(value, bytes):
        return value.decode("utf-8", "surrogateescape")
    if isinstance(value, list | tuple | set | frozenset):
        return list(value)
    return str(value)


def _shown(text: str, limit: int) -> str:
    if len(text) > limit:
        text = _cut(text, limit)
    return text if text.isprintable() else _escaped(text)


def _cut(text: str, limit: int) -> str:
    return f"{text[:limit]}...[{len(text) - limit} more]"


def _escaped(text: str) -> str:
    return "".join([char if char.isprintable() and char != "\\" else _escape(char) for char in text])


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\") if text.isprintable() else _escaped(text)
    return '"' + escaped.replace('"', '\\"') + '"'


def _escape(char: str) -> str:
    code = ord(char)
    return _ESCAPES.get(char) or (
        f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
    )


@lru_cache(maxsize=1024)
def _key(key: str) -> tuple[str, bool]:
    """Return a key as it may be written, and whether its value is a secret."""
    name = re.sub(r"[^A-Za-z0-9_.-]", "_", key[:64]) or "_"
    return name, not _SECRET_WORDS.isdisjoint(name.lower().split("_"))


def _tell_exception(values: EventDict) -> None:
    """Replace `exc_info` by the exception in words and the way to it, innermost frame last."""
    info = values.pop("exc_info")
    error = info if isinstance(info, BaseException) else info[1] if isinstance(info, tuple) else None
    if error is None and info:
        error = sys.exc_info()[1]
    if error is not None:
        values["exception"] = _exception_words(error)
        values["traceback"] = _traceback_words(error.__traceback__)


def _exception_words(error: BaseException) -> str:
    words = "".join(traceback.format_exception_only(error)).strip()
    cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return words if cause is None else f"{words}; after {type(cause).__name__}: {cause}"


def _traceback_words(trace: TracebackType | None) -> str:
    frames = traceback.extract_tb(trace)[-12:]
    return " > ".join(f"{_short_path(frame.filename)}:{frame.lineno} {frame.name}" for frame in frames)


def _short_path(path: str) -> str:
    return "/".join(path.split("/")[-3:])
