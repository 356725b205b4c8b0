"""The settings of DKIM keys, `[dkim]`."""

from typing import Final

import msgspec

from valija.config.document import Table
from valija.config.faults import refuse
from valija.config.readers import duration

_SHORTEST: Final = 7 * 86_400.0  # seconds: a record needs some days to be published, and as many to be needed no more


class DkimOptions(msgspec.Struct, frozen=True):
    """`rotate` is after how many seconds of signing a key gets a successor; 0 is never."""

    rotate: float = 0.0


def read_dkim(table: Table) -> DkimOptions:
    """Return what stands in `table`."""
    return DkimOptions(rotate=table.read("rotate", _rotate, 0.0))


def _rotate(value: object) -> float:
    seconds = duration("0s")(value)
    if 0 < seconds < _SHORTEST:
        raise refuse(value, "keys cannot follow each other so fast", 'write "7d" at least, or "0s" for never')
    return seconds
