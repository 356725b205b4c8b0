"""Whether rspamd is there: told in the log when that changes, and nobody kept waiting for one that is silent.

    condition = Condition(log, place="http://127.0.0.1:11333", on_failure="tempfail")
    answer = await condition.ask(question)       # raises what `question` raises, or RspamdAway

While no answer comes in time, only one message at a time goes and finds out whether that has changed; the others wait
for it, a moment at most. Whoever is refused at once needs no such care. Where others were answered meanwhile, it is not
silent but busy, or one message is too much for it: that is no reason to leave the others unexamined.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from valija.logs import Log

MOMENT: Final = 1.0  # seconds that others wait for the one that asks
_MOST_REASONS: Final = 8

T = TypeVar("T")


class RspamdAway(Exception):
    """There is no opinion; the text says why. `is_silent`: because nothing came in time."""

    def __init__(self, reason: str, *, is_silent: bool = False) -> None:
        super().__init__(reason)
        self.is_silent = is_silent


class Condition:
    """What is known of rspamd. `place` and `on_failure` stand in the log's lines."""

    def __init__(self, log: Log, *, place: str, on_failure: str) -> None:
        self._log = log
        self._place = place
        self._on_failure = on_failure
        self._silence: RspamdAway | None = None
        self._answers = 0
        self._scouting: asyncio.Event | None = None  # set when the one that asks knows
        self._told: set[str] = set()  # why it is away, as far as the log knows

    async def ask(self, question: Callable[[], Awaitable[T]]) -> T:
        """Return the answer to a question. Raises RspamdAway."""
        if self._silence is None:
            return await self._noted(question)
        if self._scouting is None:
            return await self._scout(question)
        await _moment(self._scouting)
        if self._silence is not None:
            raise RspamdAway(str(self._silence), is_silent=True)
        return await self._noted(question)

    async def _scout(self, question: Callable[[], Awaitable[T]]) -> T:
        self._scouting = known = asyncio.Event()
        try:
            return await self._noted(question)
        finally:
            self._scouting = None
            known.set()

    async def _noted(self, question: Callable[[], Awaitable[T]]) -> T:
        before = self._answers
        try:
            answer = await question()
        except RspamdAway as away:
            self._silence = away if away.is_silent and self._answers == before else None
            self._tell(str(away))
            raise
        self._answers += 1
        self._silence = None
        if self._told:
            self._told.clear()
            self._log.warning("rspamd answers again", place=self._place)
        return answer

    def _tell(self, reason: str) -> None:
        if reason not in self._told and len(self._told) < _MOST_REASONS:
            self._told.add(reason)
            self._log.error("rspamd can't be asked", place=self._place, reason=reason, on_failure=self._on_failure)


async def _moment(event: asyncio.Event) -> None:
    try:
        async with asyncio.timeout(MOMENT):
            await event.wait()
    except TimeoutError:
        pass
