"""Fault points: calls at the steps of a message's way that do nothing, unless VALIJA_FAULT says what goes wrong there.

    _committed = fault_point("queue.committed")      # at import: bound once to what it is in this process
    ...
    _committed()                                     # nothing, a SIGKILL, OSError(ENOSPC) or OSError(EIO)

    VALIJA_FAULT="queue.committed:kill@3" valija serve

For tests, and for `valija crash-test`, alone: a server that has it in its environment says so in a warning at each
start. The variable is read when this module is imported; nothing that comes over the network or out of the
configuration can change it. Without it a point costs the call of a function that returns, some 30 ns.

What strikes is told on standard error, in a line of its own, with the moment in epoch seconds. Known weakness: two
workers that pass the same point at the same moment may count one pass.
"""

import errno
import mmap
import os
import signal
from collections.abc import Callable
from time import time
from typing import Final, NoReturn

from valija.faults.plan import POINTS, Action, Fault, UnknownFault, parse

VARIABLE: Final = "VALIJA_FAULT"

Point = Callable[[], None]

_PLACES: Final = {name: place for place, name in enumerate(POINTS)}


def _nothing() -> None:
    return None


def _kill() -> NoReturn:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("a killed process goes on")


def _fill() -> NoReturn:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _break() -> NoReturn:
    raise OSError(errno.EIO, os.strerror(errno.EIO))


_ACTS: Final[dict[Action, Callable[[], NoReturn]]] = {"kill": _kill, "full": _fill, "io": _break}


class Armed:
    """The fault points of a process and those forked from it: what strikes where, and how often each was passed."""

    def __init__(self, plan: tuple[Fault, ...]) -> None:
        self._plan = plan
        self._map = mmap.mmap(-1, 8 * len(POINTS)) if plan else None  # shared with the processes forked from this one
        self._passes = memoryview(self._map).cast("q") if self._map else memoryview(b"")

    def point(self, name: str) -> Point:
        """Return what is to be called at a point."""
        place, here = _PLACES[name], [fault for fault in self._plan if fault.point == name]
        return (lambda: self._pass(place, here)) if here else _nothing

    def has_any(self, *names: str) -> bool:
        """Whether anything strikes at one of these points."""
        return any(fault.point in names for fault in self._plan)

    def in_words(self) -> list[str]:
        """Return what strikes, a line per fault."""
        return [f"{fault.point}: {fault.action}" for fault in self._plan]

    def _pass(self, place: int, here: list[Fault]) -> None:
        self._passes[place] += 1
        passes = self._passes[place]
        for fault in here:
            if fault.strikes(passes, int.from_bytes(os.urandom(4)) / 2**32):
                os.write(2, f"valija: fault {fault.point}: {fault.action} in pass {passes} at {time():.3f}\n".encode())
                _ACTS[fault.action]()


def _read_environment() -> tuple[Armed, str]:
    """Return what the environment asks for, and what is wrong with it."""
    try:
        return Armed(parse(os.environ.get(VARIABLE, ""))), ""
    except UnknownFault as unknown:
        return Armed(()), f"{VARIABLE}: {unknown}"


_ARMED, COMPLAINT = _read_environment()
"""COMPLAINT says what is wrong with the variable, "" if nothing is: the server refuses to start then."""

fault_point = _ARMED.point
is_armed = _ARMED.has_any
armed_in_words = _ARMED.in_words
