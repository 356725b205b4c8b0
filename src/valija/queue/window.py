"""The bounded window of attempts in memory, and who may enter it. Pure: counts and queues, no clock, no store.

    window = Window(jobs=4000, octets=64 * 1024 * 1024)
    lane = window.lane(route)
    attempt = Attempt(claim, lane, octets=4096, is_fresh=True)
    if window.admits(attempt):
        window.enter(attempt)
    ...
    window.leave(attempt)

All attempts with one route are a lane. The rule that keeps a slow next hop from filling the window: a lane may hold an
eighth of the room that is still free. So a lone lane gets a ninth of the window, the next one a ninth of the rest, and
some fifty slow next hops leave room for one more. What comes from the file (retries, and mail that found no room when
it came) may fill half of the window, so that fresh mail is never locked out; and it is not locked out itself, as fresh
mail does not count there.

Known weakness: hundreds of slow next hops at once do fill it, until their attempts end.
"""

from collections import deque
from typing import Final

from valija.mail.job import Route
from valija.queue.store import Claim

_SHARE: Final = 8


class Lane:
    """The attempts that share a route: those `running`, those `waiting`, and all of them `held` in memory.

    `refill_at`: when so few are held, there is more to be had from the file; -1 where nothing was left behind.
    """

    __slots__ = ("held", "refill_at", "route", "running", "waiting")

    def __init__(self, route: Route) -> None:
        self.route = route
        self.held = 0
        self.running = 0
        self.waiting: deque[Attempt] = deque()
        self.refill_at = -1


class Attempt:
    """One job in the window: the claim to its recipients, its lane, and the memory it takes."""

    __slots__ = ("claim", "is_delivering", "is_fresh", "lane", "octets")

    def __init__(self, claim: Claim, lane: Lane, octets: int, *, is_fresh: bool) -> None:
        self.claim = claim
        self.lane = lane
        self.octets = octets
        self.is_fresh = is_fresh
        self.is_delivering = False


class Window:
    """The attempts in memory, at most `jobs` of them, and `octets` of content but for the last one let in."""

    def __init__(self, jobs: int, octets: int) -> None:
        self._jobs = jobs
        self._octets = octets
        self._lanes: dict[Route, Lane] = {}
        self._held = self._held_octets = 0
        self._from_file = self._file_octets = 0

    def lane(self, route: Route) -> Lane:
        """Return the lane of a route. It is kept while it holds attempts."""
        return self._lanes.get(route) or Lane(route)

    def admits(self, attempt: Attempt) -> bool:
        """Whether there is room for an attempt."""
        if attempt.is_fresh:
            return attempt.lane.held * _SHARE < self._jobs - self._held and self._held_octets < self._octets
        return attempt.lane.held * _SHARE < self.file_room

    def enter(self, attempt: Attempt) -> None:
        """Take an attempt in."""
        lane = attempt.lane
        if not lane.held:
            self._lanes[lane.route] = lane
        lane.held += 1
        self._held += 1
        self._held_octets += attempt.octets
        if not attempt.is_fresh:
            self._from_file += 1
            self._file_octets += attempt.octets

    def leave(self, attempt: Attempt) -> None:
        """Let go of an attempt."""
        lane = attempt.lane
        lane.held -= 1
        if not lane.held:
            del self._lanes[lane.route]
        self._held -= 1
        self._held_octets -= attempt.octets
        if not attempt.is_fresh:
            self._from_file -= 1
            self._file_octets -= attempt.octets

    @property
    def file_room(self) -> int:
        """So many attempts may still be taken from the file; 0 when their contents fill their half of the memory."""
        return 0 if self._file_octets * 2 >= self._octets else self._jobs // 2 - self._from_file

    @property
    def has_half_file_room(self) -> bool:
        """Whether it is worth the while to look into the file again."""
        return self.file_room * 4 >= self._jobs

    def full_lanes(self) -> list[Lane]:
        """Return the lanes that take no more from the file."""
        room = self.file_room
        return [lane for lane in self._lanes.values() if lane.held * _SHARE >= room]

    @property
    def lanes(self) -> list[Lane]:
        """The lanes that hold attempts."""
        return list(self._lanes.values())
