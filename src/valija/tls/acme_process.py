"""Runs the process that speaks ACME, from the server's own loop.

    answer = await perform(task, sockets)      # never raises for what the authority or that process does wrong

The process inherits the sockets for challenges, bound but not listening, and nothing else; the library it needs (some
50 MB) never enters the server or its workers.
"""

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections.abc import Sequence
from typing import Final

import msgspec

from valija.tls.acme_listener import refuse_again
from valija.tls.acme_task import AcmeAnswer, AcmeFailure, AcmeTask

LONGEST: Final = 900.0  # seconds for a whole task; its parts have deadlines of their own
_GRACE: Final = 10.0  # seconds for a process that is told to stop to take away what it published
_LAST_WORDS: Final = 2000  # octets of a crashed process's standard error


async def perform(task: AcmeTask, sockets: Sequence[socket.socket] = ()) -> AcmeAnswer:
    """Have a task done. Cancelled, it ends the process first."""
    numbers = tuple(each.fileno() for each in sockets)
    line = msgspec.json.encode(msgspec.structs.replace(task, sockets=numbers)) + b"\n"
    try:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",  # the folder we were started in is nothing to import from
            "-m",
            "valija.tls.acme_child",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            pass_fds=numbers,
            start_new_session=True,
            limit=1 << 20,
        )
    except OSError as error:
        return _failed(f"the process for ACME cannot be started: {error.strerror}")
    try:
        async with asyncio.timeout(LONGEST):
            return await _talk(process, line)
    except TimeoutError:
        return _failed(f"the process for ACME took longer than {LONGEST:g} s")
    finally:
        await _end(process)
        for each in sockets:
            refuse_again(each.fileno())  # where the process could not


async def _talk(process: asyncio.subprocess.Process, line: bytes) -> AcmeAnswer:
    assert process.stdin
    assert process.stdout
    assert process.stderr
    process.stdin.write(line)
    answer, said = await asyncio.gather(process.stdout.readline(), process.stderr.read())
    try:
        return msgspec.json.decode(answer, type=AcmeAnswer)
    except msgspec.MsgspecError:
        words = said[-_LAST_WORDS:].decode("utf-8", "replace").strip() or "without a word"
        return _failed(f"the process for ACME died: {words}")


def _failed(reason: str) -> AcmeAnswer:
    return AcmeAnswer(failure=AcmeFailure("ours", reason))


async def _end(process: asyncio.subprocess.Process) -> None:
    """See the process gone, with all it has started."""
    if process.returncode is None:
        assert process.stdin
        process.stdin.close()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), _GRACE)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    await process.wait()
