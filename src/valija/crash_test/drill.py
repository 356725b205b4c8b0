"""The crash test itself: load, kills, and the account at the end.

    outcome = await drill(Wish(kills=50, seconds=300.0), folder, user="nobody", tell=print)
    outcome.account.is_sound

Every second kill strikes all processes from outside, at a random instant; the others happen where the server's own
fault points are passed, each by chance, so that every step of a message's way is cut off sooner or later.

Known weakness: a killed process is no power cut. What the kernel holds survives a kill; whether the disk tells the
truth about its syncs is not shown here.
"""

import asyncio
import contextlib
import random
import ssl
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from valija.crash_test.account import Outcome, settle_up
from valija.crash_test.load import Load
from valija.crash_test.victim import Victim
from valija.demo.sink import Caught, Sink
from valija.faults.plan import POINTS
from valija.queue.directory import QueueDirectory
from valija.tls.contexts import server_context
from valija.tls.self_signed import make_self_signed

_SHORTEST_LIFE: Final = 0.05  # seconds under load
_LONGEST_LIFE: Final = 0.6
_PATIENCE: Final = 5.0  # seconds for a fault point to strike
_SETTLING: Final = 60.0  # seconds for the last life to deliver what is left
_LOOK: Final = 0.1
_ALL: Final = 1_000_000
_PASSED_UNDER_LOAD: Final = ("content.", "queue.", "reply.", "attempt.", "settlement.")
_FAULTS: Final = ",".join(f"{point}:kill@1%" for point in POINTS if point.startswith(_PASSED_UNDER_LOAD))


class Wish(msgspec.Struct, frozen=True):
    """How long: until so many `kills`, or for `seconds`, whichever comes first."""

    kills: int = 50
    seconds: float = 300.0
    clients: int = 4
    workers: int = 2


async def drill(wish: Wish, folder: Path, *, user: str, tell: Callable[[str], None]) -> Outcome:
    """Run a crash test in an empty folder that the server's `user` can enter. Raises CannotStart, OSError."""
    arrivals: dict[str, list[float]] = defaultdict(list)

    def note(caught: Caught) -> None:
        for recipient in caught.recipients:
            arrivals[recipient].append(time.time())

    sink = await Sink.open(note, _sink_context())
    victim = Victim(folder, relay_port=sink.port, user=user, workers=wish.workers)
    try:
        return await _Drill(wish, victim, arrivals, tell).run()
    finally:
        await victim.kill()
        sink.close()


def _sink_context() -> ssl.SSLContext:
    pair = make_self_signed("sink.localhost", time.time())
    return server_context(pair.chain_pem, pair.key_pem)


class _Drill:
    def __init__(
        self, wish: Wish, victim: Victim, arrivals: dict[str, list[float]], tell: Callable[[str], None]
    ) -> None:
        self._wish = wish
        self._victim = victim
        self._arrivals = arrivals
        self._tell = tell
        self._chance = random.SystemRandom()
        self._kills = 0
        self._faults: Counter[str] = Counter()

    async def run(self) -> Outcome:
        began = time.monotonic()
        await self._victim.start()
        load = Load(self._victim.port, self._wish.clients)
        try:
            await self._kill_again_and_again(began + self._wish.seconds)
        finally:
            accepted = await load.end()
        self._tell(f"{self._all_kills} kills, {len(accepted)} messages accepted; what is left is delivered now")
        held = self._release_held()
        queued = await self._settle()
        await self._victim.stop()
        account = settle_up(accepted, self._arrivals, queued, self._victim.deaths)
        seconds = time.monotonic() - began
        return Outcome(self._kills, dict(self._faults), seconds, self._victim.longest_start, held, account)

    @property
    def _all_kills(self) -> int:
        return self._kills + self._faults.total()

    async def _kill_again_and_again(self, end: float) -> None:
        """Kill as often as is wished for; the last life has no faults."""
        told = 0
        at_a_step = False
        while self._all_kills < self._wish.kills and time.monotonic() < end:
            await (self._die_at_a_step() if at_a_step else self._kill_at_random())
            at_a_step = not at_a_step
            is_over = self._all_kills >= self._wish.kills or time.monotonic() >= end
            await self._victim.start(_FAULTS if at_a_step and not is_over else "")
            if self._all_kills // 10 > told:
                told = self._all_kills // 10
                self._tell(f"{self._all_kills} kills")

    async def _kill_at_random(self) -> None:
        await asyncio.sleep(self._chance.uniform(_SHORTEST_LIFE, _LONGEST_LIFE))
        await self._victim.kill()
        self._kills += 1

    async def _die_at_a_step(self) -> None:
        struck = await self._victim.died_of(_PATIENCE)
        await self._victim.kill()
        if struck:
            self._faults.update([struck, *self._victim.more_struck()])
        else:
            self._kills += 1

    def _release_held(self) -> int:
        """Let those go that three crashes put on hold, as they should; return how many there were."""
        with QueueDirectory(self._victim.queue) as queue:
            held = [each.queue_id for each in queue.list(_ALL) if each.hold]
            return sum(queue.release(queue_id) for queue_id in held)

    async def _settle(self) -> set[str]:
        """Wait until the queue is empty, or long enough; return the recipients that are left in it."""
        end = time.monotonic() + _SETTLING
        while (left := self._pending()) and time.monotonic() < end:  # noqa: ASYNC110 - nobody tells of a file
            await asyncio.sleep(_LOOK)
        return left

    def _pending(self) -> set[str]:
        with contextlib.closing(QueueDirectory(self._victim.queue)) as queue:
            return {recipient.address for each in queue.list(_ALL) for recipient in each.recipients}
