"""The next hops of the whole server: what each worker knows of them, put together.

    answer = merged([rows_of_one_worker, rows_of_another], silent=0)

A server-wide limit is the sum of what the workers have of it, and so is a rate: each worker learns its share. The last
word of a receiver is the latest one that any worker heard.
"""

from collections.abc import Iterable, Sequence

import msgspec

from valija.deliver.census import MOST_ROWS, Halt, Row, Suspect


class Destinations(msgspec.Struct, frozen=True):
    """The answer: most loaded first, at most MOST_ROWS. `left_out` more are known; `silent` workers gave no answer."""

    destinations: list[Row]
    left_out: int = 0
    silent: int = 0


def merged(parts: Iterable[Sequence[Row]], silent: int = 0) -> Destinations:
    """Return the rows of all workers as those of one server."""
    by_lane: dict[str, list[Row]] = {}
    for rows in parts:
        for row in rows:
            by_lane.setdefault(row.lane, []).append(row)
    together = sorted((_sum(rows) for rows in by_lane.values()), key=lambda row: row.load, reverse=True)
    return Destinations(together[:MOST_ROWS], max(0, len(together) - MOST_ROWS), silent)


def _sum(rows: Sequence[Row]) -> Row:
    first = rows[0]
    if len(rows) == 1:
        return first
    rates = [row.rate for row in rows if row.rate is not None]
    return Row(
        next_hop=first.next_hop,
        lane=first.lane,
        operator=next((row.operator for row in rows if row.operator), ""),
        waiting=sum(row.waiting for row in rows),
        connections=sum(row.connections for row in rows),
        operator_connections=sum(row.operator_connections for row in rows),
        connection_limit=sum(row.connection_limit for row in rows),
        rate=sum(rates) if rates else None,
        throttled=_latest(row.throttled for row in rows),
        suspended=_latest(row.suspended for row in rows),
        suspects=_worst(suspect for row in rows for suspect in row.suspects),
        recipient_limit=min((row.recipient_limit for row in rows if row.recipient_limit), default=0),
        tls=next((row.tls for row in rows if row.tls), ""),
        delivered=sum(row.delivered for row in rows),
        deferred=sum(row.deferred for row in rows),
        failed=sum(row.failed for row in rows),
    )


def _latest(halts: Iterable[Halt | None]) -> Halt | None:
    return max((halt for halt in halts if halt is not None), key=lambda halt: halt.at, default=None)


def _worst(suspects: Iterable[Suspect]) -> tuple[Suspect, ...]:
    """Return one for each address: each worker learns by itself."""
    known: dict[str, Suspect] = {}
    for suspect in suspects:
        if suspect.address not in known or known[suspect.address].next_try < suspect.next_try:
            known[suspect.address] = suspect
    return tuple(known.values())
