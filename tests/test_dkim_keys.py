"""The folder of DKIM keys: made, listed, chosen from, and looked at again."""

import os
import stat
from pathlib import Path

import pytest

from valija.content.dkim_key import KeyProblem
from valija.dkim_keys import DkimKeys


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_created_key_signs_and_is_the_owners_alone(tmp_path: Path) -> None:
    keys = DkimKeys(tmp_path / "dkim")
    assert keys.for_domain("example.org") == ()
    created = keys.create("example.org", "2026a", "ed25519")
    (found,) = keys.for_domain("example.org")
    assert (found.selector, found.kind) == (created.selector, "ed25519")
    path = tmp_path / "dkim" / "example.org" / "2026a.pem"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [entry.name for entry in path.parent.iterdir()] == ["2026a.pem"]
    assert keys.domains() == ["example.org"]


def test_one_key_of_a_kind_signs_the_last_selector(tmp_path: Path) -> None:
    keys = DkimKeys(tmp_path)
    for selector, kind in (("2026a", "ed25519"), ("2026b", "ed25519"), ("2025z", "rsa")):
        keys.create("example.org", selector, kind)  # type: ignore[arg-type]  # a tuple's literals are widened
    assert {(key.kind, key.selector) for key in keys.for_domain("example.org")} == {
        ("ed25519", "2026b"),
        ("rsa", "2025z"),
    }
    assert [key.selector for key in keys.list("example.org")] == ["2025z", "2026a", "2026b"]


def test_a_selector_is_never_overwritten(tmp_path: Path) -> None:
    keys = DkimKeys(tmp_path)
    keys.create("example.org", "a", "ed25519")
    before = (tmp_path / "example.org" / "a.pem").read_bytes()
    with pytest.raises(KeyProblem, match="already"):
        keys.create("example.org", "a", "ed25519")
    assert (tmp_path / "example.org" / "a.pem").read_bytes() == before
    assert len(list((tmp_path / "example.org").iterdir())) == 1


@pytest.mark.parametrize("selector", ["", "../x", "a/b", ".a", "a b", "ñ", "a" * 64, "-a"])
def test_a_bad_selector_is_refused(tmp_path: Path, selector: str) -> None:
    with pytest.raises(KeyProblem, match="selector"):
        DkimKeys(tmp_path).create("example.org", selector, "ed25519")


def test_a_change_by_another_process_is_seen_within_a_second(tmp_path: Path) -> None:
    clock = Clock()
    server = DkimKeys(tmp_path, clock=clock)
    assert server.for_domain("example.org") == ()
    DkimKeys(tmp_path).create("example.org", "a", "ed25519")
    clock.now = 0.5
    assert server.for_domain("example.org") == ()
    clock.now = 1.0
    assert [key.selector for key in server.for_domain("example.org")] == ["a"]
    (tmp_path / "example.org" / "a.pem").unlink()
    clock.now = 2.0
    assert server.for_domain("example.org") == ()


def test_an_unchanged_folder_is_not_read_again(tmp_path: Path) -> None:
    clock = Clock()
    keys = DkimKeys(tmp_path, clock=clock)
    keys.create("example.org", "a", "ed25519")
    first = keys.for_domain("example.org")
    clock.now = 5.0
    assert keys.for_domain("example.org") is first


def test_a_key_that_others_can_read_or_that_is_broken_is_left_out(tmp_path: Path) -> None:
    problems: list[str] = []
    keys = DkimKeys(tmp_path, problems.append)
    for selector in ("a", "b", "c"):
        keys.create("example.org", selector, "ed25519")
    os.chmod(tmp_path / "example.org" / "b.pem", 0o640)
    os.chmod(tmp_path / "example.org" / "c.pem", 0o604)
    (tmp_path / "example.org" / "d.pem").touch(0o600)
    assert [key.selector for key in keys.for_domain("example.org")] == ["b"]
    assert f"chmod 0600 {tmp_path}/example.org/c.pem" in problems[0]
    assert "d.pem" in problems[1]
