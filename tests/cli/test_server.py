"""valija status and valija reload, with a control socket and without; and serve's own words."""

import asyncio
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from tests.cli.here import Here
from valija.admin.control import SOCKET_NAME, Arguments, ControlError, ControlServer
from valija.admin.status import Status, WorkerStatus
from valija.logs import LogBuffer, build_log

LOG = build_log("error", "text", LogBuffer(os.open(os.devnull, os.O_WRONLY)))


class Controlled:
    """A control socket in a thread; `faults` are what a reload finds."""

    def __init__(self, path: Path) -> None:
        self.faults: list[str] = []
        self.worker = WorkerStatus(0, 8, 2.5)
        self.told: list[str] = []
        self._path = path
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> "Controlled":
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def _run(self) -> None:
        handlers = {"status": self._status, "reload": self._reload, "queue-changed": self._queue_changed}
        server = ControlServer(self._path, handlers, LOG)
        self._loop.run_until_complete(server.start())
        self._ready.set()
        self._loop.run_forever()
        self._loop.run_until_complete(server.close())

    async def _status(self, _: Arguments) -> object:
        return Status("0.1.0", 7, 1.5, "mail.example.org", {"smtpd": ["[::]:25"], "submission": []}, [self.worker])

    async def _reload(self, _: Arguments) -> object:
        if self.faults:
            raise ControlError("\n".join(self.faults))
        self.told.append("reload")
        return None

    async def _queue_changed(self, _: Arguments) -> object:
        self.told.append("queue-changed")
        return None


@pytest.fixture
def controlled(here: Here) -> Iterator[Controlled]:
    here.data_dir.mkdir(mode=0o700)
    with Controlled(here.data_dir / SOCKET_NAME) as server:
        yield server


def test_the_status_is_told(here: Here, controlled: Controlled) -> None:
    assert here.json("status")["workers"][0]["pid"] == 8
    assert here.run("status").stdout.splitlines() == [
        "valija 0.1.0, process 7, since 1970-01-01T00:00:01.500Z",
        "smtpd: [::]:25",
        "submission: off",
        "worker 0: process 8, since 1970-01-01T00:00:02.500Z, 0 sessions, 0 restarts",
    ]


def test_the_status_says_what_a_worker_found_in_its_queue(here: Here, controlled: Controlled) -> None:
    controlled.worker = WorkerStatus(0, 8, 2.5, found=12, unfinished=1, incomplete=2)
    told = here.run("status").stdout.splitlines()[-1].partition("0 restarts, ")[2]
    found = "12 messages found at its start"
    assert told == f"{found}, 1 in an attempt as the process before it ended, 2 with a file gone"


def test_a_reload_is_passed_on(here: Here, controlled: Controlled) -> None:
    assert here.json("reload") == {"reloaded": True}
    assert controlled.told == ["reload"]


def test_a_reload_that_the_server_refuses_says_why(here: Here, controlled: Controlled) -> None:
    controlled.faults = ["[tls] key_file: it is gone", "[tls] cert_file: it is gone"]
    assert here.refused("reload").splitlines() == [
        "valija: [tls] key_file: it is gone",
        "valija: [tls] cert_file: it is gone",
    ]


def test_a_faulty_configuration_does_not_come_to_the_server(here: Here, controlled: Controlled) -> None:
    here.configuration.write_text(here.configuration.read_text() + "[smtp]\nport = 0\n")
    assert "[smtp] port = 0" in here.refused("reload")
    assert controlled.told == []


@pytest.mark.parametrize("command", ["status", "reload"])
def test_without_a_server_that_is_said(here: Here, command: str) -> None:
    assert "no server is running on" in here.refused(command)


def test_serve_takes_the_json_option_as_the_logs_form(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def serve(config: object, path: Path) -> int:
        seen.append((msgspec.structs.asdict(config)["log"].format, path))  # type: ignore[arg-type]  # a Config
        return 1

    monkeypatch.setattr("valija.startup.serve", serve)
    assert here.run("serve", "--json").exit_code == 1
    assert here.run("serve").exit_code == 1
    assert seen == [("json", here.configuration), ("text", here.configuration)]
