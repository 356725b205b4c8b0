"""Which recipients are due, and which of them are leased. The leases of an embedded store live in its process.

    claims = Claims(rows)
    claims.find(now, limit=100, skip=frozenset())      # leases what it returns
    claims.end(number, [0])

The search walks along the index of next attempts from its oldest end. Known weakness: recipients it has to pass
over (those leased, and those of next hops in `skip`) are passed one by one, at some 10 million a second for `skip`.
"""

from collections.abc import Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from typing import Final

import msgspec

from valija.queue.identity import from_number
from valija.queue.rows import Rows
from valija.queue.store import Claim, Due

_DUE: Final = """
SELECT message, number, next_attempt FROM recipient
WHERE held = 0 AND next_attempt <= ?1 ORDER BY next_attempt"""
_DUE_ELSEWHERE: Final = """
SELECT message, number, next_attempt FROM recipient
WHERE held = 0 AND next_attempt <= ?1 AND next_hop NOT IN (SELECT value FROM json_each(?2)) ORDER BY next_attempt"""
_OF_MESSAGE: Final = """
SELECT number, next_hop, next_attempt, attempts, warned FROM recipient WHERE message = ? ORDER BY number"""
_EVER: Final = float("inf")


class Claims:
    """The search for due recipients and the leases on them: a bit for each place in a message's envelope."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows
        self._leases: dict[int, int] = {}

    def lease_all(self, message: int, count: int) -> None:
        """Lease all of a new message's `count` recipients."""
        self._leases[message] = (1 << count) - 1

    def end(self, message: int, places: Iterable[int]) -> None:
        """End leases; those that do not exist are none."""
        left = self._leases.get(message, 0) & ~_bits(places)
        if left:
            self._leases[message] = left
        else:
            self._leases.pop(message, None)

    def forget(self, message: int) -> None:
        """End all leases of a message that is gone."""
        self._leases.pop(message, None)

    def find(self, now: float, limit: int, skip: AbstractSet[str]) -> Sequence[Claim]:
        """Lease and return recipients due at `now` of up to `limit` messages, without those of the hops in `skip`."""
        found: dict[int, None] = {}
        for message, _ in self._free(now, skip):
            found[message] = None
            if len(found) >= limit:
                break
        claims = [self._claim(message, now, skip) for message in found]
        return [claim for claim in claims if claim is not None]

    def next_due(self, skip: AbstractSet[str]) -> float | None:
        """Return the earliest next attempt of a recipient that is not leased, None if there is none."""
        return next((next_attempt for _, next_attempt in self._free(_EVER, skip)), None)

    def _free(self, until: float, skip: AbstractSet[str]) -> Iterator[tuple[int, float]]:
        """Yield message and next attempt of the recipients that may be claimed until a time, earliest first."""
        hops = (msgspec.json.encode(list(skip)).decode(),) if skip else ()
        cursor = self._rows.execute(_DUE_ELSEWHERE if skip else _DUE, (until, *hops))
        try:
            for message, place, next_attempt in cursor:
                if not self._leases.get(message, 0) >> place & 1:
                    yield message, next_attempt
        finally:
            cursor.close(True)

    def _claim(self, message: int, now: float, skip: AbstractSet[str]) -> Claim | None:
        stored = self._rows.load(message)
        pending = self._rows.select(_OF_MESSAGE, message)
        leased = self._leases.get(message, 0)
        due = tuple(
            Due(place, attempts, bool(warned))
            for place, next_hop, next_attempt, attempts, warned in pending
            if next_attempt <= now and next_hop not in skip and not leased >> place & 1
        )
        if stored is None or not due:  # another process changed it since
            return None
        self._leases[message] = leased | _bits(recipient.number for recipient in due)
        return Claim(from_number(message), stored.message, due, len(due) == len(pending), stored.crashes)


def _bits(places: Iterable[int]) -> int:
    bits = 0
    for place in places:
        bits |= 1 << place
    return bits
