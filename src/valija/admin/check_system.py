"""What `valija check` finds about the clock and the limit of open files.

    findings = [*check_clock(time.time()), *check_limits(config, descriptors=hard_limit())]

A clock that is wrong makes certificates and signatures invalid in others' eyes. Without the internet it can be held
against two things: whether some program keeps the kernel's clock in step, and when this program was installed.
"""

import ctypes
import os
import re
import resource
import struct
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import valija
from valija.admin.findings import Finding, failure, fine, unknown, warning
from valija.capacity import WANTED_DESCRIPTORS, room
from valija.config import Config

SYNCHRONISED: Final = Path("/run/systemd/timesync/synchronized")
PROCESSES: Final = Path("/proc")
_KEEPERS: Final = ("chronyd", "ntpd", "openntpd", "ptp4l", "systemd-timesyn")  # the kernel cuts names at 15 octets

_STATUS_AT: Final = 40  # octets into struct timex on 64-bit Linux, adjtimex(2)
_STA_UNSYNC: Final = 0x40
_DAY: Final = 86_400.0

_FEW_SESSIONS: Final = 500


def check_clock(now: float) -> Iterator[Finding]:
    """Yield the findings. `now` is what the clock shows, in seconds since the epoch."""
    installed = os.stat(valija.__file__).st_mtime
    shown = datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%d %H:%M UTC")
    if now < installed - _DAY:
        day = datetime.fromtimestamp(installed, UTC).date()
        text = f"the clock shows {shown}, and this program was installed on {day}"
        yield failure("clock", text, "set it: certificates and signatures are judged by it")
        return
    in_step = is_kept_in_step()
    if in_step is None:
        yield unknown("clock", f"it shows {shown}; whether a program keeps it right cannot be told")
    elif in_step:
        yield fine("clock", f"it shows {shown}, and is kept in step")
    else:
        text = f"it shows {shown}, and no program keeps it right"
        yield warning("clock", text, "run one: systemd-timesyncd, chrony or ntpd")


def is_kept_in_step() -> bool | None:
    """Return whether the clock follows a time server: the kernel says so, or a program for that runs. None: unknown."""
    unsynchronised = _is_unsynchronised()
    if unsynchronised is False or SYNCHRONISED.exists() or _a_keeper_runs():
        return True
    return None if unsynchronised is None else False


def _is_unsynchronised() -> bool | None:
    answer = ctypes.create_string_buffer(512)  # struct timex, modes = 0: only asked
    if ctypes.CDLL(None, use_errno=True).adjtimex(answer) < 0:
        return None
    (status,) = struct.unpack_from("=i", answer.raw, _STATUS_AT)
    return bool(status & _STA_UNSYNC)


def _a_keeper_runs() -> bool:
    for process in PROCESSES.glob("[0-9]*"):
        try:
            name = (process / "comm").read_text().strip()
        except OSError:
            continue
        if name in _KEEPERS:
            return True
    return False


# Open files


def check_limits(config: Config, descriptors: int) -> Iterator[Finding]:
    """Yield the findings. `descriptors` is how many files one process may have open at most."""
    usable = min(descriptors, WANTED_DESCRIPTORS)
    sessions = room(usable, config.workers)
    each = f"{usable} open files are allowed: with the memory, {sessions} sessions in each of {config.workers} workers"
    remedy = f"raise it: LimitNOFILE={WANTED_DESCRIPTORS} in the systemd unit, or ulimit -Hn"
    if room(WANTED_DESCRIPTORS, config.workers) == sessions:
        remedy = "it is the memory that bounds them: let the machine have more, or set fewer workers"
    if sessions < 64:
        yield failure("limits", f"only {usable} open files are allowed: the server runs out of them", remedy)
    elif sessions < max(_FEW_SESSIONS, 2 * _most_of_one_client(config)):
        yield warning("limits", f"only {each}; a few busy clients fill them", remedy)
    else:
        yield fine("limits", each)


def _most_of_one_client(config: Config) -> int:
    return max(options.client_connection_count_limit for options in config.listeners.values())


def descriptors_of(pid: int | None = None) -> int:
    """Return how many files the running server may have open, or one that were started now."""
    if pid is not None and (running := _running_limit(pid)):
        return running
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return WANTED_DESCRIPTORS if hard == resource.RLIM_INFINITY else hard


def _running_limit(pid: int) -> int | None:
    try:
        text = (PROCESSES / str(pid) / "limits").read_text()
    except OSError:
        return None
    limits = re.search(r"^Max open files +(\d+)", text, re.MULTILINE)
    return int(limits[1]) if limits else None
