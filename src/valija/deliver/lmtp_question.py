"""What does an LMTP server say to a recipient? Asked without a message (RFC 2033).

    reply = await ask("/run/dovecot/lmtp", "mail.example.org", "alice@example.org", patience=5.0)

2yz: it would take mail for that address now. 4yz of ours: it could not be asked.
"""

import asyncio
from typing import Final

from valija.auth.options import INET, host_and_port
from valija.mail.reply import Reply
from valija.smtp.client_capabilities import read_capabilities
from valija.smtp.replies import ReplyParser, Unreadable

_NO_SMTPUTF8: Final = Reply(550, "5.6.7", "The address is internationalised, and the server has no SMTPUTF8")
_PIECE: Final = 4096  # octets


class _Over(Exception):
    """The conversation came to an end before the answer."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(str(reply))
        self.reply = reply


async def ask(place: str, hostname: str, address: str, patience: float) -> Reply:
    """Return the reply to RCPT, or the one that ended the conversation before; within `patience` seconds."""
    try:
        async with asyncio.timeout(patience):
            reader, writer = await _connect(place)
            try:
                return await _converse(_Talk(reader, writer), hostname, address)
            finally:
                writer.close()
    except _Over as over:
        return over.reply
    except (OSError, TimeoutError, ValueError) as error:
        why = getattr(error, "strerror", "") or "no answer"
        return Reply(451, "4.4.1", f"lmtp:{place} can't be asked: {why}")


async def _connect(place: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    if place.startswith(INET):
        return await asyncio.open_connection(*host_and_port(place))
    return await asyncio.open_unix_connection(place)


async def _converse(talk: "_Talk", hostname: str, address: str) -> Reply:
    await talk.expect_yes()
    hello = await talk.say(f"LHLO {hostname}")
    internationalised = not address.isascii()
    if internationalised and not read_capabilities(hello.text).smtputf8:
        return _NO_SMTPUTF8
    await talk.say("MAIL FROM:<>" + " SMTPUTF8" * internationalised)
    talk.send(f"RCPT TO:<{address}>")
    reply = await talk.reply()
    talk.send("QUIT")
    return reply


class _Talk:
    """Lines and replies on a connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._parser = ReplyParser()

    def send(self, line: str) -> None:
        """Send a line; an address that holds a line break is none."""
        if not line.isprintable():
            raise _Over(Reply(550, "5.1.3", "Bad recipient address syntax"))
        self._writer.write(f"{line}\r\n".encode())

    async def say(self, line: str) -> Reply:
        """Send a line that has to be answered by yes."""
        self.send(line)
        return await self.expect_yes()

    async def expect_yes(self) -> Reply:
        """Return a reply; any but 2yz is the end, and says nothing of the recipient."""
        reply = await self.reply()
        if reply.code // 100 != 2:
            raise _Over(Reply(451, "4.3.0", f"The server of the mailboxes says {reply}"))
        return reply

    async def reply(self) -> Reply:
        """Return the next reply."""
        while (reply := self._parser.next()) is None:
            data = await self._reader.read(_PIECE)
            if not data:
                raise _Over(Reply(451, "4.4.2", "The server of the mailboxes hung up"))
            self._parser.feed(data)
        if isinstance(reply, Unreadable):
            raise _Over(Reply(451, "4.5.0", f"The server of the mailboxes does not speak LMTP: {reply.why}"))
        return reply
