"""The keys of return addresses: made once, changed now and then, kept as long as they are of use."""

import multiprocessing
import os
import stat
from pathlib import Path

import pytest

from valija.content.dkim_key import KeyProblem
from valija.policy.srs import DAY, MOST_DAYS
from valija.srs_keys import CHANGE_AFTER, SrsKeys

NOW = 1_800_000_000.0


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 10.0  # the file is looked at each time
        return self.now


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "srs.keys"


def test_the_first_address_makes_the_key(path: Path) -> None:
    keys = SrsKeys(path)
    assert keys.known(NOW) == ()
    assert not path.exists(), "whoever only looks makes nothing"
    key = keys.newest(NOW)
    assert len(key) == 32
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert os.listdir(path.parent) == [path.name]
    assert keys.newest(NOW) == SrsKeys(path).newest(NOW + 5) == key
    assert SrsKeys(path).known(NOW) == (key,)


def test_a_key_is_followed_by_another_and_stays_known(path: Path) -> None:
    first = SrsKeys(path).newest(NOW)
    later = NOW + CHANGE_AFTER
    keys = SrsKeys(path)
    second = keys.newest(later)
    assert second != first
    assert keys.known(later) == SrsKeys(path).known(later) == (second, first)
    assert keys.known(later + MOST_DAYS * DAY) == (second, first)
    assert keys.known(later + (MOST_DAYS + 2) * DAY) == (second,)


def test_keys_without_use_leave_the_file(path: Path) -> None:
    for number in range(10):
        SrsKeys(path).newest(NOW + number * CHANGE_AFTER)
    assert len(path.read_text().splitlines()) == 2


def test_what_another_process_changed_is_seen(path: Path) -> None:
    keys = SrsKeys(path, Clock())
    keys.newest(NOW)
    other = SrsKeys(path).newest(NOW + CHANGE_AFTER)
    assert keys.known(NOW + CHANGE_AFTER)[0] == other


def test_a_clock_that_was_set_back_changes_nothing(path: Path) -> None:
    key = SrsKeys(path).newest(NOW)
    keys = SrsKeys(path)
    assert keys.newest(NOW - 100 * DAY) == key
    assert keys.known(NOW - 100 * DAY) == (key,)


def _make(path: Path, answers: "multiprocessing.SimpleQueue[bytes]") -> None:
    answers.put(SrsKeys(path).newest(NOW))


def test_all_workers_make_the_same(path: Path) -> None:
    context = multiprocessing.get_context("fork")
    answers = context.SimpleQueue()
    workers = [context.Process(target=_make, args=(path, answers)) for _ in range(8)]
    for worker in workers:
        worker.start()
    made = {answers.get() for _ in workers}
    for worker in workers:
        worker.join()
    assert len(made) == 1


def test_a_file_that_others_can_read_is_refused(path: Path) -> None:
    SrsKeys(path).newest(NOW)
    path.chmod(0o644)
    with pytest.raises(KeyProblem, match="chmod 0600"):
        SrsKeys(path).known(NOW)


@pytest.mark.parametrize("content", ["1800000000 c2hvcnQ=\n", "1800000000\n", "nonsense\n", "1800000000 \xff\xfe\n"])
def test_a_damaged_file_is_no_key(path: Path, content: str) -> None:
    path.write_text(content, encoding="latin-1")
    path.chmod(0o600)
    with pytest.raises(KeyProblem, match=r"no key: move the file away"):
        SrsKeys(path).newest(NOW)
    assert path.read_text(encoding="latin-1") == content, "it is not written over"


def test_a_folder_that_cannot_be_written_to_is_told(path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        SrsKeys(path / "missing" / "srs.keys").newest(NOW)
