"""An LMTP server that does what a test wants, written apart from valija's machines.

    async with ScriptedLmtp(folder / "lmtp", {"bob@local.example": "552 5.2.2 full"}) as server:
        server.messages           # (recipients that were taken, octets) of each

The replies are to RCPT where they begin with `RCPT `, else behind the dot; HANG_UP closes the connection there, SILENT
waits for the client to do so.
"""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

HANG_UP = "hang up"
SILENT = "silent"


class ScriptedLmtp:
    def __init__(self, path: Path, says: Mapping[str, str] | None = None, *, banner: str = "220 ready") -> None:
        self.path = path
        self.says = dict(says or {})
        self.banner = banner
        self.messages: list[tuple[list[str], bytes]] = []
        self.connections = 0
        self.open: set[asyncio.StreamWriter] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_unix_server(self._serve, self.path)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        self.path.unlink(missing_ok=True)
        self.hang_up()

    def hang_up(self) -> None:
        """Close all connections."""
        for writer in self.open:
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.open.add(writer)
        try:
            await self._converse(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            self.open.discard(writer)
            writer.close()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        def say(line: str) -> None:
            writer.write(f"{line}\r\n".encode())

        say(self.banner)
        taken: list[str] = []
        while line := (await reader.readline()).decode().strip():
            verb = line.partition(" ")[0].upper()
            address = line.partition("<")[2].partition(">")[0]
            if verb == "LHLO":
                say("250-x\r\n250-PIPELINING\r\n250 ENHANCEDSTATUSCODES")
            elif verb == "MAIL":
                taken = []
                say("250 2.1.0 ok")
            elif verb == "RCPT":
                said = self.says.get(address, "")
                answer = said.removeprefix("RCPT ") if said.startswith("RCPT ") else "250 2.1.5 ok"
                if answer == HANG_UP:
                    return
                if answer.startswith("2"):
                    taken.append(address)
                say(answer)
            elif verb == "DATA" and taken:
                say("354 go")
                octets = await reader.readuntil(b"\r\n.\r\n")
                self.messages.append((taken, octets))
                for recipient in taken:
                    if self.says.get(recipient) == SILENT:
                        await reader.read()
                        return
                    if self.says.get(recipient) == HANG_UP:
                        await writer.drain()
                        return
                    say(self.says.get(recipient, f"250 2.0.0 <{recipient}> saved"))
            else:
                say({"DATA": "503 5.5.1 no recipients", "QUIT": "221 bye"}.get(verb, "250 2.0.0 ok"))
