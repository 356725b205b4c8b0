"""Large bodies in files."""

import os
import stat
from pathlib import Path

import pytest

from valija.mail.content import Content
from valija.queue.spool import Spool


def test_a_content_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool")
    file = spool.create()
    for piece in (b"one ", b"", b"two " * 50000, b"three\r\n"):
        file.write(piece)
    content = file.finish(b"Subject: large\r\n\r\n")
    spool.sync(content.body_file)
    whole = b"Subject: large\r\n\r\none " + b"two " * 50000 + b"three\r\n"
    chunks = list(spool.read(content, chunk=1000))
    assert b"".join(chunks) == whole
    assert content.size == len(whole)
    assert max(map(len, chunks)) <= 1000


def test_a_content_in_memory_needs_no_file(tmp_path: Path) -> None:
    assert list(Spool(tmp_path / "spool").read(Content.of(b"small"))) == [b"small"]


def test_only_the_owner_can_read(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        spool = Spool(tmp_path / "queue" / "spool")
        name = spool.create().finish(b"").body_file
    finally:
        os.umask(old)
    assert stat.S_IMODE(spool.folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((spool.folder / name).stat().st_mode) == 0o600


def test_discard_leaves_nothing_and_can_come_twice(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool")
    file = spool.create()
    file.write(b"x")
    file.discard()
    file.discard()
    assert not list(spool.folder.iterdir())


def test_discard_after_finish_keeps_the_content(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool")
    file = spool.create()
    content = file.finish(b"head")
    file.discard()
    assert list(spool.read(content)) == [b"head"]


def test_sweep_removes_what_no_message_names_and_nothing_else(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool")
    known, orphan = (spool.create().finish(b"").body_file for _ in range(2))
    (spool.folder / "README").touch()
    assert spool.sweep(lambda name: name == known) == 1
    assert {path.name for path in spool.folder.iterdir()} == {known, "README"}
    assert orphan != known


def test_a_file_cut_short_is_noticed(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool")
    file = spool.create()
    file.write(b"x" * 100)
    content = file.finish(b"head")
    os.truncate(spool.folder / content.body_file, 50)
    with pytest.raises(OSError, match="length"):
        list(spool.read(content))
    spool.remove(content.body_file)
    spool.remove(content.body_file)
    with pytest.raises(FileNotFoundError):
        list(spool.read(content))


@pytest.mark.parametrize("name", ["../worker-0.sqlite3", "/etc/passwd", "x", "A" * 32])
def test_a_name_that_leads_elsewhere_is_refused(tmp_path: Path, name: str) -> None:
    spool = Spool(tmp_path / "spool")
    with pytest.raises(ValueError, match="no name of a spool file"):
        spool.remove(name)
    with pytest.raises(ValueError, match="no name of a spool file"):
        list(spool.read(Content(b"", 1, name)))
