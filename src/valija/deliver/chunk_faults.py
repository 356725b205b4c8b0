"""Which hosts announced CHUNKING and could not do it: they are sent DATA for a while.

    faults = ChunkFaults()
    faults.note(target, now)
    faults.avoids(target, now)      # True, for an hour

A fault is a BDAT that was called unknown, or a connection that was lost with nothing but a chunk on its way; a firewall
in between may be to blame. It costs a round trip a message to be wrong about it. `now` is the loop's time.
"""

from typing import Final

from valija.deliver.errand import Target

REMEMBERED: Final = 3600.0  # seconds
_MOST: Final = 1000  # hosts; the one noted first is forgotten for one too many


class ChunkFaults:
    """The memory of one worker."""

    __slots__ = ("_until",)

    def __init__(self) -> None:
        self._until: dict[Target, float] = {}

    def note(self, target: Target, now: float) -> None:
        """Remember a host."""
        self._until.pop(target, None)
        self._until[target] = now + REMEMBERED
        if len(self._until) > _MOST:
            del self._until[next(iter(self._until))]

    def avoids(self, target: Target, now: float) -> bool:
        """Whether the host should be spared chunks."""
        return bool(self._until) and self._until.get(target, 0.0) > now
