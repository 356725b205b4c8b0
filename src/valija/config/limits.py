"""How much accounts may send, and whether one that looks stolen is frozen: the settings of [limits]."""

from typing import Final

from valija.conduct.options import ConductOptions
from valija.config.document import Table
from valija.config.readers import flag, number
from valija.policy.limits import AccountLimits

_MOST: Final = 1_000_000_000


def read_limits(table: Table) -> ConductOptions:
    """Return what stands in `table`."""
    default = AccountLimits()
    limits = AccountLimits(
        messages_per_day=table.read("messages_per_day", number(0, _MOST), default.messages_per_day),
        recipients_per_day=table.read("recipients_per_day", number(0, _MOST), default.recipients_per_day),
        first_time_recipients_per_day=table.read(
            "first_time_recipients_per_day", number(0, _MOST), default.first_time_recipients_per_day
        ),
    )
    return ConductOptions(limits, table.read("circuit_breaker", flag, ConductOptions().circuit_breaker))
