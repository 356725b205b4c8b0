"""What all workers share of users' conduct, in memory: made by the supervisor before it forks.

shared = SharedConduct(workers=2)
shared.load(data_dir / "account-use.sqlite3", log)
signals = shared.signals(worker=0)       # in a worker
"""

import mmap
import secrets
from pathlib import Path
from typing import Final

from valija.auth.digests import DigestTable
from valija.conduct.known_recipients import KnownRecipients
from valija.conduct.ledger import Ledger
from valija.logs import Log

_TOLD_FOR: Final = 7200.0  # seconds: what is told once an hour is remembered for an hour at least
_COUNTER: Final = 8  # octets


class SharedConduct:
    """The table of known recipients, what was told already, and the signals between workers."""

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self.known = KnownRecipients.shared()
        self.told = DigestTable.shared(_TOLD_FOR, places=4096)
        self._signals = mmap.mmap(-1, workers * _COUNTER)

    def load(self, path: Path, log: Log) -> None:
        """Take up what was saved of known recipients; where the file can't be used, everybody is new again."""
        ledger = Ledger(path, log)
        secret, pages = ledger.read_known() or (secrets.token_bytes(32), [])
        self.known.load(secret, pages)
        ledger.close()

    def signals(self, worker: int) -> "Signals":
        """Return one worker's way to give and see signals."""
        return Signals(self._signals, worker)


class Signals:
    """Tells the other workers, at once and without waiting, that the standings in the file have changed.

    Each worker counts in a place of its own, so that no signal is lost to a race.
    """

    def __init__(self, memory: mmap.mmap, worker: int) -> None:
        self._memory = memory
        self._place = worker * _COUNTER
        self._seen = memory[:]

    def give(self) -> None:
        """Have every worker see that there is news, this one too."""
        place = slice(self._place, self._place + _COUNTER)
        count = int.from_bytes(self._memory[place], "little") + 1
        self._memory[place] = (count & (1 << 64) - 1).to_bytes(_COUNTER, "little")

    def is_news(self) -> bool:
        """Whether a signal was given since this was last asked."""
        now = self._memory[:]
        if now == self._seen:
            return False
        self._seen = now
        return True
