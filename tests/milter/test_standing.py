"""Whether a filter is there, as the sessions of a worker know it."""

from valija.milter.standing import Standing


def test_what_is_wrong_is_news_once_until_it_is_over() -> None:
    standing = Standing()
    assert not standing.has_worked()
    assert standing.has_failed("nobody listens there", is_silent=False)
    assert not standing.has_failed("nobody listens there", is_silent=False)
    assert standing.has_failed("it has hung up", is_silent=False)
    assert standing.has_worked()
    assert not standing.has_worked()
    assert standing.has_failed("nobody listens there", is_silent=False)


def test_reasons_that_a_hostile_filter_makes_up_are_not_news_for_ever() -> None:
    standing = Standing()
    assert sum(standing.has_failed(f"nonsense {number}", is_silent=False) for number in range(1000)) == 8


def test_who_is_silent_is_waited_for_by_one() -> None:
    standing = Standing()
    with standing.asking():
        assert not standing.is_waited_for
    standing.has_failed("no answer", is_silent=True)
    assert not standing.is_waited_for
    with standing.asking():
        assert standing.is_waited_for
        with standing.asking():  # one that was let in before
            assert standing.is_waited_for
        assert standing.is_waited_for
    assert not standing.is_waited_for
    with standing.asking():
        standing.has_worked()
        assert not standing.is_waited_for


def test_who_refuses_costs_nobody_any_time() -> None:
    standing = Standing()
    standing.has_failed("nobody listens there", is_silent=False)
    with standing.asking():
        assert not standing.is_waited_for
