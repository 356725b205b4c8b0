"""A waiting line that is fair to users, and to the messages of each: nobody waits behind somebody's 50,000.

    queue = FairQueue[str]()
    queue.put("a", user="alice", message="m1")
    queue.put("b", user="alice", message="m1")
    queue.put("c", user="bob", message="m2")
    [queue.take() for _ in range(3)]        # ["a", "c", "b"]

Users take turns, and within a user's turns the messages do; what waits of one message keeps its order. A higher
`priority` goes first. Each step takes the same short time, however long the line is; where whoever takes says who may
go now, that of those who may not is added: the users, and the messages of users who may. Pure: it knows no clock.
"""

from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class FairQueue(Generic[T]):
    """The line. `user` and `message` are whatever tells them apart."""

    __slots__ = ("_classes", "_length")

    def __init__(self) -> None:
        self._classes: dict[int, dict[str, dict[str, deque[T]]]] = {}  # priority -> user -> message -> what waits
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def put(self, item: T, *, user: str, message: str, priority: int = 0) -> None:
        """Add what comes last among those of its message."""
        self._line(user, message, priority).append(item)
        self._length += 1

    def put_back(self, item: T, *, user: str, message: str, priority: int = 0) -> None:
        """Add what comes first among those of its message."""
        self._line(user, message, priority).appendleft(item)
        self._length += 1

    def take(
        self, may_go: Callable[[T], bool] | None = None, user_may_go: Callable[[T], bool] | None = None
    ) -> T | None:
        """Return whose turn it is, None where nothing waits, or nothing that may go.

        `may_go` is asked about what comes first of a message; `user_may_go` before that, once, about any of a user's.
        Those passed over keep their turn.
        """
        for priority in sorted(self._classes, reverse=True):
            found = _first(self._classes[priority], may_go, user_may_go)
            if found is not None:
                return self._take(priority, *found)
        return None

    def _take(self, priority: int, user: str, message: str) -> T:
        self._length -= 1
        users = self._classes[priority]
        messages = users[user]
        items = messages[message]
        item = items.popleft()
        # Whose turn it was goes to the end of each round; who has nothing left leaves it.
        del users[user], messages[message]
        if items:
            messages[message] = items
        if messages:
            users[user] = messages
        if not users:
            del self._classes[priority]
        return item

    def peek(self) -> T | None:
        """Return whose turn it is without taking it away, None where nothing waits."""
        if not self._length:
            return None
        messages = next(iter(self._classes[max(self._classes)].values()))
        return next(iter(messages.values()))[0]

    def _line(self, user: str, message: str, priority: int) -> deque[T]:
        users = self._classes.setdefault(priority, {})
        return users.setdefault(user, {}).setdefault(message, deque())


def _first(
    users: dict[str, dict[str, deque[T]]],
    may_go: Callable[[T], bool] | None,
    user_may_go: Callable[[T], bool] | None,
) -> tuple[str, str] | None:
    """Return whose turn it is: the user and the message."""
    for user, messages in users.items():
        if user_may_go is not None and not user_may_go(next(iter(messages.values()))[0]):
            continue
        for message, items in messages.items():
            if may_go is None or may_go(items[0]):
                return user, message
    return None
