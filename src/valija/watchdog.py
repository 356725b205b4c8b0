"""Which workers hang: those that have said nothing for too long. Each says something every second when it is well.

    watch = Watch(patience=30.0, clock=loop.time)
    watch.expect(0)          # worker 0 was started, and is to be heard
    watch.heard(0)
    watch.overdue()          # {0: 31.2}: silent for so many seconds; asked again and again, see LOOK_INTERVAL
    watch.forget(0)          # it has ended

Whoever asks late was held up, and so may the workers have been: a machine that was suspended, or a supervisor that was
stopped, must not cost all of them their lives. That time is not counted.

Known weakness: a worker whose loop turns is well, whatever one of its sessions waits for; those have deadlines.
"""

from collections.abc import Callable
from typing import Final

PATIENCE: Final = 30.0  # seconds of silence after which a worker counts as hung
LOOK_INTERVAL: Final = 1.0  # seconds between two looks
_LATE: Final = 2.0  # seconds more than that, after which a look counts as late


class Watch:
    """When each worker was heard last. `clock` gives monotonic seconds; `interval` is the time between two looks."""

    def __init__(self, patience: float, clock: Callable[[], float], interval: float = LOOK_INTERVAL) -> None:
        self._patience = patience
        self._clock = clock
        self._interval = interval
        self._heard: dict[int, float] = {}
        self._looked = clock()

    def expect(self, number: int) -> None:
        """Count a worker's silence from now on."""
        self._heard[number] = self._clock()

    def heard(self, number: int) -> None:
        """It has said something."""
        if number in self._heard:
            self._heard[number] = self._clock()

    def forget(self, number: int) -> None:
        """Expect nothing of it any more."""
        self._heard.pop(number, None)

    def overdue(self) -> dict[int, float]:
        """Return the workers that hang, with the seconds of their silence."""
        now = self._clock()
        held_up = now - self._looked - self._interval
        self._looked = now
        if held_up > _LATE:
            self._heard = {number: min(now, moment + held_up) for number, moment in self._heard.items()}
        silent = {number: now - moment for number, moment in self._heard.items()}
        return {number: seconds for number, seconds in silent.items() if seconds > self._patience}
