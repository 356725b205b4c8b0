"""Sessions that do nothing: `python -m bench.load.idlers PORT SESSIONS clear|tls`.

Each says EHLO (in TLS after STARTTLS) and stays. The number that stayed is printed when all are there; they leave when
standard input ends.
"""

import asyncio
import sys
from collections.abc import Sequence

import uvloop

from bench.load.talk import EHLO, Talk, Unexpected, any_certificate

_OPENING = 50  # connections at a time
_LONGEST_OPENING = 15.0  # seconds; a server that lets only so many in keeps the others waiting for ever


async def idle(port: int, sessions: int, *, tls: bool) -> list[Talk]:
    """Open sessions; return those that were let in."""
    gate = asyncio.Semaphore(_OPENING)
    context = any_certificate()

    async def enter() -> Talk | None:
        async with gate:
            try:
                async with asyncio.timeout(5):
                    talk = await Talk.open(port)
                    await talk.ask(EHLO, b"250")
                    if tls:
                        await talk.start_tls(context)
            except (Unexpected, OSError, TimeoutError):
                return None
            return talk

    entering = [asyncio.create_task(enter()) for _ in range(sessions)]
    done, late = await asyncio.wait(entering, timeout=_LONGEST_OPENING)
    for task in late:
        task.cancel()
    return [talk for task in done if (talk := task.result())]


async def _stay(port: int, sessions: int, tls: bool) -> None:
    talks = await idle(port, sessions, tls=tls)
    print(len(talks), flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


def main(arguments: Sequence[str]) -> None:
    """Stay until standard input ends."""
    uvloop.run(_stay(int(arguments[0]), int(arguments[1]), arguments[2] == "tls"))


if __name__ == "__main__":
    main(sys.argv[1:])
