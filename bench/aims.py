"""What is to be reached, line by line, and whether it was.

An aim is a bound for a figure of valija's: an absolute one, or a multiple of a peer's median in the same results.
"""

from collections.abc import Sequence
from typing import Final, Literal

import msgspec

from bench.results import FIGURES
from bench.servers import STRAIGHT, VALIJA, WITH_DOVECOT
from bench.summary import Row

FASTEST: Final = "the fastest peer"
EMPTY_QUEUE: Final = "empty queue"


class Aim(msgspec.Struct, frozen=True):
    """A bound in base units, or with `against` a factor: another server's figure, or valija's own in another case.

    `server` is the one that is held to it: valija in one of its forms.
    """

    work: str
    case: str
    figure: str
    sense: Literal["at least", "at most"]
    bound: float
    against: str = ""
    server: str = VALIJA

    def words(self) -> str:
        """Return the aim as a table has it."""
        figure = FIGURES[self.figure]
        bound = f"{self.bound:g} x {self.against}" if self.against else f"{figure.show(self.bound)} {figure.unit}"
        whose = "" if self.server == VALIJA else f"{self.server}, "
        return f"{whose}{figure.title}: {self.sense} {bound.strip()}"


_MIB: Final = 1 << 20

AIMS: Final = (
    Aim("relay-new", "100 sessions", "rate", "at least", 8, "postfix"),
    Aim("relay-new", "100 sessions", "rate", "at least", 4, FASTEST),
    Aim("relay-keep", "100 sessions", "rate", "at least", 12, "postfix"),
    Aim("relay-new", "1 session", "rate", "at least", 2, "postfix"),
    Aim("relay-keep", "1 session", "rate", "at least", 3, "postfix"),
    Aim("relay-new", "100 sessions", "cpu", "at most", 1 / 8, "postfix"),
    Aim("relay-keep", "100 sessions", "cpu", "at most", 1 / 8, "postfix"),
    Aim("submission", "20 sessions", "rate", "at least", 3, "postfix-dovecot"),
    Aim("submission", "20 sessions", "cpu", "at most", 1 / 4, "postfix-dovecot"),
    Aim("submission", "20 sessions", "rate", "at least", 3, "postfix-dovecot", WITH_DOVECOT),
    Aim("submission", "20 sessions", "cpu", "at most", 1 / 4, "postfix-dovecot", WITH_DOVECOT),
    Aim("large", "1 MiB", "octets", "at least", 1, "postfix"),
    Aim("large", "25 MiB", "octets", "at least", 1, "postfix"),
    Aim("large", "1 MiB", "peak", "at most", 300 * _MIB),
    Aim("large", "25 MiB", "peak", "at most", 300 * _MIB),
    Aim("memory", "idle server, 2 workers", "pss", "at most", 80 * _MIB),
    Aim("memory", "idle sessions, clear", "session", "at most", 6 * 1024),
    Aim("memory", "idle sessions, TLS", "session", "at most", 100 * 1024),
    Aim("latency", "smtpd", "accept_p50", "at most", 1.5e-3),
    Aim("latency", "submission", "accept_p50", "at most", 1.5e-3),
    Aim("many-sessions", "all", "refused", "at most", 0),
    Aim("many-sessions", "all", "dot_p99", "at most", 1),
    Aim("deep-queue", "deep queue", "accepted", "at least", 0.8, EMPTY_QUEUE),
    Aim("deep-queue", "deep queue", "rate", "at least", 0.8, EMPTY_QUEUE),
    Aim("deep-queue", "deep queue", "growth", "at most", 64 * _MIB),
    Aim("deep-queue", "stop to first delivery", "seconds", "at most", 5),
    Aim("deep-queue", "crash to first delivery", "seconds", "at most", 5),
    Aim("deep-queue", "first page of queue list", "seconds", "at most", 0.3),
    Aim("slow-destination", "with the slow one", "arrive_p50", "at most", 1.15, "before"),
    Aim("workers", "per worker, 2 workers", "rate", "at least", 0.85, "per worker, 1 worker"),
)


class Verdict(msgspec.Struct, frozen=True):
    """An aim beside what was measured. `value` is a ratio where the aim is one; `reached` is None without figures."""

    aim: Aim
    value: float | None
    reached: bool | None

    def words(self) -> str:
        """Return what was measured, as a table has it."""
        if self.value is None:
            return "not measured"
        if self.aim.against:
            return f"{self.value:.2f} x"
        figure = FIGURES[self.aim.figure]
        return f"{figure.show(self.value)} {figure.unit}".strip()

    def verdict(self) -> str:
        """Return whether it was reached, and if not, how far it is off."""
        if self.value is None or self.reached is None:
            return ""
        if self.reached:
            return "reached"
        off = self.value / self.aim.bound if self.aim.bound else self.value
        return f"**missed**: {off:.2f} of the aim" if self.aim.bound else "**missed**"


def judge(rows: Sequence[Row]) -> list[Verdict]:
    """Return a verdict on each aim whose work was measured."""
    measured = {row.work for row in rows}
    return [_judge(aim, rows) for aim in AIMS if aim.work in measured]


def _judge(aim: Aim, rows: Sequence[Row]) -> Verdict:
    own = _own(aim.work, aim.case, aim.figure, rows, aim.server)
    value = own
    if aim.against and own is not None:
        other = _other(aim, rows)
        value = own / other if other else None
    if value is None:
        return Verdict(aim, None, None)
    return Verdict(aim, value, value >= aim.bound if aim.sense == "at least" else value <= aim.bound)


def _own(work: str, case: str, figure: str, rows: Sequence[Row], server: str = VALIJA) -> float | None:
    found = [row for row in rows if (row.work, row.case, row.server) == (work, case, server)]
    return found[0].median(figure) if found else None


def _other(aim: Aim, rows: Sequence[Row]) -> float | None:
    """Return the figure that valija's is a multiple of."""
    peers = {
        row.server: value
        for row in rows
        if (row.work, row.case) == (aim.work, aim.case) and row.server not in (VALIJA, WITH_DOVECOT, STRAIGHT)
        if (value := row.median(aim.figure)) is not None
    }
    if aim.against == FASTEST:
        return max(peers.values(), default=None)
    return peers.get(aim.against) or _own(aim.work, aim.against, aim.figure, rows)
