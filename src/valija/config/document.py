"""Reading a parsed TOML document table by table, gathering every fault instead of stopping at the first.

    document = Document("valija.toml", {"smtp": {"port": 99999}})
    smtp = document.table("smtp")
    port = smtp.read("port", port_number, 25)      # 25, and a fault is noted
    document.finish()                              # raises ConfigError

`finish` also refuses each key that nobody asked for, and says which one was probably meant. A reader is a function
that returns the value or raises Refused.
"""

import difflib
import re
from collections.abc import Callable, Mapping
from typing import Final, TypeVar

from valija.config.faults import ConfigError, Refused, Setting, SettingFault
from valija.config.later import not_yet
from valija.mail.fault import Fault

T = TypeVar("T")
Reader = Callable[[object], T]

_ABSENT: Final = object()
_SECRET: Final = re.compile("passw|secret|token")  # a setting that is none may hold one all the same


class Document:
    """A configuration being read. `source` names it in faults."""

    def __init__(self, source: str, values: Mapping[str, object]) -> None:
        self.source = source
        self._values = values
        self._tables: dict[str, Table] = {}
        self._faults: list[SettingFault] = []
        self._refused: set[Setting] = set()

    def table(self, name: str) -> "Table":
        """Return a table to read from, empty where the document has none; `""` is what stands before all tables."""
        values: object = self._values.get(name, {}) if name else self._values
        if not isinstance(values, dict):
            self.refuse(Setting("", name), Fault(values, "it is not a table", f"write [{name}] on a line of its own"))
            values = {}
        self._tables[name] = Table(self, name, values)
        return self._tables[name]

    def array(self, parent: str, key: str, reader: "Callable[[Table], T]") -> tuple[T, ...]:
        """Read the tables that are written [[parent.key]], each by `reader`; none where the document has none."""
        name = f"{parent}.{key}"
        self._tables[name] = Table(self, name, {})
        reader(self._tables[name])  # so that its settings are known, though none is written
        self._tables[parent].known[key] = None
        entries = self._tables[parent].values.get(key, [])
        if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
            remedy = f"write [[{name}]] on a line of its own before each of them"
            self.refuse(Setting(parent, key), Fault(entries, "these are not tables", remedy))
            return ()
        tables = [Table(self, f"{name}#{number}", entry) for number, entry in enumerate(entries, start=1)]
        self._tables.update((table.name, table) for table in tables)
        return tuple(reader(table) for table in tables)

    def refuse(self, setting: Setting, *faults: Fault) -> None:
        """Note what is wrong with a setting."""
        self._refused.add(setting)
        self._faults.extend(SettingFault.of(self.source, setting, fault) for fault in faults)

    def is_sound(self, table: str, *keys: str) -> bool:
        """Whether none of these settings was refused: what is compared with them makes sense then."""
        return self._refused.isdisjoint(Setting(table, key) for key in keys)

    def written(self, table: str, key: str) -> object:
        """Return a setting as the document has it, None where it has none."""
        values = self._values.get(table) if table else self._values
        return values.get(key) if isinstance(values, dict) else None

    def settings(self) -> list[Setting]:
        """Every setting that was asked for, in order: with an empty document, every setting there is."""
        return [Setting(name, key) for name, table in self._tables.items() for key in table.known if "#" not in name]

    def finish(self) -> None:
        """Refuse what nobody asked for. Raises ConfigError where there is any fault, in the file's own order."""
        for name, table in self._tables.items():
            for key, value in table.values.items():
                if key not in table.known and (name or key not in self._tables):
                    self._refuse_unknown(Setting(name, key), value)
        if self._faults:
            raise ConfigError(sorted(self._faults, key=self._place))

    def _refuse_unknown(self, setting: Setting, value: object) -> None:
        if isinstance(value, dict) or (isinstance(value, list) and value and isinstance(value[0], dict)):
            what, value = "there is no such table", None
            place = Setting(f"{setting.table}.{setting.key}" if setting.table else setting.key, "")
        else:
            what, place = "there is no such setting", setting
        shown = None if _SECRET.search(setting.key.lower()) else value
        self.refuse(place, Fault(shown, what, self._meant(setting, is_table=value is None)))

    def _meant(self, setting: Setting, *, is_table: bool) -> str:
        """Return the remedy for an unknown name: where it belongs, the nearest one, or all there are."""
        tables = [name for name in self._tables if name and "#" not in name]
        known = tables if is_table else list(self._tables[setting.table].known)
        if nearest := difflib.get_close_matches(setting.key.lower(), known, n=1, cutoff=0.75):
            return f"did you mean {nearest[0]}?"
        if not is_table and (homes := self._homes(setting.key)):
            return f"it belongs {' or '.join(homes)}"
        if nearest := difflib.get_close_matches(setting.key.lower(), known, n=1, cutoff=0.6):
            return f"did you mean {nearest[0]}?"
        return f"known are {', '.join(known)}"

    def _homes(self, key: str) -> list[str]:
        """Return where a key is known; Postfix's own name of a setting is understood too (smtpd_error_limit)."""
        homes = []
        for name, table in self._tables.items():
            own = key.removeprefix(f"{name}_")
            if own in table.known and "#" not in name:
                spelling = "" if own == key else f", as {own}"
                homes.append(f"in [{name}]{spelling}" if name else "at the top, before the first [table]")
        return homes

    def _place(self, fault: SettingFault) -> tuple[int, int]:
        """Return where a fault stands in the document, so that faults come in the order a reader meets them."""
        tables = list(self._values)
        table = fault.setting.table.partition(".")[0]
        keys = self._values.get(table, {}) if table else self._values
        order = list(keys) if isinstance(keys, dict) else []
        return (
            1 + tables.index(table) if table in tables else 0,
            order.index(fault.setting.key) if fault.setting.key in order else len(order),
        )


class Table:
    """One table of a document."""

    def __init__(self, document: Document, name: str, values: Mapping[str, object]) -> None:
        self._document = document
        self.name = name
        self.values = values
        self.known: dict[str, None] = {}

    def read(self, key: str, reader: Reader[T], default: T) -> T:
        """Return the setting as `reader` understands it; the default where it is missing or refused."""
        self.known[key] = None
        value = self.values.get(key, _ABSENT)
        if value is _ABSENT:
            return default
        setting = Setting(self.name, key)
        if later := not_yet(setting, value):
            self._document.refuse(setting, later)
            return default
        try:
            return reader(value)
        except Refused as refused:
            self._document.refuse(setting, *refused.faults)
            return default
