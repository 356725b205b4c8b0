"""What a process may not use of a queue is named, and so is the way out."""

import os
from pathlib import Path

import pytest

from tests.queue import as_nobody
from tests.queue.samples import LogLines, SetClock
from tests.queue.test_sqlite import play, put_three_large
from valija.queue.directory import QueueDirectory
from valija.queue.paths import QueueBarred, QueuePaths, check_access
from valija.queue.sqlite import SqliteStore

PARTS = [".", "worker-0.sqlite3", "worker-0.sqlite3-wal", "worker-0.spool", "worker-0.lock", "worker-0.flight"]


def open_and_close(folder: Path) -> None:
    async def nothing(_: SqliteStore) -> None:
        pass

    play(folder, nothing)


@pytest.mark.parametrize("part", PARTS)
def test_a_part_that_may_not_be_used_is_named_with_the_remedy(tmp_path: Path, part: str) -> None:
    folder = tmp_path / "queue"
    play(folder, put_three_large)
    (folder / "worker-0.sqlite3-wal").touch()
    as_nobody.give(folder)
    (folder / part).chmod(0)
    me = as_nobody.user()
    assert as_nobody.done(lambda: open_and_close(folder)) == (
        f"QueueBarred: {folder / part} can't be used: it belongs to {me!r}, with mode 0000; "
        f"give it to the server's user: chown -R {me} {folder} && chmod -R u+rwX {folder}"
    )


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can leave files of root's behind")
def test_a_file_of_roots_is_named_with_its_owner(tmp_path: Path) -> None:
    folder = tmp_path / "queue"
    play(folder, put_three_large)
    as_nobody.give(folder)
    os.chown(folder / "worker-0.sqlite3", 0, 0)
    told = as_nobody.done(lambda: open_and_close(folder))
    assert isinstance(told, str)
    assert f"{folder / 'worker-0.sqlite3'} can't be used: it belongs to 'root'" in told
    assert f"chown -R nobody {folder}" in told


def test_the_command_line_tells_it_too_and_shows_the_rest(tmp_path: Path) -> None:
    folder = tmp_path / "queue"
    play(folder, put_three_large)
    play(folder, put_three_large, worker=1)
    as_nobody.give(folder)
    (folder / "worker-0.sqlite3").chmod(0)

    def look() -> object:
        with QueueDirectory(folder, SetClock()) as queue:
            return len(queue.list(10)), queue.problems

    seen = as_nobody.done(look)
    assert isinstance(seen, tuple)
    assert seen[0] == 3
    (problem,) = seen[1]
    assert problem.startswith(f"{folder / 'worker-0.sqlite3'} can't be used: ")
    assert "chown -R" in problem


@pytest.mark.parametrize("part", ["worker-0.flight", "worker-0.lock"])
def test_a_folder_in_the_place_of_a_file_is_named(tmp_path: Path, part: str) -> None:
    play(tmp_path, put_three_large)
    (tmp_path / part).unlink()
    (tmp_path / part).mkdir()
    with pytest.raises(QueueBarred, match=rf"{part} is a folder; move away what lies there"):
        SqliteStore.open(tmp_path, 0, clock=SetClock(), log=LogLines().log)


def test_a_file_in_the_place_of_a_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "worker-0.spool").touch()
    with pytest.raises(QueueBarred, match=r"worker-0\.spool is no folder; move away what lies there"):
        check_access(QueuePaths(tmp_path, 0))
    check_access(QueuePaths(tmp_path, 1))
