"""Accounts, two workers and a clock that goes as the test says.

async with world(tmp_path) as w:
    assert await w.send(ALICE, HOME, "bob@remote.example") is None
    w.clock.now += 3600
"""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from valija.auth.accounts import Accounts
from valija.auth.standings import Freeze, Standings
from valija.conduct.known_recipients import KnownRecipients
from valija.conduct.ledger import Ledger
from valija.conduct.options import ConductOptions
from valija.conduct.overseer import Overseer
from valija.conduct.shared import SharedConduct
from valija.logs import LogBuffer, build_log
from valija.mail.reply import Reply

ALICE: Final = "alice@example.org"
HOME: Final = "192.0.2.7"
POSTMASTER: Final = "postmaster@example.org"
DAY: Final = 86_400.0
NOW: Final = 1_790_000_000.0


class Clock:
    """Seconds since the epoch."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


class World:
    """Overseers of several workers. Messages go to them in turns, unless a worker is named."""

    def __init__(self, folder: Path, options: ConductOptions, workers: int) -> None:
        self.folder = folder
        self.clock = Clock()
        self.told: list[tuple[str, Freeze]] = []
        self.log_file = folder / "log"
        self._log_end = self.log_file.open("wb")
        self.buffer = LogBuffer(self._log_end.fileno())
        self._log = build_log("info", "text", self.buffer)
        Accounts(folder / "accounts.sqlite3").close()
        self.standings = Standings(folder / "accounts.sqlite3")
        self.options = options
        self._workers = workers
        self._turn = 0
        self.start()

    def start(self) -> None:
        """Start the workers, with what was saved."""
        shared = SharedConduct(self._workers)
        shared.known = KnownRecipients.shared(clock=self.clock)
        shared.load(self.folder / "use.sqlite3", self._log)
        self.overseers = [self._overseer(shared, number) for number in range(self._workers)]

    def _overseer(self, shared: SharedConduct, number: int) -> Overseer:
        ledger = Ledger(self.folder / "use.sqlite3", self._log)
        accounts = self.folder / "accounts.sqlite3"
        overseer = Overseer(shared, number, accounts_file=accounts, ledger=ledger, log=self._log, clock=self.clock)
        overseer.on_freeze = self._tell
        overseer.use(self.options, POSTMASTER)
        return overseer

    async def _tell(self, login: str, freeze: Freeze) -> None:
        self.told.append((login, freeze))

    async def stop(self) -> None:
        for overseer in self.overseers:
            await overseer.close()

    async def send(self, login: str, client: str, *recipients: str, worker: int | None = None) -> Reply | None:
        """Send a message; return the first reply that refuses."""
        self._turn += 1
        overseer = self.overseers[self._turn % self._workers if worker is None else worker]
        if refusal := overseer.refusal(login):
            return refusal
        spending = overseer.begin(login, client)
        for recipient in recipients:
            if refusal := spending.add(recipient):
                return refusal
        taken = spending.take(self.clock.now)
        return taken if taken is None or isinstance(taken, Reply) else await taken

    @property
    def log(self) -> str:
        self.buffer.flush()
        return self.log_file.read_text()


@asynccontextmanager
async def world(
    folder: Path,
    options: ConductOptions = ConductOptions(),  # noqa: B008 - a frozen value
    workers: int = 2,
) -> AsyncIterator[World]:
    """Yield a world, and let go of its files."""
    found = World(folder, options, workers)
    try:
        yield found
    finally:
        await found.stop()
        found.standings.close()


def people(count: int, name: str = "friend") -> Iterator[str]:
    return (f"{name}{number}@remote.example" for number in range(count))
