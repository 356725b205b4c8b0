"""A small file beside the queue: shared, bounded, and never a reason to stop."""

import asyncio
import multiprocessing
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import cast

import apsw
import pytest

from tests.deliver.setting import MemoryLog
from valija import sidefile
from valija.logs import Log
from valija.sidefile import SideFile

IDENTITY = 0x746E6573
SCHEMA = "CREATE TABLE noted (value)"


def opened(path: Path, log: MemoryLog | None = None, identity: int = IDENTITY) -> SideFile:
    return SideFile(path, identity=identity, schema=SCHEMA, log=cast("Log", log or MemoryLog()))


def note(value: int | str) -> Callable[[apsw.Connection], bool]:
    def work(connection: apsw.Connection) -> bool:
        connection.execute("INSERT INTO noted VALUES (?)", (value,))
        return True

    return work


def count(connection: apsw.Connection) -> int:
    found: int = connection.execute("SELECT count(*) FROM noted").get
    return found


def fill(path: Path) -> None:
    file = opened(path)
    for number in range(50):
        assert file.run_here(note(number))
    os._exit(0)


def test_it_is_made_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "noted.sqlite3"
    file = opened(path)
    assert file.run_here(count) == 0
    assert {each.stat().st_mode & 0o777 for each in tmp_path.iterdir()} == {0o600}
    file.close()


def test_processes_and_threads_share_it(tmp_path: Path) -> None:
    path = tmp_path / "noted.sqlite3"
    context = multiprocessing.get_context("fork")
    others = [context.Process(target=fill, args=(path,)) for _ in range(3)]
    for other in others:
        other.start()

    async def main() -> None:
        files = [opened(path) for _ in range(3)]
        works = [file.run(note("x")) for file in files for _ in range(50)]
        assert all(await asyncio.gather(*works))
        for file in files:
            file.close()

    asyncio.run(main())
    for other in others:
        other.join()
    assert opened(path).run_here(count) == 300


def test_what_fails_in_the_middle_did_not_happen(tmp_path: Path) -> None:
    log = MemoryLog()
    file = opened(tmp_path / "noted.sqlite3", log)

    def broken(connection: apsw.Connection) -> None:
        connection.execute("INSERT INTO noted VALUES (1)")
        connection.execute("INSERT INTO nowhere VALUES (1)")

    for _ in range(3):
        file.run_here(broken)
    assert file.run_here(count) == 0
    assert len(log.of("file can't be used")) == 1


def test_damage_that_comes_later_is_found(tmp_path: Path) -> None:
    path, log = tmp_path / "noted.sqlite3", MemoryLog()
    file = opened(path, log)
    file.run_here(note("x" * 100_000))
    file.close()
    octets = bytearray(path.read_bytes())
    octets[4096:] = b"\xff" * (len(octets) - 4096)
    path.write_bytes(octets)
    again = opened(path, log)
    assert again.run_here(count) == 0
    (line,) = log.of("file set aside")
    assert Path(line["kept"]).read_bytes() == octets


def test_files_of_another_kind_are_set_aside(tmp_path: Path) -> None:
    path = tmp_path / "noted.sqlite3"
    for _ in range(2):
        opened(path, identity=1).run_here(note(1))
        log = MemoryLog()
        assert opened(path, log).run_here(count) == 0
        assert log.of("file set aside")
    assert len(list(tmp_path.glob("*.damaged-*"))) >= 2


def test_it_does_not_fill_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sidefile, "_MOST_PAGES", 20)
    log = MemoryLog()
    file = opened(tmp_path / "noted.sqlite3", log)
    for _ in range(50):
        file.run_here(note("x" * 4000))
    assert 10 < (file.run_here(count) or 0) < 20
    (line,) = log.of("file can't be used")
    assert "full" in line["reason"].lower()


def test_a_file_that_is_closed_answers_nothing(tmp_path: Path) -> None:
    async def main() -> None:
        file = opened(tmp_path / "noted.sqlite3")
        assert await file.run(count) == 0
        file.close()
        assert await file.run(count) is None

    asyncio.run(main())


def test_the_loop_goes_on_while_somebody_else_has_the_file(tmp_path: Path) -> None:
    path = tmp_path / "noted.sqlite3"

    async def main() -> None:
        file = opened(path)
        await file.run(count)
        holder = apsw.Connection(str(path))
        holder.execute("BEGIN IMMEDIATE")
        waiting = asyncio.create_task(file.run(note(1)))
        longest = 0.0
        for _ in range(20):
            before = time.monotonic()
            await asyncio.sleep(0)
            await asyncio.sleep(0.005)
            longest = max(longest, time.monotonic() - before)
        assert not waiting.done()
        assert longest < 1.0
        holder.execute("COMMIT")
        assert await waiting
        file.close()

    asyncio.run(main())
