"""The keys of the return addresses that forwarding makes (policy/srs): a file that all workers share.

    keys = SrsKeys(data_dir / "srs.keys")
    keys.newest(now)          # to make an address; the first one makes the file
    keys.known(now)           # the newest first, to tell whether an address is genuine

A line is a key: since when it is used, in epoch seconds, and its octets in base64. After CHANGE_AFTER a new one is put
on top, by whoever makes an address then; the old ones stay as long as an address that they made may be good. The file
is replaced whole, and synced before its first use: an address that has left must be known after a crash.

A file that others can read is refused (KeyProblem), as with every key. OSError where it can't be read or made.

Known weakness: servers that share a domain have keys of their own, unless the file is the same; a report has to come
back to the one that forwarded.
"""

import base64
import binascii
import fcntl
import os
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import msgspec

from valija.content.dkim_key import KeyProblem
from valija.dkim_keys import read_private
from valija.policy.srs import DAY, MOST_DAYS

CHANGE_AFTER: Final = 30 * DAY  # seconds
_LAST_USE: Final = (MOST_DAYS + 1) * DAY  # seconds that the last address of a key is good, clocks that differ included
_SIZE: Final = 32  # octets
_LOOK_AGAIN: Final = 1.0  # seconds between two looks at the file


class _Key(msgspec.Struct, frozen=True):
    """A key, and since when it is used, in epoch seconds."""

    since: float
    octets: bytes


class SrsKeys:
    """The keys in one file. `monotonic` paces how often it is looked at."""

    def __init__(self, path: Path, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._path = path
        self._monotonic = monotonic
        self._keys: tuple[_Key, ...] = ()
        self._looked = float("-inf")
        self._changed = -1

    def newest(self, now: float) -> bytes:
        """Return the key to make addresses with; `now` in epoch seconds. Raises KeyProblem, OSError."""
        self._look()
        if not self._keys or now - self._keys[0].since >= CHANGE_AFTER:
            self._change(now)
        return self._keys[0].octets

    def known(self, now: float) -> tuple[bytes, ...]:
        """Return the keys whose addresses may be good at `now`, the newest first. Raises KeyProblem, OSError."""
        self._look()
        return tuple(key.octets for key in _useful(self._keys, now))

    def _look(self) -> None:
        now = self._monotonic()
        if now - self._looked < _LOOK_AGAIN:
            return
        try:
            changed = self._path.stat().st_mtime_ns
        except FileNotFoundError:
            self._keys, changed = (), -1
        if changed != self._changed:
            self._keys = _read(self._path)
            self._changed = changed
        self._looked = now

    def _change(self, now: float) -> None:
        """Put a new key on top, unless another process has done so meanwhile."""
        with _locked(self._path.parent):
            self._looked, self._changed = float("-inf"), -1
            self._look()
            if not self._keys or now - self._keys[0].since >= CHANGE_AFTER:
                keys = (_Key(now, secrets.token_bytes(_SIZE)), *_useful(self._keys, now))
                _write(self._path, keys)
                self._keys = keys


def _useful(keys: tuple[_Key, ...], now: float) -> Iterator[_Key]:
    """Yield the keys but for those that another followed so long ago that all their addresses are too old."""
    followed = float("inf")
    for key in keys:
        if now - followed <= _LAST_USE:
            yield key
        followed = key.since


def _read(path: Path) -> tuple[_Key, ...]:
    try:
        lines = read_private(path).decode("ascii", "replace").split("\n")
    except FileNotFoundError:
        return ()
    return tuple(sorted((_parsed(path, line) for line in lines if line), key=lambda key: -key.since))


def _parsed(path: Path, line: str) -> _Key:
    since, _, octets = line.partition(" ")
    try:
        key = _Key(float(since), base64.b64decode(octets, validate=True))
    except (ValueError, binascii.Error):
        key = _Key(0.0, b"")
    if len(key.octets) < _SIZE:
        raise KeyProblem(f"{path} holds a line that is no key: move the file away, and a new one is made")
    return key


def _write(path: Path, keys: tuple[_Key, ...]) -> None:
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    lines = [f"{key.since:.0f} {base64.b64encode(key.octets).decode('ascii')}\n" for key in keys]
    fresh.unlink(missing_ok=True)
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with open(descriptor, "w", encoding="ascii") as file:
        file.writelines(lines)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
    _sync(path.parent)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Keep other processes from changing the keys meanwhile."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
