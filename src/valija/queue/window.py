"""The bounded window of attempts in memory, and who may enter it. Pure: it counts, and knows no clock and no store.

    window = Window(jobs=4000, octets=64 * 1024 * 1024)
    attempt = window.attempt(claim, route, octets=4096, is_fresh=True)
    if window.admits(attempt):
        window.enter(attempt)
    ...
    window.leave(attempt)

Nobody may fill the window. Of the room that is still free

- a lane, which is all attempts with one route, may hold a quarter, and what the same user has in it counts twice. So a
  lone user's mail to a lone slow next hop gets a ninth of the window, and leaves nearly as much of the lane to others;
  some fifty slow next hops leave room for one more;
- a user may hold as much as is free, and what the same message holds counts twice: a third for a lone message of
  thousands of next hops, half for a user of many messages. Somebody's first message always finds room, and some ten
  users who do their worst leave room for one more.

What comes from the file (retries, and mail that found no room when it came) may fill half of the window, so that fresh
mail is never locked out. It is not locked out itself, as fresh mail does not count there. It comes in the order of its
time, whoever it belongs to: of it, a lane gets an eighth of the room, and a message a third.

A message's attempts in the window are a round: their news are reported together (see settle).

Known weakness: hundreds of slow next hops at once, or a dozen users with thousands of messages each, do fill it, until
their attempts end.
"""

from collections.abc import Set as AbstractSet
from typing import Final

import msgspec

from valija.mail.job import QueueId, Route
from valija.policy.fair_queue import FairQueue
from valija.queue.store import CRASH_LIMIT, Claim, NewMessage

_LANE_SHARE: Final = 4
_FILE_LANE_SHARE: Final = 8
_LONGEST_ROUND: Final = 900.0  # seconds that news wait for the last attempt


class Lane:
    """The attempts that share a route: those `running`, those `waiting` for others of them, and all `held` in memory.

    `users` counts what each user holds. `refill_at`: when so few are held, there is more to be had from the file; -1
    where nothing was left behind.
    """

    __slots__ = ("held", "refill_at", "route", "running", "users", "waiting")

    def __init__(self, route: Route) -> None:
        self.route = route
        self.held = 0
        self.running = 0
        self.users: dict[str, int] = {}
        self.waiting: FairQueue[Attempt] | None = None  # made where somebody has to wait
        self.refill_at = -1


class Share:
    """What a user has of the window: attempts held, and those of them that run. Fresh mail is counted apart."""

    __slots__ = ("held", "name", "running")

    def __init__(self, name: str) -> None:
        self.name = name
        self.held = 0
        self.running = 0


class Round(msgspec.Struct, eq=False, gc=False):
    """The attempts at one message in the window. `told_since` is when the first of their news was kept, 0 for none yet.

    `refill_at`: see Lane.
    """

    queue_id: QueueId
    held: int = 0
    running: int = 0
    refill_at: int = -1
    told_since: float = 0.0

    @property
    def keeps_news(self) -> bool:
        """Whether the news of an attempt wait for others to end, or join those that do."""
        return self.held > 1 or bool(self.told_since)

    def is_to_be_told(self, now: float) -> bool:
        """Whether the news are to be reported now: the last attempt has left, or it takes too long."""
        return bool(self.told_since) and (not self.held or now - self.told_since >= _LONGEST_ROUND)


class Attempt(msgspec.Struct, eq=False, gc=False):
    """One job in the window: the claim to its recipients, its lane, its user, its round, and the memory it takes.

    `is_suspect` tells that its message was there in so many crashes that the next one puts it on hold.
    """

    claim: Claim
    lane: Lane
    user: Share
    round: Round
    octets: int
    is_fresh: bool
    is_suspect: bool = False
    is_delivering: bool = False

    @property
    def priority(self) -> int:
        """What its sender gave it (RFC 6710)."""
        return self.claim.message.envelope.priority


class Window:
    """The attempts in memory, at most `jobs` of them, and `octets` of content but for the last one let in."""

    def __init__(self, jobs: int, octets: int) -> None:
        self._jobs = jobs
        self._octets = octets
        self._lanes: dict[Route, Lane] = {}
        self._users: dict[str, Share] = {}
        self._rounds: dict[QueueId, Round] = {}
        self._held = self._held_octets = 0
        self._from_file = self._file_octets = 0
        self.left_some = False  # in the file, because nothing more from there found room

    def attempt(self, claim: Claim, route: Route, octets: int, *, is_fresh: bool) -> Attempt:
        """Return an attempt that may enter. Lanes, users and rounds are kept while they hold attempts."""
        queue_id = claim.queue_id
        name = user_of(claim.message) if is_fresh else f"{user_of(claim.message)} again"
        lane = self._lanes.get(route) or Lane(route)
        user = self._users.get(name) or Share(name)
        round_ = self._rounds.get(queue_id) or Round(queue_id)
        return Attempt(claim, lane, user, round_, octets, is_fresh, claim.crashes >= CRASH_LIMIT - 1)

    def admits(self, attempt: Attempt) -> bool:
        """Whether there is room for an attempt."""
        if not self.has_room_for(attempt):
            return False
        lane = attempt.lane
        if attempt.is_fresh:
            return (lane.held + lane.users.get(attempt.user.name, 0)) * _LANE_SHARE < self._jobs - self._held
        return lane.held * _FILE_LANE_SHARE < self.file_room

    def has_room_for(self, attempt: Attempt) -> bool:
        """Whether there is room for an attempt's message, whatever its lane."""
        if attempt.is_fresh:
            share = attempt.user.held + attempt.round.held
            return share < self._jobs - self._held and self._held_octets < self._octets
        return attempt.round.held * 2 < self.file_room

    def refuse(self, attempt: Attempt) -> bool:
        """Note that an attempt is left in the file; return whether others of its message may find room."""
        attempt.lane.refill_at = attempt.lane.held // 2
        if self.has_room_for(attempt):
            return True
        attempt.round.refill_at = attempt.round.held // 2
        return False

    def enter(self, attempt: Attempt) -> None:
        """Take an attempt in."""
        lane, user, round_ = attempt.lane, attempt.user, attempt.round
        if not lane.held:
            self._lanes[lane.route] = lane
        if not user.held:
            self._users[user.name] = user
        if not round_.held:
            self._rounds[round_.queue_id] = round_
        held_there = lane.users
        held_there[user.name] = held_there.get(user.name, 0) + 1
        lane.held += 1
        user.held += 1
        round_.held += 1
        self._held += 1
        self._held_octets += attempt.octets
        if not attempt.is_fresh:
            self._from_file += 1
            self._file_octets += attempt.octets

    def leave(self, attempt: Attempt) -> bool:
        """Let go of an attempt; return whether that makes room for what was left in the file, which is said once."""
        lane, user, round_ = attempt.lane, attempt.user, attempt.round
        if left := lane.users.pop(user.name) - 1:
            lane.users[user.name] = left
        lane.held -= 1
        user.held -= 1
        round_.held -= 1
        if not lane.held:
            del self._lanes[lane.route]
        if not user.held:
            del self._users[user.name]
        if not round_.held:
            del self._rounds[round_.queue_id]
        self._held -= 1
        self._held_octets -= attempt.octets
        if not attempt.is_fresh:
            self._from_file -= 1
            self._file_octets -= attempt.octets
        half_is_gone = lane.held <= lane.refill_at or round_.held <= round_.refill_at
        if not half_is_gone and not (self.left_some and self.has_half_file_room):
            return False
        lane.refill_at = round_.refill_at = -1
        self.left_some = False
        return True

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
        return [lane for lane in self._lanes.values() if lane.held * _FILE_LANE_SHARE >= room]

    def full_rounds(self) -> list[Round]:
        """Return the rounds of several attempts that take no more from the file."""
        room = self.file_room
        return [round_ for round_ in self._rounds.values() if round_.held > 1 and round_.held * 2 >= room]

    def full(self) -> tuple[AbstractSet[str], AbstractSet[QueueId]]:
        """Return the next hops and the messages that take no more from the file until half of theirs is gone."""
        lanes, rounds = self.full_lanes(), self.full_rounds()
        for lane in lanes:
            lane.refill_at = lane.held // 2
        for round_ in rounds:
            round_.refill_at = round_.held // 2
        return frozenset(lane.route.lane for lane in lanes), frozenset(round_.queue_id for round_ in rounds)

    def has_round(self, queue_id: QueueId) -> bool:
        """Whether attempts at a message are in the window."""
        return queue_id in self._rounds

    @property
    def lanes(self) -> list[Lane]:
        """The lanes that hold attempts."""
        return list(self._lanes.values())


def user_of(message: NewMessage) -> str:
    """Return whom a message is charged to: who logged in, the client that may relay, else the reverse-path."""
    origin = message.origin
    if origin.login:
        return origin.login
    return origin.client_address if origin.rule.startswith("mynetworks") else message.envelope.reverse_path
