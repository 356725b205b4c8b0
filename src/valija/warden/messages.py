"""What is said between the server's processes and the root helper: one message a packet, over a socket pair.

    line.send(encode(Login(number=7, names=("alice",), password=b"secret")))
    answer, content = receive(line)          # Answer(7, "done"), and a Verdict in msgpack

The sockets keep packets apart (SOCK_SEQPACKET): a process that dies in the middle of one leaves nothing half said to
its successor. A request is small. An answer is smaller; what there is to read comes beside it as a descriptor of
memory, so that its size is no matter of socket buffers. Answers come in any order; one to a number that nobody waits
for was meant for a predecessor.
"""

import os
import socket
from typing import Annotated, Final, Literal

import msgspec

from valija.auth.pam import LONGEST_NAME, LONGEST_PASSWORD
from valija.mail.unreadable import UNREADABLE

LONGEST_REQUEST: Final = 4096  # octets
LONGEST_ANSWER: Final = 4096
LARGEST_CONTENT: Final = 64 * 1024 * 1024  # octets; a hundred certificates are less than one

_Number = Annotated[int, msgspec.Meta(ge=0)]
_Name = Annotated[str, msgspec.Meta(min_length=1, max_length=LONGEST_NAME)]
_Names = Annotated[tuple[_Name, ...], msgspec.Meta(min_length=1, max_length=2)]
_Password = Annotated[bytes, msgspec.Meta(min_length=1, max_length=LONGEST_PASSWORD)]


class Login(msgspec.Struct, frozen=True, tag="login", forbid_unknown_fields=True):
    """Is this the password of the first of `names` that the system knows? A Verdict (auth/pam) is the answer."""

    number: _Number
    names: _Names
    password: _Password

    def __repr__(self) -> str:
        return f"Login({self.number}, {self.names!r}, ...)"


class ReadConfiguration(msgspec.Struct, frozen=True, tag="configuration", forbid_unknown_fields=True):
    """Read the configuration again. A ConfigurationRead is the answer."""

    number: _Number


class ReadPairs(msgspec.Struct, frozen=True, tag="pairs", forbid_unknown_fields=True):
    """Read the certificates again, where they are not as they were when `seen` was told. A PairsRead is the answer."""

    number: _Number
    seen: Annotated[bytes, msgspec.Meta(max_length=32)] = b""


Request = Login | ReadConfiguration | ReadPairs


class Answer(msgspec.Struct, frozen=True):
    """The answer to the request `number`. What was asked for comes beside it if `done`; `same`: as when last seen.

    `busy`: there are too many requests; `failed`: nobody knows, `detail` says why.
    """

    number: int
    what: Literal["done", "same", "busy", "failed"]
    detail: str = ""


class ConfigurationRead(msgspec.Struct, frozen=True):
    """The configuration's text, `""` and the faults where it is refused. `files` are the pairs that it names.

    `pam_service` is who judges logins by it, `""` where PAM does not.
    """

    text: str = ""
    faults: str = ""
    files: tuple[tuple[str, str], ...] = ()
    pam_service: str = ""


Stamp = tuple[int, int, int]  # of a file: time of change in nanoseconds, size, inode


class FileFault(msgspec.Struct, frozen=True):
    """What is wrong with a file of a pair."""

    file: str
    reason: str
    remedy: str
    is_fatal: bool = True


class PairRead(msgspec.Struct, frozen=True):
    """A certificate's chain and its key, in PEM; empty where there are faults. `stamps`: of chain and key."""

    chain_file: str
    key_file: str
    stamps: tuple[Stamp | None, Stamp | None]
    chain_pem: bytes = b""
    key_pem: bytes = b""
    faults: tuple[FileFault, ...] = ()

    def __repr__(self) -> str:
        return f"PairRead({self.chain_file!r}, {self.key_file!r}, ...)"


class PairsRead(msgspec.Struct, frozen=True):
    """All pairs. `seen` stands for the state of their files."""

    pairs: tuple[PairRead, ...]
    seen: bytes


_decode_request = msgspec.msgpack.Decoder(Request).decode
_decode_answer = msgspec.msgpack.Decoder(Answer).decode


class Garbage(Exception):
    """What came is no request."""


def encode(message: msgspec.Struct) -> bytes:
    """Return a message as a packet."""
    return msgspec.msgpack.encode(message)


def receive_request(line: socket.socket) -> Request | None:
    """Return the next request, None where none waits. Descriptors that came with it are not taken. Raises Garbage."""
    try:
        packet, _, flags, _ = line.recvmsg(LONGEST_REQUEST)
    except BlockingIOError:
        return None
    if flags & socket.MSG_TRUNC:
        raise Garbage("it is too long")
    try:
        request: Request = _decode_request(packet)
    except UNREADABLE:
        raise Garbage("it follows no grammar") from None
    return request


def send_answer(line: socket.socket, answer: Answer, content: int | None = None) -> bool:
    """Send an answer, and the descriptor of what goes with it; return whether the other side took it."""
    try:
        socket.send_fds(line, [encode(answer)], [] if content is None else [content], socket.MSG_DONTWAIT)
    except OSError:  # it does not read, or is gone
        return False
    return True


def receive_answer(line: socket.socket) -> tuple[Answer, bytes] | None:
    """Return the next answer and what came with it. None where none waits. Raises EOFError at the line's end."""
    try:
        packet, descriptors, _, _ = socket.recv_fds(line, LONGEST_ANSWER, 1, socket.MSG_DONTWAIT)
    except BlockingIOError:
        return None
    except ConnectionError:
        raise EOFError from None
    try:
        if not packet:
            raise EOFError
        return _decode_answer(packet), b"".join(_content(descriptor) for descriptor in descriptors)
    finally:
        for descriptor in descriptors:
            os.close(descriptor)


def _content(descriptor: int) -> bytes:
    return os.pread(descriptor, min(os.fstat(descriptor).st_size, LARGEST_CONTENT), 0)
