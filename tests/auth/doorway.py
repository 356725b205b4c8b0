"""Login protection on a bench: two workers with one memory, a clock of the test's own, sleep that costs no time."""

import os
from collections.abc import Callable
from pathlib import Path

from valija.auth.backend import Challenge, ConnectionFacts, Exchange, Step, Success, Unavailable, Wrong
from valija.auth.digests import DigestTable
from valija.auth.good_logins import GoodLogins
from valija.auth.known_networks import RECENT, KnownNetworks, prepare
from valija.auth.throttle import Throttle
from valija.logs import LogBuffer, build_log
from valija.occurrences import OccurrenceTable
from valija.policy.login_pace import WINDOW

EPOCH = 1_800_000_000.0  # what the calendar says when the clock says 0


class Doorway:
    """The throttles of `workers` workers. `now` is their clock, `slept` what logins were kept waiting."""

    def __init__(self, folder: Path, workers: int = 2) -> None:
        folder.mkdir(exist_ok=True)
        self.now = 100_000.0
        self.slept: list[float] = []
        self._log_file = folder / "log"
        self._buffer = LogBuffer(os.open(self._log_file, os.O_WRONLY | os.O_CREAT | os.O_APPEND))
        self.logger = build_log("info", "text", self._buffer)
        self.file = folder / "known.sqlite3"
        prepare(self.file, EPOCH + self.now, self.logger)
        self.good = GoodLogins.shared(self.clock)
        failures = OccurrenceTable.shared(workers, WINDOW)
        wrong, told, recent = (DigestTable.shared(life, clock=self.clock) for life in (7200.0, 1800.0, RECENT))
        self.throttles = [
            Throttle(
                failures.counter(worker, self.clock), wrong, told, self._known(recent), self.logger, sleep=self._sleep
            )
            for worker in range(workers)
        ]

    def _known(self, recent: DigestTable) -> KnownNetworks:
        return KnownNetworks(self.file, recent, self.logger, lambda: EPOCH + self.now)

    def clock(self) -> float:
        return self.now

    async def _sleep(self, seconds: float) -> None:
        self.slept.append(seconds)

    @property
    def log(self) -> str:
        self._buffer.flush()
        return self._log_file.read_text()

    def close(self) -> None:
        for throttle in self.throttles:
            throttle.known.close()

    # Whole logins

    async def guesses(self, login: str, client: str, password: bytes, worker: int = 0) -> bool:
        """Log in with a wrong password; return whether it was looked at."""
        attempt = await self.throttles[worker].admit(login, client, password)
        if attempt is not None:
            attempt.was_wrong()
        return attempt is not None

    async def gets_in(self, login: str, client: str, worker: int = 0) -> bool:
        """Log in with the right password; return whether it was looked at."""
        attempt = await self.throttles[worker].admit(login, client, b"right")
        if attempt is not None:
            attempt.was_right()
        return attempt is not None


class Asked:
    """A back end that takes alice's `right` and says what it was asked; `away` and others steer it."""

    def __init__(self, spelling: Callable[[str], str] = str.lower) -> None:
        self.right = b"right"
        self.asked: list[bytes | None] = []
        self.cancelled = 0
        self.closed = False
        self._spelling = spelling

    def mechanisms(self) -> tuple[str, ...]:
        return ("PLAIN", "LOGIN", "SCRAM-SHA-256")

    def start(self, mechanism: str, facts: ConnectionFacts) -> Exchange | None:
        return _Exchange(self, mechanism) if mechanism in self.mechanisms() else None

    def close(self) -> None:
        self.closed = True

    def judge(self, login: str, password: bytes) -> Step:
        if password == b"away":
            return Unavailable("away")
        return Success(self._spelling(login)) if password == self.right else Wrong(login)


class _Exchange:
    """PLAIN, LOGIN, and something like SCRAM: its second response is the password."""

    def __init__(self, backend: Asked, mechanism: str) -> None:
        self._backend = backend
        self._mechanism = mechanism
        self._login = ""

    async def respond(self, response: bytes | None) -> Step:
        self._backend.asked.append(response)
        if response is None:
            return Challenge(b"Username:" if self._mechanism == "LOGIN" else b"")
        if self._mechanism == "PLAIN":
            _, login, password = response.split(b"\0")
            return self._backend.judge(login.decode(), password)
        if not self._login:
            self._login = response.decode().removeprefix("n,,n=").partition(",")[0]
            return Challenge(b"Password:")
        return self._backend.judge(self._login, response)

    def cancel(self) -> None:
        self._backend.cancelled += 1


def facts(client: str) -> ConnectionFacts:
    """Return a connection from an address, inside TLS."""
    return ConnectionFacts(True, client, 40_000, "192.0.2.1", 587)
