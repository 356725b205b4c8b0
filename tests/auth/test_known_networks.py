"""The file of known networks: what survives a restart, and what damage does not stop."""

import asyncio
import os
import sqlite3
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from valija.auth.digests import DigestTable
from valija.auth.known_networks import KEPT_AT_MOST, KEPT_FOR, RECENT, KnownNetworks, prepare
from valija.logs import LogBuffer, build_log

ALICE, HOME, AWAY = "alice@example.org", "192.0.2.0/24", "2001:db8:0:1::/64"
EPOCH = 1_800_000_000.0


class Server:
    """Starts of a server on one file: `known` gives a worker, `restart` forgets what was in memory."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "known.sqlite3"
        self.now = EPOCH
        self._log_file = folder / "log"
        self._buffer = LogBuffer(os.open(self._log_file, os.O_WRONLY | os.O_CREAT))
        self._logger = build_log("info", "text", self._buffer)
        self._workers: list[KnownNetworks] = []
        self.restart()

    def restart(self) -> None:
        self.close()
        prepare(self.file, self.now, self._logger)
        self._recent = DigestTable.shared(RECENT, clock=lambda: self.now)

    def known(self) -> KnownNetworks:
        self._workers.append(KnownNetworks(self.file, self._recent, self._logger, lambda: self.now))
        return self._workers[-1]

    def close(self) -> None:
        while self._workers:
            self._workers.pop().close()

    @property
    def log(self) -> str:
        self._buffer.flush()
        return self._log_file.read_text()

    def rows(self) -> list[tuple[str, str, int]]:
        self.close()
        with sqlite3.connect(self.file) as connection:
            return connection.execute("SELECT login, network, seen FROM known ORDER BY 1, 2").fetchall()


def on(server: Server, work: Callable[[], Awaitable[None]]) -> None:
    async def run() -> None:
        try:
            await asyncio.wait_for(work(), 30)
        finally:
            server.close()

    asyncio.run(run())


def test_what_one_worker_saw_all_know_and_a_restart_too(tmp_path: Path) -> None:
    server = Server(tmp_path)

    async def work() -> None:
        one, two = server.known(), server.known()
        assert not await one.holds(ALICE, HOME)
        one.saw(ALICE, HOME)
        assert await two.holds(ALICE, HOME)
        assert not await two.holds(ALICE, AWAY)
        assert not await two.holds("bob@example.org", HOME)
        server.restart()
        three = server.known()
        assert await three.holds(ALICE, HOME)
        assert not await three.holds(ALICE, AWAY)

    on(server, work)
    assert server.file.stat().st_mode & 0o077 == 0, "for its owner alone"


def test_it_is_written_twice_a_day_at_most(tmp_path: Path) -> None:
    server = Server(tmp_path)

    async def work() -> None:
        for hour in range(48):
            server.now = EPOCH + 3600 * hour
            known = server.known()
            known.saw(ALICE, HOME)
            written.add(server.rows()[0][2])

    written: set[int] = set()
    on(server, work)
    assert 2 <= len(written) <= 4


def test_networks_age_and_are_bounded(tmp_path: Path) -> None:
    server = Server(tmp_path)

    async def work() -> None:
        for number in range(-1, KEPT_AT_MOST + 5):
            known = server.known()
            server.now += 60
            known.saw(ALICE, f"net{number}" if number >= 0 else "oldest")
            known.close()  # so that it is written
        assert len(server.rows()) == KEPT_AT_MOST
        server.restart()
        assert not await server.known().holds(ALICE, "oldest")
        assert await server.known().holds(ALICE, f"net{KEPT_AT_MOST}")
        server.now += KEPT_FOR + 1
        assert not await server.known().holds(ALICE, f"net{KEPT_AT_MOST}"), "while it runs"
        server.restart()

    on(server, work)
    assert server.rows() == [], "and at the start"


@pytest.mark.parametrize("kind", ["garbage", "cut off", "another program's", "torn page", "empty"])
def test_a_damaged_file_is_set_aside_and_the_server_starts(tmp_path: Path, kind: str) -> None:
    server = Server(tmp_path)

    async def fill() -> None:
        known = server.known()
        for number in range(3000):
            known.saw(f"user{number}@example.org", HOME)

    on(server, fill)
    with sqlite3.connect(server.file) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    octets = server.file.read_bytes()
    match kind:
        case "garbage":
            server.file.write_bytes(b"no database" * 100)
        case "cut off":
            server.file.write_bytes(octets[: len(octets) // 2])
        case "another program's":
            server.file.unlink()
            with sqlite3.connect(server.file) as connection:
                connection.execute("CREATE TABLE precious (thing TEXT)")
        case "torn page":
            middle = len(octets) // 2 // 4096 * 4096
            server.file.write_bytes(octets[:middle] + b"\xff" * 4096 + octets[middle + 4096 :])
        case "empty":
            server.file.write_bytes(b"")
    damaged = server.file.read_bytes()
    server.restart()
    kept = [path for path in tmp_path.glob("known.sqlite3.damaged-*") if path.suffix.endswith(f"{EPOCH:.0f}")]
    assert [path.read_bytes() for path in kept] == ([damaged] if damaged else [])
    for path in kept:
        assert "file of known networks set aside" in server.log
        assert str(path) in server.log

    async def work() -> None:
        server.known().saw(ALICE, HOME)
        assert [row[:2] for row in server.rows()] == [(ALICE, HOME)]

    on(server, work)


def test_without_a_file_the_server_does_without_and_says_so_once(tmp_path: Path) -> None:
    (tmp_path / "known.sqlite3").mkdir()
    server = Server(tmp_path)

    async def work() -> None:
        known = server.known()
        assert not await known.holds(ALICE, HOME)
        known.saw(ALICE, HOME)
        known.saw(ALICE, AWAY)
        assert await known.holds(ALICE, HOME), "the workers' own memory is left"
        assert not await known.holds("bob", HOME)

    on(server, work)
    assert server.log.count("networks of logins are not remembered") == 2  # at the start, and by the worker


def test_after_the_end_nothing_raises(tmp_path: Path) -> None:
    server = Server(tmp_path)

    async def work() -> None:
        known = server.known()
        server.close()
        known.saw(ALICE, HOME)
        assert not await known.holds("bob", HOME)

    on(server, work)
