"""Which recipients are due, and which of them are leased. The leases of an embedded store live in its process.

    leases = Leases()
    find_due(connection, rows, leases, now, limit=100, skip=frozenset())    # leases what it returns

The search walks along the index of next attempts from its oldest end. Known weakness: recipients it has to pass
over (those leased, and those of next hops in `skip`) are passed one by one, at some 10 million a second for `skip`.
"""

from collections.abc import Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from typing import Final

import apsw
import msgspec

from valija.queue.identity import from_number
from valija.queue.rows import Rows
from valija.queue.store import Claim, Due

_DUE: Final = """
SELECT message, number, next_attempt FROM recipient WHERE held = 0 AND next_attempt <= ? ORDER BY next_attempt"""
_DUE_ELSEWHERE: Final = """
SELECT message, number, next_attempt FROM recipient
WHERE held = 0 AND next_attempt <= ? AND next_hop NOT IN (SELECT value FROM json_each(?)) ORDER BY next_attempt"""
_OF_MESSAGE: Final = """
SELECT number, next_hop, next_attempt, attempts, warned FROM recipient WHERE message = ? ORDER BY number"""
_EVER: Final = float("inf")


class Leases:
    """The recipients that were claimed: for each message the places in its envelope, as the bits of a number."""

    def __init__(self) -> None:
        self._bits: dict[int, int] = {}

    def take_all(self, message: int, count: int) -> None:
        """Lease all of a message's `count` recipients."""
        self._bits[message] = (1 << count) - 1

    def take(self, message: int, places: Iterable[int]) -> None:
        """Lease some of them."""
        self._bits[message] = self._bits.get(message, 0) | _bits(places)

    def end(self, message: int, places: Iterable[int]) -> None:
        """End leases; those that do not exist are none."""
        left = self._bits.get(message, 0) & ~_bits(places)
        if left:
            self._bits[message] = left
        else:
            self._bits.pop(message, None)

    def hold(self, message: int, place: int) -> bool:
        """Whether a recipient is leased."""
        return bool(self._bits.get(message, 0) >> place & 1)


def _bits(places: Iterable[int]) -> int:
    bits = 0
    for place in places:
        bits |= 1 << place
    return bits


def find_due(
    connection: apsw.Connection, rows: Rows, leases: Leases, now: float, limit: int, skip: AbstractSet[str]
) -> Sequence[Claim]:
    """Lease and return the recipients due at `now`, of at most `limit` messages, without those of the hops in `skip`."""
    found: dict[int, None] = {}
    for message, _ in _free(connection, leases, now, skip):
        found[message] = None
        if len(found) >= limit:
            break
    claims = [_claim(connection, rows, leases, message, now, skip) for message in found]
    return [claim for claim in claims if claim is not None]


def next_due(connection: apsw.Connection, leases: Leases, skip: AbstractSet[str]) -> float | None:
    """Return the earliest next attempt of a recipient that is not leased, None if there is none."""
    return next((next_attempt for _, next_attempt in _free(connection, leases, _EVER, skip)), None)


def _free(
    connection: apsw.Connection, leases: Leases, until: float, skip: AbstractSet[str]
) -> Iterator[tuple[int, float]]:
    """Yield message and next attempt of the recipients that may be claimed until a time, earliest first."""
    if skip:
        cursor = connection.execute(_DUE_ELSEWHERE, (until, msgspec.json.encode(list(skip)).decode()))
    else:
        cursor = connection.execute(_DUE, (until,))
    try:
        for message, place, next_attempt in cursor:
            if not leases.hold(message, place):
                yield message, next_attempt
    finally:
        cursor.close(True)


def _claim(
    connection: apsw.Connection, rows: Rows, leases: Leases, message: int, now: float, skip: AbstractSet[str]
) -> Claim | None:
    stored = rows.load(message)
    if stored is None:
        return None
    pending = connection.execute(_OF_MESSAGE, (message,)).fetchall()
    due = tuple(
        Due(place, attempts, bool(warned))
        for place, next_hop, next_attempt, attempts, warned in pending
        if next_attempt <= now and next_hop not in skip and not leases.hold(message, place)
    )
    if not due:  # another process changed it since
        return None
    leases.take(message, [recipient.number for recipient in due])
    return Claim(from_number(message), stored.message, due, len(due) == len(pending), stored.crashes)
