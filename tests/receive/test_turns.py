"""One line for all who have much to say."""

import asyncio
from itertools import pairwise
from typing import Any

from valija.receive.turns import Turns


def test_each_turn_of_the_loop_serves_one_in_the_order_they_came(run: Any) -> None:
    async def story() -> None:
        loop = asyncio.get_running_loop()
        turns, served, counts = Turns(loop), [0], list[int]()

        async def greedy() -> None:
            await turns.wait()
            served[0] += 1

        def look() -> None:
            counts.append(served[0])
            if served[0] < 20:
                loop.call_soon(look)

        tasks = [asyncio.create_task(greedy()) for _ in range(20)]
        await asyncio.sleep(0)
        assert turns.is_busy
        look()
        await asyncio.gather(*tasks)
        assert all(after - before <= 1 for before, after in pairwise(counts)), counts
        assert not turns.is_busy

    run(story())


def test_who_has_left_holds_nobody_up(run: Any) -> None:
    async def story() -> None:
        turns = Turns(asyncio.get_running_loop())
        order: list[int] = []

        async def greedy(number: int) -> None:
            await turns.wait()
            order.append(number)

        tasks = [asyncio.create_task(greedy(number)) for number in range(5)]
        await asyncio.sleep(0)
        tasks[0].cancel()
        tasks[3].cancel()
        await asyncio.wait(tasks, timeout=5)
        assert order == [1, 2, 4]
        await asyncio.wait_for(turns.wait(), 5)

    run(story())
