"""Questions of the supervisor to all its workers, and their answers.

    questions = Questions()
    answers = await questions.ask({0: channel, 1: other}, {"do": "destinations", "name": ""}, patience=5.0)
    questions.answered(0, message)      # for each {"is": "answer", "to": ..., "answer": ...} that comes
    questions.gone(1)                   # who dies answers nothing

A question carries its number as `ask`, and its answer the same number as `to`, so that several may be under way.
"""

import asyncio
from collections.abc import Mapping
from itertools import count
from typing import Any

from valija.channel import Channel


class Questions:
    """What is asked and not yet answered. Made anywhere, used within a running loop."""

    def __init__(self) -> None:
        self._numbers = count(1)
        self._open: dict[tuple[int, int], asyncio.Future[Any]] = {}  # (question, worker) -> its answer

    async def ask(
        self, channels: Mapping[int, Channel], question: Mapping[str, Any], *, patience: float
    ) -> dict[int, Any]:
        """Return the answers by worker; who died or was silent for `patience` seconds is left out."""
        number = next(self._numbers)
        waits: dict[int, asyncio.Future[Any]] = {}
        for worker, channel in channels.items():
            waits[worker] = self._open[number, worker] = asyncio.get_running_loop().create_future()
            channel.send({**question, "ask": number})
        try:
            if waits:
                await asyncio.wait(waits.values(), timeout=patience)
        finally:
            for worker in waits:
                self._open.pop((number, worker), None)
        return {worker: wait.result() for worker, wait in waits.items() if wait.done() and not wait.cancelled()}

    def answered(self, worker: int, message: Mapping[str, Any]) -> None:
        """Hear a worker's answer."""
        wait = self._open.get((message["to"], worker))
        if wait is not None and not wait.done():
            wait.set_result(message["answer"])

    def gone(self, worker: int) -> None:
        """Hear that a worker has died."""
        for (_, whose), wait in self._open.items():
            if whose == worker:
                wait.cancel()
