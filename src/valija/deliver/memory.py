"""What one process has learnt of those it sends to. It outlives a change of the configuration.

memory = Memory(share_of(options.destination_concurrency_limit, workers))
agent = RemoteAgent(options, ..., memory=memory)
"""

from valija.deliver.pace import Operators
from valija.deliver.standing import Standings


class Memory:
    """The operators, of whom each gets `limit` connections at most, and the next hops."""

    def __init__(self, limit: int) -> None:
        self.operators = Operators(limit)
        self.standings = Standings()

    def use(self, limit: int) -> None:
        """Live by another limit from now on."""
        self.operators.use(limit)

    def look_again(self) -> None:
        """Have next hops that are left in peace tried at once, as somebody asks for it."""
        self.standings.look_again()


def share_of(limit: int, workers: int) -> int:
    """Return the part of a server-wide limit that one of its workers has: at least one."""
    return max(1, limit // workers)
