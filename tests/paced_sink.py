"""A next hop that takes so many messages a second, and answers 421 to everything above that.

    async with PacedSink(rate=5, at="MAIL") as sink:
        ...
        sink.taken, sink.refused         # the times, by the loop's clock, of each message

It counts within the last second, as receivers do: a refused message counts for nothing. `at` is where it says 421:
MAIL, RCPT, DATA or `.`; then it closes. `connections` is how many it serves at once: one more gets 421 in place of a
banner. With `closed_to_all` it refuses everything.
Written apart from valija's machines.
"""

import asyncio
from collections import deque
from types import TracebackType
from typing import Self

from tests.ports import free_port

_REFUSAL = b"421 4.7.0 Too many messages, slow down\r\n"
_PLAIN = {
    "EHLO": b"250-sink.example\r\n250-PIPELINING\r\n250 ENHANCEDSTATUSCODES\r\n",
    "MAIL": b"250 2.1.0 ok\r\n",
    "RCPT": b"250 2.1.5 ok\r\n",
    "DATA": b"354 go ahead\r\n",
    ".": b"250 2.0.0 taken\r\n",
    "RSET": b"250 2.0.0 ok\r\n",
    "QUIT": b"221 2.0.0 bye\r\n",
}


class PacedSink:
    def __init__(
        self, rate: float = 5, *, at: str = "MAIL", connections: int = 100, port: int = 0, address: str = "127.0.0.1"
    ) -> None:
        self.address = address
        self.port = port or free_port(address)
        self.rate = rate
        self.taken: list[float] = []
        self.refused: list[float] = []
        self.refused_connections = 0
        self.most_connections = 0
        self.closed_to_all = False
        self._at = at
        self._connections = connections
        self._open = 0
        self._recent: deque[float] = deque()
        self._changed = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, self.address, self.port, backlog=1024)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def until_taken(self, count: int, deadline: float) -> None:
        """Wait until so many messages were taken."""
        async with asyncio.timeout(deadline):
            while len(self.taken) < count:
                self._changed.clear()
                await self._changed.wait()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open += 1
        try:
            if self._open > self._connections:
                self.refused_connections += 1
                writer.write(_REFUSAL)
                return
            self.most_connections = max(self.most_connections, self._open)
            writer.write(b"220 sink.example ESMTP\r\n")
            await self._talk(reader, writer)
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            self._open -= 1
            writer.close()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            verb = line[:4].decode().strip().upper()
            if verb == self._at and not self._has_room():
                writer.write(_REFUSAL)
                return
            writer.write(_PLAIN[verb])
            if verb == "QUIT":
                return
            if verb == "DATA" and not await self._take(reader, writer):
                return

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        await reader.readuntil(b"\r\n.\r\n")
        now = asyncio.get_running_loop().time()
        if not self._has_room():  # another session was faster
            writer.write(_REFUSAL)
            return False
        self._recent.append(now)
        self.taken.append(now)
        self._changed.set()
        writer.write(_PLAIN["."])
        return True

    def _has_room(self) -> bool:
        now = asyncio.get_running_loop().time()
        while self._recent and self._recent[0] <= now - 1.0:
            self._recent.popleft()
        if len(self._recent) < self.rate and not self.closed_to_all:
            return True
        self.refused.append(now)
        return False
