"""The talk with the server, over its socket: a message handed over, or its own SMTP passed through.

    receipt = hand_over("/run/valija/sendmail.sock", message)      # raises Away, Failure
    receipt.queue_ids, receipt.refused

Away means that nobody is there, or that the server stops or has no room just now: the message may be left in the
maildrop. Where the answer to the content does not come, it may have been taken all the same: then it comes twice,
which is better than never.
"""

import os
import select
import socket
from dataclasses import dataclass, field
from typing import BinaryIO, Final, NamedTuple

from valija.sendmail.exits import Failure, exit_for
from valija.sendmail.message import HELLO, Message

_CONNECT: Final = 10.0  # seconds
_ANSWER: Final = 180.0  # seconds: the server may be asking filters
_LONGEST_REPLY: Final = 64 * 1024
_PIECE: Final = 64 * 1024
_USUAL_RECIPIENTS: Final = 1000  # in one transaction, where the server names no limit


class Away(Exception):
    """The server can't take anything now; why. `rest` are those who have not got the message; none, and it is all."""

    rest: tuple[str, ...] = ()


class Reply(NamedTuple):
    """A reply of the server's: code, enhanced status code, text, and all its lines."""

    code: int
    enhanced: str
    text: str
    lines: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.code} {self.enhanced} {self.text}" if self.enhanced else f"{self.code} {self.text}"


@dataclass
class Receipt:
    """What was taken, under which ids, and who was refused."""

    queue_ids: list[str] = field(default_factory=list)
    refused: list[tuple[str, Reply]] = field(default_factory=list)


def hand_over(path: str, message: Message) -> Receipt:
    """Hand a message over. Raises Away; Failure where nobody gets it.

    A recipient that is refused for now refuses the whole: nothing is sent to the others yet.
    """
    receipt = Receipt()
    with _Talk(path) as talk:
        most = talk.limits().get("RCPTMAX", _USUAL_RECIPIENTS)
        for start in range(0, len(message.recipients), most):
            try:
                talk.send_to(message, message.recipients[start : start + most], receipt)
            except Away as away:
                away.rest = message.recipients[start:]
                raise
        talk.bye()
    if not receipt.queue_ids:
        reply = receipt.refused[0][1]
        words = "; ".join(str(refusal) for _, refusal in receipt.refused)
        raise Failure(exit_for(reply.code, reply.enhanced), words)
    return receipt


def size_limit(path: str) -> int:
    """Return the largest message that the server takes, in octets. Raises Away."""
    with _Talk(path) as talk:
        limit = talk.limits().get("SIZE", 0)
        talk.bye()
    return limit


def pass_through(path: str, reading: BinaryIO, writing: BinaryIO) -> None:
    """Let a program speak SMTP itself (-bs), from one stream to another, until either side ends. Raises Away."""
    with _connected(path) as server:
        writing.write(server.recv(_PIECE))  # the server does not hear who speaks before its banner
        writing.flush()
        server.settimeout(None)
        sources: list[socket.socket | BinaryIO] = [server, reading]
        while server in sources:
            ready, _, _ = select.select(sources, (), ())
            if reading in ready:
                if octets := os.read(reading.fileno(), _PIECE):
                    server.sendall(octets)
                else:
                    server.shutdown(socket.SHUT_WR)
                    sources.remove(reading)
            if server in ready:
                if not (octets := server.recv(_PIECE)):
                    return
                writing.write(octets)
                writing.flush()


def _connected(path: str) -> socket.socket:
    server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    server.settimeout(_CONNECT)
    try:
        server.connect(path)
    except OSError as error:
        server.close()
        raise Away(f"{path}: {error.strerror or 'no answer'}") from None
    server.settimeout(_ANSWER)
    return server


class _Talk:
    """A conversation. Commands are sent, and each reply waited for; recipients go in one flight."""

    def __init__(self, path: str) -> None:
        self._server = _connected(path)
        self._replies = self._server.makefile("rb")

    def __enter__(self) -> "_Talk":
        return self

    def __exit__(self, *_: object) -> None:
        self._replies.close()
        self._server.close()

    def limits(self) -> dict[str, int]:
        """Say hello; return the numbers that the server announces: SIZE, RCPTMAX."""
        self._expect(self._hear())
        self._say(HELLO)
        words = [word for line in self._expect(self._hear()).lines for word in line.replace("SIZE ", "SIZE=").split()]
        pairs = (word.partition("=") for word in words)
        return {name: int(value) for name, _, value in pairs if value.isdigit() and int(value)}

    def send_to(self, message: Message, recipients: tuple[str, ...], receipt: Receipt) -> None:
        """Do one transaction. Raises Away, Failure."""
        self._say(message.mail() + b"".join(map(message.rcpt, recipients)))
        sender, *answers = [self._hear() for _ in (message.sender, *recipients)]
        self._expect(sender)
        for recipient, reply in zip(recipients, answers, strict=True):
            if reply.code >= 500:
                receipt.refused.append((recipient, reply))
            else:
                self._expect(reply)
        if any(reply.code < 400 for reply in answers):
            self._say(message.chunk() + message.content)
            receipt.queue_ids.append(self._expect(self._hear()).text.rpartition(" ")[2])
        else:
            self._say(b"RSET\r\n")
            self._hear()

    def bye(self) -> None:
        """End it, without waiting for the last word."""
        self._say(b"QUIT\r\n")

    def _say(self, octets: bytes) -> None:
        try:
            self._server.sendall(octets)
        except OSError as error:
            raise Away(f"the server hung up ({error})") from None

    def _hear(self) -> Reply:
        lines: list[str] = []
        try:
            while not lines or lines[-1][3:4] == "-":
                line = self._replies.readline(_LONGEST_REPLY)
                if not line.endswith(b"\n") or not line[:3].isdigit() or len(lines) > 100:
                    raise Away("the server hung up")
                lines.append(line.decode("utf-8", "replace").rstrip("\r\n"))
        except OSError as error:
            raise Away(f"the server gives no answer ({error})") from None
        return _reply(lines)

    def _expect(self, reply: Reply) -> Reply:
        """Return a positive reply. Raises Away for one that will pass with time, Failure for another."""
        if reply.code < 400:
            return reply
        if reply.code == 421 or (reply.code < 500 and reply.enhanced.startswith("4.3.")):
            raise Away(str(reply))
        raise Failure(exit_for(reply.code, reply.enhanced), str(reply))


def _reply(lines: list[str]) -> Reply:
    code, rest = int(lines[-1][:3]), lines[-1][4:]
    enhanced, _, text = rest.partition(" ")
    if enhanced.count(".") != 2 or not enhanced.replace(".", "").isdigit():
        enhanced, text = "", rest
    return Reply(code, enhanced, text, tuple(line[4:] for line in lines))
