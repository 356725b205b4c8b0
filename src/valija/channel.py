"""The line between the supervisor and one worker: JSON objects, one a line, over a socket pair.

    supervisor -> worker   {"do": "reload", "text": "..."}   {"do": "stop"}   {"do": "queue-changed"}
                           {"do": "standings", "ask": ...}
                           {"do": "certificates"}
    worker -> supervisor   {"is": "ready"}   {"is": "refused", "why": "..."}   {"is": "status", ...}
                           {"is": "frozen"}   {"is": "answer", "to": ..., "answer": ...}
                           {"is": "certificates", "sha256": ["..."]}

The end of the line tells a worker that its supervisor is gone, and it stops as if it had been told to.
"""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from typing import Any, Final

import msgspec

LINE_LIMIT: Final = 4 * 1024 * 1024  # a whole configuration travels in one line


class Channel:
    """One end of the line."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def over(cls, end: socket.socket) -> "Channel":
        """Return the channel over one end of a socket pair."""
        return cls(*await asyncio.open_unix_connection(sock=end, limit=LINE_LIMIT))

    def send(self, message: dict[str, Any]) -> None:
        """Send a message; one to a peer that has gone is dropped."""
        if not self._writer.is_closing():
            self._writer.write(msgspec.json.encode(message) + b"\n")

    async def messages(self) -> AsyncIterator[dict[str, Any]]:
        """Yield what the peer sends until it goes."""
        while line := await self._line():
            yield msgspec.json.decode(line, type=dict[str, Any])

    async def _line(self) -> bytes:
        try:
            return await self._reader.readline()
        except ConnectionError:
            return b""

    async def close(self) -> None:
        """Send what waits, and hang up."""
        self._writer.close()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()
