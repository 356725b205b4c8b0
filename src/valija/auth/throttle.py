"""Login protection: guessing passwords is slow, and the owner gets in meanwhile. The rules are policy/login_pace's.

    attempt = await throttle.admit("alice", "192.0.2.7", b"secret")     # may sleep; None: refused, ask nobody
    if attempt: ...
        attempt.was_right()      # or was_wrong(), or undecided()

A stranger's guess is counted before it is looked at, and taken back when it was right or nobody could tell: many
guesses at once are no more than one after the other. A refusal is logged once per login and network within some
minutes, not per attempt.

Who waits holds a timer and its session, nothing else, and only so many wait at once: beyond that strangers are refused
and familiar clients go on.

Known weakness: what SCRAM guesses is not known here, so that a program with an old password counts each time it tries.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, Protocol

from valija.auth.digests import DigestTable
from valija.auth.known_networks import KnownNetworks
from valija.logs import Log
from valija.occurrences import Entry, OccurrenceCounter
from valija.policy.login_pace import Guesses, Pace, PaceLimits, familiar_pace, network_of, stranger_pace

Sleep = Callable[[float], Awaitable[object]]

MOST_ASLEEP: Final = 200  # strangers in a worker, and as many familiar clients


class Attempt(Protocol):
    """A login that was let through. One of these is called, once, when it is known how it ended."""

    is_familiar: bool

    def was_right(self) -> None:
        """The guess was right."""

    def was_wrong(self) -> None:
        """The guess was wrong."""

    def undecided(self) -> None:
        """Nobody could tell, or the client gave up."""


class Throttle:
    """One worker's throttle. `counter`, `wrong` and `told` are shared by all workers.

    `is_shared` tells of a client's address whether many may stand behind it, so that it must not be refused.
    `refused` counts the attempts that were.
    """

    def __init__(
        self,
        counter: OccurrenceCounter,
        wrong: DigestTable,
        told: DigestTable,
        known: KnownNetworks,
        log: Log,
        *,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self.limits = PaceLimits()
        self.is_shared: Callable[[str], bool] = lambda client: False
        self.refused = 0
        self.known = known
        self._counter = counter
        self._wrong = wrong
        self._told = told
        self._log = log
        self._strangers = Dormitory(MOST_ASLEEP, sleep)
        self._familiars = Dormitory(MOST_ASLEEP, sleep)

    async def admit(self, name: str, client: str, guess: bytes | None) -> Attempt | None:
        """Let a login go on when its time has come; None where it must not.

        `name` is the login in the one spelling it is counted under, `""` where it is not known; `guess` the password,
        None where the mechanism keeps it to itself.
        """
        if not self.limits.login:
            return _Unlimited()
        network = network_of(client)
        noted = self.is_shared(client) or self.known.is_noted(name, network)
        if noted or (name and await self.known.holds(name, network)):
            return await self._admit_familiar(_Familiar(self, name, network, guess, noted=noted))
        return await self._admit_stranger(name, client, guess)

    async def _admit_familiar(self, attempt: "_Familiar") -> Attempt:
        if guesses := self._counter.count(attempt.key):
            pace = familiar_pace(guesses, self.limits)
            await self._familiars.sleep(pace.delay)  # where there is no bed, it goes on
        return attempt

    async def _admit_stranger(self, name: str, client: str, guess: bytes | None) -> Attempt | None:
        attempt = _Stranger(self, name, network_of(client), guess)
        keys = [f"from {network_of(client, 'customer')}", *([f"at {name}"] if name else [])]
        before = [self._counter.count(key) for key in keys]
        repeated = self.is_known_wrong(name, guess)
        pace = stranger_pace(Guesses(before[1] if name else 0, before[0]), self.limits, repeated=repeated)
        if not pace.refused and not repeated:
            attempt.entries = [self._counter.add(key) for key in keys]
        try:
            if await self._may_go_on(pace):
                return attempt
        except BaseException:
            attempt.undecided()
            raise
        attempt.undecided()
        self._refuse(name, client)
        return None

    async def _may_go_on(self, pace: Pace) -> bool:
        return not pace.refused and await self._strangers.sleep(pace.delay)

    def _refuse(self, name: str, client: str) -> None:
        self.refused += 1
        network = network_of(client)
        if not self._told.holds(name, network):
            self._told.remember(name, network)
            self._log.warning("login throttled", client=client, login=name, network=network)

    # What attempts report

    def is_known_wrong(self, name: str, guess: bytes | None) -> bool:
        """Whether a guess is known to have been wrong within the last hours: it told nothing new."""
        return guess is not None and self._wrong.holds(name, guess)

    def remember_wrong(self, name: str, guess: bytes | None) -> None:
        """Remember a guess that was wrong."""
        if guess is not None:
            self._wrong.remember(name, guess)

    def count(self, key: str) -> Entry:
        """Count a wrong guess under a key."""
        return self._counter.add(key)

    def take_back(self, entries: list[Entry]) -> None:
        """Count as if these had not been."""
        for entry in entries:
            self._counter.take_back(entry)


class _Stranger:
    """A login from a network where it was not right before. `entries` is what was counted ahead."""

    is_familiar = False

    def __init__(self, throttle: Throttle, name: str, network: str, guess: bytes | None) -> None:
        self.entries: list[Entry] = []
        self._throttle = throttle
        self._name = name
        self._network = network
        self._guess = guess

    def was_right(self) -> None:
        self.undecided()
        if self._name and self._network:  # a client whose address is unknown comes from nowhere
            self._throttle.known.saw(self._name, self._network)

    def was_wrong(self) -> None:
        if self._throttle.is_known_wrong(self._name, self._guess):
            self.undecided()  # the same guess came twice at once, and the other was counted
        self._throttle.remember_wrong(self._name, self._guess)
        self.entries = []

    def undecided(self) -> None:
        self._throttle.take_back(self.entries)
        self.entries = []


class _Familiar:
    """A login from a network where it was right before, or from one that many share; `noted`: nothing new there."""

    is_familiar = True

    def __init__(self, throttle: Throttle, name: str, network: str, guess: bytes | None, *, noted: bool) -> None:
        self.key = f"at {name} from {network}"
        self._throttle = throttle
        self._name = name
        self._network = network
        self._guess = guess
        self._noted = noted

    def was_right(self) -> None:
        if not self._noted:
            self._throttle.known.saw(self._name, self._network)

    def was_wrong(self) -> None:
        if not self._throttle.is_known_wrong(self._name, self._guess):
            self._throttle.count(self.key)
            self._throttle.remember_wrong(self._name, self._guess)

    def undecided(self) -> None:
        """Nothing was counted ahead."""


class _Unlimited:
    """A login where no limit is configured."""

    is_familiar = True

    def was_right(self) -> None:
        """It makes no difference."""

    was_wrong = undecided = was_right


class Dormitory:
    """Where logins wait, a bounded number at once."""

    def __init__(self, beds: int, sleep: Sleep) -> None:
        self._beds = beds
        self._sleep = sleep

    async def sleep(self, seconds: float) -> bool:
        """Wait; False at once where there is no bed."""
        if not seconds:
            return True
        if not self._beds:
            return False
        self._beds -= 1
        try:
            await self._sleep(seconds)
        finally:
            self._beds += 1
        return True
