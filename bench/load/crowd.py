"""Very many sessions: `python -m bench.load.crowd PORT OPEN ACTIVE SECONDS OCTETS`.

All are opened and say EHLO; then the active ones send message after message for a while, command by command, and the
others stay. What counts is who was turned away, and how long the 250 after the final dot took.
"""

import asyncio
import sys
import time
from collections.abc import Sequence

import msgspec
import uvloop

from bench.load.percentiles import percentile
from bench.load.talk import EHLO, Talk, Unexpected, message

_OPENING = 100  # connections at a time
_PER_ADDRESS = 20_000  # an address has some 28,000 ports


class CrowdReport(msgspec.Struct, frozen=True):
    """Sessions opened, sessions refused or lost, messages accepted, and the wait for their 250 in seconds."""

    opened: int
    opening_seconds: float
    refused: int
    lost: int
    accepted: int
    p50: float
    p99: float
    longest: float
    fault: str


class _Crowd:
    def __init__(self, port: int, octets: int) -> None:
        self._port = port
        self._content = message(octets)
        self._gate = asyncio.Semaphore(_OPENING)
        self.talks: list[Talk] = []
        self.waits: list[float] = []
        self.refused = self.lost = 0
        self.fault = ""

    async def enter(self, number: int) -> None:
        """Open a session that stays."""
        async with self._gate:
            try:
                talk = await Talk.open(self._port, f"127.0.0.{2 + number // _PER_ADDRESS}")
                await talk.ask(EHLO, b"250")
            except (Unexpected, OSError) as error:
                self.refused += 1
                self.fault = self.fault or str(error)
            else:
                self.talks.append(talk)

    async def send_until(self, talk: Talk, end: float) -> None:
        """Send message after message on a session."""
        try:
            while time.monotonic() < end:
                await talk.ask(b"MAIL FROM:<a@src.test>\r\n", b"250")
                await talk.ask(b"RCPT TO:<b@dst.test>\r\n", b"250")
                await talk.ask(b"DATA\r\n", b"354")
                began = time.monotonic()
                await talk.ask(self._content, b"250")
                self.waits.append(time.monotonic() - began)
        except Unexpected as error:
            self.lost += 1
            self.fault = self.fault or str(error)


async def crowd(port: int, sessions: int, active: int, seconds: float, octets: int) -> CrowdReport:
    """Open sessions, and send over some of them."""
    them = _Crowd(port, octets)
    began = time.monotonic()
    await asyncio.gather(*[them.enter(number) for number in range(sessions)])
    opening = time.monotonic() - began
    end = time.monotonic() + seconds
    await asyncio.gather(*[them.send_until(talk, end) for talk in them.talks[:active]])
    return CrowdReport(
        opened=len(them.talks),
        opening_seconds=opening,
        refused=them.refused,
        lost=them.lost,
        accepted=len(them.waits),
        p50=percentile(them.waits, 0.5),
        p99=percentile(them.waits, 0.99),
        longest=max(them.waits, default=0.0),
        fault=them.fault,
    )


def main(arguments: Sequence[str]) -> None:
    """Crowd, and print the report."""
    port, sessions, active, octets = (int(arguments[place]) for place in (0, 1, 2, 4))
    print(msgspec.json.encode(uvloop.run(crowd(port, sessions, active, float(arguments[3]), octets))).decode())


if __name__ == "__main__":
    main(sys.argv[1:])
