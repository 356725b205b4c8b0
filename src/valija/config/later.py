"""What this version does not know how to do yet. It is refused, never ignored: delete a line when it can be done."""

from collections.abc import Iterable
from typing import Final, TypeVar

from valija.config.faults import Setting
from valija.mail.fault import Fault

C = TypeVar("C", bound=str)

# setting -> the values that are not available (None: all but an empty one), and what to do instead
_LATER: Final[dict[Setting, tuple[frozenset[str] | None, str]]] = {
    Setting("web", "listen"): (None, "leave it out, or write []"),
}


def not_yet(setting: Setting, value: object) -> Fault | None:
    """Return the fault of a value that only a later version understands."""
    values, remedy = _LATER.get(setting, (frozenset(), ""))
    refused = bool(value) if values is None else value in values if isinstance(value, str) else False
    return Fault(value, "it is not available in this version", remedy) if refused else None


def available(setting: Setting, choices: Iterable[C]) -> list[C]:
    """Return the choices of a setting that this version understands: no others are offered to anybody."""
    return [choice for choice in choices if not not_yet(setting, choice)]
