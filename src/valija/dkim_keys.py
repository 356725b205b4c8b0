"""The folder of DKIM keys: `data_dir/dkim/DOMAIN/SELECTOR.pem`, readable by the service alone.

    keys = DkimKeys(data_dir / "dkim")
    keys.for_domain("example.org")               # the keys to sign with, () where there are none
    keys.create("example.org", "2026a", "rsa")   # seen by a running server within a second

Mail is signed once per kind of key (RSA, Ed25519), by the key whose stage is `signing` (see policy/dkim_stages and
dkim_stages): a key that waits for its record to be published, or is retired, does not sign. Of several that sign,
which only keys put there by hand can be, it is the one whose selector sorts last.

Known weakness: what was read is kept until the domain's folder changes; a key file overwritten in place is not seen.
"""

import builtins
import os
import re
import stat
import time
from collections.abc import Callable, Mapping, Sequence
from itertools import chain, count
from pathlib import Path
from typing import Final

import msgspec

from valija.content.dkim_key import DkimKey, KeyProblem, Kind, generate
from valija.dkim_stages import Noted, StageFile
from valija.policy.dkim_stages import KeyStage, Stage, settled, signers

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
        if not domain or domain.startswith(".") or "/" in domain:  # what stands in a From leads to no other folder
            return ()
        now = self._clock()
        read = self._read.get(domain)
        if read is not None and now - read.looked < _LOOK_AGAIN:
            return read.keys
        changed = self._changed(domain)
        if read is not None and read.changed == changed:
            keys = read.keys
        elif changed:
            keys = self._signing(domain)
        else:
            keys = ()
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
        for path in self._files(domain):
            try:
                keys.append(DkimKey.load(domain, path.stem, read_private(path)))
            except (KeyProblem, OSError) as problem:
                self._complain(f"DKIM key {path}: {problem}")
        return keys

    def stages(self, domain: str) -> dict[str, KeyStage]:
        """Return where each usable key of a domain stands, by selector."""
        return self._stages(domain, self.list(domain), self.stage_file(domain).read())

    def retired(self, domain: str) -> "builtins.list[KeyStage]":
        """Return where those keys of a domain stand that sign no more; cheap where there are none."""
        noted = self.stage_file(domain).read()
        if not noted and len(self._files(domain)) < 2:
            return []
        found = self._stages(domain, self.list(domain), noted)
        return [each for each in found.values() if each.stage == "retired"]

    def stage_file(self, domain: str) -> StageFile:
        """Return where the stages of a domain's keys are kept."""
        return StageFile(self._folder / domain, self._complain)

    def change(self, domain: str, step: Callable[[Sequence[KeyStage]], Sequence[KeyStage]]) -> None:
        """Have the keys of a domain take a step; all processes see it within a second. Raises what `step` does."""
        keys = self.list(domain)
        with self.stage_file(domain).changing() as noted:
            stepped = step(tuple(self._stages(domain, keys, noted).values()))
            noted.clear()
            noted.update((each.selector, Noted(each.stage, each.since, each.queued)) for each in stepped)
        self._read.pop(domain, None)

    def create(self, domain: str, selector: str, kind: Kind, stage: Stage = "signing", now: float = 0.0) -> DkimKey:
        """Make a key and keep it. Raises KeyProblem for a bad selector or one that has a key, and OSError."""
        if not _SELECTOR.fullmatch(selector):
            raise KeyProblem(f"{selector!r} is no selector: use letters, digits and hyphens, 63 at most")
        folder = self._folder / domain
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        key = generate(kind)
        with self.stage_file(domain).changing() as noted:
            if (folder / f"{selector}.pem").exists():
                raise KeyProblem(f"{domain} has a key of the selector {selector!r} already: choose another one")
            noted.pop(selector, None)
            if stage != "signing":
                noted[selector] = Noted(stage, now or time.time())  # before the key: it must not sign for a moment
        _write_new(folder / f"{selector}.pem", key)
        self._read.pop(domain, None)
        return DkimKey.load(domain, selector, key)

    def create_dated(self, domain: str, kind: Kind, stage: Stage, now: float) -> DkimKey:
        """Make a key whose selector is the date, told apart from others of the day. Raises OSError."""
        day = time.strftime("%Y%m%d", time.gmtime(now))
        taken = {key.selector for key in self.list(domain)}
        selectors = chain([day, f"{day}e"] if kind == "ed25519" else [day], (f"{day}-{number}" for number in count(2)))
        return self.create(domain, next(each for each in selectors if each not in taken), kind, stage, now)

    def remove(self, domain: str, selector: str) -> None:
        """Take a key away for good. Raises OSError."""
        with self.stage_file(domain).changing() as noted:
            (self._folder / domain / f"{selector}.pem").unlink()
            noted.pop(selector, None)
        self._read.pop(domain, None)

    def _signing(self, domain: str) -> tuple[DkimKey, ...]:
        keys = self.list(domain)
        stages = self._stages(domain, keys, self.stage_file(domain).read())
        chosen = {each.selector for each in signers(stages.values())}
        return tuple(key for key in keys if key.selector in chosen)

    def _stages(self, domain: str, keys: Sequence[DkimKey], noted: Mapping[str, Noted]) -> dict[str, KeyStage]:
        found = []
        for key in keys:
            note = noted.get(key.selector) or Noted("signing", self._made(domain, key.selector))
            found.append(KeyStage(key.selector, key.kind, note.stage, note.since, note.queued))
        return {each.selector: each for each in settled(found)}

    def _made(self, domain: str, selector: str) -> float:
        try:
            return os.stat(self._folder / domain / f"{selector}.pem").st_mtime
        except OSError:
            return 0.0

    def _files(self, domain: str) -> "builtins.list[Path]":
        return sorted((self._folder / domain).glob("*.pem"))

    def _changed(self, domain: str) -> int:
        try:
            return os.stat(self._folder / domain).st_mtime_ns
        except OSError:
            return 0


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
