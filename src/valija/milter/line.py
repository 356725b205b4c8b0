"""One connection to a filter: what is told, and what it answers, each wait bounded.

    line = await Line.open(options)           # has agreed on the terms; raises MilterFailed
    line.tell(questions.helo("mail.example.net"))
    await line.answer(options.command_timeout)
    line.close()

Whatever goes wrong is a MilterFailed that says so in words: a filter that is not there, that hangs or hangs up, or that
talks nonsense. The line is of no use after that. Memory is bounded by what a packet may have.
"""

import asyncio
import errno
import os
from typing import Final, Self

from valija.milter.answers import Answer, Change, read
from valija.milter.options import MilterOptions, address_of, path_of
from valija.milter.packets import Nonsense, Packet, Packets
from valija.milter.questions import QUIT
from valija.milter.terms import Terms, agreed, offer

_PIECE: Final = 64 * 1024  # octets
_OUR_SHORTAGE: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS})


class MilterFailed(Exception):
    """The filter could not be asked, or did not answer as one; the message says why. `is_silent`: it took too long."""

    def __init__(self, reason: str, *, is_silent: bool = False) -> None:
        super().__init__(reason)
        self.is_silent = is_silent


class Line:
    """An open connection. Made by `open`."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._packets = Packets()
        self.terms = Terms()

    @classmethod
    async def open(cls, options: MilterOptions) -> Self:
        """Connect, and agree on the terms. Raises MilterFailed, and OSError where this process is short of something:
        that is no failure of the filter's, which may mean that mail is refused.
        """
        patience = options.connect_timeout
        try:
            async with asyncio.timeout(patience):
                line = cls(*await _connected(options.place))
        except TimeoutError:
            raise MilterFailed(f"no connection within {patience:g} s", is_silent=True) from None
        except OSError as error:
            if error.errno in _OUR_SHORTAGE:
                raise
            raise MilterFailed(_in_words(options.place, error)) from None
        try:
            line.tell(offer())
            line.terms = await line._agreed(patience)
        except BaseException:
            line.close()
            raise
        return line

    @property
    def has_ended(self) -> bool:
        """Whether the filter is known to have hung up."""
        return self._reader.at_eof() or self._writer.transport.is_closing()

    def tell(self, octets: bytes) -> None:
        """Say something; `heard` or `answer` waits until it is gone, and finds out where nobody hears it."""
        if not self._writer.transport.is_closing():  # uvloop lets nobody write then
            self._writer.write(octets)

    async def heard(self, patience: float) -> None:
        """Wait until the filter takes what is said. Raises MilterFailed."""
        try:
            async with asyncio.timeout(patience):
                await self._writer.drain()
        except TimeoutError:
            raise MilterFailed(f"it has taken nothing for {patience:g} s") from None
        except OSError:
            raise MilterFailed("it has hung up") from None

    async def answer(self, patience: float) -> Answer | Change:
        """Return what the filter says next. Raises MilterFailed."""
        found = await self._packet(patience)
        try:
            return read(found)
        except Nonsense as nonsense:
            raise MilterFailed(f"it talks nonsense: {nonsense}") from None

    def close(self, *, politely: bool = False) -> None:
        """Hang up; `politely`: say so before, unless the filter has stopped reading."""
        if politely:
            self.tell(QUIT)
        if politely and not self._writer.transport.get_write_buffer_size():
            self._writer.close()
        else:
            self._writer.transport.abort()  # who does not read would keep it open

    async def _agreed(self, patience: float) -> Terms:
        answer = await self._packet(patience)
        try:
            if answer.kind != b"O":
                raise Nonsense(f"{answer.kind!r} is no answer to the offer of options")
            return agreed(answer.data)
        except Nonsense as nonsense:
            raise MilterFailed(f"that is no milter: {nonsense}") from None

    async def _packet(self, patience: float) -> Packet:
        try:
            async with asyncio.timeout(patience):
                await self._writer.drain()
                while (found := self._packets.next()) is None:
                    octets = await self._reader.read(_PIECE)
                    if not octets:
                        raise MilterFailed("it has hung up")
                    self._packets.receive(octets)
                return found
        except TimeoutError:
            raise MilterFailed(f"no answer within {patience:g} s", is_silent=True) from None
        except OSError:
            raise MilterFailed("it has hung up") from None
        except Nonsense as nonsense:
            raise MilterFailed(f"it talks nonsense: {nonsense}") from None


async def _connected(place: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    if path := path_of(place):
        return await asyncio.open_unix_connection(path)
    return await asyncio.open_connection(*address_of(place))


def _in_words(place: str, error: OSError) -> str:
    """Return why there is no connection."""
    if error.errno == errno.ENOENT and path_of(place):
        return "there is no such socket"
    if error.errno == errno.ECONNREFUSED:
        return "nobody listens there"
    if error.errno in (errno.EACCES, errno.EPERM):
        return f"the server, whose user has the number {os.geteuid()}, may not write to that socket"
    return error.strerror or str(error)
