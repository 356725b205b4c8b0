"""Load without pause, and an account of what became of each message: delivered, queued, bounced, or lost.

    with CrashSink() as sink, LiveServer(...) as server:
        load = Load(server.smtpd)
        ...                                        # kills
        load.end()
        account = settle_up(server, sink, load)    # waits until everything has left the queue
        assert not account.lost

Each message has a recipient and a sender of its own: `m7@remote.example` is taken by the sink, `gone7@remote.example`
refused there, so that a bounce comes to `postmaster+b7@example.org`; `postmaster+m7@example.org` has a mailbox here.
"""

import random
import re
import smtplib
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import Final, NamedTuple

from tests.crash.accounting import listed
from tests.live import HOST, LiveServer, message
from tests.sink import CatchingSink, Caught, _Session

CLIENTS: Final = 4
SETTLING: Final = 60.0  # seconds for the last server to deliver what is left

_LINE: Final = "x" * 70 + "\n"
_LINES: Final = (1, 60, 60, 60, 6000)
"""Both ways of the queue: small contents ride in the row, large ones lie in files."""


class Sent(NamedTuple):
    """A message that got its 250, and where it has to appear: at its recipient, or at the sender who is told."""

    recipient: str
    appears_at: str

    @property
    def bounces(self) -> bool:
        return self.recipient != self.appears_at


class Load:
    """Clients that send without pause to `port`, whoever answers there, and note each message that got its 250.

    `kinds` are the kinds of recipients, chosen from by chance: `remote`, `refused`, `mailbox`.
    """

    def __init__(self, port: int, kinds: tuple[str, ...] = ("remote",)) -> None:
        self._port = port
        self._kinds = kinds
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._number = 0
        self.accepted: list[Sent] = []
        self._threads = [threading.Thread(target=self._client, args=(seed,), daemon=True) for seed in range(CLIENTS)]
        for thread in self._threads:
            thread.start()

    def wait_for(self, accepted: int, deadline: float = 30.0) -> None:
        """Return when so many messages were accepted."""
        end = time.monotonic() + deadline
        while len(self.accepted) < accepted:
            assert time.monotonic() < end, f"{len(self.accepted)} of {accepted} messages were accepted in {deadline} s"
            self._stop.wait(0.01)

    def end(self) -> None:
        """Stop; a client that does not is a server that neither answers nor goes away."""
        self._stop.set()
        for thread in self._threads:
            thread.join(30)
            assert not thread.is_alive(), "a client hangs: the server neither answered nor went away"

    def _client(self, seed: int) -> None:
        chance = random.Random(seed)
        while not self._stop.is_set():
            with suppress(OSError, smtplib.SMTPException):
                self._session(chance)
            self._stop.wait(0.01)  # a server that is down is not worth a busy loop

    def _session(self, chance: random.Random) -> None:
        with smtplib.SMTP(HOST, self._port, timeout=20) as client:
            while not self._stop.is_set():
                sender, sent = self._next(chance.choice(self._kinds))
                mail = message("crash", sender, sent.recipient)
                mail.set_content(_LINE * chance.choice(_LINES))
                client.sendmail(sender, [sent.recipient], mail.as_bytes())
                with self._lock:
                    self.accepted.append(sent)

    def _next(self, kind: str) -> tuple[str, Sent]:
        with self._lock:
            self._number += 1
            number = self._number
        sender = f"postmaster+b{number}@example.org"
        if kind == "refused":
            return sender, Sent(f"gone{number}@remote.example", sender)
        recipient = f"postmaster+m{number}@example.org" if kind == "mailbox" else f"m{number}@remote.example"
        return sender, Sent(recipient, recipient)


class CrashSink(CatchingSink):
    """Takes all but recipients whose local part begins with `gone`, and notes when."""

    def __init__(self) -> None:
        super().__init__()
        self.times: dict[str, list[float]] = defaultdict(list)
        self._server.RequestHandlerClass = _RefusingSome

    def add(self, caught: Caught) -> None:
        with self.changed:
            for recipient in caught.recipients:
                self.times[recipient].append(time.time())
        super().add(caught)


class _RefusingSome(_Session):
    def answer(self, verb: str, argument: str) -> None:
        if verb == "RCPT" and "<gone" in argument:
            self.reply("550 5.1.1 no such user here")
        else:
            super().answer(verb, argument)


@dataclass
class Account:
    """What became of the messages that were accepted, and what had to be done for it."""

    accepted: int
    delivered: int
    bounced: int
    queued: int
    lost: set[Sent]
    duplicates: int
    unexplained: list[str]
    held: int

    def assert_sound(self) -> None:
        """Fail where anything is lost, came twice without a crash in between, or is not accounted for."""
        assert not self.lost
        assert not self.unexplained
        assert self.accepted == self.delivered + self.bounced + self.queued


def settle_up(server: LiveServer, sink: CrashSink, load: Load) -> Account:
    """Let the server deliver what is left, also what crashes put on hold, and account for all of it."""
    held = _release_held(server)
    accepted = set(load.accepted)
    queued = _wait_until_settled(server)
    arrivals = {**sink.times, **_in_mailboxes(server)}
    there = {sent for sent in accepted if sent.appears_at in arrivals}
    return Account(
        accepted=len(accepted),
        delivered=sum(not sent.bounces for sent in there),
        bounced=sum(sent.bounces for sent in there),
        queued=sum(sent.recipient in queued for sent in accepted - there),
        lost={sent for sent in accepted - there if sent.recipient not in queued},
        duplicates=sum(len(times) - 1 for times in arrivals.values()),
        unexplained=list(_unexplained(arrivals, _crashes(server))),
        held=held,
    )


def _release_held(server: LiveServer) -> int:
    """Let those go that three crashes put on hold; return how many there were."""
    held = [each.queue_id for each in listed(server) if each.hold]
    for queue_id in held:
        assert server.valija("queue", "release", queue_id).returncode == 0
    return len(held)


def _wait_until_settled(server: LiveServer) -> set[str]:
    """Wait until nothing is pending, or SETTLING seconds have passed; return the recipients that are."""
    end = time.monotonic() + SETTLING
    while True:
        left = {recipient.address for each in listed(server) for recipient in each.recipients}
        if not left or time.monotonic() > end:
            return left
        threading.Event().wait(0.05)


def _in_mailboxes(server: LiveServer) -> dict[str, list[float]]:
    """Return when messages were put into postmaster's mailbox, by the address that they were delivered to."""
    times: dict[str, list[float]] = defaultdict(list)
    for file in (server.data_dir / "mail" / "example.org" / "postmaster" / "new").glob("*"):
        delivered_to = re.search(rb"^Delivered-To: (\S+)", file.read_bytes(), re.MULTILINE)
        assert delivered_to, f"{file} says not to whom it was delivered"
        times[delivered_to[1].decode()].append(file.stat().st_mtime)
    return {address: sorted(each) for address, each in times.items()}


def _crashes(server: LiveServer) -> list[float]:
    """Return when queues were opened, and when faults struck, by the times in the log itself."""
    text = server.log.text
    opened = re.findall(r"^(\S+)Z info  queue opened", text, re.MULTILINE)
    struck = re.findall(r"^valija: fault .* at (\S+)$", text, re.MULTILINE)
    return [datetime.fromisoformat(f"{moment}+00:00").timestamp() for moment in opened] + list(map(float, struck))


def _unexplained(arrivals: dict[str, list[float]], crashes: list[float]) -> Iterator[str]:
    """Yield who got a second copy with no crash in between: that is the only excuse."""
    for address, times in arrivals.items():
        for first, second in pairwise(times):
            if not any(first - 0.1 <= crash <= second + 0.1 for crash in crashes):
                yield address
