r"""A line of the log, read again: text or JSON, as valija/logs wrote it. Pure.

    >>> event = parse(b'2026-11-25T02:30:14.123Z info  removed  queue_id=3f2a by="valija queue delete"\n')
    >>> event.event, event.fields
    ('removed', {'queue_id': '3f2a', 'by': 'valija queue delete'})
    >>> parse(b'2026-11-25T02:30:14.1') is None
    True

All values come back as texts, lists as their members with commas between them. Escapes of controls stay as the log has
them: what was safe to print is still. A line that is none of the log's is None, one that was cut off too.
"""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Final

import msgspec

_LEVELS: Final = {"debug": "debug", "info": "info", "warn": "warning", "error": "error", "fatal": "critical"}
_PAIR: Final = re.compile(r'([A-Za-z0-9_.-]+)=("(?:[^"\\]|\\.)*"|[^ "]*)(?: |$)')
_QUOTED: Final = re.compile(r'"((?:[^"\\]|\\.)*)"(?:  |$)')
_MEANT: Final = re.compile(r'\\([\\"])')
_TIME_LENGTH: Final = 24
_LEVEL_END: Final = 30


class Event(msgspec.Struct, frozen=True):
    """One line. `time` is in epoch seconds, `source` the process that wrote it."""

    time: float
    level: str
    event: str
    fields: Mapping[str, str]
    source: str = ""

    def get(self, key: str) -> str:
        """Return a value, `""` where the line has none."""
        return self.fields.get(key, "")


def parse(line: bytes, source: str = "") -> Event | None:
    """Return what a line says; None for what is no line of the log."""
    try:
        text = line.decode("utf-8").rstrip("\n")
        return _of_json(text, source) if text.startswith("{") else _of_text(text, source)
    except (ValueError, TypeError, KeyError):  # msgspec's faults among them
        return None


def time_of(line: bytes) -> float | None:
    """Return when a line was written, without reading all of it where that can be helped."""
    if line.startswith(b"{"):
        event = parse(line)
        return None if event is None else event.time
    try:
        return _moment(line[:_TIME_LENGTH].decode("ascii"))
    except ValueError:
        return None


def _moment(text: str) -> float:
    if len(text) != _TIME_LENGTH or not text.endswith("Z"):
        raise ValueError("no time of the log")
    return datetime.fromisoformat(text).timestamp()


def _of_json(text: str, source: str) -> Event | None:
    values = msgspec.json.decode(text)
    if not isinstance(values, dict):
        return None
    time, level, event = (str(values.pop(key)) for key in ("time", "level", "event"))
    return Event(_moment(time), level, event, {key: _words(value) for key, value in values.items()}, source)


def _words(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return ",".join(map(_words, value))
    return str(value)


def _of_text(text: str, source: str) -> Event | None:
    level = _LEVELS.get(text[_TIME_LENGTH + 1 : _LEVEL_END].rstrip())
    if level is None or text[_TIME_LENGTH] != " ":
        return None
    rest = text[_LEVEL_END + 1 :]
    if quoted := _QUOTED.match(rest):
        event, rest = _plain(quoted[1]), rest[quoted.end() :]
    else:
        event, _, rest = rest.partition("  ")
    fields = {pair[1]: _value(pair[2]) for pair in _PAIR.finditer(rest)}
    return Event(_moment(text[:_TIME_LENGTH]), level, event, fields, source)


def _value(written: str) -> str:
    return _plain(written[1:-1]) if written.startswith('"') else written


def _plain(quoted: str) -> str:
    return _MEANT.sub(r"\1", quoted)
