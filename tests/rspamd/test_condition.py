"""Whether rspamd is there: told once, and nobody waits long for one that is silent."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from valija.logs import LogBuffer, build_log
from valija.rspamd.condition import Condition, RspamdAway


async def well() -> str:
    return "well"


def fails(reason: str, *, is_silent: bool = False) -> Callable[[], Awaitable[str]]:
    async def question() -> str:
        raise RspamdAway(reason, is_silent=is_silent)

    return question


SILENT = fails("no answer within 1 s", is_silent=True)


def told(tmp_path: Path, story: Callable[[Condition], Coroutine[Any, Any, None]]) -> list[str]:
    """Return the log's lines without their times."""
    with (tmp_path / "log").open("wb") as file:
        buffer = LogBuffer(file.fileno())
        condition = Condition(build_log("debug", "text", buffer), place="http://rspamd", on_failure="accept")
        asyncio.run(story(condition))
        buffer.flush()
    return [line.partition(" ")[2] for line in (tmp_path / "log").read_text().splitlines()]


async def away(condition: Condition, question: Callable[[], Awaitable[str]]) -> str:
    with pytest.raises(RspamdAway) as raised:
        await condition.ask(question)
    return str(raised.value)


def test_it_is_told_once_that_it_is_away_and_that_it_is_back(tmp_path: Path) -> None:
    async def story(condition: Condition) -> None:
        for _ in range(3):
            assert await condition.ask(well) == "well"
        for _ in range(100):
            await away(condition, fails("no connection"))
        for _ in range(3):
            await condition.ask(well)
        await away(condition, fails("no connection"))

    gone = 'error rspamd can\'t be asked  place=http://rspamd reason="no connection" on_failure=accept'
    assert told(tmp_path, story) == [gone, "warn  rspamd answers again  place=http://rspamd", gone]


def test_another_reason_is_told_too_but_not_without_end(tmp_path: Path) -> None:
    async def story(condition: Condition) -> None:
        for number in range(100):
            await away(condition, fails(f"it answers {number}"))
            await away(condition, fails("it answers 0"))

    assert len(told(tmp_path, story)) == 8


def test_one_asks_whether_the_silence_is_over_and_the_others_wait_a_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("valija.rspamd.condition.MOMENT", 0.05)

    async def story(condition: Condition) -> None:
        await away(condition, SILENT)
        asked, gate = 0, asyncio.Event()

        async def question() -> str:
            nonlocal asked
            asked += 1
            await gate.wait()
            return "well"

        scout = asyncio.create_task(condition.ask(question))
        await asyncio.sleep(0)
        assert await away(condition, question) == "no answer within 1 s"
        assert asked == 1
        others = [asyncio.create_task(condition.ask(question)) for _ in range(9)]
        gate.set()
        assert await asyncio.gather(scout, *others) == ["well"] * 10

    told(tmp_path, story)


def test_one_message_that_is_too_much_for_it_leaves_no_others_unexamined(tmp_path: Path) -> None:
    async def story(condition: Condition) -> None:
        gate = asyncio.Event()

        async def too_much() -> str:
            await gate.wait()
            return await SILENT()

        slow = asyncio.create_task(away(condition, too_much))
        await asyncio.sleep(0)
        assert await condition.ask(well) == "well"
        gate.set()
        await slow
        gate.clear()
        another = asyncio.create_task(away(condition, too_much))
        await asyncio.sleep(0)
        assert await condition.ask(well) == "well"  # it does not stand behind that one
        gate.set()
        await another

    told(tmp_path, story)


def test_whoever_waits_for_one_that_fails_fails_with_it(tmp_path: Path) -> None:
    async def story(condition: Condition) -> None:
        await away(condition, SILENT)
        gate = asyncio.Event()

        async def question() -> str:
            await gate.wait()
            return await SILENT()

        scouts = [asyncio.create_task(away(condition, question)) for _ in range(5)]
        await asyncio.sleep(0)
        gate.set()
        assert await asyncio.gather(*scouts) == ["no answer within 1 s"] * 5
        assert await condition.ask(well) == "well"

    told(tmp_path, story)


def test_a_client_that_goes_away_while_it_asks_bars_nobody(tmp_path: Path) -> None:
    async def story(condition: Condition) -> None:
        await away(condition, SILENT)
        scout = asyncio.create_task(condition.ask(asyncio.Event().wait))
        await asyncio.sleep(0)
        scout.cancel()
        await asyncio.gather(scout, return_exceptions=True)
        assert await condition.ask(well) == "well"

    told(tmp_path, story)


def test_one_that_refuses_is_asked_by_everybody(tmp_path: Path) -> None:
    async def story(condition: Condition) -> None:
        await away(condition, fails("no connection"))
        gate = asyncio.Event()

        async def question() -> str:
            await gate.wait()
            return "well"

        asking = [asyncio.create_task(condition.ask(question)) for _ in range(5)]
        await asyncio.sleep(0)
        assert await condition.ask(well) == "well"
        gate.set()
        assert await asyncio.gather(*asking) == ["well"] * 5

    told(tmp_path, story)
