"""How fast does a receiver want its mail? Learnt from its refusals; without any there is no limit.

    pace = Pace()
    pace.wait(now)                       # 0.0: a transaction may begin
    pace.accepted(now)                   # for each that was taken
    pace.throttled(now, begun=then)      # for each that was refused as too fast, and when it was begun
    pace.rate                            # transactions a second, None while there is no limit

- **Decrease.** The first refusal sets the pace somewhat below what was taken of late (the ceiling). Each further round
  of refusals takes off as much again; where nothing was taken since the one before, half. Then comes a pause, as
  receivers count in seconds. Refusals of what was begun before the last decrease belong to its round and say nothing
  new.
- **Recovery.** Up to the last ceiling in a few steps, past it in steps that are small at first, so that most of the
  time is spent just below what the receiver takes. Only a pace that had to be waited for is tested, and raised. Far
  above the ceiling the limit is gone; so it is when nobody was refused for an hour.
- **Probes.** Who takes nothing at all is asked less and less, down to once a minute (`FLOOR`). What is taken then
  doubles the pace, up to what was taken on average since the limit came. `moves` tells whether anything was taken
  within the last two minutes, `is_stuck` that it was not and that this is no single refusal.

Even spacing, no bursts. Pure: `now` is any clock in seconds that never goes back.

Known weakness: each worker process learns by itself; together they find their shares, as connections of TCP do.
"""

from collections import deque
from typing import Final

FLOOR: Final = 1 / 60  # transactions a second
START: Final = 1.0  # the lowest ceiling after the first refusal
DECREASE: Final = 0.8
BARREN_DECREASE: Final = 0.5  # where nothing was taken since the last decrease
NEAR: Final = 0.9  # of the ceiling: steps are small from here on
SHORT_STEP: Final = 1.0  # seconds between two steps below it
LONG_STEP: Final = 5.0  # and beyond
STEP_COUNT: Final = 3  # transactions taken between two steps, at least
FIRST_GROWTH: Final = 0.02  # of the first small step, each is twice the one before
LAST_GROWTH: Final = 0.25
LIMITLESS: Final = 4.0  # times the ceiling: there is no limit any more
PAUSE: Final = 1.0  # seconds after a decrease, at least
MEMORY: Final = 600.0  # seconds that the average under a limit is taken over, roughly
MOVING: Final = 120.0  # seconds in which something was taken
FORGOTTEN: Final = 3600.0  # seconds without a refusal
BARREN_ROUNDS: Final = 3  # rounds of refusals without anything taken
_CATCH_UP: Final = 0.05  # seconds that a late turn may be made up for
_HEADROOM: Final = 1.25  # a pace that was not used up is believed to be this much above what was taken


class Meter:
    """How many were taken in a second of late, on average."""

    SPAN: Final = 10  # seconds that are remembered
    IDLE: Final = 3.0  # a pause as long as this is no slowness

    __slots__ = ("_current", "_last", "_seconds")

    def __init__(self) -> None:
        self._seconds: deque[list[int]] = deque(maxlen=self.SPAN)  # [second, count], oldest first
        self._current = [-1, 0]  # the last of them
        self._last = float("-inf")

    def count(self, now: float) -> None:
        """Count one."""
        current = self._current
        if int(now) != current[0]:
            if now - self._last > self.IDLE:
                self._seconds.clear()
            current = self._current = [int(now), 0]
            self._seconds.append(current)
        current[1] += 1
        self._last = now

    def rate(self, now: float) -> float:
        """Return the average, 0.0 where there was none within the span."""
        fresh = [(second, count) for second, count in self._seconds if second > now - self.SPAN]
        if not fresh:
            return 0.0
        return sum(count for _, count in fresh) / max(1.0, now - fresh[0][0])


class Average:
    """How many were taken in a second while there was a limit; the past counts less and less."""

    __slots__ = ("_count", "_since")

    def __init__(self, now: float, rate: float) -> None:
        self._count = rate
        self._since = now - 1.0

    def count(self) -> None:
        """Count one."""
        self._count += 1.0

    def rate(self, now: float) -> float:
        """Return the average."""
        span = now - self._since
        if span > MEMORY:
            self._since += span / 2
            self._count /= 2
        return self._count / (now - self._since)


class Pace:
    """The pace of one receiver."""

    __slots__ = (
        "_accepted_since",
        "_average",
        "_barren",
        "_ceiling",
        "_decreased",
        "_growth",
        "_last_accepted",
        "_meter",
        "_next",
        "_stepped",
        "_steps_taken",
        "_throttled",
        "_waited",
        "rate",
    )

    def __init__(self) -> None:
        self.rate: float | None = None
        self._meter = Meter()
        self._average = Average(0.0, 0.0)
        self._ceiling = START
        self._next = float("-inf")  # when the next may begin
        self._last_accepted = float("-inf")
        self._throttled = float("-inf")  # the last refusal
        self._decreased = float("-inf")
        self._accepted_since = 0  # the last decrease
        self._barren = 0  # rounds of refusals since anything was taken
        self._steps_taken = 0  # transactions since the last step
        self._stepped = float("-inf")
        self._growth = FIRST_GROWTH
        self._waited = False  # since the last step somebody had to

    def wait(self, now: float) -> float:
        """Return in how many seconds the next transaction may begin."""
        if self.rate is None:
            return 0.0
        if now - self._throttled > FORGOTTEN:
            self.rate = None
            return 0.0
        seconds = self._next - now
        if seconds <= 0:
            return 0.0
        self._waited = True
        return seconds

    def began(self, now: float) -> None:
        """Hear that a transaction begins."""
        if self.rate is not None:
            self._next = max(self._next, now - _CATCH_UP) + 1 / self.rate

    def moves(self, now: float) -> bool:
        """Whether anything was taken within the last minutes."""
        return now - self._last_accepted <= MOVING

    def is_stuck(self, now: float) -> bool:
        """Whether nothing is taken at all, however slowly it comes: only probes make sense."""
        return self._barren >= BARREN_ROUNDS and not self.moves(now)

    def accepted(self, now: float) -> None:
        """Hear that a transaction was taken."""
        self._meter.count(now)
        self._last_accepted = now
        self._accepted_since += 1
        self._barren = 0
        if self.rate is not None:
            self._average.count()
            self._recover(self.rate, now)

    def throttled(self, now: float, *, begun: float) -> bool:
        """Hear that what began at `begun` was refused as too fast; return whether that made the pace slower."""
        self._throttled = now
        if self.rate is not None and begun <= self._decreased:
            return False
        self._decrease(now)
        self._barren += not self._accepted_since
        self._decreased = self._stepped = now
        self._accepted_since = self._steps_taken = 0
        self._growth = FIRST_GROWTH
        self._waited = False
        return True

    def _decrease(self, now: float) -> None:
        taken = self._meter.rate(now)
        if self.rate is None:
            self._ceiling = max(taken, START)  # who got little had no more for it: that is no limit
            self._average = Average(now, taken)
            rate = self._ceiling * DECREASE
        elif self._accepted_since:
            self._ceiling = min(self.rate, max(taken * _HEADROOM, self.rate * BARREN_DECREASE))
            rate = self._ceiling * DECREASE
        else:
            self._ceiling = min(self._ceiling, max(self._average.rate(now) * _HEADROOM, FLOOR))
            rate = self.rate * BARREN_DECREASE
        self.rate = max(FLOOR, rate)
        self._next = now + max(PAUSE, 1 / self.rate)

    def _recover(self, rate: float, now: float) -> None:
        self._steps_taken += 1
        if rate < self._ceiling * DECREASE:  # a probe, or what follows it
            self._step_to(min(self._ceiling * DECREASE, rate * 2), now)
            return
        is_near = rate >= self._ceiling * NEAR
        pause = LONG_STEP if is_near else SHORT_STEP
        if not self._waited or self._steps_taken < STEP_COUNT or now - self._stepped < pause:
            return
        if not is_near:
            self._step_to(rate + (self._ceiling - rate) / 2, now)
        else:
            self._step_to(rate * (1 + self._growth), now)
            self._growth = min(LAST_GROWTH, self._growth * 2)

    def _step_to(self, rate: float, now: float) -> None:
        if rate > self._ceiling * LIMITLESS:
            self.rate = None
            return
        if self.rate is not None:
            # Who waits for a turn by the old pace waits by the new one.
            self._next -= 1 / self.rate - 1 / rate
        self.rate = rate
        self._stepped = now
        self._steps_taken = 0
        self._waited = False
