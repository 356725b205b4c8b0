"""Questions to all workers: who answers, who dies, and who is silent."""

import asyncio
import socket

from valija.channel import Channel
from valija.questions import Questions


async def line() -> tuple[Channel, Channel]:
    ours, theirs = socket.socketpair()
    return await Channel.over(ours), await Channel.over(theirs)


async def answer(questions: Questions, number: int, ours: Channel, theirs: Channel) -> None:
    """Be a worker that answers with its number, and the supervisor that hears it."""
    async for message in theirs.messages():
        theirs.send({"is": "answer", "to": message["ask"], "answer": f"{message['do']} {number}"})
        async for heard in ours.messages():
            questions.answered(number, heard)
            break


def test_each_worker_answers_and_none_is_waited_for_in_vain() -> None:
    async def main() -> None:
        questions = Questions()
        lines = {number: await line() for number in range(3)}
        channels = {number: ours for number, (ours, _) in lines.items()}
        workers = [asyncio.create_task(answer(questions, n, *lines[n])) for n in range(3)]
        first, second = await asyncio.gather(
            questions.ask(channels, {"do": "a"}, patience=5.0), questions.ask(channels, {"do": "b"}, patience=5.0)
        )
        assert first == {0: "a 0", 1: "a 1", 2: "a 2"}
        assert second == {0: "b 0", 1: "b 1", 2: "b 2"}
        for worker in workers:
            worker.cancel()

    asyncio.run(main())


def test_who_dies_or_is_silent_is_left_out() -> None:
    async def main() -> None:
        questions = Questions()
        lines = {number: await line() for number in range(3)}
        channels = {number: ours for number, (ours, _) in lines.items()}
        worker = asyncio.create_task(answer(questions, 0, *lines[0]))
        asking = asyncio.create_task(questions.ask(channels, {"do": "a"}, patience=0.3))
        await asyncio.sleep(0)
        questions.gone(1)
        assert await asking == {0: "a 0"}
        questions.answered(2, {"is": "answer", "to": 1, "answer": "too late"})
        assert await questions.ask({}, {"do": "a"}, patience=5.0) == {}
        worker.cancel()

    asyncio.run(main())
