"""A milter that says what a test wants, written apart from valija's own codec.

    async with ScriptedMilter({b"M": [(b"c", b"")], b"E": [add_field("X-Spam", "yes"), (b"a", b"")]}) as milter:
        options = MilterOptions(milter.place)
        ...
        milter.told                   # [("C", b"..."), ("H", b"..."), ("M", b"...")], of all connections
        milter.macros                 # {"j": "mail.local.example", ...}

A command whose letter the script does not have is answered with `c`, where it is answered at all. Instead of packets
the script may have a word: HANG, CLOSE, or octets that are no packet.
"""

import asyncio
import socket
import struct
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Self

HANG = "hang"
CLOSE = "close"
SILENCE = "silence"  # it goes on reading

Packet = tuple[bytes, bytes]
Words = Sequence[Packet] | str | bytes

CONTINUE: Sequence[Packet] = [(b"c", b"")]
ALL_ACTIONS = 0x1FF
ALL_SILENT = 0x80 | 0x1000 | 0x2000 | 0x4000 | 0x8000 | 0x10000 | 0x40000 | 0x80000
NOTHING_BUT_THE_END = 0x1 | 0x2 | 0x4 | 0x8 | 0x10 | 0x20 | 0x40 | 0x200
LEADING_BLANKS = 0x100000
_UNANSWERED = b"DAQ"
_SILENT_BITS = {
    b"L": 0x80,
    b"C": 0x1000,
    b"H": 0x2000,
    b"M": 0x4000,
    b"R": 0x8000,
    b"T": 0x10000,
    b"N": 0x40000,
    b"B": 0x80000,
}


def add_field(name: str, value: str) -> Packet:
    return b"h", name.encode() + b"\0" + value.encode() + b"\0"


def insert_field(place: int, name: str, value: str) -> Packet:
    return b"i", struct.pack("!I", place) + add_field(name, value)[1]


def change_field(number: int, name: str, value: str) -> Packet:
    return b"m", struct.pack("!I", number) + add_field(name, value)[1]


def text(kind: bytes, *texts: str) -> Packet:
    return kind, b"".join(each.encode() + b"\0" for each in texts)


class ScriptedMilter:
    """See the module's example. `steps` and `actions` are what it answers to the offer."""

    def __init__(
        self,
        script: Mapping[bytes, Words] | None = None,
        *,
        steps: int = 0,
        actions: int = ALL_ACTIONS,
        version: int = 6,
        macro_lists: bytes = b"",
    ) -> None:
        self.script = dict(script or {})
        self.told: list[tuple[str, bytes]] = []
        self.macros: dict[str, str] = {}
        self.macros_of: dict[str, dict[str, str]] = {}
        self.connections = 0
        self.closed = 0
        self.offer = (0, 0, 0)
        self.place = ""
        self._steps = steps
        self._agreement = struct.pack("!III", version, actions, steps) + macro_lists
        self._server: asyncio.Server | None = None
        self._serving: dict[asyncio.Task[None], asyncio.StreamWriter] = {}
        self.changed = asyncio.Condition()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.place = f"inet:127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server
        self._server.close()
        for task in self._serving:
            task.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)

    def letters(self) -> str:
        """Return what it was told, a letter for each."""
        return "".join(letter for letter, _ in self.told)

    def of(self, letter: str) -> list[bytes]:
        """Return the data of each command with a letter."""
        return [data for each, data in self.told if each == letter]

    async def hang_up(self, *, harshly: bool = False) -> None:
        """End all connections, as one that is restarted; `harshly`: with a reset, as one that crashed."""
        count = self.closed + len(self._serving)
        for task, writer in self._serving.items():
            if harshly:
                linger = struct.pack("ii", 1, 0)
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                writer.transport.abort()
            task.cancel()
        await self.until_closed(count)

    async def until(self, letters: str) -> None:
        """Wait until the last commands were these."""
        async with asyncio.timeout(5), self.changed:
            await self.changed.wait_for(lambda: self.letters().endswith(letters))

    async def until_closed(self, count: int) -> None:
        """Wait until so many connections have ended."""
        async with asyncio.timeout(5), self.changed:
            await self.changed.wait_for(lambda: self.closed >= count)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        self._serving[task] = writer
        self.connections += 1
        try:
            while True:
                (length,) = struct.unpack("!I", await reader.readexactly(4))
                whole = await reader.readexactly(length)
                if not await self._answer(whole[:1], whole[1:], writer):
                    return
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            self.closed += 1
            self._serving.pop(task, None)
            writer.close()
            async with self.changed:
                self.changed.notify_all()

    async def _answer(self, kind: bytes, data: bytes, writer: asyncio.StreamWriter) -> bool:
        if kind == b"D":
            self._note_macros(data)
            return True
        if kind != b"O":
            self.told.append((kind.decode(), data))
            async with self.changed:
                self.changed.notify_all()
        else:
            self.offer = struct.unpack("!III", data)
        words = self.script.get(kind, [(b"O", self._agreement)] if kind == b"O" else CONTINUE)
        if words == HANG:
            await asyncio.sleep(3600)
        if words == CLOSE:
            return False
        if (
            words == SILENCE
            or kind in _UNANSWERED
            or (kind not in self.script and self._steps & _SILENT_BITS.get(kind, 0))
        ):
            return True
        assert not isinstance(words, str)
        writer.write(words if isinstance(words, bytes) else b"".join(map(framed, words)))
        await writer.drain()
        return True

    def _note_macros(self, data: bytes) -> None:
        parts = data[1:].decode().split("\0")
        pairs = dict(zip(parts[0::2], parts[1::2], strict=False))
        self.macros.update(pairs)
        self.macros_of.setdefault(data[:1].decode(), {}).update(pairs)


def framed(packet: Packet) -> bytes:
    kind, data = packet
    return struct.pack("!I", 1 + len(data)) + kind + data
