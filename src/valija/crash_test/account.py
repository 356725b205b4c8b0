"""What became of what was accepted: pure counting.

    account = settle_up(accepted={"m1@...": 1.5}, arrivals={"m1@...": [1.6, 2.9]}, queued=set(), deaths=[2.5])
    account.lost, account.duplicates, account.unexplained        # (), 1, ()

Every message has a recipient of its own. A second copy is explained where a process died between the two:
the kill fell between the peer's answer and its record. Moments are epoch seconds.
"""

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from itertools import pairwise
from typing import Final

import msgspec

_LAG: Final = 0.25  # seconds until we read what a server that is killed had sent


class Account(msgspec.Struct, frozen=True):
    """accepted = delivered + queued + lost. `duplicates` are second copies, `unexplained` who got one with no kill."""

    accepted: int
    delivered: int
    queued: int
    lost: tuple[str, ...]
    duplicates: int
    unexplained: tuple[str, ...]

    @property
    def is_sound(self) -> bool:
        """Whether nothing is lost, and nothing came twice without a kill."""
        return not self.lost and not self.unexplained


class Outcome(msgspec.Struct, frozen=True):
    """A whole crash test: `kills` from outside, `faults` at each fault point, the longest start in seconds."""

    kills: int
    faults: dict[str, int]
    seconds: float
    longest_start: float
    held: int
    account: Account

    @property
    def all_kills(self) -> int:
        """How often the server died."""
        return self.kills + sum(self.faults.values())


def settle_up(
    accepted: AbstractSet[str],
    arrivals: Mapping[str, Sequence[float]],
    queued: AbstractSet[str],
    deaths: Sequence[float],
) -> Account:
    """Return what became of the recipients whose messages got their 250."""
    missing = accepted - arrivals.keys()
    again = {recipient: times for recipient, times in arrivals.items() if len(times) > 1}
    return Account(
        accepted=len(accepted),
        delivered=len(accepted) - len(missing),
        queued=len(missing & queued),
        lost=tuple(sorted(missing - queued)),
        duplicates=sum(len(times) - 1 for times in again.values()),
        unexplained=tuple(sorted(each for each, times in again.items() if not _is_explained(times, deaths))),
    )


def _is_explained(times: Sequence[float], deaths: Sequence[float]) -> bool:
    return all(any(first - _LAG <= death <= second for death in deaths) for first, second in pairwise(times))
