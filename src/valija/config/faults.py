"""What is wrong with a configuration, in one line per fault: where, the value as written, why, and the remedy.

valija.toml: [smtp] port = 99999: it is not between 1 and 65535; write a port such as 25
"""

import json
from collections.abc import Sequence
from datetime import date, time
from typing import Final

import msgspec

from valija.mail.fault import Fault

_LONGEST_VALUE: Final = 100  # characters of a value that a fault repeats


class Refused(Exception):
    """Raised by a reader: the value cannot be used. One fault for each part that is wrong."""

    def __init__(self, *faults: Fault) -> None:
        super().__init__(len(faults))
        self.faults = faults


def refuse(value: object, reason: str, remedy: str) -> Refused:
    """Return the refusal of a value with a single fault."""
    return Refused(Fault(value, reason, remedy))


class Setting(msgspec.Struct, frozen=True, order=True):
    """The place of a setting: its table, `""` for those on top of the file, and its key, `""` for the table itself.

    `tables#2` is the second of the tables that are written [[tables]].
    """

    table: str
    key: str

    def __str__(self) -> str:
        name, mark, number = self.table.partition("#")
        table = f"[[{name}]] #{number}" if mark else f"[{name}]" if name else ""
        return " ".join(part for part in (table, self.key) if part)


class SettingFault(msgspec.Struct, frozen=True):
    """A fault and where it stands. `source` names the file; `value` is TOML, `""` where none was written."""

    source: str
    setting: Setting
    value: str
    reason: str
    remedy: str

    @classmethod
    def of(cls, source: str, setting: Setting, fault: Fault) -> "SettingFault":
        """Place a fault."""
        return cls(source, setting, written(fault.value), fault.reason, fault.remedy)

    def __str__(self) -> str:
        place = f"{self.setting} = {self.value}" if self.value else str(self.setting)
        words = f"{self.source}: {place}: {self.reason}" if place else f"{self.source}: {self.reason}"
        return printable(f"{words}; {self.remedy}")


class ConfigError(Exception):
    """A configuration that is refused: every fault in it."""

    def __init__(self, faults: Sequence[SettingFault]) -> None:
        super().__init__(faults)
        self.faults = tuple(faults)

    def __str__(self) -> str:
        return "\n".join(map(str, self.faults))


def written(value: object) -> str:
    """Return a value as TOML on one line, cut where it is long; `""` for None, which stands for nothing written."""
    text = "" if value is None else _toml(value, depth=0)
    return text if len(text) <= _LONGEST_VALUE else f"{text[:_LONGEST_VALUE]}..."


def _toml(value: object, depth: int) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return json.dumps(value[: _LONGEST_VALUE + 1], ensure_ascii=False)
    if isinstance(value, int | float):
        return _number(value)
    if isinstance(value, date | time):
        return str(value)
    if depth > 3:
        return "..."
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_toml(item, depth + 1) for item in value[:20]) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {_toml(item, depth + 1)}" for key, item in list(value.items())[:20]) + "}"
    return str(value)


def _number(value: float) -> str:
    # Python refuses to write an integer of thousands of digits in decimal.
    return hex(value) if isinstance(value, int) and value.bit_length() > 1000 else str(value)


def printable(text: str) -> str:
    """Return text that is safe to show on a terminal, on one line."""
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)
