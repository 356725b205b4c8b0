"""The connections that one operator takes, and who may have them: a limit across all domains that it runs.

    seat = Seat(holder)
    await seats.take(seat, errand)      # waits for its turn where all are taken
    ...                                 # a connection is opened, and serves
    seat.leave()                        # the next one in the line gets it

Who waits is in a fair line, by the user and message of the errand it wants a connection for. Room is made for the line:
idle connections go first, then one of a next hop that has several, and whoever has carried `TURN` messages goes when
those under way are done. So a next hop with a long line never keeps the others of its operator waiting for long.
"""

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Final

from valija.deliver.errand import Errand
from valija.deliver.session import Session
from valija.policy.fair_queue import FairQueue

TURN: Final = 10  # messages through a connection that somebody else waits for


class Seat:
    """Room for one connection. `holder` is the next hop that has it, or waits for it; `session` what it has opened."""

    __slots__ = ("among", "given", "holder", "is_leaving", "session")

    def __init__(self, holder: object) -> None:
        self.holder = holder
        self.among: Seats | None = None
        self.session: Session | None = None
        self.is_leaving = False
        self.given: asyncio.Future[None] | None = None

    def leave(self) -> None:
        """Give the seat up, or the wish for one."""
        if self.among is not None:
            self.among.leave(self)
            self.among = None


class Seats:
    """The seats of one operator. `size` tells how many there may be now; `line` is who waits, to look at only."""

    def __init__(self, size: Callable[[], int]) -> None:
        self._size = size
        self._taken: set[Seat] = set()
        self.line: FairQueue[Seat] = FairQueue()

    @property
    def taken(self) -> int:
        """How many connections are open, or being opened."""
        return len(self._taken)

    async def take(self, seat: Seat, errand: Errand | None) -> None:
        """Return when there is room. Where the wait is cancelled the seat is not taken."""
        seat.among = self
        if len(self._taken) < self._size() and not self.line:
            self._taken.add(seat)
            return
        seat.given = asyncio.get_running_loop().create_future()
        self.ask(seat, errand)
        self.hand_out()
        self._make_room()
        try:
            await seat.given
        except BaseException:
            seat.leave()
            raise

    def ask(self, seat: Seat, errand: Errand | None) -> None:
        """Put who waits for a seat into the line, once more where it is for another user's errand."""
        if errand is None:
            self.line.put(seat, user="", message="")
            return
        job = errand.attempt.job
        self.line.put(seat, user=errand.attempt.user, message=job.queue_id, priority=job.envelope.priority)

    def leave(self, seat: Seat) -> None:
        """Hear that a seat is free: see Seat.leave."""
        self._taken.discard(seat)
        if seat.given is not None:
            seat.given.cancel()
        self.hand_out()

    def hand_out(self) -> None:
        """Give free seats to who waits."""
        while self.line and len(self._taken) < self._size():
            seat = self.line.take()
            if seat is None or seat.given is None or seat.given.done():
                continue
            self._taken.add(seat)
            seat.given.set_result(None)

    def must_leave(self, seat: Seat) -> bool:
        """Whether a connection's turn is over, as others wait. It has to go when it hears so."""
        if not self.line.size or seat.session is None or seat.session.machine.begun < TURN or self._has_made_room():
            return False
        seat.is_leaving = True
        return True

    def must_not_rest(self, seat: Seat) -> bool:
        """Whether a connection without work has to go, as somebody else waits for its seat."""
        if not self.line.size:
            return False
        seat.is_leaving = True
        return True

    def _has_made_room(self) -> bool:
        return sum(seat.is_leaving for seat in self._taken) >= len(self.line)

    def _make_room(self) -> None:
        while self.line and not self._has_made_room():
            seat = self._whose_turn_is_over()
            if seat is None or seat.session is None:
                return
            seat.is_leaving = True
            seat.session.leave()

    def _whose_turn_is_over(self) -> Seat | None:
        staying = [seat for seat in self._taken if seat.session is not None and not seat.is_leaving]
        for seat in staying:
            if seat.session is not None and seat.session.is_resting:
                return seat
        held = Counter(seat.holder for seat in staying)
        for holder, seats in held.most_common(1):
            if seats > 1:
                return next(seat for seat in staying if seat.holder is holder)
        return None
