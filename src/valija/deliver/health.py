"""Which addresses failed of late: a memory of bounded size, in which nothing grows with the mail.

    health = Health()
    health.failed(endpoint, now, "Connection refused")
    health.usable(endpoint, now)      # False for half a minute, for twice as long after the next failure, ...
    health.succeeded(endpoint)        # True again

A suspect address is tried after the others. When its time is up it is usable again, and unproven: one connection is
enough to find out, so that the first one who begins it (`trying`) makes it suspect for the others. Failures while it is
suspect are news to nobody and count once.

It also remembers whether IPv6 leads anywhere: three addresses in a row whose host answered by IPv4 though IPv6 had a
head start say that it does not, and IPv4 goes first for a while.

Known weakness: each worker process learns by itself.
"""

from enum import IntEnum
from typing import Final

import msgspec

from valija.mail.endpoint import Endpoint

SHORTEST: Final = 30.0  # seconds that an address is suspect after its first failure
LONGEST: Final = 1800.0  # seconds, however many failures there were
PROBE_TIME: Final = 60.0  # seconds that one connection has to find out
MOST_ADDRESSES: Final = 10_000
OUTRUN_IN_A_ROW: Final = 3  # IPv6 addresses, after which the family is taken to lead nowhere
_LONGEST_REASON: Final = 200  # characters; it may be the peer's own words


class Condition(IntEnum):
    """How an address stands, best first. UNPROVEN: it failed, and its time as a suspect is up."""

    GOOD = 0
    UNPROVEN = 1
    SUSPECT = 2


class Suspect(msgspec.Struct, frozen=True, gc=False):
    """An address that failed `failures` times in a row, at last because of `why`. `wait` is in seconds, 0 if over."""

    endpoint: Endpoint
    failures: int
    wait: float
    why: str


class _Record:
    """The failures of one address, and until when it is suspect. `is_tried`: somebody is finding out."""

    __slots__ = ("failures", "is_tried", "until", "why")

    def __init__(self) -> None:
        self.failures = 0
        self.until = float("-inf")
        self.is_tried = False
        self.why = ""

    def fail(self, now: float, why: str) -> None:
        self.why = why[:_LONGEST_REASON]
        if now < self.until and not self.is_tried:
            return
        if now - self.until > LONGEST:  # what happened long ago says nothing about today
            self.failures = 0
        self.failures += 1
        self.until = now + suspicion(self.failures)
        self.is_tried = False


def suspicion(failures: int) -> float:
    """Return for how long an address is suspect after so many failures in a row, in seconds."""
    return min(LONGEST, SHORTEST * 2.0 ** min(failures - 1, 16))


class Health:
    """The memory. `now` is any clock in seconds that never goes back, the same one in all calls."""

    def __init__(self, most: int = MOST_ADDRESSES) -> None:
        self._most = most
        self._records: dict[Endpoint, _Record] = {}  # those that failed last at the end
        self._ipv6 = _Record()
        self._outrun: list[Endpoint] = []

    def condition(self, endpoint: Endpoint, now: float) -> Condition:
        """Return how an address stands."""
        record = self._records.get(endpoint)
        if record is None:
            return Condition.GOOD
        return Condition.UNPROVEN if now >= record.until else Condition.SUSPECT

    def usable(self, endpoint: Endpoint, now: float) -> bool:
        """Whether an address is worth a try: nothing bad is known of it, or its time is up."""
        return self.condition(endpoint, now) is not Condition.SUSPECT

    def trying(self, endpoint: Endpoint, now: float) -> None:
        """Hear that a connection is begun: where it is to find out about a suspect, the others wait for that."""
        record = self._records.get(endpoint)
        if record is not None and now >= record.until:
            record.until = now + PROBE_TIME
            record.is_tried = True

    def failed(self, endpoint: Endpoint, now: float, why: str = "") -> None:
        """Hear that an address gave no connection, or none that mail could be sent through."""
        record = self._records.pop(endpoint, None)
        if record is None:
            record = _Record()
            if len(self._records) >= self._most:
                del self._records[next(iter(self._records))]
        self._records[endpoint] = record
        record.fail(now, why)

    def outrun(self, endpoint: Endpoint, now: float, winner: Endpoint) -> None:
        """Hear that an address was silent, though it had a head start on the one that answered."""
        self.failed(endpoint, now, f"{winner} answered first")
        if endpoint.is_ipv6 and not winner.is_ipv6:
            self._outrun = [*dict.fromkeys((*self._outrun, endpoint))][-OUTRUN_IN_A_ROW:]
            if len(self._outrun) == OUTRUN_IN_A_ROW:
                self._ipv6.fail(now, "")

    def succeeded(self, endpoint: Endpoint) -> None:
        """Hear that an address is ready for mail."""
        self._records.pop(endpoint, None)
        if self._outrun and endpoint.is_ipv6:
            self._outrun = []
            self._ipv6 = _Record()

    def prefers_ipv6(self, now: float) -> bool:
        """Whether IPv6 goes first."""
        return now >= self._ipv6.until

    def snapshot(self, now: float) -> list[Suspect]:
        """Return all addresses that failed and have not been seen well since, those that failed last at the end."""
        return [
            Suspect(endpoint, record.failures, max(0.0, record.until - now), record.why)
            for endpoint, record in self._records.items()
        ]
