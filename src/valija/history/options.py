"""What is kept of the log."""

from typing import Final

import msgspec

DAY: Final = 86_400.0
LEAST_SIZE: Final = 1 << 20
_LARGEST_SEGMENT: Final = 8 << 20  # octets of lines: what a search unpacks at once
_SMALLEST_SEGMENT: Final = 64 << 10
_SEGMENTS_KEPT: Final = 16  # of each process at least, lest the oldest take much with it when it goes
_LONGEST_OPEN: Final = DAY


class HistoryOptions(msgspec.Struct, frozen=True):
    """`keep`: for how many seconds lines are kept; `size_limit`: octets that all may take. 0 of either is off."""

    keep: float = 14 * DAY
    size_limit: int = 256 << 20

    @property
    def is_on(self) -> bool:
        """Whether anything is kept."""
        return self.keep > 0 and self.size_limit > 0

    def segment_size(self, processes: int) -> int:
        """Return at how many octets each of so many processes begins a new file."""
        share = self.size_limit // (_SEGMENTS_KEPT * max(1, processes))
        return max(_SMALLEST_SEGMENT, min(_LARGEST_SEGMENT, share))

    @property
    def segment_age(self) -> float:
        """After how many seconds a new file is begun: the oldest is removed whole, when its last line is too old."""
        return min(_LONGEST_OPEN, max(60.0, self.keep / 14))
