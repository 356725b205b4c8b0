"""What a crash test says of what was accepted."""

from valija.crash_test.account import settle_up


def test_everything_is_delivered_queued_or_lost() -> None:
    account = settle_up({"a", "b", "c"}, {"a": [1.0], "never accepted": [1.0]}, {"b"}, [])
    assert (account.accepted, account.delivered, account.queued, account.lost) == (3, 1, 1, ("c",))
    assert not account.is_sound


def test_a_second_copy_needs_a_death_in_between() -> None:
    account = settle_up({"a", "b"}, {"a": [1.0, 3.0], "b": [1.0, 3.0, 9.0]}, set(), [2.0])
    assert account.duplicates == 3
    assert account.unexplained == ("b",)
    assert not account.is_sound


def test_what_a_dying_server_had_sent_may_be_read_after_its_death() -> None:
    assert settle_up({"a"}, {"a": [2.1, 3.0]}, set(), [2.0]).is_sound
    assert not settle_up({"a"}, {"a": [2.9, 3.5]}, set(), [2.0]).is_sound


def test_what_was_not_accepted_counts_for_nothing_but_may_come_all_the_same() -> None:
    account = settle_up(set(), {"a": [1.0]}, {"b"}, [])
    assert account.is_sound
    assert (account.accepted, account.delivered, account.queued) == (0, 0, 0)
