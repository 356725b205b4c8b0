"""kill -9 of every process of the server, again and again at random instants under load: what got its 250 is not lost.

Each message has a recipient of its own, so that a message can be followed from its 250 to the sink, or into the queue.
A duplicate is allowed where a kill fell between the sink's 250 and its record; a loss is not.
"""

import random
import smtplib
import threading
import time
from collections import Counter
from contextlib import suppress
from typing import Final

import pytest

from tests.live import HOST, LiveServer, message
from tests.sink import CatchingSink
from tests.tally import Tally

KILLS: Final = 50
KILLS_SOAK: Final = 500
CLIENTS: Final = 4
SHORTEST_LIFE, LONGEST_LIFE = 0.02, 0.6  # seconds under load before the next kill
SETTLING: Final = 60.0  # seconds for the last server to deliver what is left


class Load:
    """Clients that send without pause to `port`, whoever answers there, and note each recipient that got its 250."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._number = 0
        self.accepted: list[str] = []
        self._threads = [threading.Thread(target=self._client, args=(seed,), daemon=True) for seed in range(CLIENTS)]
        for thread in self._threads:
            thread.start()

    def end(self) -> None:
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
                recipient = self._next_recipient()
                # Both ways of the queue: small contents ride in the row, large ones lie in files.
                padding = "x" * 70 + "\n"
                mail = message("crash", "load@example.net", recipient)
                mail.set_content(padding * chance.choice([1, 60, 60, 60, 6000]))
                client.sendmail("load@example.net", [recipient], mail.as_bytes())
                with self._lock:
                    self.accepted.append(recipient)

    def _next_recipient(self) -> str:
        with self._lock:
            self._number += 1
            return f"m{self._number}@remote.example"


def _queued(server: LiveServer) -> set[str]:
    return {recipient["address"] for each in server.queue() for recipient in each["recipients"]}


def _release_held(server: LiveServer) -> int:
    """Let those go that three crashes put on hold; return how many there were."""
    held = [each["queue_id"] for each in server.queue() if each["hold"]]
    for queue_id in held:
        assert server.valija("queue", "release", queue_id).returncode == 0
    return len(held)


@pytest.mark.timeout(1800)
def test_nothing_accepted_is_lost(request: pytest.FixtureRequest, tally: Tally) -> None:
    kills = KILLS_SOAK if request.config.getoption("--soak") else KILLS
    chance = random.Random()
    settings = {"mynetworks": ["127.0.0.1/32"], "workers": 2}
    with CatchingSink() as sink, LiveServer({**settings, "smtp": {"relayhost": sink.relayhost}}) as server:
        load = Load(server.smtpd)
        for _ in range(kills):
            time.sleep(chance.uniform(SHORTEST_LIFE, LONGEST_LIFE))  # the random instant, not a wait
            server.kill()
            server.start()
        load.end()
        held = _release_held(server)
        missing = _wait_for_all(sink, server, set(load.accepted))
        queued = _queued(server)
    caught = Counter(recipient for each in sink.caught for recipient in each.recipients)
    lost = missing - queued
    duplicates = sum(caught[recipient] - 1 for recipient in load.accepted if caught[recipient] > 1)
    assert len(load.accepted) > kills, "the load was too thin to prove anything"
    assert not lost
    delivered = len(set(load.accepted)) - len(missing)
    tally(
        "crash",
        kills=kills,
        accepted=len(load.accepted),
        delivered=delivered,
        queued=len(missing & queued),
        held_meanwhile=held,
        duplicates=duplicates,
        lost=len(lost),
    )


def _wait_for_all(sink: CatchingSink, server: LiveServer, accepted: set[str]) -> set[str]:
    """Return those of `accepted` that the sink has not got when it has all, or when SETTLING seconds have passed."""
    end = time.monotonic() + SETTLING
    while True:
        with sink.changed:
            missing = accepted - {recipient for each in sink.caught for recipient in each.recipients}
            left = end - time.monotonic()
            if not missing or left <= 0:
                return missing
            sink.changed.wait(min(left, 1.0))
        if missing <= _held(server):
            return missing


def _held(server: LiveServer) -> set[str]:
    return {recipient["address"] for each in server.queue() if each["hold"] for recipient in each["recipients"]}
