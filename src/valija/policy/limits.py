"""How much may an account send in a day? Messages, recipients, and recipients it never wrote to before.

    >>> spent = Spent(messages=1, recipients=5)
    >>> first_over(spent, Spent(messages=1, recipients=1), AccountLimits(messages_per_day=1))
    'messages_per_day'

A day slides: what was sent counts by its hour, for 24 hours and what is left of the 25th. A limit of 0 is none. What
is over a limit is refused for the time being: a program's queue keeps it and tries again.
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Final, Literal

import msgspec

from valija.content.compose import printable
from valija.mail.reply import Reply

HOUR: Final = 3600
UNLIMITED: Final = 1 << 62
HOURS: Final = 25
"""So many hours count, the one that has begun and those before it."""

LimitName = Literal["messages_per_day", "recipients_per_day", "first_time_recipients_per_day"]

_WORDS: Final[Mapping[LimitName, str]] = {
    "messages_per_day": "messages",
    "recipients_per_day": "recipients",
    "first_time_recipients_per_day": "recipients never written to before",
}
_NEAR: Final = 1000  # messages or recipients for each worker: so near a limit all are asked each time
_LONGEST_NAMED: Final = 100  # characters: a reply line has room for 512 octets


class Spent(msgspec.Struct, frozen=True, gc=False):
    """How much was sent: messages, their recipients, and how many of these were never written to before."""

    messages: int = 0
    recipients: int = 0
    first_time: int = 0

    def __add__(self, other: "Spent") -> "Spent":
        return Spent(
            self.messages + other.messages, self.recipients + other.recipients, self.first_time + other.first_time
        )

    def of(self, name: LimitName) -> int:
        """Return what a limit of this name is about."""
        if name == "messages_per_day":
            return self.messages
        return self.recipients if name == "recipients_per_day" else self.first_time


class AccountLimits(msgspec.Struct, frozen=True):
    """What an account may send in a day; 0 is no limit. The defaults stop no honest use that is known."""

    messages_per_day: int = 50_000
    recipients_per_day: int = 100_000
    first_time_recipients_per_day: int = 20_000

    def of(self, name: LimitName) -> int:
        """Return the limit of this name."""
        if name == "messages_per_day":
            return self.messages_per_day
        return self.recipients_per_day if name == "recipients_per_day" else self.first_time_recipients_per_day

    @property
    def are_off(self) -> bool:
        """Whether nothing is limited."""
        return not (self.messages_per_day or self.recipients_per_day or self.first_time_recipients_per_day)


NAMES: Final[tuple[LimitName, ...]] = tuple(_WORDS)


def first_over(spent: Spent, more: Spent, limits: AccountLimits) -> LimitName | None:
    """Return the limit that `more` on top of what was spent would pass, None where all is within them."""
    if 0 < limits.messages_per_day < spent.messages + more.messages:
        return "messages_per_day"
    if 0 < limits.recipients_per_day < spent.recipients + more.recipients:
        return "recipients_per_day"
    if more.first_time and 0 < limits.first_time_recipients_per_day < spent.first_time + more.first_time:
        return "first_time_recipients_per_day"
    return None


def room_of(spent: Spent, limits: AccountLimits, workers: int) -> Spent:
    """Return how much one worker may let through without asking what the others have spent since.

    `spent` is what all had spent when it last asked. It is half of a worker's part of what was left then, so that all
    together can't pass a limit by that; and nothing near a limit, which so is kept to the message.
    """
    room = [_room(limits.of(name), spent.of(name), workers) for name in NAMES]
    return Spent(*room)


def _room(limit: int, spent: int, workers: int) -> int:
    if not limit:
        return UNLIMITED
    left = limit - spent
    return left // (2 * workers) if left >= _NEAR * workers else 0


def free_again(hours: Iterable[tuple[int, Spent]], more: Spent, limits: AccountLimits, name: LimitName) -> float:
    """Return when there will be room for `more` under a limit, in epoch seconds, if nothing is sent until then.

    `hours` are what was spent by hour since the epoch. Where there will never be, it is when all is forgotten.
    """
    counted = sorted(hours, key=lambda each: each[0])
    kept = sum(spent.of(name) for _, spent in counted) + more.of(name)
    last = 0
    for hour, spent in counted:
        if kept <= limits.of(name):
            break
        kept -= spent.of(name)
        last = hour
    return float((last + HOURS) * HOUR)


def refusal(name: LimitName, limits: AccountLimits, until: float, postmaster: str) -> Reply:
    """Return the reply to a recipient that is over a limit, which ends at `until` (epoch seconds)."""
    ends = f"{datetime.fromtimestamp(until, UTC):%Y-%m-%d %H:%M} UTC"
    ask = printable(postmaster, _LONGEST_NAMED)
    limit = f"{limits.of(name)} {_WORDS[name]} a day"
    return Reply(450, "4.7.1", f"Your account's limit of {limit} is reached: go on from {ends}, or ask {ask} for more")
