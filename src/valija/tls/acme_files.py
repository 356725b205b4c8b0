"""Where the files of certificates from an authority lie, and how a new one takes an old one's place.

    files = AcmeFiles.of(data_dir, "https://acme.example/directory", "mail.example.org")
    files.stage(pair); files.promote()          # staged -> current -> previous
    files.roll_back()                           # previous -> current; what was current is rejected.pem
    read_issued(files.current)                  # a CertificatePair; raises OSError

Below `data_dir/tls/acme/AUTHORITY`: the account's key, and for each certificate a folder named for its first name. Key
and chain are one file, so that one rename swaps both, and no reader ever sees a chain with another's key. All of it is
for the service's user alone.
"""

import hashlib
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Self

import msgspec

from valija.tls.pair import CertificatePair, PairFault, check_pair

ACCOUNT_KEY: Final = "account.pem"
_ODD = re.compile(r"[^a-z0-9.-]+")


class AcmeFiles(msgspec.Struct, frozen=True):
    """The files of one certificate."""

    folder: Path

    @classmethod
    def of(cls, data_dir: Path, directory: str, name: str) -> Self:
        """Return the files of the certificate whose first name is `name`."""
        return cls(authority_folder(data_dir, directory) / name.replace("*", "_"))

    @property
    def current(self) -> Path:
        """The pair that serves."""
        return self.folder / "current.pem"

    @property
    def previous(self) -> Path:
        """The pair that served before it."""
        return self.folder / "previous.pem"

    @property
    def staged(self) -> Path:
        """A new pair that has not been found good yet."""
        return self.folder / "staged.pem"

    @property
    def rejected(self) -> Path:
        """The last pair that was taken back, kept for people to look at."""
        return self.folder / "rejected.pem"

    @property
    def state(self) -> Path:
        """What is known of renewals."""
        return self.folder / "state.json"

    def stage(self, pair: CertificatePair) -> None:
        """Write a new pair beside the one that serves. Raises OSError."""
        make_private(self.folder)
        write_private(self.staged, pair.key_pem.rstrip() + b"\n" + pair.chain_pem)

    def reject_staged(self) -> None:
        """Put a new pair aside that is not fit to serve. Raises OSError."""
        self.staged.replace(self.rejected)

    def promote(self) -> None:
        """Have the staged pair serve, and keep the one that did. Raises OSError."""
        if self.current.exists():
            self.previous.unlink(missing_ok=True)
            os.link(self.current, self.previous)  # a copy first: there is no moment without a current one
        self.staged.replace(self.current)
        self.rejected.unlink(missing_ok=True)
        _sync_folder(self.folder)

    def roll_back(self) -> None:
        """Have the previous pair serve again, or none. Raises OSError."""
        self.rejected.unlink(missing_ok=True)
        os.link(self.current, self.rejected)
        if self.previous.exists():
            self.previous.replace(self.current)
        else:
            self.current.unlink()
        _sync_folder(self.folder)


def authority_folder(data_dir: Path, directory: str) -> Path:
    """Return the folder of an authority, known by the URL of its directory: one for tests has its own."""
    readable = _ODD.sub("_", directory.lower().removeprefix("https://"))[:80]
    return data_dir / "tls" / "acme" / f"{readable}-{hashlib.sha256(directory.encode()).hexdigest()[:8]}"


def read_issued(path: Path) -> CertificatePair:
    """Return the pair in one file, read at once. Raises OSError."""
    content = path.read_bytes()
    key, begin, chain = content.partition(b"-----BEGIN CERTIFICATE-----")
    return CertificatePair(begin + chain, key, str(path), str(path))


def check_issued(pair: CertificatePair, names: Sequence[str], now: float) -> list[PairFault]:
    """Return what is wrong with a pair from an authority that is to be for `names`."""
    return incomplete(pair) or check_pair(pair, names[0], now, names[1:])


def incomplete(pair: CertificatePair) -> list[PairFault]:
    """Return the fault of a pair without its chain or its key: elsewhere that has been told when it was read."""
    if pair.chain_pem.strip() and pair.key_pem.strip():
        return []
    return [
        PairFault(
            pair.chain_file, "it is no certificate with its key", "have it issued again: valija certificate renew"
        )
    ]


def make_private(folder: Path) -> None:
    """Make a folder, and those above it, for this user alone where they are missing. Raises OSError."""
    for each in (*reversed(folder.parents), folder):
        if not each.exists():
            each.mkdir(mode=0o700, exist_ok=True)


def write_private(path: Path, content: bytes) -> None:
    """Write a file for its owner alone, whole or not at all, and have it on disk. Raises OSError."""
    draft = path.with_name(f"{path.name}.new")
    draft.unlink(missing_ok=True)
    with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
