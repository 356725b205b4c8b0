"""What tests of crashes share: a client that tries until it has its 250, and a look at what the queue holds.

tries = send(server.smtpd, "alice@example.net", "bob@remote.example", content)
tries.cut_off                   # how often the server went away between the end of the content and its 250
queued(server)                  # the pending recipients, with no command started for it
"""

import os
import smtplib
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from tests.live import HOST, LiveServer
from tests.sink import CatchingSink, _Session
from valija.queue.directory import QueueDirectory
from valija.queue.store import Listed

PATIENCE: Final = 30.0  # seconds for a message to be taken, or for the queue to become empty
_PAUSE: Final = threading.Event()  # never set: a server that is down is not worth a busy loop


@dataclass
class Tries:
    """How often a client began, was left without an answer to its content, and what answers it had before the 250."""

    begun: int = 0
    cut_off: int = 0
    refusals: list[str] = field(default_factory=list)


def send(port: int, sender: str, recipient: str, content: bytes) -> Tries:
    """Send a message until it is taken, as a client with a queue of its own does."""
    tries, end = Tries(), time.monotonic() + PATIENCE
    while True:
        assert time.monotonic() < end, f"{recipient} was not taken in {PATIENCE} s"
        try:
            if _try(port, sender, recipient, content, tries):
                return tries
        except (OSError, smtplib.SMTPException):
            _PAUSE.wait(0.01)


def _try(port: int, sender: str, recipient: str, content: bytes, tries: Tries) -> bool:
    tries.begun += 1
    with smtplib.SMTP(HOST, port, timeout=20) as client:
        client.ehlo()
        if client.mail(sender)[0] != 250 or client.rcpt(recipient)[0] != 250:
            return False
        tries.cut_off += 1
        code, words = client.data(content)
        tries.cut_off -= 1
        if code != 250:
            tries.refusals.append(f"{code} {words.decode()}")
        return code == 250


def listed(server: LiveServer) -> list[Listed]:
    """Return the messages in the queue, as the files have them."""
    with QueueDirectory(server.data_dir / "queue") as queue:
        return list(queue.list(100_000))


def queued(server: LiveServer) -> set[str]:
    """Return the pending recipients."""
    return {recipient.address for each in listed(server) for recipient in each.recipients}


def wait_until_empty(server: LiveServer) -> None:
    """Return when nothing is queued any more."""
    end = time.monotonic() + PATIENCE
    while left := listed(server):
        assert time.monotonic() < end, f"still queued after {PATIENCE} s: {left}"
        _PAUSE.wait(0.02)


def in_mailbox(server: LiveServer, local_part: str = "postmaster") -> int:
    """Return how many messages lie in a mailbox of example.org."""
    new = server.data_dir / "mail" / "example.org" / local_part / "new"
    return len(os.listdir(new)) if new.is_dir() else 0


@contextmanager
def failing(plan: str) -> Iterator[None]:
    """Have servers that are started inside fail as a plan says (see valija/faults/plan)."""
    with environment({"VALIJA_FAULT": plan}):
        yield


@contextmanager
def environment(values: Mapping[str, str]) -> Iterator[None]:
    """Set variables for the processes that are started inside."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


class LmtpSink(CatchingSink):
    """A CatchingSink that speaks LMTP, to one recipient at a time."""

    def __init__(self) -> None:
        super().__init__()
        self._server.RequestHandlerClass = _LmtpSession


class _LmtpSession(_Session):
    def answer(self, verb: str, argument: str) -> None:
        super().answer("EHLO" if verb == "LHLO" else verb, argument)
