"""The clock, and the limit of open files."""

import os
import time
from pathlib import Path

import pytest

import valija
from tests.admin.lab import config
from valija import capacity
from valija.admin import check_system as module
from valija.admin.check_system import check_clock, check_limits, descriptors_of, is_kept_in_step


@pytest.fixture
def nobody_keeps_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setattr(module, "SYNCHRONISED", tmp_path / "synchronized")
    monkeypatch.setattr(module, "PROCESSES", tmp_path)
    monkeypatch.setattr(module, "_is_unsynchronised", lambda: True)
    return tmp_path


def test_a_clock_that_nobody_keeps(nobody_keeps_it: Path) -> None:
    (found,) = check_clock(time.time())
    assert (found.grade, found.topic) == ("warning", "clock")
    assert found.text.endswith("no program keeps it right")
    assert "chrony" in found.remedy


def test_the_kernel_keeps_it(nobody_keeps_it: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_is_unsynchronised", lambda: False)
    (found,) = check_clock(time.time())
    assert (found.grade, found.text[-16:]) == ("ok", " is kept in step")


def test_systemd_keeps_it(nobody_keeps_it: Path) -> None:
    (nobody_keeps_it / "synchronized").touch()
    assert is_kept_in_step()


def test_a_daemon_keeps_it(nobody_keeps_it: Path) -> None:
    for pid, name in (("12", "bash"), ("14", "chronyd")):
        (nobody_keeps_it / pid).mkdir()
        (nobody_keeps_it / pid / "comm").write_text(f"{name}\n")
    (nobody_keeps_it / "13").mkdir()  # gone since
    assert is_kept_in_step()


def test_a_kernel_that_does_not_tell(nobody_keeps_it: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_is_unsynchronised", lambda: None)
    (found,) = check_clock(time.time())
    assert found.grade == "unknown"


def test_this_kernel_tells() -> None:
    assert module._is_unsynchronised() in (True, False)


def test_a_clock_before_the_program() -> None:
    installed = os.stat(valija.__file__).st_mtime
    (found,) = check_clock(installed - 2 * 86400)
    assert (found.grade, found.topic) == ("failure", "clock")
    assert "this program was installed on" in found.text
    (found,) = check_clock(installed - 3600)
    assert found.grade != "failure"


@pytest.mark.parametrize(
    ("descriptors", "grade", "words"),
    [
        (1 << 20, "ok", "65536 open files are allowed: with the memory, 16384 sessions in each of 3 workers"),
        (4096, "ok", "4096 open files are allowed: with the memory, 2880 sessions in each of 3 workers"),
        (600, "warning", "only 600 open files are allowed: with the memory, 258 sessions in each of 3 workers; a few"),
        (256, "failure", "only 256 open files are allowed: the server runs out of them"),
    ],
)
def test_open_files(descriptors: int, grade: str, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capacity, "memory", lambda: 24 * 2**30)
    (found,) = check_limits(config("workers = 3"), descriptors)
    assert (found.grade, found.topic) == (grade, "limits")
    assert words in found.text


def test_little_memory_is_no_fault_of_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capacity, "memory", lambda: 2**28)
    (found,) = check_limits(config("workers = 3"), 65_536)
    assert (found.grade, found.remedy) == (
        "warning",
        "it is the memory that bounds them: let the machine have more, or set fewer workers",
    )


def test_one_client_may_take_more_than_there_is_room_for() -> None:
    (found,) = check_limits(config("[smtpd]\nclient_connection_count_limit = 2000"), 4096)
    assert found.grade == "warning"


def test_this_process_and_one_that_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert descriptors_of() == descriptors_of(2**22 + 1) > 0  # there is no such process
    (tmp_path / "77").mkdir()
    (tmp_path / "77" / "limits").write_text("Max processes  1  2  processes\nMax open files   1024   4096   files\n")
    monkeypatch.setattr(module, "PROCESSES", tmp_path)
    assert descriptors_of(77) == 1024
