"""The folder of DKIM keys: `data_dir/dkim/DOMAIN/SELECTOR.pem`, readable by the service alone.

    keys = DkimKeys(data_dir / "dkim")
    keys.for_domain("example.org")               # the keys to sign with, () where there are none
    keys.create("example.org", "2026a", "rsa")   # seen by a running server within a second

Mail is signed once per kind of key (RSA, Ed25519). Where a domain has several of a kind, the selector that sorts last
signs, so that `2026b` follows `2026a`, whose record can stay in the DNS until old mail has been verified.

Known weakness: what was read is kept until the domain's folder changes; a key file overwritten in place is not seen.
"""

import os
import re
import stat
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from valija.content.dkim_key import DkimKey, KeyProblem, Kind, generate

_SELECTOR = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9])?", re.ASCII)
_LOOK_AGAIN: Final = 1.0  # seconds between two looks at a folder
_MOST_DOMAINS: Final = 10_000  # kept in memory, those without keys included


class _Read(msgspec.Struct, frozen=True):
    """What was found in a domain's folder, when it was looked at last, and its change time then (0: no folder)."""

    keys: tuple[DkimKey, ...]
    looked: float
    changed: int


class DkimKeys:
    """The keys of all domains. A key that cannot be used is left out and told to `complain`, once per change."""

    def __init__(
        self,
        folder: Path,
        complain: Callable[[str], None] = lambda problem: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._folder = folder
        self._complain = complain
        self._clock = clock
        self._read: dict[str, _Read] = {}
        self._looked = float("-inf")
        self._any = False

    def for_domain(self, domain: str) -> tuple[DkimKey, ...]:
        """Return the keys that sign mail of `domain` (lower-case A-labels), at most one of a kind."""
        now = self._clock()
        read = self._read.get(domain)
        if read is not None and now - read.looked < _LOOK_AGAIN:
            return read.keys
        changed = self._changed(domain)
        if read is None or read.changed != changed:
            keys = _newest_of_each_kind(self.list(domain)) if changed else ()
        else:
            keys = read.keys
        if len(self._read) >= _MOST_DOMAINS:
            self._read.clear()
        self._read[domain] = _Read(keys, now, changed)
        return keys

    def has_any_keys(self) -> bool:
        """Whether any domain has a folder; looked at once a second at most."""
        now = self._clock()
        if now - self._looked >= _LOOK_AGAIN:
            self._looked, self._any = now, bool(self.domains())
        return self._any

    def domains(self) -> list[str]:
        """Return the domains that have a folder, in order."""
        try:
            return sorted(entry.name for entry in os.scandir(self._folder) if entry.is_dir())
        except (FileNotFoundError, NotADirectoryError):
            return []

    def check(self) -> None:
        """Look at every key there is, and complain about those that cannot be used."""
        if self._folder.exists() and not self._folder.is_dir():
            self._complain(f"DKIM folder {self._folder}: it is not a folder: move it away")
        for domain in self.domains():
            self.list(domain)

    def list(self, domain: str) -> list[DkimKey]:
        """Return every usable key of a domain, by selector."""
        keys = []
        for path in sorted((self._folder / domain).glob("*.pem")):
            try:
                keys.append(DkimKey.load(domain, path.stem, read_private(path)))
            except (KeyProblem, OSError) as problem:
                self._complain(f"DKIM key {path}: {problem}")
        return keys

    def create(self, domain: str, selector: str, kind: Kind) -> DkimKey:
        """Make a key and keep it. Raises KeyProblem for a bad selector or one that has a key, and OSError."""
        if not _SELECTOR.fullmatch(selector):
            raise KeyProblem(f"{selector!r} is no selector: use letters, digits and hyphens, 63 at most")
        folder = self._folder / domain
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        key = generate(kind)
        try:
            _write_new(folder / f"{selector}.pem", key)
        except FileExistsError:
            raise KeyProblem(f"{domain} has a key of the selector {selector!r} already: choose another one") from None
        self._read.pop(domain, None)
        return DkimKey.load(domain, selector, key)

    def _changed(self, domain: str) -> int:
        try:
            return os.stat(self._folder / domain).st_mtime_ns
        except OSError:
            return 0


def _newest_of_each_kind(keys: list[DkimKey]) -> tuple[DkimKey, ...]:
    newest: dict[Kind, DkimKey] = {key.kind: key for key in sorted(keys, key=lambda key: key.selector)}
    return tuple(newest.values())


def read_private(path: Path) -> bytes:
    """Return the content of a key file that only its owner and group can read. Raises KeyProblem, OSError."""
    with path.open("rb") as file:
        if stat.S_IMODE(os.fstat(file.fileno()).st_mode) & 0o007:
            raise KeyProblem(f"others can read it: chmod 0600 {path}")
        return file.read(1 << 20)


def _write_new(path: Path, content: bytes) -> None:
    """Write a file that was not there, whole or not at all. Raises FileExistsError."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with open(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.link(fresh, path)
    finally:
        fresh.unlink()
