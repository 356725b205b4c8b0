"""Strangers' passwords are verified a few at a time, and familiar clients do not wait for them."""

import asyncio

from valija.auth.desk import LINE, Desk


def test_so_many_at_once_and_a_line_behind_them() -> None:
    async def story() -> None:
        desk = Desk(2)
        assert [await desk.come(), await desk.come()] == [True, True]
        waiting = [asyncio.create_task(desk.come()) for _ in range(2 * LINE)]
        await asyncio.sleep(0)
        assert not any(task.done() for task in waiting)
        assert await desk.come() is False, "the line is full"
        desk.leave()
        assert await waiting[0] is True
        assert not waiting[1].done()
        waiting[5].cancel()  # its client is gone
        for _ in range(2 * LINE):
            desk.leave()
        assert [task.cancelled() or await task for task in waiting] == [True] * 2 * LINE

    asyncio.run(story())
