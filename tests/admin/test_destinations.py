"""The next hops of the whole server, put together from what its workers know."""

from valija.admin.destinations import merged
from valija.deliver.census import MOST_ROWS, Halt, Row, Suspect


def test_what_workers_know_of_a_next_hop_is_added_up() -> None:
    early = Halt("421 slow", 10.0)
    late = Halt("421 slower", 20.0)
    one = Row(
        "example.net",
        "example.net",
        operator="host.example",
        waiting=3,
        connections=1,
        operator_connections=2,
        connection_limit=5,
        rate=2.5,
        throttled=early,
        suspects=(Suspect("192.0.2.1:25", 1, 50.0, "refused"),),
        recipient_limit=7,
        delivered=4,
    )
    two = Row(
        "example.net",
        "example.net",
        waiting=1,
        connection_limit=6,
        rate=None,
        throttled=late,
        suspended=early,
        suspects=(Suspect("192.0.2.1:25", 3, 90.0, "refused"), Suspect("192.0.2.2:25", 1, 60.0, "silent")),
        tls="verified",
        deferred=2,
        failed=1,
    )
    [row] = merged([[one], [two], []], silent=1).destinations
    assert (row.operator, row.waiting, row.connections, row.operator_connections) == ("host.example", 4, 1, 2)
    assert (row.connection_limit, row.rate, row.recipient_limit, row.tls) == (11, 2.5, 7, "verified")
    assert (row.delivered, row.deferred, row.failed) == (4, 2, 1)
    assert row.throttled == late
    assert row.suspended == early
    assert [(each.address, each.failures) for each in row.suspects] == [("192.0.2.1:25", 3), ("192.0.2.2:25", 1)]
    assert merged([[two], [Row("example.net", "example.net", rate=4.0)]]).destinations[0].rate == 4.0


def test_routes_of_one_next_hop_stay_apart() -> None:
    rows = [Row("example.net", "example.net"), Row("example.net", "example.net 26   required")]
    assert len(merged([rows, rows]).destinations) == 2


def test_the_most_loaded_come_first_and_the_list_is_bounded() -> None:
    rows = [Row(f"d{n}.example", f"d{n}.example", waiting=n) for n in range(MOST_ROWS + 50)]
    answer = merged([rows[:100], rows[100:]])
    assert len(answer.destinations) == MOST_ROWS
    assert answer.left_out == 50
    assert answer.destinations[0].waiting == MOST_ROWS + 49
