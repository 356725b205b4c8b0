"""Dropping privileges for good, the data folder's owner, and code that the user cannot read."""

import contextlib
import multiprocessing
import os
import pwd
import stat
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.reachable import let_all_in
from valija.privileges import (
    Account,
    PrivilegeError,
    check_data_dir,
    drop,
    enter_data_dir,
    find_account,
    prepare_data_dir,
    unreadable_code,
)

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root has privileges to drop")


def in_child(act: Callable[[], object]) -> object:
    """Run `act` in a forked process, which may drop its privileges; return its value, or its exception's text."""
    receiver, sender = multiprocessing.Pipe(duplex=False)
    pid = os.fork()
    if pid == 0:
        try:
            sender.send(act())
        except BaseException as error:
            sender.send(f"{type(error).__name__}: {error}")
        finally:
            os._exit(0)
    sender.close()
    os.waitpid(pid, 0)
    return receiver.recv()


@pytest.fixture
def open_folder(tmp_path: Path) -> Path:
    """A folder that every user can reach."""
    return let_all_in(tmp_path)


def test_a_missing_user_comes_with_the_remedy() -> None:
    with pytest.raises(PrivilegeError, match="useradd --system --no-create-home no-such-user"):
        find_account("no-such-user")
    with pytest.raises(PrivilegeError):
        find_account("nul\0byte")


@as_root
def test_the_drop_is_for_good() -> None:
    def act() -> object:
        drop(find_account("nobody"))
        ways: list[Callable[[], None]] = [
            lambda: os.setuid(0),
            lambda: os.seteuid(0),
            lambda: os.setgid(0),
            lambda: os.setgroups([0]),
        ]
        regained = []
        for regain in ways:
            with contextlib.suppress(PermissionError):
                regain()
                regained.append(regain)
        return os.getresuid(), os.getresgid(), os.getgroups(), len(regained)

    nobody = pwd.getpwnam("nobody")
    assert in_child(act) == ((nobody.pw_uid,) * 3, (nobody.pw_gid,) * 3, [nobody.pw_gid], 0)


@as_root
def test_root_written_out_is_obeyed() -> None:
    def act() -> object:
        drop(find_account("root"))
        return os.geteuid()

    assert in_child(act) == 0


@as_root
def test_the_data_folder_becomes_the_users(open_folder: Path) -> None:
    path = open_folder / "var" / "data"

    def act() -> object:
        enter_data_dir(path, "nobody")
        (path / "file").touch()
        return os.geteuid()

    nobody = pwd.getpwnam("nobody").pw_uid
    assert in_child(act) == nobody
    assert path.stat().st_uid == (path / "file").stat().st_uid == nobody
    assert stat.S_IMODE(path.stat().st_mode) == 0o700
    assert path.parent.stat().st_uid == 0
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o755


@as_root
def test_an_empty_folder_of_roots_is_given_and_a_used_one_is_not(open_folder: Path) -> None:
    empty, used = open_folder / "empty", open_folder / "used"
    empty.mkdir()
    used.mkdir()
    (used / "queue").touch()
    assert in_child(lambda: enter_data_dir(empty, "nobody")) is None
    answer = in_child(lambda: enter_data_dir(used, "nobody"))
    assert isinstance(answer, str)
    assert answer.startswith(
        f"PrivilegeError: data_dir = \"{used}\": user 'nobody' cannot use '{used}', which belongs to 'root'"
    )
    assert f"chown -R nobody {used}" in answer
    assert used.stat().st_uid == 0


@as_root
def test_a_file_of_roots_in_the_users_folder_is_named(open_folder: Path) -> None:
    path = open_folder / "data"
    prepare_data_dir(path, find_account("nobody"))
    (path / "accounts.db").touch(0o600)
    answer = in_child(lambda: enter_data_dir(path, "nobody"))
    assert isinstance(answer, str)
    assert str(path / "accounts.db") in answer


@as_root
def test_someone_elses_folder_is_refused_with_the_way_out(open_folder: Path) -> None:
    path = open_folder / "data"
    prepare_data_dir(path, find_account("root"))

    def act() -> object:
        drop(find_account("nobody"))
        enter_data_dir(path, "valija")
        return None

    answer = in_child(act)
    assert isinstance(answer, str)
    assert "run this as root or as 'root'" in answer


def test_a_file_in_the_way_is_named_with_its_setting_and_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path / "file" / "data", tmp_path / "file"):
        with pytest.raises(PrivilegeError) as refused:
            prepare_data_dir(path, Account("x", os.geteuid(), os.getegid(), ()))
        assert str(refused.value).startswith(f'data_dir = "{path}": the folder cannot be made (')
        assert str(refused.value).endswith("; something else lies there: move it away, or name a folder")


@as_root
def test_a_folder_that_may_not_be_made_comes_with_setting_and_remedy(open_folder: Path) -> None:
    path = open_folder / "data"

    def act() -> object:
        drop(find_account("nobody"))
        enter_data_dir(path, "nobody")
        return None

    assert in_child(act) == (
        f'PrivilegeError: data_dir = "{path}": the folder cannot be made (Permission denied); '
        "start valija as root, or name a folder that its user may write to"
    )


@as_root
def test_a_needed_file_deeper_in_is_named_and_no_other(open_folder: Path) -> None:
    path = open_folder / "data"
    nobody = find_account("nobody")
    prepare_data_dir(path, nobody)
    queue = path / "queue"
    queue.mkdir(0o700)
    needed, foreign, absent = queue / "worker-0.sqlite3", queue / "backup", queue / "worker-1.sqlite3"
    for file in (needed, foreign):
        file.touch(0o600)
    os.chown(queue, nobody.uid, nobody.gid)

    def act() -> object:
        drop(nobody)
        check_data_dir(path, [queue, needed, absent])
        return None

    answer = in_child(act)
    assert isinstance(answer, str)
    assert f"cannot use {str(needed)!r}, which belongs to 'root'" in answer
    assert answer.endswith(f"chown -R nobody {path}")
    os.chown(needed, nobody.uid, nobody.gid)
    assert in_child(act) is None
    needed.chmod(0)
    answer = in_child(act)
    assert isinstance(answer, str)
    assert answer.endswith(f"chown -R nobody {path} && chmod -R u+rwX {needed}")


def test_an_own_folder_is_fine(tmp_path: Path) -> None:
    (tmp_path / "queue").touch()
    check_data_dir(tmp_path)


def stranger() -> Account:
    return Account("stranger", 54321, 54321, (54321,))


def test_code_in_a_closed_folder_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    closed = tmp_path / "closed"
    (closed / "bin").mkdir(parents=True)
    interpreter = closed / "bin" / "python"
    interpreter.touch(0o755)
    closed.chmod(0o700)
    let_all_in(tmp_path)
    monkeypatch.setattr(sys, "executable", str(interpreter))
    reason = unreadable_code(stranger())
    assert reason is not None
    assert f"cannot read {closed}," in reason
    assert str(interpreter) in reason


def test_the_owner_and_the_group_count() -> None:
    owner = Account("me", os.geteuid(), os.getegid(), (os.getegid(),))
    assert unreadable_code(owner) is None
