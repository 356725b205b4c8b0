"""Which recipients are due, and which of them are leased. The leases of an embedded store live in its process.

    claims = Claims(rows)
    claims.find(now, limit=100, skip=frozenset())      # leases what it returns
    claims.end(number, [0])

The search walks along the index of next attempts from its oldest end. Of a message with thousands of recipients it
gives out those of some next hops, and says that there are more.

Known weakness: recipients it has to pass over (those leased, and those of next hops and messages to skip) are passed
one by one, at some 10 million a second for the latter.
"""

from collections.abc import Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from typing import Final

import msgspec

from valija.queue.identity import from_number
from valija.queue.rows import Rows
from valija.queue.store import Claim, Due

LARGEST: Final = 5000
"""So many recipients of a message are given out at once; of a larger one, those of its first next hops that make it."""

_DUE: Final = """
SELECT message, number, next_attempt FROM recipient
WHERE held = 0 AND next_attempt <= ?1 ORDER BY next_attempt"""
_DUE_ELSEWHERE: Final = """
SELECT message, number, next_attempt FROM recipient
WHERE held = 0 AND next_attempt <= ?1 AND next_hop NOT IN (SELECT value FROM json_each(?2))
AND message NOT IN (SELECT value FROM json_each(?3)) ORDER BY next_attempt"""
_OF_MESSAGE: Final = """
SELECT number, next_hop, next_attempt, attempts, warned FROM recipient WHERE message = ? ORDER BY number LIMIT ?"""
_OF_LARGE_MESSAGE: Final = """
SELECT number, next_hop, attempts, warned FROM recipient WHERE message = ? AND next_attempt <= ?
ORDER BY next_hop, number"""
_COUNT: Final = "SELECT count(*) FROM recipient WHERE message = ?"
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

    def find(
        self, now: float, limit: int, skip: AbstractSet[str], skip_messages: AbstractSet[int] = frozenset()
    ) -> Sequence[Claim]:
        """Lease and return recipients due at `now` of up to `limit` messages, without those to skip."""
        found: dict[int, None] = {}
        for message, _ in self._free(now, skip, skip_messages):
            found[message] = None
            if len(found) >= limit:
                break
        claims = [self._claim(message, now, skip) for message in found]
        return [claim for claim in claims if claim is not None]

    def next_due(self, skip: AbstractSet[str], skip_messages: AbstractSet[int] = frozenset()) -> float | None:
        """Return the earliest next attempt of a recipient that is not leased, None if there is none."""
        return next((next_attempt for _, next_attempt in self._free(_EVER, skip, skip_messages)), None)

    def _free(
        self, until: float, skip: AbstractSet[str], skip_messages: AbstractSet[int]
    ) -> Iterator[tuple[int, float]]:
        """Yield message and next attempt of the recipients that may be claimed until a time, earliest first."""
        if skip or skip_messages:
            cursor = self._rows.execute(_DUE_ELSEWHERE, (until, _json(skip), _json(skip_messages)))
        else:
            cursor = self._rows.execute(_DUE, (until,))
        try:
            for message, place, next_attempt in cursor:
                if not self._leases.get(message, 0) >> place & 1:
                    yield message, next_attempt
        finally:
            cursor.close(True)

    def _claim(self, message: int, now: float, skip: AbstractSet[str]) -> Claim | None:
        stored = self._rows.load(message)
        pending = self._rows.select(_OF_MESSAGE, message, LARGEST + 1)
        leased = self._leases.get(message, 0)
        is_cut = False
        if len(pending) > LARGEST:
            due, is_cut = self._some_hops(message, now, skip, leased)
            only = len(due) == self._rows.execute(_COUNT, (message,)).get
        else:
            due = tuple(
                _due(place, attempts, warned)
                for place, next_hop, next_attempt, attempts, warned in pending
                if next_attempt <= now and next_hop not in skip and not leased >> place & 1
            )
            only = len(due) == len(pending)
        if stored is None or not due:  # another process changed it since
            return None
        self._leases[message] = leased | _bits(recipient.number for recipient in due)
        return Claim(from_number(message), stored.message, due, only, stored.crashes, is_cut)

    def _some_hops(self, message: int, now: float, skip: AbstractSet[str], leased: int) -> tuple[tuple[Due, ...], bool]:
        """Return the due recipients of some next hops of a message, and whether there are more."""
        due: list[Due] = []
        last_hop = None
        for place, next_hop, attempts, warned in self._rows.select(_OF_LARGE_MESSAGE, message, now):
            if next_hop in skip or leased >> place & 1:
                continue
            if len(due) >= LARGEST and next_hop != last_hop:
                return tuple(due), True
            due.append(_due(place, attempts, warned))
            last_hop = next_hop
        return tuple(due), False


def _due(place: int, attempts: int, warned: int) -> Due:
    return Due(place, attempts, bool(warned & 1), bool(warned & 2))


def _json(values: AbstractSet[str] | AbstractSet[int]) -> str:
    return msgspec.json.encode(list(values)).decode()


def _bits(places: Iterable[int]) -> int:
    bits = 0
    for place in places:
        bits |= 1 << place
    return bits
