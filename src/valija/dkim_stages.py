"""Where the keys of a domain stand, on disk: `data_dir/dkim/DOMAIN/stages.json`, beside the keys.

    stages = StageFile(data_dir / "dkim" / "example.org")
    stages.read()                                  # {"20260301": Noted("waiting", 1772323200.0)}
    with stages.changing() as noted:               # alone in this, whatever the other processes do
        noted["20260301"] = Noted("signing", now)

The file is replaced whole, so that the folder's change time tells the workers. A key that is not in it signs since its
file was made: so it was before keys had stages, and so it is with a key that somebody put there by hand. A file that
cannot be read counts as empty, with a complaint: mail goes on being signed.
"""

import contextlib
import fcntl
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import msgspec

from valija.mail.unreadable import UNREADABLE
from valija.policy.dkim_stages import Stage

_NAME: Final = "stages.json"
_LARGEST: Final = 1 << 20  # octets


class Noted(msgspec.Struct, frozen=True):
    """What is kept of a key: its stage, since when, and when mail signed by it was last seen in the queue."""

    stage: Stage
    since: float
    queued: float = 0.0


class StageFile:
    """The stages of one domain's keys, by selector. `complain` is told what is wrong with the file."""

    def __init__(self, folder: Path, complain: Callable[[str], None] = lambda problem: None) -> None:
        self._folder = folder
        self._path = folder / _NAME
        self._complain = complain

    def read(self) -> dict[str, Noted]:
        """Return what is kept."""
        try:
            with self._path.open("rb") as file:
                return msgspec.json.decode(file.read(_LARGEST), type=dict[str, Noted])
        except FileNotFoundError:
            return {}
        except (OSError, *UNREADABLE) as error:
            self._complain(f"{self._path}: it cannot be read ({error}): all keys beside it count as signing")
            return {}

    @contextlib.contextmanager
    def changing(self) -> Iterator[dict[str, Noted]]:
        """Hand out what is kept, and keep what became of it; nobody else changes it meanwhile. Raises OSError."""
        folder = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)
            before = self.read()
            noted = dict(before)
            yield noted
            if noted != before:
                self._replace(noted)
                os.fsync(folder)
        finally:
            os.close(folder)

    def _replace(self, noted: dict[str, Noted]) -> None:
        fresh = self._path.with_name(f".{_NAME}.{os.getpid()}")
        fresh.write_bytes(msgspec.json.format(msgspec.json.encode(noted), indent=2) + b"\n")
        with fresh.open("rb") as file:
            os.fsync(file.fileno())
        fresh.replace(self._path)
