"""Where the passwords of strangers are verified: so many at once, a short line behind them, nobody beyond it.

    desk = Desk(places=2)
    if await desk.come():
        try: ...
        finally: desk.leave()

To verify a password is meant to be costly. Whoever floods a server with guesses, from as many networks as there are,
keeps this desk busy, and no more: who has logged in from there before does not stand in its line, and the processors
have other things to do.
"""

import asyncio
from typing import Final

LINE: Final = 25  # strangers waiting for each place: half a second's work; who comes behind them is told to come again


class Desk:
    """One worker's desk."""

    def __init__(self, places: int) -> None:
        self._free = asyncio.Semaphore(places)
        self._most = places * LINE
        self._waiting = 0

    async def come(self) -> bool:
        """Return when there is a place, which `leave` gives up; False at once where the line is too long."""
        if self._waiting >= self._most:
            return False
        self._waiting += 1
        try:
            await self._free.acquire()
        finally:
            self._waiting -= 1
        return True

    def leave(self) -> None:
        """Make room for the next."""
        self._free.release()
