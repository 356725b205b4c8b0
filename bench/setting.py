"""How much is measured, and where: what every work is given."""

import os
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec

from bench import PROJECT

DEFAULT_HOME = "/var/tmp/valija-bench"  # noqa: S108 a disk, not a memory file system, and kept over a restart
_MIB = 1 << 20


def home() -> Path:
    """Return the work folder, made where it is missing. The disk it lies on is the one that is measured."""
    folder = Path(os.environ.get("BENCH_HOME", DEFAULT_HOME)).resolve()
    folder.mkdir(mode=0o755, parents=True, exist_ok=True)
    return folder


class Scale(msgspec.Struct, frozen=True):
    """Counts of messages and sessions, sizes in octets, times in seconds.

    `messages` of the relay works at many sessions, `lone_messages` at one; `submissions` by so many `accounts`;
    `large`: size and count; `idle` sessions; `lonely` messages of the latency work; `crowd` sessions, of which `active`
    send for `crowd_seconds`; `deep` recipients over `domains`; `stalled` messages for a host that never speaks.
    """

    octets: int = 4096
    messages: int = 4000
    lone_messages: int = 2000
    submissions: int = 1500
    accounts: int = 50
    large: tuple[tuple[int, int], ...] = ((_MIB, 200), (25 * _MIB, 40))
    idle: int = 1000
    lonely: int = 300
    crowd: int = 10_000
    active: int = 1_000
    crowd_seconds: float = 15.0
    deep: int = 1_000_000
    domains: int = 10_000
    stalled: int = 100_000
    limit: float = 45.0
    """The longest that one run may take; what has not arrived by then is a fault that the table names."""


TINY = Scale(
    octets=1024,
    messages=60,
    lone_messages=20,
    submissions=20,
    accounts=2,
    large=((1 << 18, 4),),
    idle=20,
    lonely=5,
    crowd=30,
    active=10,
    crowd_seconds=0.3,
    deep=2000,
    domains=20,
    stalled=40,
    limit=15.0,
)
"""Enough to see that the works work; the figures mean nothing."""


def python_user() -> str:
    """Return the user that a server started here may drop to: one that can read the interpreter and the checkout."""
    import pwd

    if os.geteuid() != 0:
        return pwd.getpwuid(os.getuid()).pw_name
    places = [Path(sys.executable).resolve(), Path(os.__file__).resolve(), PROJECT / "src"]
    readable = all(folder.stat().st_mode & 0o001 for place in places for folder in place.parents)
    return "nobody" if readable else "root"


class Setting(msgspec.Struct, frozen=True):
    """The place and size of a measurement. `source` is the folder of valija's source that is measured."""

    home: Path
    scale: Scale = Scale()
    source: Path = PROJECT / "src"
    say: Callable[[str], None] = print
