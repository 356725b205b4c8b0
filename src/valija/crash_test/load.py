"""Clients that send without pause, and remember what got its 250.

    load = Load(port, clients=4)
    ...
    accepted = await load.end()           # the recipients, one per message

Contents are small, which ride in the queue's rows, and now and then large, which lie in files of their own.
"""

import asyncio
import random
from typing import Final

from valija.client.conversation import converse
from valija.client.order import Order
from valija.client.record import Record
from valija.demo.setting import HOST

_PAUSE: Final = 0.02  # seconds, where the server is away
_SENDER: Final = "load@example.net"
_LINE: Final = b"x" * 70 + b"\r\n"
_LINES: Final = (1, 20, 60, 60, 6000)


class Load:
    """`clients` send at the same time to `port`, whoever answers there."""

    def __init__(self, port: int, clients: int) -> None:
        self._port = port
        self._accepted: set[str] = set()
        self._count = 0
        self._is_over = False
        self._clients = [asyncio.create_task(self._client(random.Random(seed))) for seed in range(clients)]  # noqa: S311

    async def end(self) -> set[str]:
        """Send no more; return the recipients whose messages were accepted."""
        self._is_over = True
        await asyncio.gather(*self._clients)
        return self._accepted

    async def _client(self, chance: random.Random) -> None:
        while not self._is_over:
            self._count += 1
            recipient = f"m{self._count}@example.com"
            outcome = await converse(self._order(recipient, chance.choice(_LINES)), Record())
            if outcome.accepted:
                self._accepted.add(recipient)
            else:
                await asyncio.sleep(_PAUSE)

    def _order(self, recipient: str, lines: int) -> Order:
        head = f"From: <{_SENDER}>\r\nTo: <{recipient}>\r\nSubject: crash test\r\n\r\n".encode()
        return Order(
            host=HOST,
            port=self._port,
            mode="smtp",
            ehlo="localhost",
            name="localhost",
            tls="none",
            reverse_path=_SENDER,
            recipients=(recipient,),
            content=head + _LINE * lines,
        )
