"""A next hop that says and does what a test wants: odd replies, silence, closed connections, broken TLS.

    async with ScriptedSink({"RCPT": ["250 ok", "550 5.1.1 unknown"]}, port=port, address="127.0.0.2") as sink:
        ...
        sink.messages[0].content, sink.sessions[0].commands

A script maps what was heard (`banner`, a verb, `.` for the end of the content) to answers. Each time the next one is
used, over all sessions, and the last one for good. An answer is text (CRLF is added), octets as they are, CLOSE, RESET,
SILENT, or a list of these. What is not scripted gets a plain right answer. BDAT is answered behind its octets; one that
was refused, or came without recipients, leaves the transaction in a state that only RSET ends.

The sink runs in the test's own loop, and is written apart from valija's machines, so that it judges them:
`Message.octets` is what came between 354 and the dot, or the chunk.
"""

import asyncio
import socket
import ssl
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from types import TracebackType
from typing import Self, cast

from tests.ports import free_port


class Act(Enum):
    CLOSE = auto()
    RESET = auto()
    SILENT = auto()


CLOSE, RESET, SILENT = Act.CLOSE, Act.RESET, Act.SILENT

Answer = str | bytes | Act
Script = Mapping[str, Sequence[Answer | Sequence[Answer]]]

EXTENSIONS = ("PIPELINING", "SIZE 10000000", "8BITMIME", "SMTPUTF8", "DSN", "ENHANCEDSTATUSCODES")

_PLAIN: Mapping[str, Answer | Sequence[Answer]] = {
    "banner": "220 sink.example ESMTP",
    "HELO": "250 sink.example",
    "STARTTLS": "220 2.0.0 go ahead",
    "MAIL": "250 2.1.0 ok",
    "RCPT": "250 2.1.5 ok",
    "DATA": "354 go ahead",
    ".": "250 2.0.0 taken",
    "BDAT": "250 2.0.0 taken",
    "RSET": "250 2.0.0 ok",
    "NOOP": "250 2.0.0 ok",
    "QUIT": ["221 2.0.0 bye", CLOSE],
}


@dataclass
class Message:
    """One message that came to its end: the lines of its envelope, and its octets, still dot-stuffed if from DATA."""

    mail: str
    recipients: list[str]
    octets: bytes
    tls: bool
    is_chunk: bool = False

    @property
    def content(self) -> bytes:
        if self.is_chunk:
            return self.octets
        return b"".join(line[1:] if line.startswith(b".") else line for line in self.octets.splitlines(keepends=True))


@dataclass
class Heard:
    """One session: its commands, whether TLS was begun, and the address it came from."""

    commands: list[str] = field(default_factory=list)
    tls: bool = False
    closed: bool = False
    client: str = ""

    def verbs(self) -> list[str]:
        return [command.split(" ")[0] for command in self.commands]


class ScriptedSink:
    def __init__(
        self,
        script: Script | None = None,
        *,
        port: int = 0,
        address: str = "127.0.0.1",
        extensions: Sequence[str] = EXTENSIONS,
        after_tls: Sequence[str] | None = None,
        tls: ssl.SSLContext | None = None,
        tls_first: bool = False,
    ) -> None:
        self.address = address
        self.port = port or free_port(address)
        self.sessions: list[Heard] = []
        self.messages: list[Message] = []
        self._script = {key: list(answers) for key, answers in (script or {}).items()}
        self._extensions = (*extensions, "STARTTLS") if tls and not tls_first else tuple(extensions)
        self._after_tls = tuple(extensions if after_tls is None else after_tls)
        self._tls = tls
        self._tls_first = tls if tls_first else None
        self._changed = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(
            self._accept, self.address, self.port, backlog=1024, limit=1 << 20, ssl=self._tls_first
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def until(self, condition: Callable[[], bool], deadline: float = 10.0) -> None:
        """Wait until a condition holds; it is looked at whenever something was heard."""
        async with asyncio.timeout(deadline):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    def next_answer(self, key: str, session: "_Session") -> Answer | Sequence[Answer]:
        answers = self._script.get(key)
        if answers:
            return answers.pop(0) if len(answers) > 1 else answers[0]
        return self._greeting(session) if key == "EHLO" else _PLAIN.get(key, "500 5.5.1 what?")

    def _greeting(self, session: "_Session") -> str:
        extensions = self._after_tls if session.heard.tls else self._extensions
        lines = ["sink.example", *extensions]
        return "\r\n".join(f"250{' ' if n == len(lines) - 1 else '-'}{line}" for n, line in enumerate(lines))

    def note(self) -> None:
        self._changed.set()

    @property
    def tls_context(self) -> ssl.SSLContext | None:
        return self._tls

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(_Session(self, reader, writer).run())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


class _Gone(Exception):
    """The session is over."""


class _Session:
    def __init__(self, sink: ScriptedSink, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.heard = Heard(client=(writer.get_extra_info("peername") or [""])[0])
        self._sink = sink
        self._reader = reader
        self._writer = writer
        self._mail = ""
        self._recipients: list[str] = []
        self._waits_for_rset = False
        sink.sessions.append(self.heard)

    async def run(self) -> None:
        try:
            await self._answer("banner")
            while line := await self._reader.readline():
                command = line.decode("utf-8", "surrogateescape").removesuffix("\r\n")
                self.heard.commands.append(command)
                self._sink.note()
                await self._hear(command)
        except (_Gone, OSError, asyncio.IncompleteReadError, ValueError):
            pass
        finally:
            self.heard.closed = True
            self._sink.note()
            self._writer.close()

    async def _hear(self, command: str) -> None:
        verb = command.partition(" ")[0].upper()
        if verb == "BDAT":
            await self._take_chunk(command)
            return
        if verb == "MAIL" and self._waits_for_rset:
            self._writer.write(b"503 5.5.1 RSET first\r\n")
            return
        if verb == "MAIL":
            self._mail, self._recipients = command, []
        if verb == "RSET":
            self._recipients, self._waits_for_rset = [], False
        said = await self._answer(verb)
        if verb == "RCPT" and said.startswith("2"):
            self._recipients.append(command)
        elif verb == "DATA" and said.startswith("3"):
            await self._take_content()
        elif verb == "STARTTLS" and said.startswith("220") and self._sink.tls_context:
            await self._writer.start_tls(self._sink.tls_context)
            self.heard.tls = True

    async def _take_content(self) -> None:
        lines: list[bytes] = []
        while (line := await self._reader.readline()) != b".\r\n":  # behind a lone LF too: a weak peer, on purpose
            if not line:
                raise _Gone
            lines.append(line)
        self._sink.messages.append(Message(self._mail, self._recipients, b"".join(lines), self.heard.tls))
        self._recipients = []
        self._sink.note()
        await self._answer(".")

    async def _take_chunk(self, command: str) -> None:
        """Take one chunk that is the last too."""
        octets = await self._reader.readexactly(int(command.split(" ")[1]))
        if not self._recipients:
            self._waits_for_rset = True
            self._writer.write(b"503 5.5.1 RCPT first\r\n")
            return
        said = await self._answer("BDAT")
        self._waits_for_rset = not said.startswith("2")
        if said.startswith("2"):
            self._sink.messages.append(Message(self._mail, self._recipients, octets, self.heard.tls, is_chunk=True))
            self._recipients = []
            self._sink.note()

    async def _answer(self, key: str) -> str:
        """Answer, and return the text that was said."""
        answer = self._sink.next_answer(key, self)
        said = ""
        for part in [answer] if isinstance(answer, str | bytes | Act) else answer:
            if isinstance(part, Act):
                await self._act(part)
            elif isinstance(part, bytes):
                self._writer.write(part)
                said = part.decode("latin-1")
            else:
                self._writer.write(f"{part}\r\n".encode())
                said = part
            await self._writer.drain()
        return said

    async def _act(self, act: Act) -> None:
        if act is SILENT:
            while await self._reader.read(65536):
                pass
        elif act is RESET:
            peer = cast("socket.socket", self._writer.get_extra_info("socket"))
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self._writer.transport.abort()
        raise _Gone
