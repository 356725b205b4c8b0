"""The fair line: users take turns, their messages do, and urgent mail goes first."""

from collections import Counter
from collections.abc import Iterator

from hypothesis import given
from hypothesis import strategies as st

from valija.policy.fair_queue import FairQueue

Item = tuple[str, str, int]  # user, message, number


def all_of(line: FairQueue[Item]) -> Iterator[Item]:
    while (item := line.take()) is not None:
        yield item


def put(line: FairQueue[Item], user: str, message: str, count: int = 1, *, priority: int = 0) -> None:
    for number in range(count):
        line.put((user, message, number), user=user, message=message, priority=priority)


def test_nobody_waits_behind_somebodys_thousands() -> None:
    line: FairQueue[Item] = FairQueue()
    put(line, "alice", "mailing", 1000)
    put(line, "alice", "letter")
    put(line, "bob", "reset")
    order = [message for _, message, _ in all_of(line)]
    assert order.index("reset") == 1
    assert order.index("letter") == 2
    assert len(order) == 1002


def test_urgent_mail_goes_first() -> None:
    line: FairQueue[Item] = FairQueue()
    put(line, "alice", "bulk", 3, priority=-4)
    put(line, "bob", "normal", 2)
    put(line, "alice", "urgent", 1, priority=5)
    assert [message for _, message, _ in all_of(line)] == ["urgent", "normal", "normal", "bulk", "bulk", "bulk"]


def test_who_may_not_go_keeps_the_turn() -> None:
    line: FairQueue[Item] = FairQueue()
    put(line, "alice", "m1", 2)
    put(line, "bob", "m2", 2)
    put(line, "carol", "m3", 1)
    assert line.take(lambda item: item[0] != "alice") == ("bob", "m2", 0)
    assert line.take() == ("alice", "m1", 0)
    assert line.take(lambda _: False) is None
    assert len(line) == 3


def test_a_user_who_may_not_go_is_asked_about_once() -> None:
    line: FairQueue[Item] = FairQueue()
    for number in range(100):
        put(line, "alice", f"m{number}")
    put(line, "bob", "m")
    asked: list[Item] = []

    def may_go(item: Item) -> bool:
        asked.append(item)
        return item[0] == "bob"

    assert line.take(may_go, may_go) == ("bob", "m", 0)
    assert [item[0] for item in asked] == ["alice", "bob", "bob"]


def test_less_urgent_mail_that_may_go_does_not_wait_for_urgent_mail_that_may_not() -> None:
    line: FairQueue[Item] = FairQueue()
    put(line, "alice", "urgent", priority=9)
    put(line, "bob", "normal")
    assert line.take(lambda item: item[0] == "bob") == ("bob", "normal", 0)


@given(st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from("xyz"), st.integers(-1, 1), st.booleans())))
def test_what_was_put_comes_out_once_and_in_its_messages_order(steps: list[tuple[str, str, int, bool]]) -> None:
    line: FairQueue[Item] = FairQueue()
    put_in, came = Counter[tuple[str, str, int]](), list[tuple[Item, int]]()
    for user, message, priority, takes in steps:
        if takes and len(line) and (item := line.take(lambda item: item[1] != "z")) is not None:
            came.append((item, priority))
        else:
            key = (user, message, priority)
            line.put((user, f"{message}{priority}", put_in[key]), user=user, message=f"{message}{priority}",
                     priority=priority)  # fmt: skip
            put_in[key] += 1
    out = [item for item, _ in came] + list(all_of(line))
    assert len(out) == put_in.total()
    for user, message, priority in put_in:
        numbers = [number for who, what, number in out if (who, what) == (user, f"{message}{priority}")]
        assert numbers == list(range(put_in[user, message, priority]))


def test_peek_tells_whose_turn_it_is_and_leaves_it_there() -> None:
    queue = FairQueue[str]()
    assert queue.peek() is None
    queue.put("a", user="alice", message="m1")
    queue.put("b", user="bob", message="m2", priority=1)
    queue.put("c", user="carol", message="m3")
    for expected in ("b", "a", "c"):
        assert queue.peek() == queue.peek() == expected == queue.take()
    assert queue.peek() is None
