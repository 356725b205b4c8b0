"""How far users may go in what they ask when they hand mail in: settings of [submission], for [submissions] too."""

from valija.config.document import Table
from valija.config.readers import duration, number
from valija.policy.requests import RequestLimits


def read_request_limits(table: Table) -> RequestLimits:
    """Return the limits that stand in `table`."""
    default = RequestLimits()
    return RequestLimits(
        longest_hold=table.read("future_release_limit", duration("0s"), default.longest_hold),
        highest_priority=table.read("priority_limit", number(-9, 9), default.highest_priority),
    )
