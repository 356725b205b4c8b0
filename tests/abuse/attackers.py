"""Attackers, as a process: `python -m tests.abuse.attackers WAY[+WAY...] EACH ADDRESS...`

Each address has EACH connections at once, made anew when they end; several ways are taken in turn. It prints `begun`
once all have got somewhere. To `until 421 30` it answers `reached` when so many replies of that code were counted, to
`stop` what was counted, as JSON.
"""

import asyncio
import base64
import itertools
import json
import socket
import ssl
import sys
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Final

SERVER, SERVER6 = "198.51.100.1", "2001:db8::1"
_IPV6_FREEBIND: Final = 78
_PAUSE: Final = 0.02  # seconds before a connection is made anew

Way = Callable[["Attacker"], Awaitable[None]]


class Attacker:
    """One connection, made anew for ever."""

    numbers = itertools.count()

    def __init__(self, way: Way, source: str, port: int, counts: Counter[str]) -> None:
        self._way = way
        self._source = source
        self._port = port
        self.counts = counts
        self.begun = asyncio.Event()

    async def run(self) -> None:
        while True:
            try:
                await self._connect()
                await self._way(self)
            except (OSError, EOFError, asyncio.IncompleteReadError):
                self.counts["broken"] += 1
            finally:
                self.begun.set()
                if hasattr(self, "writer"):
                    self.writer.close()
            await asyncio.sleep(_PAUSE)

    async def _connect(self) -> None:
        is_ipv6 = ":" in self._source
        end = socket.socket(socket.AF_INET6 if is_ipv6 else socket.AF_INET)
        end.setblocking(False)
        if is_ipv6:
            end.setsockopt(socket.IPPROTO_IPV6, _IPV6_FREEBIND, 1)
        end.bind((self._source, 0))
        await asyncio.get_running_loop().sock_connect(end, (SERVER6 if is_ipv6 else SERVER, self._port))
        self.counts["connections"] += 1
        if self._port == 465:
            context = ssl._create_unverified_context()
            self.reader, self.writer = await asyncio.open_connection(sock=end, ssl=context, server_hostname="x")
        else:
            self.reader, self.writer = await asyncio.open_connection(sock=end)

    def send(self, octets: bytes) -> None:
        self.writer.write(octets)

    async def reply(self) -> str:
        """Return the last line of the next reply, counted by its code; "" at the end."""
        while True:
            line = (await self.reader.readline()).decode("utf-8", "replace")
            if line[3:4] != "-":
                break
        self.counts[line[:3] or "end"] += 1
        self.begun.set()
        return line.strip()

    async def say(self, line: str) -> str:
        self.send(line.encode() + b"\r\n")
        return await self.reply()

    async def until_closed(self) -> None:
        while await self.reply():
            pass


async def greet(attacker: Attacker) -> None:
    """Connect, hear what there is, and go."""
    await attacker.reply()


async def silent(attacker: Attacker) -> None:
    """Say nothing."""
    await attacker.until_closed()


async def early(attacker: Attacker) -> None:
    """Speak before the banner."""
    attacker.send(b"EHLO bot.example\r\n")
    await attacker.until_closed()


async def drip(attacker: Attacker) -> None:
    """A command, an octet at a time."""
    await attacker.reply()
    await _dripping(attacker, b"x")


async def drip_content(attacker: Attacker) -> None:
    """A content, an octet at a time."""
    await _begin(attacker)
    await attacker.say("DATA")
    await _dripping(attacker, b"x")


async def drip_chunks(attacker: Attacker) -> None:
    """A content in chunks of one octet, each answered before the next."""
    await _begin(attacker)
    await _dripping(attacker, b"BDAT 1\r\nx")


async def drip_handshake(attacker: Attacker) -> None:
    """STARTTLS, and a ClientHello an octet at a time."""
    await attacker.reply()
    await attacker.say("EHLO bot.example")
    await attacker.say("STARTTLS")
    attacker.send(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
    await _dripping(attacker, b"x")


async def _dripping(attacker: Attacker, drop: bytes) -> None:
    ended = asyncio.ensure_future(attacker.until_closed())
    while not ended.done():
        attacker.send(drop)
        await asyncio.wait([ended], timeout=0.2)
    await ended


async def _begin(attacker: Attacker) -> None:
    await attacker.reply()
    await attacker.say("EHLO bot.example")
    await attacker.say("MAIL FROM:<bot@remote.example>")
    await attacker.say("RCPT TO:<alice@local.example>")


def flood(*lines: str) -> Way:
    """Return the way of commands that move nothing, as fast as they are answered."""

    async def press(attacker: Attacker) -> None:
        await attacker.reply()
        await attacker.say("EHLO bot.example")
        for line in itertools.cycle(lines):
            if (await attacker.say(line))[:3] in ("421", ""):
                return

    return press


async def harvest(attacker: Attacker) -> None:
    """Ask for one name after the other."""
    if (await attacker.reply())[:3] != "220":
        return
    await attacker.say("EHLO bot.example")
    await attacker.say("MAIL FROM:<bot@remote.example>")
    while (await attacker.say(f"RCPT TO:<name{next(attacker.numbers)}@local.example>"))[:3] not in ("421", ""):
        pass


async def recipients(attacker: Attacker) -> None:
    """Name recipients for ever, a thousand at a time."""
    await _begin(attacker)
    while True:
        attacker.send(b"RCPT TO:<alice@local.example>\r\n" * 1000)
        for _ in range(1000):
            if not await attacker.reply():
                return


async def small_chunks(attacker: Attacker) -> None:
    """Send a content in chunks of one octet, a thousand at a time."""
    await _begin(attacker)
    while True:
        attacker.send(b"BDAT 1\r\nx" * 1000)
        for _ in range(1000):
            if not await attacker.reply():
                return


async def blanks(attacker: Attacker) -> None:
    """Send a content of blanks, which is hard work to hash, as fast as it is taken."""
    await _begin(attacker)
    await attacker.say("DATA")
    attacker.send(b"Subject: x\r\n\r\n")
    while True:
        attacker.send(b" \t" * 16_384)
        await attacker.writer.drain()


async def guess(attacker: Attacker) -> None:
    """Guess a password, of somebody new each time."""
    if (await attacker.reply())[:3] != "220":
        return
    await attacker.say("EHLO bot.example")
    number = next(attacker.numbers)
    claim = base64.b64encode(f"\0user{number}@local.example\0guess {number}".encode()).decode()
    await attacker.say(f"AUTH PLAIN {claim}")


WAYS: Final[dict[str, Way]] = {
    way.__name__: way
    for way in (
        greet,
        silent,
        early,
        drip,
        drip_content,
        drip_chunks,
        drip_handshake,
        harvest,
        recipients,
        small_chunks,
        blanks,
        guess,
    )
} | {
    "noop": flood("NOOP"),
    "rset": flood("RSET"),
    "vrfy": flood("VRFY alice"),
    "unknown": flood("XYZZY"),
    "mixed": flood("NOOP", "RSET", "VRFY alice", "HELP", "EHLO bot.example"),
}


async def attack(ways: list[str], each: int, addresses: list[str]) -> Counter[str]:
    """Attack until there is a line on the standard input."""
    counts: Counter[str] = Counter()
    attackers = [
        Attacker(WAYS[way], address, 465 if way == "guess" else 25, counts)
        for way, address in zip(itertools.cycle(ways), addresses, strict=False)
        for _ in range(each)
    ]
    tasks = [asyncio.ensure_future(attacker.run()) for attacker in attackers]
    waits = [asyncio.ensure_future(attacker.begun.wait()) for attacker in attackers]
    await asyncio.wait(waits, timeout=5.0)
    print("begun", flush=True)
    while (words := (await asyncio.to_thread(sys.stdin.readline)).split())[:1] == ["until"]:
        while counts[words[1]] < int(words[2]):
            await asyncio.sleep(0.01)
        print("reached", flush=True)
    for task in (*tasks, *waits):
        task.cancel()
    await asyncio.gather(*tasks, *waits, return_exceptions=True)
    return counts


if __name__ == "__main__":
    print(json.dumps(asyncio.run(attack(sys.argv[1].split("+"), int(sys.argv[2]), sys.argv[3:]))))
