"""What one process writes, when it begins a new file, and what it does where it can't write."""

import os
from pathlib import Path

import pytest

from valija.history.options import LEAST_SIZE, HistoryOptions
from valija.history.recorder import Recorder
from valija.history.search import Archive
from valija.history.segments import segments_in
from valija.logs import LogBuffer, build_log

LINE = b"2026-11-25T04:38:48.608Z info  removed  queue_id=bmmn4132bzj2q\n"
SMALL = HistoryOptions(size_limit=LEAST_SIZE)


class Clock:
    def __init__(self) -> None:
        self.now = 1_795_581_528.0

    def __call__(self) -> float:
        return self.now


def recorder_in(folder: Path, options: HistoryOptions = SMALL, clock: Clock | None = None) -> Recorder:
    recorder = Recorder(folder / "history", "worker-0", complain=pytest.fail, clock=clock or Clock())
    recorder.use(options, 2)
    return recorder


def test_what_the_log_writes_is_kept(tmp_path: Path) -> None:
    read, write = os.pipe()
    buffer = LogBuffer(write)
    buffer.tell = recorder_in(tmp_path).write
    build_log("info", "text", buffer).info("removed", queue_id="bmmn4132bzj2q", password="hunter2")
    buffer.flush()
    written = os.read(read, 9000)
    assert (tmp_path / "history" / "worker-0.log").read_bytes() == written
    assert b"hunter2" not in written
    assert (tmp_path / "history" / "worker-0.log").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "history").stat().st_mode & 0o777 == 0o700


def test_a_log_that_shows_less_hides_nothing_from_it(tmp_path: Path) -> None:
    read, write = os.pipe()
    buffer = LogBuffer(write, "error")
    buffer.tell = recorder_in(tmp_path).write
    log = build_log("info", "text", buffer)
    log.info("one")
    log.warning("two")
    log.error("three")
    buffer.flush()
    assert [line.split()[-1] for line in os.read(read, 9000).splitlines()] == [b"three"]
    kept = (tmp_path / "history" / "worker-0.log").read_text()
    assert {word for word in ("one", "two", "three") if word in kept} == {"one", "two", "three"}


def test_a_large_file_is_left_for_a_new_one(tmp_path: Path) -> None:
    recorder = recorder_in(tmp_path)
    for _ in range(3000):
        recorder.write(LINE)
    kinds = [segment.kind for segment in segments_in(tmp_path / "history")]
    assert kinds.count("open") == 1
    assert kinds.count("closed") == 2
    assert len(Archive(tmp_path / "history").find(["bmmn4132bzj2q"])) == 3000


def test_an_old_file_is_left_for_a_new_one(tmp_path: Path) -> None:
    clock = Clock()
    recorder = recorder_in(tmp_path, HistoryOptions(), clock)
    recorder.write(LINE)
    recorder.look()
    assert [segment.kind for segment in segments_in(tmp_path / "history")] == ["open"]
    clock.now += HistoryOptions().segment_age + 1
    recorder.look()
    assert [segment.kind for segment in segments_in(tmp_path / "history")] == ["closed"]


def test_a_file_that_is_gone_on_with_keeps_its_age(tmp_path: Path) -> None:
    clock = Clock()
    recorder_in(tmp_path, HistoryOptions(), clock).write(LINE)
    clock.now = 1_795_581_528.608 + HistoryOptions().segment_age + 1
    successor = recorder_in(tmp_path, HistoryOptions(), clock)
    successor.write(LINE)
    successor.look()
    assert [segment.kind for segment in segments_in(tmp_path / "history")] == ["closed"]


@pytest.mark.parametrize("options", [HistoryOptions(keep=0), HistoryOptions(size_limit=0)])
def test_off_is_off(tmp_path: Path, options: HistoryOptions) -> None:
    recorder_in(tmp_path, options).write(LINE)
    assert not (tmp_path / "history").exists()


def test_what_cannot_be_written_is_told_once_and_stops_nothing(tmp_path: Path) -> None:
    complaints: list[str] = []
    clock = Clock()
    recorder = Recorder(tmp_path / "history", "worker-0", complain=complaints.append, clock=clock)
    recorder.use(HistoryOptions(), 2)
    (tmp_path / "history" / "worker-0.log").mkdir()
    for _ in range(3):
        clock.now += 2
        recorder.write(LINE)
    assert len(complaints) == 1
    assert recorder.lost == 3 * len(LINE)
    (tmp_path / "history" / "worker-0.log").rmdir()
    clock.now += 2
    recorder.write(LINE)
    assert (tmp_path / "history" / "worker-0.log").read_bytes() == LINE


def test_a_link_in_its_place_is_not_followed(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_bytes(b"")
    complaints: list[str] = []
    recorder = Recorder(tmp_path / "history", "worker-0", complain=complaints.append, clock=Clock())
    recorder.use(HistoryOptions(), 2)
    (tmp_path / "history" / "worker-0.log").symlink_to(elsewhere)
    recorder.write(LINE)
    assert complaints
    assert elsewhere.read_bytes() == b""
