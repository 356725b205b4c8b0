"""Who the server's processes are, and who else can use its files, after it has been busy for a while."""

import os
import pwd
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hardening.busy import BusyServer, busy_server
from tests.hardening.status import Status
from tests.tally import Tally
from valija.warden.confinement import JUDGING

pytestmark = [
    pytest.mark.interop,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root, whose privileges are to be dropped"),
    pytest.mark.drops_privileges,
]


@pytest.fixture(scope="module")
def server() -> Iterator[BusyServer]:
    with busy_server() as server:
        yield server


def test_nothing_but_the_helper_is_root_or_can_become_it(server: BusyServer, tally: Tally) -> None:
    nobody = pwd.getpwnam("nobody")
    pids = server.pids()
    assert len(pids) == 5, "the supervisor, two workers, HTTPS and the helper"
    for pid in set(pids) - {server.helper}:
        told = Status.of(pid)
        assert told.uids == {nobody.pw_uid}, told
        assert told.gids == {nobody.pw_gid}, told
        assert told.groups == set(os.getgrouplist("nobody", nobody.pw_gid)), told
        assert told.effective == told.permitted == told.inheritable == told.ambient == 0, told
        assert told.forbids_new, told
        assert told.umask == 0o077, told
    tally("files", processes=len(pids), processes_of_root=1)


def test_the_helper_has_the_rights_it_needs_and_no_way_to_others(server: BusyServer) -> None:
    told = Status.of(server.helper)
    rights = sum(1 << capability for capability in JUDGING)
    assert told.permitted | rights == rights
    assert told.inheritable == told.ambient == 0
    assert not told.groups
    assert told.forbids_new


def test_nobody_else_can_read_what_it_keeps(server: BusyServer, tally: Tally) -> None:
    nobody = pwd.getpwnam("nobody")
    kept = [server.data_dir, *server.data_dir.rglob("*")]
    for expected in ("queue/*.sqlite3-wal", "queue/*.spool", "dkim/*/*.pem", "tls/*.key", "mail/*/*/new/*",
                     "history/*", "control.sock", "accounts.sqlite3", "srs*"):  # fmt: skip
        assert list(server.data_dir.glob(expected)), f"no {expected}: the server was not busy enough"
    open_to_others = [each for each in kept if each.lstat().st_mode & 0o077]
    anothers = [each for each in kept if (each.lstat().st_uid, each.lstat().st_gid) != (nobody.pw_uid, nobody.pw_gid)]
    assert not open_to_others
    assert not anothers
    tally("files", files=len(kept), readable_by_others=len(open_to_others), unusable_by_the_service=len(anothers))


def test_nobody_else_can_put_anything_in_its_way(server: BusyServer) -> None:
    """Beside the data: the way to the socket of local programs, and the maildrop."""
    for folder in (server.folder / "run", server.folder / "spool"):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o755, folder
        assert folder.stat().st_uid == 0, folder
    assert stat.S_IMODE(server.maildrop.stat().st_mode) == 0o1733, "others leave files, see none, and remove none"
    others = [path for path in server.usr.rglob("*") if not path.is_symlink() and path.stat().st_mode & 0o022]
    assert not others, "sendmail is root's program for everybody"


def test_whom_the_socket_is_for_is_who_may_use_it(server: BusyServer) -> None:
    assert stat.S_IMODE((server.data_dir / "control.sock").stat().st_mode) == 0o600
    assert stat.S_IMODE(Path(server.folder / "run" / "sendmail.sock").stat().st_mode) == 0o666
