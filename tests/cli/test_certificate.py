"""valija certificate list and renew: what people and programs are told."""

import asyncio
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.here import Here
from valija.admin.certificates import RENEW, CertificateStatus
from valija.admin.control import SOCKET_NAME, Arguments, ControlServer
from valija.admin.status import Status
from valija.logs import LogBuffer, build_log
from valija.tls.acme_keeper import Renewed

LOG = build_log("error", "text", LogBuffer(os.open(os.devnull, os.O_WRONLY)))
NAME = "mail.example.org"


def certificate(**differs: Any) -> CertificateStatus:
    facts: dict[str, Any] = {
        "wanted": (NAME,),
        "source": "acme",
        "names": (NAME,),
        "issuer": "CN=R11",
        "self_signed": False,
        "not_before": 1_800_000_000.0,
        "not_after": 1_807_776_000.0,
        "sha256": "ab" * 32,
        "file": "/data/current.pem",
        "renewal": 1_805_000_000.0,
    }
    return CertificateStatus(**{**facts, **differs})


class Running:
    """A server's control socket that tells of these certificates."""

    def __init__(self, path: Path) -> None:
        self.certificates = [certificate()]
        self.outcomes: list[Renewed] = []
        self.asked: list[Arguments] = []
        self._path = path

    async def _status(self, _: Arguments) -> Status:
        return Status("0.1.0", 7, 1.5, NAME, {}, [], certificates=self.certificates)

    async def _renew(self, arguments: Arguments) -> list[Renewed]:
        self.asked.append(arguments)
        return self.outcomes

    def __enter__(self) -> "Running":
        ready = threading.Event()
        self._loop = asyncio.new_event_loop()

        def run() -> None:
            server = ControlServer(self._path, {"status": self._status, RENEW: self._renew}, LOG)
            self._loop.run_until_complete(server.start())
            ready.set()
            self._loop.run_forever()
            self._loop.run_until_complete(server.close())

        self._thread = threading.Thread(target=run)
        self._thread.start()
        assert ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()


@pytest.fixture
def here(tmp_path: Path) -> Here:
    here = Here(tmp_path)
    here.data_dir.mkdir()
    return here


@pytest.fixture
def running(here: Here) -> Iterator[Running]:
    with Running(here.data_dir / SOCKET_NAME) as running:
        yield running


@pytest.mark.parametrize("words", [("list",), ("renew",)])
def test_without_a_server(here: Here, words: tuple[str, ...]) -> None:
    assert "no server is running" in here.refused("certificate", *words)


def test_list(here: Here, running: Running) -> None:
    lines = here.run("certificate", "list").stdout.splitlines()
    assert lines == [
        f"{NAME}: acme, by CN=R11, until 2027-04-15 08:00 UTC",
        "  renewal on 2027-03-14 04:53 UTC",
        f"  /data/current.pem, SHA-256 {'ab' * 32}",
    ]


def test_list_tells_what_went_wrong(here: Here, running: Running) -> None:
    running.certificates = [
        certificate(
            self_signed=True, renewal=None, failures=3, last_error="no \x1b[2J way", next_attempt=1_800_000_600.0
        )
    ]
    told = here.run("certificate", "list").stdout
    assert "self-signed, until" in told
    assert f"stands in for the one that is ordered for {NAME}" in told
    assert "not renewed (3 attempts, next 2027-01-15 08:10 UTC): no \\x1b[2J way" in told


def test_list_as_json(here: Here, running: Running) -> None:
    (listed,) = here.json("certificate", "list")
    assert listed["names"] == [NAME]
    assert listed["not_after"] == "2027-04-15T08:00:00.000Z"
    assert listed["next_attempt"] is None


def test_status_tells_of_certificates_too(here: Here, running: Running) -> None:
    assert f"certificate: {NAME}, acme, until 2027-04-15T08:00:00.000Z" in here.run("status").stdout
    assert here.json("status")["certificates"][0]["renewal"] == "2027-03-14T04:53:20.000Z"


@pytest.mark.parametrize(("options", "force"), [((), False), (("--force",), True)])
def test_renew(here: Here, running: Running, options: tuple[str, ...], force: bool) -> None:
    running.outcomes = [Renewed((NAME,), "renewed")]
    assert here.run("certificate", "renew", *options).stdout == f"{NAME}: renewed\n"
    assert running.asked == [{"force": force}]
    assert here.json("certificate", "renew")[0]["outcome"] == "renewed"


def test_a_renewal_that_failed(here: Here, running: Running) -> None:
    running.outcomes = [Renewed((NAME,), "renewed"), Renewed(("mail.example.net",), "failed", "caa: no")]
    result = here.run("certificate", "renew")
    assert result.exit_code == 1
    assert result.stdout == f"{NAME}: renewed\nmail.example.net: failed: caa: no\n"
    assert "the one before it serves on" in result.stderr


def test_nothing_to_renew(here: Here, running: Running) -> None:
    assert here.run("certificate", "renew").stdout == "no certificate comes from an authority\n"
