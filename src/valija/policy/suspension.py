"""A next hop that can't be used is left in peace, and looked at again now and then, by one attempt at a time.

    suspension = Suspension()
    suspension.begin(now=0.0)    # nothing could be opened; the next one may see for itself
    suspension.begin(now=3.0)    # nor could it
    suspension.wait(3.5)         # 0.5: until then all is deferred at once
    suspension.wait(4.0)         # 0.0: one connection may find out
    suspension.begin(now=4.0)    # it found nothing: two seconds now, then four, ... five minutes at most
    suspension.end()             # it found that all is well

It begins where nothing can be opened twice in a row, as hosts may be left that were not tried the first time; and where
`FAILED_IN_A_ROW` attempts in a row broke. The first waits are so short that a peer which is just being restarted does
not cost anybody the first interval of the retry schedule.
"""

from typing import Final

SHORTEST: Final = 1.0  # seconds
LONGEST: Final = 300.0
FAILED_IN_A_ROW: Final = 5


class Suspension:
    """The state of one next hop. `now` is any clock in seconds that never goes back.

    `is_clear`: nothing went wrong since `end` was called last.
    """

    __slots__ = ("_failures", "_interval", "_is_asked_for", "_is_warned", "_until", "is_clear")

    def __init__(self) -> None:
        self.is_clear = True
        self._failures = 0
        self._interval = 0.0
        self._until = float("-inf")
        self._is_warned = False
        self._is_asked_for = False

    @property
    def is_on(self) -> bool:
        """Whether nothing has gone well since it began."""
        return self._interval > 0

    def wait(self, now: float) -> float:
        """Return in how many seconds an attempt may be made."""
        return 0.0 if self._is_asked_for else max(0.0, self._until - now)

    def failed(self, now: float) -> bool:
        """Hear that an attempt broke; return whether that was one too many."""
        self.is_clear = False
        self._failures += 1
        if self._failures < FAILED_IN_A_ROW and not self.is_on:
            return False
        self._is_warned = True
        self.begin(now)
        return True

    def begin(self, now: float) -> None:
        """Hear that nothing can be opened."""
        self.is_clear = False
        if not self._is_warned:
            self._is_warned = True
            return
        if self.is_on and now - self._until > LONGEST:
            self._interval = 0.0  # what happened long ago says nothing about today
        self._interval = min(LONGEST, max(SHORTEST, self._interval * 2))
        self._until = now + self._interval
        self._is_asked_for = False

    def look_again(self) -> None:
        """Have an attempt made at once, where somebody asks for it."""
        self.is_clear = False
        self._is_asked_for = True

    def end(self) -> None:
        """Hear that something went well."""
        self.is_clear = True
        self._is_warned = self._is_asked_for = False
        self._failures = 0
        self._interval = 0.0
        self._until = float("-inf")
