"""kill -9 under load, again and again: of every process at random instants, and at every fault point by chance.

What got its 250 is not lost. A second copy is allowed where a crash fell between the peer's answer and its record, and
nowhere else.
"""

import random
import re
import time
from typing import Final

import pytest

from tests.crash.accounting import failing
from tests.crash.load import CrashSink, Load, settle_up
from tests.live import LiveServer
from tests.tally import Tally
from valija.faults.plan import POINTS

KILLS: Final = 8
KILLS_SOAK: Final = 500
FAULTS: Final = 6
FAULTS_SOAK: Final = 400
SHORTEST_LIFE, LONGEST_LIFE = 0.02, 0.6  # seconds under load before the next kill
SETTINGS: Final = {"mynetworks": ["127.0.0.1/32"], "workers": 2}

# Passed before the server is ready, where a kill is a start that fails.
AT_THE_START: Final = ("recovery.", "adoption.", "disk.")


@pytest.mark.timeout(1800)
def test_nothing_accepted_is_lost(request: pytest.FixtureRequest, tally: Tally) -> None:
    kills = KILLS_SOAK if request.config.getoption("--soak") else KILLS
    chance = random.Random()
    with CrashSink() as sink, LiveServer({**SETTINGS, "smtp": {"relayhost": sink.relayhost}}) as server:
        load = Load(server.smtpd)
        for _ in range(kills):
            time.sleep(chance.uniform(SHORTEST_LIFE, LONGEST_LIFE))  # the random instant, not a wait
            server.kill()
            server.start()
        load.end()
        account = settle_up(server, sink, load)
    assert account.accepted > kills, "the load was too thin to prove anything"
    account.assert_sound()
    tally(
        "crash",
        kills=kills,
        accepted=account.accepted,
        delivered=account.delivered,
        queued=account.queued,
        held_meanwhile=account.held,
        duplicates=account.duplicates,
        lost=len(account.lost),
    )


def _start_at_last(server: LiveServer) -> None:
    """Start a server that may be killed before it is ready, as often as that takes."""
    while True:
        since = server.log.mark()
        try:
            server.start()
            return
        except AssertionError:
            server.wait_for_log("valija: fault", 0.1, since)  # nothing else may keep it from starting
            server.kill()


@pytest.mark.timeout(1800)
def test_kills_at_every_step_at_once(request: pytest.FixtureRequest, tally: Tally) -> None:
    wanted = FAULTS_SOAK if request.config.getoption("--soak") else FAULTS
    plan = ",".join(f"{point}:kill@1%" for point in POINTS if not point.startswith(AT_THE_START))
    with CrashSink() as sink, LiveServer({**SETTINGS, "smtp": {"relayhost": sink.relayhost}}) as server:
        server.stop()
        with failing(plan):
            server.start()
            load = Load(server.smtpd, ("remote", "refused", "mailbox"))
            for _ in range(wanted):
                server.wait_for_log("valija: fault", since=server.log.mark())
                server.kill()  # the others of its processes too, wherever they are
                _start_at_last(server)
            load.end()
        server.kill()
        server.start()
        account = settle_up(server, sink, load)
        struck = re.findall(r"fault (\S+): kill", server.log.text)
    account.assert_sound()
    assert len(struck) >= wanted
    tally(
        "crash",
        kills=len(struck),
        points=len(set(struck)),
        accepted=account.accepted,
        delivered=account.delivered,
        bounced=account.bounced,
        queued=account.queued,
        duplicates=account.duplicates,
        lost=len(account.lost),
    )
