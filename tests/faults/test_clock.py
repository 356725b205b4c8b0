"""The clock jumps ten days, both ways, below a running server: nothing is bounced for it, and nothing waits ten days.

libfaketime moves the wall clock of the server's processes alone; what measures intervals goes on as it did.
"""

import shutil
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import pytest

from tests.crash.accounting import environment, listed, send, wait_until_empty
from tests.live import LiveServer, Settings, as_toml, message, overlay
from tests.sink import CatchingSink
from tests.tally import Tally

SENDER: Final = "alice@example.net"
DEAD: Final = {"mynetworks": ["127.0.0.1/32"], "smtp": {"relayhost": "[127.0.0.1]:1"}}
PATIENT: Final = {"queue": {"minimal_backoff_time": "1s", "maximal_backoff_time": "1h"}}


class Clock:
    """The clock of the processes started within `moved`."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.jump(0)

    def jump(self, days: int) -> None:
        """Have the wall clock be so many days off."""
        new = self._file.with_suffix(".new")
        new.write_text(f"{days:+d}d\n")
        new.chmod(0o644)
        new.rename(self._file)


def library() -> Path:
    """Return libfaketime, as Debian places it."""
    if not shutil.which("faketime"):
        pytest.skip("faketime is not installed")
    return next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))


@contextmanager
def movable(settings: Settings) -> Iterator[tuple[LiveServer, Clock]]:
    """Run a server whose clock can be set."""
    preload = str(library())
    server = LiveServer(settings)
    clock = Clock(server.folder / "clock")
    moved = {
        "LD_PRELOAD": preload,
        "FAKETIME_TIMESTAMP_FILE": str(server.folder / "clock"),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }
    with ExitStack() as running:
        with environment(moved):
            running.enter_context(server)
        yield server, clock


def date(days: int) -> str:
    """Return the date in so many days."""
    return f"{datetime.now(UTC) + timedelta(days=days):%Y-%m-%d}"


def queue_one(server: LiveServer) -> None:
    send(server.smtpd, SENDER, "bob@remote.example", message("clock", SENDER).as_bytes())
    server.wait_for_log("deferred  queue_id")


def open_the_way(server: LiveServer, sink: CatchingSink) -> None:
    """Have a running server reach the sink from now on."""
    server.configuration.write_text(as_toml(overlay(server.settings, {"smtp": {"relayhost": sink.relayhost}})))
    assert server.valija("reload").returncode == 0


def test_c110_ten_days_ahead_what_waits_is_tried_and_not_bounced_unseen(sink: CatchingSink, tally: Tally) -> None:
    with movable(DEAD) as (server, clock):
        queue_one(server)
        open_the_way(server, sink)
        clock.jump(10)
        assert server.valija("queue", "retry", "--all").returncode == 0
        server.wait_for_log(rf"^{date(10)}\S+ info  attempt .*outcome=delivered")
        caught = sink.wait_for(1)
        wait_until_empty(server)
    assert [each.recipients for each in caught] == [("bob@remote.example",)]
    tally("faults", jumps=1, accepted=1, delivered=1, bounced=0, lost=0)


def test_c110_ten_days_back_what_waits_is_tried_in_the_normal_interval(sink: CatchingSink, tally: Tally) -> None:
    with movable(overlay(DEAD, PATIENT)) as (server, clock):
        clock.jump(10)
        queue_one(server)
        queue_one(server)
        open_the_way(server, sink)
        waiting, other = listed(server)
        assert waiting.recipients[0].next_attempt > time.time() + 9 * 86_400
        clock.jump(0)
        assert server.valija("queue", "hold", other.queue_id).returncode == 0  # so the server looks at its queue now
        server.wait_for_log("was the clock set back")
        sink.wait_for(1)
        assert server.valija("queue", "release", other.queue_id).returncode == 0
        sink.wait_for(2)
        wait_until_empty(server)
    assert len(sink.caught) == 2
    tally("faults", jumps=1, accepted=2, delivered=2, bounced=0, lost=0)


def test_c110_there_and_back_again_nothing_is_lost_and_new_mail_passes(sink: CatchingSink, tally: Tally) -> None:
    with movable(overlay({"mynetworks": ["127.0.0.1/32"]}, {"smtp": {"relayhost": sink.relayhost}})) as (server, clock):
        for number, days in enumerate((10, -10, 0)):
            clock.jump(days)
            send(server.smtpd, SENDER, f"m{number}@remote.example", message("clock", SENDER).as_bytes())
        sink.wait_for(3)
        wait_until_empty(server)
        assert "worker died" not in server.log.text
    assert {each.recipients for each in sink.caught} == {(f"m{number}@remote.example",) for number in range(3)}
    tally("faults", jumps=3, accepted=3, delivered=3, bounced=0, lost=0)
