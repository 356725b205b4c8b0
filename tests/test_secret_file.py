"""A secret's file: one line, for nobody else, or words that say what is wrong with it."""

import os
from pathlib import Path

import pytest

from valija.secret_file import SecretUnusable, read_secret


@pytest.mark.parametrize(
    ("content", "mode", "reason"),
    [
        (b"secret\n", 0o644, "others can use (mode 0644); chmod 0640"),
        (b"secret\n", 0o602, "others can use"),
        (b"\n", 0o600, "is empty"),
        (b"", 0o600, "is empty"),
        (b"one\ntwo\n", 0o600, "more than one line"),
        (b"\xff\xfe", 0o600, "is not UTF-8"),
        (b"x" * 20_000, 0o600, "more than one line"),
    ],
)
def test_a_file_that_is_no_secret(content: bytes, mode: int, reason: str, tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_bytes(content)
    file.chmod(mode)
    with pytest.raises(SecretUnusable, match=str(file)) as unusable:
        read_secret(str(file))
    assert reason in str(unusable.value)
    assert "secret\n" not in str(unusable.value)


def test_a_secret_is_its_line(tmp_path: Path) -> None:
    for content in (b"s\xc3\xa9cret ", b"s\xc3\xa9cret \n", b"s\xc3\xa9cret \r\n"):
        file = tmp_path / "password"
        file.write_bytes(content)
        file.chmod(0o640)
        assert read_secret(str(file)) == "s\u00e9cret "


def test_what_is_no_file_at_all(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo", 0o600)
    for file in (tmp_path, tmp_path / "fifo", tmp_path / "none"):
        with pytest.raises(SecretUnusable, match=str(file)):
            read_secret(str(file))
