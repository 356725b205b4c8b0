"""When which address of a host is tried: IPv6 and IPv4 are raced (RFC 8305 sections 4 and 5). The clock is an argument.

    order = running_order(targets, ipv6_first=True, is_suspect=lambda target: False)
    race = Race(len(order), began=0.0, patience=30.0)
    race.due(0.0)          # 0: the first one starts
    race.due(0.1)          # None, until race.wakes_at() == 0.25
    race.failed(0)         # ... or until it fails, so that
    race.due(0.1)          # 1: the next one starts at once

The rules: each starts `PACE` after the one before, or at once when that one failed; what starts, starts in order;
reserves, the last in the order, start only when all before them have failed, or have had half of the patience.
"""

from collections.abc import Callable, Sequence
from itertools import zip_longest
from typing import Final

from valija.deliver.errand import Target

PACE: Final = 0.25  # seconds between two starts, RFC 8305 section 5


def running_order(targets: Sequence[Target], *, ipv6_first: bool, is_suspect: Callable[[Target], bool]) -> list[Target]:
    """Return the families by turns (RFC 8305 section 4), each in its order; suspects come last."""
    families = [
        [target for target in targets if target.endpoint.is_ipv6],
        [target for target in targets if not target.endpoint.is_ipv6],
    ]
    turns = zip_longest(*(families if ipv6_first else reversed(families)))
    return sorted((target for turn in turns for target in turn if target is not None), key=is_suspect)


class Race:
    """The starts of some runners, known by their number in the order."""

    def __init__(self, runners: int, *, began: float, patience: float, reserves: int = 0) -> None:
        self._runners = runners
        self._first_reserve = runners - reserves
        self._half_time = began + patience / 2
        self._ends_at = began + patience
        self._running: dict[int, float] = {}  # and when each of them started
        self._next = 0
        self._next_at = began

    def due(self, now: float) -> int | None:
        """Return who starts now, None if nobody does; ask again until it is None."""
        if self._next == self._runners or now < self._starts_at():
            return None
        runner = self._next
        self._running[runner] = now
        self._next += 1
        self._next_at = now + PACE
        return runner

    def failed(self, runner: int) -> None:
        """Hear that one of them did not make it."""
        self._running.pop(runner, None)
        if runner == self._next - 1 or not self._running:
            self._next_at = float("-inf")

    def outrun_by(self, winner: int) -> list[int]:
        """Return who is still running though the winner gave a start of a whole pace, or more, away."""
        at = self._running[winner]
        return [runner for runner, since in self._running.items() if at >= since + PACE]

    def is_over(self, now: float) -> bool:
        """Whether nobody can win any more."""
        return now >= self._ends_at or not (self._running or self._next < self._runners)

    def wakes_at(self) -> float:
        """Return until when nothing happens, unless somebody fails or wins."""
        return min(self._ends_at, self._starts_at()) if self._next < self._runners else self._ends_at

    def _starts_at(self) -> float:
        if self._next >= self._first_reserve and self._running:
            return max(self._next_at, self._half_time)
        return self._next_at
