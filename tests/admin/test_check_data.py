"""data_dir: its disk, the room there, its owner and modes."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.admin.lab import bad
from tests.reachable import let_all_in
from valija import wiring
from valija.admin import check_data as module
from valija.admin.check_data import check_data, filesystem_of
from valija.admin.findings import Finding
from valija.privileges import Account

MEGABYTE = 1_000_000
ME = Account("", os.geteuid(), os.getegid(), tuple(os.getgroups()))
NOBODY = Account("nobody", 65534, 65534, (65534,))
LIMIT = 50 * MEGABYTE

only_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can make what others own")


@pytest.fixture(autouse=True)
def on_a_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever the tests run."""
    monkeypatch.setattr(module, "filesystem_of", lambda folder: "ext4")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "data"
    made.mkdir(0o700)
    return made


def found_in(path: Path, account: Account = ME) -> list[Finding]:
    return list(check_data(path, account, message_size_limit=LIMIT))


def test_a_sound_folder(folder: Path) -> None:
    (folder / "lock").touch(0o600)
    found = found_in(folder)
    assert bad(found) == []
    assert [finding.topic for finding in found] == ["data"] * 3
    assert found[0].text == f"{folder} lies on a disk (ext4)"
    assert found[2].text.startswith(f"what lies in {folder} is ")


def test_a_folder_that_is_not_there_yet(tmp_path: Path) -> None:
    found = found_in(tmp_path / "a" / "b")
    assert bad(found) == []
    assert f"{tmp_path / 'a' / 'b'} is made at the first start" in [finding.text for finding in found]


@pytest.mark.parametrize("inside", ["", "/data"])
def test_no_folder(tmp_path: Path, inside: str) -> None:
    file = tmp_path / "file"
    file.touch()
    (only,) = found_in(Path(f"{file}{inside}"))
    assert (only.grade, only.text) == ("failure", f'data_dir = "{file}{inside}": {file} is not a folder')


# The disk


@pytest.mark.parametrize(
    ("kind", "grade", "words"),
    [
        ("tmpfs", "failure", "lies in memory (tmpfs): a restart of the machine loses all"),
        ("ramfs", "failure", "lies in memory"),
        ("overlay", "warning", "lies in a container's own layer (overlay)"),
        ("nfs4", "warning", "lies on a network file system (nfs4)"),
        ("xfs", "ok", "lies on a disk (xfs)"),
    ],
)
def test_the_kind_of_disk(folder: Path, kind: str, grade: str, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "filesystem_of", lambda folder: kind)
    first = found_in(folder)[0]
    assert first.grade == grade
    assert words in first.text
    assert bool(first.remedy) == (grade != "ok")


def test_a_disk_of_an_unknown_kind_is_no_finding(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "filesystem_of", lambda folder: "")
    assert not any("lies on" in finding.text for finding in found_in(folder))


def test_the_kernels_table_of_mounts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    table = tmp_path / "mountinfo"
    monkeypatch.setattr(module, "MOUNTS", table)
    under = tmp_path / "with blank" / "data"
    under.mkdir(parents=True)
    place = str(tmp_path / "with blank").replace(" ", "\\040")
    table.write_text(
        f"22 1 0:1 / / rw - ext4 /dev/vda rw\n"
        f"23 22 0:2 / {place} rw,nosuid shared:5 - xfs /dev/vdb rw\n"
        f"24 22 0:3 / {place} rw - tmpfs tmpfs rw\n"
        f"25 22 0:4 / {tmp_path}/with rw - nfs server:/x rw\n"
    )
    assert filesystem_of(under) == "tmpfs"
    assert filesystem_of(tmp_path) == "ext4"
    table.unlink()
    assert filesystem_of(under) == ""


def test_this_machines_own_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    assert filesystem_of(Path("/proc")) == "proc"
    assert filesystem_of(Path("/")) not in ("", "proc")


# The room


def room(monkeypatch: pytest.MonkeyPatch, *, octets: int = 10**12, inodes: int = 10**6, files: int = 10**7) -> None:
    real = os.statvfs("/")
    fields = list(real)
    fields[1], fields[4], fields[5], fields[7] = 1, octets, files, inodes  # f_frsize, f_bavail, f_files, f_favail
    monkeypatch.setattr(os, "statvfs", lambda path: os.statvfs_result(fields))


@pytest.mark.parametrize(
    ("octets", "inodes", "grade", "words"),
    [
        (10**12, 10**6, "ok", "1000.0 GB are free for"),
        (300 * MEGABYTE, 10**6, "warning", "300 MB are free for {}, less than 10 messages of the largest size need"),
        (5 * MEGABYTE, 10**6, "failure", "5 MB are free for {}: no mail is taken"),
        (10**12, 500, "warning", "only 500 files more fit on its disk"),
        (10**12, 10, "failure", "only 10 files more fit on its disk: no mail is taken"),
    ],
)
def test_the_room(
    folder: Path, octets: int, inodes: int, grade: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    room(monkeypatch, octets=octets, inodes=inodes)
    assert any(f.grade == grade and words.replace("{}", str(folder)) in f.text for f in found_in(folder))


def test_a_file_system_without_inodes_has_room(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    room(monkeypatch, files=0, inodes=0)
    assert bad(found_in(folder)) == []


def test_the_check_and_the_server_agree_on_what_is_full() -> None:
    assert (module.MINIMUM_FREE, module.MINIMUM_INODES) == (wiring.MINIMUM_FREE, wiring.MINIMUM_INODES)


# Owner and modes


def test_others_that_may_look_in(folder: Path) -> None:
    folder.chmod(0o755)
    (only,) = bad(found_in(folder))
    assert (only.grade, only.remedy) == ("warning", f"chmod 0700 {folder}")
    assert "(mode 0755)" in only.text


@only_root
def test_an_owner_that_is_not_the_user(folder: Path) -> None:
    let_all_in(folder.parent)
    (folder / "lock").touch()
    found = bad(found_in(folder, NOBODY))
    assert f"{folder} belongs to root, and the server is nobody" in [finding.text for finding in found]
    assert {finding.grade for finding in found} == {"failure"}
    assert f"give it away: chown -R nobody {folder}" in [finding.remedy for finding in found]


@only_root
def test_an_empty_folder_of_roots_is_given_away_by_the_server(folder: Path) -> None:
    let_all_in(folder.parent)
    assert bad(found_in(folder, NOBODY)) == []


@only_root
@pytest.mark.parametrize("make", [lambda path: path.touch(0o600), lambda path: path.mkdir(0o700)])
def test_what_root_left_there(folder: Path, make: Callable[[Path], None]) -> None:
    let_all_in(folder.parent)
    os.chown(folder, 65534, 65534)
    make(folder / "queue")
    (only,) = bad(found_in(folder, NOBODY))
    assert (only.grade, only.text) == ("failure", f"queue in {folder} cannot be used by nobody")
    os.chown(folder / "queue", 65534, 65534)
    assert bad(found_in(folder, NOBODY)) == []


@only_root
def test_a_parent_that_bars_the_way(tmp_path: Path) -> None:
    barred = tmp_path / "barred"
    barred.mkdir(0o700)
    let_all_in(tmp_path)
    (only,) = bad(found_in(barred / "data", NOBODY))
    text = f"user 'nobody' cannot reach {barred / 'data'}: it may not enter {barred}"
    assert (only.grade, only.text) == ("failure", text)


def test_a_stranger_is_told_to_be_root(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 4321)
    found = bad(found_in(folder, Account("me", 4321, 4321, ())))
    assert [finding.grade for finding in found] == ["unknown"]
    assert "started by you, the server could not use it" in found[0].text
