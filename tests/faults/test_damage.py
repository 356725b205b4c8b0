"""A queue file that is damaged: set aside with its bodies, the log says what, the rest runs, and new mail is taken."""

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Final

import apsw
import pytest

from tests.crash.accounting import listed, queued, send, wait_until_empty
from tests.live import LiveServer, as_toml, message, overlay
from tests.sink import CatchingSink
from tests.tally import Tally

SENDER: Final = "alice@example.net"
SETTINGS: Final = {"mynetworks": ["127.0.0.1/32"], "workers": 2}
PAGE: Final = 4096
MESSAGES: Final = 40


def garbage_in_the_header(file: Path) -> None:
    _overwrite(file, 0, 100)


def garbage_in_the_middle(file: Path) -> None:
    _overwrite(file, PAGE, file.stat().st_size - PAGE)


def truncated(file: Path) -> None:
    os.truncate(file, file.stat().st_size // 2 // PAGE * PAGE)


def _overwrite(file: Path, start: int, count: int) -> None:
    with file.open("r+b") as open_file:
        open_file.seek(start)
        open_file.write(os.urandom(count))


def make_due(file: Path) -> None:
    """Do what `valija queue retry` does, without its look at the file, which would refuse."""
    connection = apsw.Connection(str(file))
    connection.execute("UPDATE recipient SET next_attempt = 0").fetchall()
    connection.close()


def fill(server: LiveServer) -> None:
    """Queue messages at both workers, and leave the server stopped, its files whole."""
    for number in range(MESSAGES):
        send(server.smtpd, SENDER, f"m{number}@remote.example", message("damage", SENDER).as_bytes())
    server.stop()


def damaged(server: LiveServer) -> Path:
    """Return the file of the worker that holds more messages, so that there is something to damage."""
    files = sorted((server.data_dir / "queue").glob("worker-*.sqlite3"), key=lambda file: file.stat().st_size)
    assert len(files) == 2
    return files[-1]


@pytest.mark.parametrize("damage", [garbage_in_the_header, garbage_in_the_middle, truncated])
def test_what_is_damaged_is_set_aside_and_the_rest_runs(
    damage: Callable[[Path], None], sink: CatchingSink, tally: Tally
) -> None:
    with LiveServer(overlay(SETTINGS, {"smtp": {"relayhost": "[127.0.0.1]:1"}})) as server:
        fill(server)
        file = damaged(server)
        all_of_it = queued(server)
        kept_back = file.with_name("kept-back")
        file.rename(kept_back)
        rest = queued(server)
        kept_back.rename(file)
        damage(file)
        octets = file.read_bytes()
        server.configuration.write_text(as_toml(overlay(server.settings, {"smtp": {"relayhost": sink.relayhost}})))
        since = server.log.mark()
        server.start()
        told = server.wait_for_log(r"queue file set aside .*path=(\S+) reason=\"?(.*)", since=since)
        assert told[1] == str(file)
        send(server.smtpd, SENDER, "new@remote.example", message("new", SENDER).as_bytes())
        assert server.valija("queue", "retry", "--all").returncode == 0
        sink.wait_for(len(rest) + 1)
        wait_until_empty(server)
        (aside,) = file.parent.glob(f"{file.name}.damaged-??????????")
        assert aside.read_bytes() == octets
        assert aside.name in told[2]
    arrived = {recipient for each in sink.caught for recipient in each.recipients}
    assert arrived == rest | {"new@remote.example"}
    assert len(all_of_it) == MESSAGES
    tally("faults", accepted=MESSAGES + 1, delivered=len(arrived), set_aside=MESSAGES - len(rest), lost=0)


def test_damage_that_shows_while_the_server_runs(sink: CatchingSink, tally: Tally) -> None:
    """The worker that meets it ends, and the one that comes next sets the file aside, of whatever size it is."""
    mail = message("damage", SENDER)
    mail.set_content(("x" * 70 + "\n") * 3000)  # 40 times 216 kB are more than SQLite keeps in memory
    with LiveServer({**SETTINGS, "workers": 1, "smtp": {"relayhost": "[127.0.0.1]:1"}}) as server:
        for number in range(MESSAGES):
            send(server.smtpd, SENDER, f"m{number}@remote.example", mail.as_bytes())
        server.stop()
        server.configuration.write_text(as_toml(overlay(server.settings, {"smtp": {"relayhost": sink.relayhost}})))
        server.start()
        file = server.data_dir / "queue" / "worker-0.sqlite3"
        size = file.stat().st_size
        _overwrite(file, size // 2 // PAGE * PAGE, size // 4)
        since = server.log.mark()
        make_due(file)
        server.wait_for_log("queue file is damaged .*worker=0", since=since)
        told = server.wait_for_log(r"queue file set aside .*path=(\S+)", since=since)
        assert told[1] == str(file)
        server.wait_for_log("queue opened", since=since)
        send(server.smtpd, SENDER, "new@remote.example", message("new", SENDER).as_bytes())
        wait_until_empty(server)
        assert list(file.parent.glob(f"{file.name}.damaged-??????????"))
        assert not list(file.parent.glob("*.suspect"))
        assert server.log.text.count("worker died") == 1
    arrived = [recipient for each in sink.caught for recipient in each.recipients]
    assert arrived[-1] == "new@remote.example"
    whole = [each.content.count(b"x" * 70) for each in sink.caught if each.recipients != ("new@remote.example",)]
    tally("faults", accepted=MESSAGES + 1, delivered=len(arrived), set_aside=MESSAGES + 1 - len(arrived), lost=0)
    assert set(whole) <= {3000}


def test_a_damaged_write_ahead_log_costs_what_stood_behind_the_damage(sink: CatchingSink, tally: Tally) -> None:
    """SQLite reads its log up to the first frame that is not whole: an older state, never a broken one."""
    with LiveServer({**SETTINGS, "workers": 1, "smtp": {"relayhost": "[127.0.0.1]:1"}}) as server:
        for number in range(10):
            send(server.smtpd, SENDER, f"m{number}@remote.example", message("damage", SENDER).as_bytes())
        server.kill()
        log = server.data_dir / "queue" / "worker-0.sqlite3-wal"
        _overwrite(log, log.stat().st_size - PAGE, PAGE)
        since = server.log.mark()
        server.start()
        opened = server.wait_for_log(r"queue opened .*messages=(\d+)", since=since)
        assert 0 < int(opened[1]) <= 10
        assert len(listed(server)) == int(opened[1])
        assert not re.search("set aside", server.log.text)
        send(server.smtpd, SENDER, "new@remote.example", message("new", SENDER).as_bytes())
        assert "new@remote.example" in queued(server)
    tally("faults", accepted=11, queued=int(opened[1]) + 1, gone_with_the_damage=10 - int(opened[1]))
