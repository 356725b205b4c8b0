"""What goes when: by age, by size, for want of disk; and what a keeper does with it."""

import asyncio
import os
import time
from pathlib import Path

import pytest

from valija.history.keeper import File, Keeper, planned, processes_of
from valija.history.options import DAY, HistoryOptions
from valija.history.recorder import Recorder
from valija.history.search import Archive
from valija.history.segments import Segment
from valija.logs import LogBuffer, build_log

NOW = 1_795_581_528.0
MIB = 1 << 20
OPTIONS = HistoryOptions(keep=14 * DAY, size_limit=10 * MIB)
PROCESSES = processes_of(1)
LINE = b"2026-11-25T04:38:48.608Z info  removed  queue_id=bmmn4132bzj2q\n"


def file(name: str, *, age: float, size: int = MIB) -> File:
    segment = Segment.of(Path(name))
    assert segment is not None
    return File(segment, NOW - age, size)


def sealed(number: int, *, age: float, size: int = MIB) -> File:
    return file(f"worker-0-{number:013}.sealed", age=age, size=size)


def removed(files: list[File], options: HistoryOptions = OPTIONS, wanting: int = 0) -> list[str]:
    plan = planned(files, options, now=NOW, processes=PROCESSES, wanting=wanting)
    return sorted(path.name[9:22].lstrip("0") for path in plan.remove)


def test_what_is_too_old_goes() -> None:
    assert removed([sealed(1, age=14 * DAY + 1), sealed(2, age=14 * DAY - 1)]) == ["1"]


def test_of_too_much_the_oldest_goes() -> None:
    files = [sealed(3, age=30, size=4 * MIB), sealed(1, age=50, size=4 * MIB), sealed(2, age=40, size=4 * MIB)]
    assert removed(files) == ["1"]
    assert removed([*files, file("worker-0.log", age=1, size=8 * MIB)]) == ["1", "2", "3"]


def test_what_is_written_to_stays() -> None:
    files = [file("worker-0.log", age=20 * DAY, size=20 * MIB), file("server.log", age=20 * DAY)]
    assert planned(files, OPTIONS, now=NOW, processes=PROCESSES).remove == ()


def test_the_disk_is_given_back_where_it_is_short() -> None:
    assert removed([sealed(1, age=50), sealed(2, age=40), sealed(3, age=30)], wanting=MIB + 1) == ["1", "2"]


def test_no_history_is_no_files() -> None:
    files = [sealed(1, age=1), file("worker-0.log", age=1)]
    assert len(planned(files, HistoryOptions(keep=0), now=NOW, processes=PROCESSES).remove) == 2


def test_the_file_of_a_worker_that_is_no_more_is_closed_and_sealed() -> None:
    plan = planned([file("worker-7.log", age=1)], OPTIONS, now=NOW, processes=PROCESSES)
    assert [segment.source for segment in plan.close] == ["worker-7"]
    assert plan.seals


def keeper_of(folder: Path, options: HistoryOptions) -> Keeper:
    log = build_log("info", "text", LogBuffer(2))
    recorder = Recorder(folder, "server", complain=pytest.fail)
    return Keeper(folder, recorder, in_force=lambda: options, workers=1, log=log)


async def looked(keeper: Keeper) -> None:
    """Look once, and wait for what is packed."""
    sealing = keeper.look()
    if sealing is not None:
        await sealing


def test_a_keeper_that_ends_ends_what_packs(tmp_path: Path) -> None:
    (tmp_path / "worker-0-1764037814124.log").write_bytes(LINE * 100)

    async def story() -> None:
        running = asyncio.create_task(keeper_of(tmp_path, HistoryOptions()).run())
        await asyncio.sleep(0)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    asyncio.run(story())
    assert not [path for path in tmp_path.iterdir() if path.suffix == ".draft"]


def test_a_keeper_packs_and_removes(tmp_path: Path) -> None:
    now = time.time()
    old, fresh = tmp_path / "worker-0-1764037814123.log", tmp_path / "worker-0-1764037814124.log"
    for path, age in ((old, 20 * DAY), (fresh, 60.0)):
        path.write_bytes(LINE * 100)
        os.utime(path, (now - age, now - age))
    (tmp_path / "worker-3.log").write_bytes(LINE)
    draft = tmp_path / "worker-0-1764037814125.draft"
    draft.write_bytes(b"half")
    os.utime(draft, (now - DAY, now - DAY))
    (tmp_path / "notes.txt").write_text("somebody else's")
    asyncio.run(looked(keeper_of(tmp_path, HistoryOptions())))
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names[0] == "notes.txt"
    assert names[1] == "worker-0-1764037814124.sealed"
    assert names[2].startswith("worker-3-")
    assert names[2].endswith(".sealed")
    assert len(names) == 3
    assert len(Archive(tmp_path).find(["BMMN4132BZJ2Q"])) == 101


def test_a_reload_without_history_removes_it(tmp_path: Path) -> None:
    (tmp_path / "worker-0.log").write_bytes(LINE)
    asyncio.run(looked(keeper_of(tmp_path, HistoryOptions(keep=0))))
    assert list(tmp_path.iterdir()) == []
