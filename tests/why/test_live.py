"""A real server's history: what it told is found while it runs, after a restart, and when it is stopped."""

import json
import re
import smtplib
import stat
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.live import HOST, LiveServer, message
from tests.sink import CatchingSink

ALICE, PASSWORD = "alice@example.org", "correct horse battery"
SLOW = {"queue": {"minimal_backoff_time": "1h", "maximal_backoff_time": "1h"}}
NOBODY_THERE = {"smtp": {"relayhost": f"[{HOST}]:1"}}


def why(server: LiveServer, what: str, *options: str) -> dict[str, Any]:
    done = server.valija("why", what, "--json", *options)
    assert done.returncode == 0, done.stdout + done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def abouts(story: dict[str, Any]) -> list[str]:
    return [entry["about"] for entry in story["timeline"]]


def history(server: LiveServer) -> list[Path]:
    return list((server.data_dir / "history").iterdir())


def until(condition: Callable[[], bool], deadline: float = 20.0) -> None:
    """Look again and again whether something has come about."""
    end = time.monotonic() + deadline
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def submitted(server: LiveServer, recipient: str = "bob@example.net") -> str:
    """Hand a message in; return its queue id."""
    since = server.log.mark()
    server.submit(ALICE, PASSWORD, recipient, message("hello", recipient=recipient))
    return server.wait_for_log(r"accepted .*queue_id=(\w+)", since=since)[1]


@pytest.mark.parametrize("form", ["text", "json"])
def test_a_delivery_is_told_after_a_restart_as_well(form: str) -> None:
    with CatchingSink() as sink, LiveServer({"smtp": {"relayhost": sink.relayhost}, "log": {"format": form}}) as server:
        server.add_user(ALICE, PASSWORD)
        server.submit(ALICE, PASSWORD, "bob@example.net", message("hello"))
        queue_id = server.wait_for_log(r"removed\W+queue_id\W+(\w+)")[1]
        while_running = why(server, queue_id)["stories"][0]
        server.stop()
        assert why(server, queue_id)["stories"][0] == while_running
        server.start()
        story = why(server, queue_id)["stories"][0]
        assert story == while_running
        assert story["state"] == "delivered"
        assert abouts(story) == ["session", "accepted", "route", "dns", "attempt", "removed"]
        assert ALICE in story["timeline"][0]["said"][1]
        for what in (ALICE, "BOB@example.net"):
            assert queue_id in [each["subject"] for each in why(server, what)["stories"]]
        assert why(server, HOST)["stories"][0]["kind"] == "client"
        assert server.valija("why", "stranger@example.net").returncode == 1
        assert server.valija("why", ALICE, "--since", "0s").returncode == 1


def test_a_crash_loses_no_whole_line_and_a_torn_one_is_ignored() -> None:
    with LiveServer({**NOBODY_THERE, **SLOW}) as server:
        server.add_user(ALICE, PASSWORD)
        queue_id = submitted(server)
        server.wait_for_log("deferred  queue_id")
        server.kill()
        with (server.data_dir / "history" / "worker-0.log").open("ab") as file:
            file.write(b"2026-11-25T04:38:48.608Z info  attempt  queue_id=" + queue_id.encode() + b" recipient=bo")
        story = why(server, queue_id)["stories"][0]
        assert story["state"] == "deferred"
        assert abouts(story)[-1] == "deferred"
        server.start()
        assert why(server, queue_id)["stories"][0] == story


def test_a_quieter_log_has_the_same_history_and_secrets_are_in_neither() -> None:
    with LiveServer({**NOBODY_THERE, **SLOW}) as server:
        server.add_user(ALICE, PASSWORD)
        server.stop()
        server.configuration.write_text(server.configuration.read_text() + '\n[log]\nlevel = "error"\n')
        _start_silently(server)
        with smtplib.SMTP(HOST, server.submission, timeout=10) as client:
            client.starttls()
            with pytest.raises(smtplib.SMTPAuthenticationError) as refused:
                client.login(ALICE, "wrong horse")
        server.submit(ALICE, PASSWORD, "bob@example.net", message("hello"))
        told = re.search(r"\(session (\w{9})\)", str(refused.value.smtp_error))
        assert told
        server.stop()
        story = why(server, told[1])["stories"][0]
        assert story["state"] == "refused"
        assert "wrong" in story["cause"][0]
        assert [each["state"] for each in why(server, "bob@example.net")["stories"]] == ["deferred"]
        kept = b"".join(path.read_bytes() for path in history(server))
        assert b"horse" not in kept
        assert "info" not in server.log.text[server.log.text.rindex("stopped") :]


def _start_silently(server: LiveServer) -> None:
    """Start a server whose log does not say that it is ready: its control socket is asked."""
    wait, server.log.wait_for = server.log.wait_for, lambda *_: None  # type: ignore[method-assign,assignment]
    server.start()
    server.log.wait_for = wait  # type: ignore[method-assign]
    until(lambda: server.valija("status").returncode == 0)


def test_files_are_the_services_alone_and_gone_with_the_setting() -> None:
    with LiveServer(NOBODY_THERE) as server:
        server.add_user(ALICE, PASSWORD)
        submitted(server)
        owner = (server.data_dir / "queue").stat().st_uid
        folder = server.data_dir / "history"
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert {(path.stat().st_uid, stat.S_IMODE(path.stat().st_mode)) for path in history(server)} == {(owner, 0o600)}
        server.configuration.write_text(server.configuration.read_text() + '\n[history]\nkeep = "0s"\n')
        assert server.valija("reload").returncode == 0
        until(lambda: not history(server))
        done = server.valija("why", ALICE)
        assert done.returncode == 0, "the queue still has the message"
        done = server.valija("why", "x@example.net")
        assert done.returncode == 1
        assert "no history is kept" in done.stderr


def test_what_a_command_does_while_no_server_runs_is_told_too() -> None:
    with LiveServer({**NOBODY_THERE, **SLOW}) as server:
        server.add_user(ALICE, PASSWORD)
        first, second = submitted(server), submitted(server, "eve@example.net")
        assert server.valija("queue", "hold", first).returncode == 0
        held = why(server, first)["stories"][0]
        assert held["state"] == "held"
        assert "valija queue hold" in held["cause"][0]
        server.stop()
        assert server.valija("queue", "delete", second).returncode == 0
        deleted = why(server, second)["stories"][0]
        assert deleted["state"] == "removed"
        assert "valija queue delete" in deleted["now"][0]
