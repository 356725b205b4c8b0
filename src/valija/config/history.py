"""How long and how much of the log is kept for `valija why`: `[history]`."""

from valija.config.document import Table
from valija.config.faults import refuse
from valija.config.readers import duration, number
from valija.history.options import LEAST_SIZE, HistoryOptions

_LONGEST = "3650d"
_SHORTEST = 60.0  # seconds
_MOST = 1 << 40


def read_history(table: Table) -> HistoryOptions:
    """Return what stands in `table`."""
    default = HistoryOptions()
    return HistoryOptions(
        keep=table.read("keep", _keep, default.keep),
        size_limit=table.read("size_limit", _size, default.size_limit),
    )


def _keep(value: object) -> float:
    seconds = duration("0s", _LONGEST)(value)
    if 0 < seconds < _SHORTEST:
        raise refuse(value, "it is too short to be of use", 'write "1m" at least, or "0s" for no history')
    return seconds


def _size(value: object) -> int:
    octets = number(0, _MOST, "octets")(value)
    if 0 < octets < LEAST_SIZE:
        raise refuse(value, "it is too little to be of use", f"write {LEAST_SIZE} at least, or 0 for no history")
    return octets
