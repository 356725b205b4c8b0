"""When another connection is worth opening."""

import pytest

from valija.deliver.pool import BACKLOG_PER_CONNECTION, wants_connection


@pytest.mark.parametrize(
    ("waiting", "connections", "stalled", "wanted"),
    [
        (0, 0, False, False),
        (0, 0, True, False),
        (1, 0, False, True),
        (1, 1, False, False),
        (1, 1, True, True),
        (BACKLOG_PER_CONNECTION, 1, False, False),
        (BACKLOG_PER_CONNECTION + 1, 1, False, True),
        (4 * BACKLOG_PER_CONNECTION, 4, False, False),
        (10_000, 20, True, False),
    ],
)
def test_wants_connection(waiting: int, connections: int, stalled: bool, wanted: bool) -> None:
    assert wants_connection(waiting, connections, 20, stalled=stalled) is wanted
