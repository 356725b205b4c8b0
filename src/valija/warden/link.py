"""A process's way to the root helper, in its loop. It is a Judge (auth/pam).

    link = Link(helper.lines[number], log)
    await link.judge(("alice",), b"secret")      # Verdict; never raises
    await link.pairs(seen)                       # PairsRead, None where nothing changed; raises Away
    link.close()

The helper can't be started again. When it is gone each question is answered at once, and the log says what to do.
"""

import asyncio
import secrets
import socket
from collections.abc import Sequence
from typing import Final, TypeVar

import msgspec

from valija.auth.pam import PATIENCE, Verdict
from valija.logs import Log
from valija.warden.messages import (
    Answer,
    ConfigurationRead,
    Login,
    PairsRead,
    ReadConfiguration,
    ReadPairs,
    Request,
    encode,
    receive_answer,
)
from valija.warden.process import READING
from valija.warden.start import GONE, REMEDY

C = TypeVar("C")

_ON_THE_WAY: Final = 0.5  # seconds on top of what the helper gives itself
_MOST_ANSWERS: Final = 64  # in one turn of the loop


class Away(Exception):
    """The helper can't tell; the text says why."""


class Link:
    """One end of a line. Made in the loop that will use it."""

    def __init__(self, line: socket.socket, log: Log) -> None:
        self._line = line
        self._log = log
        self._loop = asyncio.get_running_loop()
        self._waiting: dict[int, asyncio.Future[tuple[Answer, bytes]]] = {}
        self._number = secrets.randbits(60)  # a predecessor's answers may still be on their way
        self._is_open = True
        self._loop.add_reader(line.fileno(), self._hear)

    @property
    def is_open(self) -> bool:
        """Whether there is a helper to ask."""
        return self._is_open

    def close(self) -> None:
        """Ask no more. The line itself stays open, for a successor."""
        self._leave("it is not asked any more")

    async def judge(self, names: Sequence[str], password: bytes) -> Verdict:
        """Return what PAM says of the first of `names` that the system knows."""
        try:
            self._number += 1
            request = Login(self._number, tuple(names), password)
            answer, content = await self._ask(request, PATIENCE + _ON_THE_WAY)
            return _decoded(answer, content, Verdict)
        except Away as away:
            return Verdict("unavailable", detail=str(away))

    async def configuration(self) -> ConfigurationRead:
        """Return the configuration, read again. Raises Away."""
        self._number += 1
        answer, content = await self._ask(ReadConfiguration(self._number), READING + _ON_THE_WAY)
        return _decoded(answer, content, ConfigurationRead)

    async def pairs(self, seen: bytes) -> PairsRead | None:
        """Return all certificates and keys, None where their files are as when `seen` was told. Raises Away."""
        self._number += 1
        answer, content = await self._ask(ReadPairs(self._number, seen), READING + _ON_THE_WAY)
        return None if answer.what == "same" else _decoded(answer, content, PairsRead)

    async def _ask(self, request: Request, patience: float) -> tuple[Answer, bytes]:
        if not self._is_open:
            raise Away(f"{GONE}; {REMEDY}")
        try:
            self._line.send(encode(request))
        except BlockingIOError:
            raise Away("the root helper does not listen: too many requests wait") from None
        except OSError as error:
            self._leave(str(error))
            raise Away(f"{GONE}; {REMEDY}") from None
        waiting: asyncio.Future[tuple[Answer, bytes]] = self._loop.create_future()
        self._waiting[request.number] = waiting
        try:
            async with asyncio.timeout(patience):
                return await waiting
        except TimeoutError:
            raise Away("the root helper is silent") from None
        finally:
            del self._waiting[request.number]

    def _hear(self) -> None:
        try:
            for _ in range(_MOST_ANSWERS):
                if (heard := receive_answer(self._line)) is None:
                    return
                waiting = self._waiting.get(heard[0].number)
                if waiting is not None and not waiting.done():
                    waiting.set_result(heard)
        except EOFError:
            self._log.error(GONE, remedy=REMEDY)
            self._leave(f"{GONE}; {REMEDY}")
        except (msgspec.MsgspecError, OSError) as error:
            self._log.error("the root helper talks nonsense", error=str(error))

    def _leave(self, why: str) -> None:
        if not self._is_open:
            return
        self._is_open = False
        self._loop.remove_reader(self._line.fileno())
        for waiting in self._waiting.values():
            if not waiting.done():
                waiting.set_exception(Away(why))


def _decoded(answer: Answer, content: bytes, kind: type[C]) -> C:
    if answer.what == "busy":
        raise Away("too many requests at once")
    if answer.what != "done":
        raise Away(answer.detail)
    try:
        return msgspec.msgpack.decode(content, type=kind)
    except msgspec.MsgspecError as error:
        raise Away(f"the root helper talks nonsense: {error}") from None
