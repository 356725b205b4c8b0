"""The folder of DKIM keys: made, listed, chosen from, and looked at again."""

import os
import stat
import threading
from functools import partial
from pathlib import Path

import pytest

from valija.content.dkim_key import KeyProblem
from valija.dkim_keys import DkimKeys
from valija.policy.dkim_stages import StageProblem, activated


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


def test_a_key_that_waits_does_not_sign_and_workers_notice_when_it_does(tmp_path: Path) -> None:
    clock = Clock()
    server = DkimKeys(tmp_path, clock=clock)
    command = DkimKeys(tmp_path)
    command.create("example.org", "2025a", "ed25519")
    command.create("example.org", "2026a", "ed25519", "waiting", now=100.0)
    assert [key.selector for key in server.for_domain("example.org")] == ["2025a"]
    command.change("example.org", partial(activated, selector="2026a", now=200.0))
    clock.now = 1.0
    assert [key.selector for key in server.for_domain("example.org")] == ["2026a"]
    stages = DkimKeys(tmp_path).stages("example.org")  # after a restart too
    assert {each.selector: (each.stage, each.since) for each in stages.values()} == {
        "2025a": ("retired", 200.0),
        "2026a": ("signing", 200.0),
    }
    assert [each.selector for each in command.retired("example.org")] == ["2025a"]


def test_a_step_that_cannot_be_changes_nothing(tmp_path: Path) -> None:
    keys = DkimKeys(tmp_path)
    keys.create("example.org", "a", "ed25519", "waiting", now=1.0)
    before = (tmp_path / "example.org" / "stages.json").read_bytes()
    with pytest.raises(StageProblem):
        keys.change("example.org", partial(activated, selector="nope", now=2.0))
    assert (tmp_path / "example.org" / "stages.json").read_bytes() == before


def test_steps_of_several_processes_at_once_are_all_kept(tmp_path: Path) -> None:
    names = [f"k{number}" for number in range(8)]
    DkimKeys(tmp_path).create("example.org", "first", "ed25519")
    threads = [
        threading.Thread(target=DkimKeys(tmp_path).create, args=("example.org", name, "ed25519", "waiting"))
        for name in names
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    stages = DkimKeys(tmp_path).stages("example.org")
    assert [name for name, each in stages.items() if each.stage == "waiting"] == names


@pytest.mark.parametrize("note", [b"{", b'{"\xcc', b"[" * 9999])
def test_a_damaged_note_of_stages_is_complained_of_and_mail_goes_on_being_signed(tmp_path: Path, note: bytes) -> None:
    problems: list[str] = []
    keys = DkimKeys(tmp_path, problems.append)
    keys.create("example.org", "a", "ed25519")
    (tmp_path / "example.org" / "stages.json").write_bytes(note)
    assert [key.selector for key in keys.for_domain("example.org")] == ["a"]
    assert "stages.json" in problems[0]


def test_a_removed_key_leaves_nothing_and_its_selector_can_be_used_again(tmp_path: Path) -> None:
    keys = DkimKeys(tmp_path)
    keys.create("example.org", "a", "ed25519", "retired", now=1.0)
    keys.remove("example.org", "a")
    assert keys.list("example.org") == []
    keys.create("example.org", "a", "ed25519")
    assert [key.selector for key in keys.for_domain("example.org")] == ["a"]


def test_dated_selectors_are_told_apart(tmp_path: Path) -> None:
    keys = DkimKeys(tmp_path)
    day = 1764072000.0
    made = [keys.create_dated("example.org", kind, "waiting", day) for kind in ("rsa", "ed25519", "ed25519", "rsa")]
    assert [key.selector for key in made] == ["20251125", "20251125e", "20251125-2", "20251125-3"]


@pytest.mark.parametrize("domain", ["", "..", ".", "../../etc", "a/b"])
def test_no_domain_leads_out_of_the_folder(tmp_path: Path, domain: str) -> None:
    keys = DkimKeys(tmp_path / "dkim")
    keys.create("example.org", "a", "ed25519")
    (tmp_path / "dkim" / "b.pem").write_bytes((tmp_path / "dkim" / "example.org" / "a.pem").read_bytes())
    (tmp_path / "dkim" / "b.pem").chmod(0o600)
    assert keys.for_domain(domain) == ()
