"""The two forms of a line of the log: text for people, JSON for programs. See valija/logs for what holds for both.

    form = TextLines()
    form.line("info", "attempt", {"queue_id": "3f2a", "seconds": 0.12})
    # b"2026-11-25T02:30:14.123Z info  attempt  queue_id=3f2a seconds=0.12\n"

Neither raises, whatever the values are.
"""

import re
import sys
import time
import traceback
from enum import Enum
from functools import lru_cache
from types import NoneType, TracebackType
from typing import Final

import msgspec

MAX_LINE: Final = 8192  # octets, the line end included
_CUTS: Final = (8192, 2048, 512, 128, 32)  # characters a value may keep, tried until the line is short enough

_SECRET_WORDS: Final = frozenset({"password", "passwd", "secret", "token", "response"})
_SHORT: Final = 160  # characters of a text whose written form is worth keeping
_COMMON_TYPES: Final = frozenset({str, int, float, bool, NoneType})  # those of one value are written the same
_HIDDEN: Final = "[hidden]"
_BARE = re.compile(r"[!#-<>-\[\]-~]+", re.ASCII)  # printable ASCII but blank, quote, equals sign, backslash
_TEXT_LEVELS: Final = {"debug": "debug", "info": "info ", "warning": "warn ", "error": "error", "critical": "fatal"}
_ESCAPES: Final = {"\n": "\\n", "\r": "\\r", "\t": "\\t", "\\": "\\\\"}


class _Clock:
    """Writes the time (RFC 3339, UTC, milliseconds), keeping the text of the second."""

    def __init__(self) -> None:
        self._second = -1
        self._prefix = ""

    def now(self) -> str:
        millisecond = time.time_ns() // 1_000_000
        second = millisecond // 1000
        if second != self._second:
            self._prefix = time.strftime("%Y-%m-%dT%H:%M:%S.", time.gmtime(second))
            self._second = second
        return f"{self._prefix}{millisecond % 1000:03d}Z"


class TextLines:
    """The form for people: time, level, event, then key=value pairs."""

    def __init__(self) -> None:
        self._clock = _Clock()

    def line(self, level: str, event: str, values: dict[str, object]) -> bytes:
        """Return the line."""
        if "exc_info" in values:
            _tell_exception(values)
        head = f"{self._clock.now()} {_TEXT_LEVELS[level]} "
        try:
            pairs = "".join(map(_common_pair, values, values.values()))
            line = f"{head}{_common_event(event)}{' ' if pairs else ''}{pairs}\n".encode()
        except Exception:  # a value that is not common, or can't be hashed
            return _any_line(head, event, values)
        return line if len(line) <= MAX_LINE else _any_line(head, event, values)


class _Uncommon(Exception):
    """What a line seldom has: it is written each time anew."""


# What lines repeat is kept in its written form: nearly all that stands in a line stands in others too.


@lru_cache(maxsize=4096, typed=True)
def _common_pair(key: str, value: object) -> str:
    if type(value) not in _COMMON_TYPES:
        raise _Uncommon
    text = value if type(value) is str else _text_of(value)
    name, hidden = _key(key)
    if hidden or len(text) > _SHORT:  # no secret is kept
        raise _Uncommon
    return f" {name}={text if _BARE.fullmatch(text) else _quoted(text)}"


@lru_cache(maxsize=256)
def _common_event(event: str) -> str:
    if len(event) > _SHORT:
        raise _Uncommon
    return _text_event(event)


def _any_line(head: str, event: str, values: dict[str, object]) -> bytes:
    """Return a line whatever is in it; long values are cut until it is short enough."""
    for limit in _CUTS:
        try:
            line = _text_line(head, event, values, limit)
        except Exception as error:  # a value whose own str() fails must not take the caller down
            line = _text_line(head, event, {"unprintable": type(error).__name__}, limit)
        if len(line) <= MAX_LINE:
            return line
    return _text_line(head, event, {"cut": len(values)}, _CUTS[-1])


def _text_line(head: str, event: str, values: dict[str, object], limit: int) -> bytes:
    pairs = "".join([f" {_pair(key, _shortened(_text_of(value), limit))}" for key, value in values.items()])
    return f"{head}{_text_event(_shortened(event, limit))}{' ' if pairs else ''}{pairs}\n".encode()


def _pair(key: str, text: str) -> str:
    name, hidden = _key(key)
    if hidden:
        text = _HIDDEN
    return f"{name}={text if _BARE.fullmatch(text) else _quoted(text)}"


def _text_event(event: str) -> str:
    return event if event.isprintable() and not re.search(r'["=\\]|  ', event) else _quoted(event)


def _text_of(value: object) -> str:
    plain = _builtin(value)
    if isinstance(plain, str):
        return plain
    if plain is None:
        return "-"
    if isinstance(plain, bool):
        return "true" if plain else "false"
    if isinstance(plain, list):
        return ",".join(_text_of(item) for item in plain)
    return str(plain)


class JsonLines:
    """The form for programs: one JSON object per line."""

    def __init__(self) -> None:
        self._clock = _Clock()
        self._encode = msgspec.json.Encoder().encode

    def line(self, level: str, event: str, values: dict[str, object]) -> bytes:
        """Return the line."""
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


def _json_fields(now: str, level: str, event: str, values: dict[str, object], limit: int) -> dict[str, object]:
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
    text = _shortened(text, limit)
    return text if text.isprintable() else _escaped(text)


def _shortened(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[:limit]}...[{len(text) - limit} more]"


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


def _tell_exception(values: dict[str, object]) -> None:
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
