"""What a work is."""

from collections.abc import Callable, Iterator

import msgspec

from bench.results import Measured
from bench.setting import Setting


class Work(msgspec.Struct, frozen=True):
    """A named benchmark.

    `figures` are the columns of its table; `plotted` is the figure of its bars, "" for none. `peers` are the servers
    beside valija that can do it.
    """

    name: str
    title: str
    measure: Callable[[Setting, str], Iterator[Measured]]
    figures: tuple[str, ...]
    plotted: str = ""
    peers: tuple[str, ...] = ()
