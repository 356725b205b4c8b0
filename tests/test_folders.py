"""Folders that everybody may enter, whatever the umask."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from valija.folders import make_open


@pytest.fixture(params=[0o000, 0o022, 0o077])
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def test_all_that_is_made_can_be_entered_and_not_written_to(tmp_path: Path, umask: int) -> None:
    make_open(tmp_path / "var" / "spool" / "valija")
    for name in ("var", "var/spool", "var/spool/valija"):
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o755
    assert os.umask(umask) == umask


def test_what_is_there_stays_as_it_is(tmp_path: Path, umask: int) -> None:
    (tmp_path / "own").mkdir(mode=0o700)
    make_open(tmp_path / "own")
    assert stat.S_IMODE((tmp_path / "own").stat().st_mode) == 0o700 & ~umask


def test_what_is_no_folder_is_an_error(tmp_path: Path, umask: int) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"):
        make_open(tmp_path / "file" / "below")
    assert os.umask(umask) == umask
