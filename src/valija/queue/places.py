"""The places of a worker: which of the attempts in the window run now, and whose turn is next. Pure.

    places = Places(total=500, per_lane=20)
    if not places.take(attempt):
        places.wait(attempt)
    ...
    places.leave(attempt)                       # its delivery has ended
    while (following := places.next()) is not None:
        ...                                     # it has a place now

So many attempts run at once as there are places, and of one lane so many as a next hop takes. A user may have as many
as are still free, and what the same message has counts twice: a lone message of thousands of next hops gets a third, a
lone user half, and somebody's first message always finds a place. What comes from the file may have half of all.

Whoever has to wait stands in one of two lines, both fair to users and messages, more urgent mail first (RFC 6710):

- that of the lane, while all its places are taken;
- that for a place, while only the user, the message or the worker has no more of them.

Of the suspects, whose messages were there in crashes before, one runs at a time, so that the next crash takes no
innocent one along; for the rest it has a place in any case.

Nobody waits in a lane's line whose lane has a place: where nobody in it may take that, for his own lack, all of it goes
over to the other line, and back one by one, when their turn comes and the lane is full again.
"""

from collections import deque

from valija.policy.fair_queue import FairQueue
from valija.queue.window import Attempt, Lane


class Places:
    """Who runs and who waits. `per_lane` may be replaced at any time."""

    def __init__(self, total: int, per_lane: int) -> None:
        self._total = total
        self.per_lane = per_lane
        self._running = 0
        self._from_file = 0
        self._line: FairQueue[Attempt] = FairQueue()
        self._left: deque[Lane] = deque()
        self._crowded: dict[Lane, None] = {}  # those with a line
        self._suspects: deque[Attempt] = deque()
        self._suspect: Attempt | None = None  # the one that runs

    @property
    def running(self) -> int:
        """The places that are taken."""
        return self._running

    def take(self, attempt: Attempt) -> bool:
        """Give an attempt a place if it may have one now. Whoever waits may not, so nobody is passed over."""
        if attempt.is_suspect:
            if self._suspect is not None:
                return False
            self._suspect = attempt
        elif attempt.lane.running >= self.per_lane or not self._may_run(attempt):
            return False
        self._run(attempt)
        return True

    def _run(self, attempt: Attempt) -> None:
        attempt.lane.running += 1
        attempt.user.running += 1
        attempt.round.running += 1
        self._running += 1
        if not attempt.is_fresh:
            self._from_file += 1

    def wait(self, attempt: Attempt) -> None:
        """Have an attempt wait for its turn."""
        if attempt.is_suspect:
            self._suspects.append(attempt)
        elif attempt.lane.running >= self.per_lane:
            _put(self._line_of(attempt.lane), attempt)
        else:
            _put(self._line, attempt)

    def leave(self, attempt: Attempt) -> bool:
        """Take an attempt's place back; return whether anybody waits: `next` says who gets it."""
        attempt.lane.running -= 1
        attempt.user.running -= 1
        attempt.round.running -= 1
        self._running -= 1
        if not attempt.is_fresh:
            self._from_file -= 1
        if attempt is self._suspect:
            self._suspect = None
        if attempt.lane.waiting is not None:
            self._left.append(attempt.lane)
        return bool(self._crowded or self._suspects) or self._line.size > 0

    def next(self) -> Attempt | None:
        """Give a place to whose turn it is; None where nobody who waits may have one."""
        if self._suspects and self.take(self._suspects[0]):
            return self._suspects.popleft()
        while self._left:
            lane = self._left.popleft()
            line = lane.waiting
            if line is None or lane.running >= self.per_lane:
                continue
            if (following := self._next_of(lane, line)) is not None:
                self._left.append(lane)  # there may be more places than the one that was left: the bound may be higher
                return following
        while self._line.size and (following := self._line.take(self._may_run, self._user_may_run)) is not None:
            if self.take(following):
                return following
            _put_back(self._line_of(following.lane), following)
        return None

    def take_all(self) -> list[Attempt]:
        """Take all who wait out of the lines."""
        waiting = [*self._suspects, *_all_of(self._line)]
        self._suspects.clear()
        for lane in self._crowded:
            waiting += _all_of(self._line_of(lane))
            lane.waiting = None
        self._crowded.clear()
        return waiting

    def _line_of(self, lane: Lane) -> FairQueue[Attempt]:
        if lane.waiting is None:
            lane.waiting = FairQueue()
            self._crowded[lane] = None
        return lane.waiting

    def _next_of(self, lane: Lane, line: FairQueue[Attempt]) -> Attempt | None:
        """Give a place that became free in a lane to one of those in its line."""
        following = line.take(self._may_run, self._user_may_run)
        if following is not None:
            self._run(following)
        else:
            for each in _all_of(line):
                _put(self._line, each)
        if not line.size:
            lane.waiting = None
            del self._crowded[lane]
        return following

    def _may_run(self, attempt: Attempt) -> bool:
        return attempt.user.running + attempt.round.running < self._free_for(attempt)

    def _user_may_run(self, attempt: Attempt) -> bool:
        return attempt.user.running < self._free_for(attempt)

    def _free_for(self, attempt: Attempt) -> int:
        free = self._total - self._running
        return free if attempt.is_fresh else min(free, max(1, self._total // 2) - self._from_file)


def _put(line: FairQueue[Attempt], attempt: Attempt) -> None:
    line.put(attempt, user=attempt.user.name, message=attempt.claim.queue_id, priority=attempt.priority)


def _put_back(line: FairQueue[Attempt], attempt: Attempt) -> None:
    line.put_back(attempt, user=attempt.user.name, message=attempt.claim.queue_id, priority=attempt.priority)


def _all_of(line: FairQueue[Attempt]) -> list[Attempt]:
    waiting = []
    while (attempt := line.take()) is not None:
        waiting.append(attempt)
    return waiting
