"""One line for all connections of a worker that have much to say: each turn of the loop serves one of them.

    await turns.wait()      # returns when it is one's turn

Who has little to say never stands in it, so that an honest client's command waits for one piece of somebody's work,
however many there are who press. Who has much gets through as fast as the others leave room for.
"""

import asyncio
from collections import deque


class Turns:
    """The line of one loop."""

    __slots__ = ("_line", "_loop")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._line: deque[asyncio.Future[None]] = deque()

    @property
    def is_busy(self) -> bool:
        """Whether anybody is waiting."""
        return bool(self._line)

    async def wait(self) -> None:
        """Return in a later turn of the loop, when all who came before have had theirs."""
        turn: asyncio.Future[None] = self._loop.create_future()
        self._line.append(turn)
        if len(self._line) == 1:
            self._loop.call_soon(self._call)
        await turn

    def _call(self) -> None:
        while self._line:
            turn = self._line.popleft()
            if not turn.done():  # cancelled: its connection is gone
                turn.set_result(None)
                break
        if self._line:
            self._loop.call_soon(self._call)
