"""valija destinations: on a real server with two workers, and without one."""

import json
import re
from pathlib import Path
from typing import Any

from tests.cli.here import Here
from tests.live import LiveServer, message
from tests.sink import CatchingSink


def test_without_a_server_it_says_so(tmp_path: Path) -> None:
    result = Here(tmp_path).run("destinations")
    assert result.exit_code == 1
    assert "no server is running" in result.stderr
    assert "valija serve" in result.stderr


def rows_of(server: LiveServer, *arguments: str) -> list[dict[str, Any]]:
    done = server.valija("destinations", "--json", *arguments)
    assert done.returncode == 0, done.stderr
    rows: list[dict[str, Any]] = json.loads(done.stdout)
    return rows


def test_it_tells_how_mail_fares() -> None:
    with CatchingSink() as sink, LiveServer({"workers": 2, "smtp": {"relayhost": sink.relayhost}}) as server:
        assert rows_of(server) == []
        assert "no mail has gone out yet" in server.valija("destinations").stdout
        server.add_user("alice@example.org", "secret")
        for number in range(4):
            since = server.log.mark()
            server.submit("alice@example.org", "secret", "bob@example.net", message(f"hello {number}"))
            server.wait_for_log("removed", since=since)

        [row] = rows_of(server)
        assert row["next_hop"] == "127.0.0.1"
        assert (row["delivered"], row["deferred"], row["failed"]) == (4, 0, 0)
        assert (row["waiting"], row["rate"], row["throttled"], row["suspended"]) == (0, None, None, None)
        assert row["connection_limit"] in (10, 15)  # 20, halved between two workers, of which each begins with 5
        assert row["tls"] == "none"
        assert rows_of(server, "127.0.0.1") == [row]
        assert rows_of(server, "elsewhere.example") == []

        told = server.valija("destinations").stdout
        assert re.search(r"127\.0\.0\.1.*: 0 waiting, \d connections .* no limit, TLS none", told)
        assert "4 delivered, 0 deferred, 0 failed" in told


def test_a_dead_next_hop_is_told_with_its_reason_and_tried_when_asked() -> None:
    with CatchingSink() as sink:
        relayhost = sink.relayhost
    with LiveServer({"workers": 1, "smtp": {"relayhost": relayhost}}) as server:
        server.add_user("alice@example.org", "secret")
        for number in range(3):
            since = server.log.mark()
            server.submit("alice@example.org", "secret", "bob@example.net", message(f"hello {number}"))
            server.wait_for_log("deferred", since=since)
        [row] = rows_of(server)
        assert row["deferred"] >= 3
        assert "No connection to 127.0.0.1" in row["suspended"]["reply"]
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT.*", row["suspended"]["next_try"])
        assert row["suspects"][0]["failures"] >= 1
        told = server.valija("destinations").stdout
        assert "not usable since" in told
        assert "next try" in told
