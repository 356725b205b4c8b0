"""The process that serves HTTPS: reads what to serve on standard input, and serves it until that ends.

    python -P -m valija.https.child          # started by valija/https/process

It says `ready` on standard output when it accepts connections. It reads no file and opens no socket of its own.
"""

import asyncio
import socket
import sys
from typing import Final

from valija.https.errand import LONGEST, Errand, decode
from valija.logs import Log, LogBuffer, build_log, take_in_libraries
from valija.tls.sni import static_context

_FLUSH_INTERVAL: Final = 0.2  # seconds


def main() -> None:
    """Serve."""
    asyncio.run(_live())


async def _live() -> None:
    reader = asyncio.StreamReader(limit=LONGEST)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin.buffer)
    line = await reader.readline()
    if not line:
        return
    first = decode(line)
    buffer = LogBuffer(2)
    log = build_log(first.level, first.format, buffer)
    take_in_libraries(log)
    try:
        await _serve(first, reader, log, buffer)
    finally:
        buffer.flush()


async def _serve(first: Errand, reader: asyncio.StreamReader, log: Log, buffer: LogBuffer) -> None:
    from valija.https.server import Server

    server = Server(log)
    _use(server, first)
    sockets = [socket.socket(fileno=number) for number in first.sockets]
    tasks = [asyncio.create_task(server.serve(sockets)), asyncio.create_task(_flush(buffer))]
    await asyncio.sleep(0)  # it listens by now
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    try:
        while line := await reader.readline():
            _use(server, decode(line))
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _use(server: "object", errand: Errand) -> None:
    from valija.https.server import Server

    assert isinstance(server, Server)
    server.use(errand.site, static_context([(each.pair, each.wanted) for each in errand.certificates]))


async def _flush(buffer: LogBuffer) -> None:
    while True:
        await asyncio.sleep(_FLUSH_INTERVAL)
        buffer.flush()


if __name__ == "__main__":
    main()
