"""A waiting line that is fair to users, and to the messages of each: nobody waits behind somebody's 50,000.

    queue = FairQueue[str]()
    queue.put("a", user="alice", message="m1")
    queue.put("b", user="alice", message="m1")
    queue.put("c", user="bob", message="m2")
    [queue.take() for _ in range(3)]        # ["a", "c", "b"]

Users take turns, and within a user's turns the messages do; what waits of one message keeps its order. A higher
`priority` goes first. Each step takes the same short time, however long the line is. Pure: it knows no clock.
"""

from collections import deque
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

    def take(self) -> T | None:
        """Return whose turn it is, None where nothing waits."""
        if not self._length:
            return None
        self._length -= 1
        priority = max(self._classes)
        users = self._classes[priority]
        user, messages = next(iter(users.items()))
        message, items = next(iter(messages.items()))
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

    def _line(self, user: str, message: str, priority: int) -> deque[T]:
        users = self._classes.setdefault(priority, {})
        return users.setdefault(user, {}).setdefault(message, deque())
