"""A waiting line that is fair to users, and to the messages of each: nobody waits behind somebody's 50,000.

    queue = FairQueue[str]()
    queue.put("a", user="alice", message="m1")
    queue.put("b", user="alice", message="m1")
    queue.put("c", user="bob", message="m2")
    [queue.take() for _ in range(3)]        # ["a", "c", "b"]

Users take turns, and within a user's turns the messages do; what waits of one message keeps its order. A higher
`priority` goes first. Each step takes the same short time, however long the line is (of one message, thousands may wait
before it shows); where whoever takes says who may go now, that of those who may not is added: the users, and the
messages of users who may. Pure: it knows no clock.
"""

from collections import defaultdict
from collections.abc import Callable
from functools import partial
from typing import Generic, TypeVar

T = TypeVar("T")


class FairQueue(Generic[T]):
    """The line. `user` and `message` are whatever tells them apart; `size` is how many wait."""

    __slots__ = ("_classes", "size")

    def __init__(self) -> None:
        # priority -> user -> message -> what waits: most often one thing, for which a list is the cheapest place
        self._classes: defaultdict[int, defaultdict[str, defaultdict[str, list[T]]]]
        self._classes = defaultdict(partial(defaultdict, partial(defaultdict, list)))
        self.size = 0

    def __len__(self) -> int:
        return self.size

    def put(self, item: T, *, user: str, message: str, priority: int = 0) -> None:
        """Add what comes last among those of its message."""
        self._classes[priority][user][message].append(item)
        self.size += 1

    def put_back(self, item: T, *, user: str, message: str, priority: int = 0) -> None:
        """Add what comes first among those of its message."""
        self._classes[priority][user][message].insert(0, item)
        self.size += 1

    def take(
        self, may_go: Callable[[T], bool] | None = None, user_may_go: Callable[[T], bool] | None = None
    ) -> T | None:
        """Return whose turn it is, None where nothing waits, or nothing that may go.

        `may_go` is asked about what comes first of a message; `user_may_go` before that, once, about any of a user's.
        Those passed over keep their turn.
        """
        classes = self._classes
        for priority in classes if len(classes) <= 1 else sorted(classes, reverse=True):
            for user, messages in classes[priority].items():
                if user_may_go is not None and not user_may_go(next(iter(messages.values()))[0]):
                    continue
                for message, items in messages.items():
                    if may_go is None or may_go(items[0]):
                        return self._take(priority, user, message)
        return None

    def _take(self, priority: int, user: str, message: str) -> T:
        users = self._classes[priority]
        messages = users.pop(user)
        items = messages.pop(message)
        item = items.pop(0)
        # Whose turn it was goes to the end of each round; who has nothing left leaves it.
        if items:
            messages[message] = items
        if messages:
            users[user] = messages
        elif not users:
            del self._classes[priority]
        self.size -= 1
        return item

    def peek(self) -> T | None:
        """Return whose turn it is without taking it away, None where nothing waits."""
        if not self.size:
            return None
        messages = next(iter(self._classes[max(self._classes)].values()))
        return next(iter(messages.values()))[0]
