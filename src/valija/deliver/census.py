"""How mail fares at each next hop: what one process knows of them, for people to look at.

    rows = census(memory, live, health, name="", now=loop.time(), epoch=time.time())

At most `MOST_ROWS`, those with the most to do first. Times in a row are epoch seconds.
"""

from collections.abc import Mapping
from typing import Any, Final, Protocol

import msgspec

from valija.deliver.health import Health
from valija.deliver.memory import Memory
from valija.deliver.pace import Operator
from valija.deliver.standing import Standing
from valija.mail.job import Route

MOST_ROWS: Final = 200
_MOST_WORDS: Final = 300  # characters of a reply


class Halt(msgspec.Struct, frozen=True):
    """Why something was slowed down or stopped, and when; `next_try` is when it is looked at again, 0: at any time."""

    reply: str
    at: float
    next_try: float = 0.0


class Suspect(msgspec.Struct, frozen=True):
    """An address that gave no connection, `failures` times in a row, and when it is tried in its turn again."""

    address: str
    failures: int
    next_try: float
    why: str


class Row(msgspec.Struct, frozen=True):
    """One next hop.

    `lane` tells apart routes that have the same `next_hop`. `waiting` counts messages that wait here (not those that
    wait in the queue for their next attempt), `connections` open ones. `operator` runs its hosts;
    `operator_connections` of `connection_limit` are open to all that it runs, and it takes `rate` transactions a
    second, None where it sets no limit. `throttled` is its last wish for less. `delivered`, `deferred` and `failed`
    count recipients.
    """

    next_hop: str
    lane: str
    operator: str = ""
    waiting: int = 0
    connections: int = 0
    operator_connections: int = 0
    connection_limit: int = 0
    rate: float | None = None
    throttled: Halt | None = None
    suspended: Halt | None = None
    suspects: tuple[Suspect, ...] = ()
    recipient_limit: int = 0
    tls: str = ""
    delivered: int = 0
    deferred: int = 0
    failed: int = 0

    @property
    def load(self) -> tuple[int, int, int]:
        """What the rows are ordered by."""
        return self.waiting + self.connections, self.deferred + self.failed, self.delivered


class Live(Protocol):
    """A next hop that is in use."""

    @property
    def waiting(self) -> int:
        """How many messages wait."""

    @property
    def connections(self) -> int:
        """How many connections are open."""


def census(
    memory: Memory, live: Mapping[Route, Live], health: Health, *, name: str, now: float, epoch: float
) -> list[Row]:
    """Return the rows of the next hops called `name`, or run by who is called so; all where it is `""`."""
    suspects = {
        suspect.endpoint: Suspect(str(suspect.endpoint), suspect.failures, epoch + suspect.wait, _words(suspect.why))
        for suspect in health.snapshot(now)
    }
    rows = []
    for route, standing in memory.standings.items():
        if name and name not in (route.next_hop, standing.operator):
            continue
        row = _row(route, standing, live.get(route), now=now, epoch=epoch)
        own = tuple(suspects[endpoint] for endpoint in standing.endpoints if endpoint in suspects)
        pace = _pace(memory.operators.known(standing.operator), memory.operators.limit)
        rows.append(msgspec.structs.replace(row, suspects=own, **pace))
    rows.sort(key=lambda row: row.load, reverse=True)
    return rows[:MOST_ROWS]


def _row(route: Route, standing: Standing, live: Live | None, *, now: float, epoch: float) -> Row:
    why = standing.why
    next_try = epoch + standing.suspension.wait(now)
    return Row(
        next_hop=route.next_hop,
        lane=route.lane,
        operator=standing.operator,
        waiting=live.waiting if live is not None else 0,
        connections=live.connections if live is not None else 0,
        suspended=Halt(_words(str(why.reply)), standing.suspended_at, next_try) if why is not None else None,
        recipient_limit=standing.recipient_limit(now),
        tls=standing.channel.value if standing.channel is not None else "",
        delivered=standing.delivered,
        deferred=standing.deferred,
        failed=standing.failed,
    )


def _pace(operator: Operator | None, limit: int) -> dict[str, Any]:
    """Return what a row tells of the operator."""
    if operator is None:
        return {"connection_limit": limit}
    said = operator.throttling
    return {
        "operator_connections": operator.seats.taken,
        "connection_limit": operator.concurrency.size,
        "rate": operator.pace.rate,
        "throttled": Halt(_words(str(said.reply)), said.at) if said is not None else None,
    }


def _words(text: str) -> str:
    return text if len(text) <= _MOST_WORDS else f"{text[:_MOST_WORDS]}..."
