"""The socket and the maildrop: made with the right modes, and never at the cost of somebody else's."""

import os
import socket
import stat
from pathlib import Path

import pytest

from valija import local_places
from valija.local_places import Unusable
from valija.logs import Log, LogBuffer, build_log
from valija.privileges import Account
from valija.receive.options import LocalOptions

ME = Account("", os.geteuid(), os.getegid(), ())


@pytest.fixture
def log_file(tmp_path: Path) -> Path:
    return tmp_path / "log"


@pytest.fixture
def buffer(log_file: Path) -> LogBuffer:
    return LogBuffer(os.open(log_file, os.O_CREAT | os.O_WRONLY))


@pytest.fixture
def log(buffer: LogBuffer) -> Log:
    return build_log("info", "text", buffer)


@pytest.fixture
def options(tmp_path: Path) -> LocalOptions:
    return LocalOptions(str(tmp_path / "run/valija/sendmail.sock"), str(tmp_path / "spool/valija/maildrop"))


def mode(path: Path | str) -> int:
    return stat.S_IMODE(os.stat(path).st_mode)


def test_places_are_made_with_modes_that_let_everybody_in_and_nobody_look(options: LocalOptions, log: Log) -> None:
    old = os.umask(0o077)
    try:
        local_places.prepare(options, ME, log)
        listening = local_places.listen(options, log)
    finally:
        os.umask(old)
    assert listening
    assert mode(options.maildrop) == 0o1733
    assert mode(options.socket) == 0o666
    local_places.remove(options, listening)
    assert not os.path.lexists(options.socket)


def test_clients_wait_in_the_socket_until_somebody_accepts(options: LocalOptions, log: Log) -> None:
    local_places.prepare(options, ME, log)
    listening = local_places.listen(options, log)
    assert listening
    with listening, socket.socket(socket.AF_UNIX) as client:
        client.connect(options.socket)
        accepted, _ = listening.accept()
        accepted.close()


def test_a_dead_servers_socket_is_replaced(options: LocalOptions, log: Log) -> None:
    local_places.prepare(options, ME, log)
    dead = local_places.listen(options, log)
    assert dead
    dead.close()
    assert os.path.lexists(options.socket)
    again = local_places.listen(options, log)
    assert again
    local_places.remove(options, again)


def test_a_living_servers_socket_is_left_alone(
    options: LocalOptions, log: Log, buffer: LogBuffer, log_file: Path
) -> None:
    local_places.prepare(options, ME, log)
    first = local_places.listen(options, log)
    assert first
    assert local_places.listen(options, log) is None
    buffer.flush()
    assert "another server listens there" in log_file.read_text()
    local_places.remove(options, first)


def test_what_is_no_socket_is_left_alone(options: LocalOptions, log: Log) -> None:
    Path(options.socket).parent.mkdir(parents=True)
    Path(options.socket).write_text("mine")
    assert local_places.listen(options, log) is None
    assert Path(options.socket).read_text() == "mine"


def test_no_place_keeps_the_server_from_starting(log: Log, buffer: LogBuffer, log_file: Path) -> None:
    hopeless = LocalOptions("/proc/valija/sendmail.sock", "/proc/valija/maildrop")
    local_places.prepare(hopeless, ME, log)
    assert local_places.listen(hopeless, log) is None
    buffer.flush()
    assert "not listening for programs of this machine" in log_file.read_text()


def test_nothing_is_made_where_it_is_off(tmp_path: Path, log: Log) -> None:
    local_places.prepare(LocalOptions(), ME, log)
    assert local_places.listen(LocalOptions(), log) is None


def test_a_maildrop_is_given_its_mode_back(options: LocalOptions) -> None:
    folder = Path(options.maildrop)
    local_places.make_maildrop(folder, ME)
    folder.chmod(0o777)
    local_places.make_maildrop(folder, ME)
    assert mode(folder) == 0o1733


def test_a_link_is_no_maildrop(options: LocalOptions, tmp_path: Path) -> None:
    """Its target would be given away, and opened to all."""
    target = tmp_path / "target"
    target.mkdir(mode=0o700)
    folder = Path(options.maildrop)
    folder.parent.mkdir(parents=True)
    folder.symlink_to(target)
    with pytest.raises(OSError, match=r"Not a directory|symbolic links"):
        local_places.make_maildrop(folder, ME)
    assert mode(target) == 0o700


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to give folders away")
def test_a_maildrop_becomes_the_servers_and_nobody_elses_is_taken(options: LocalOptions) -> None:
    folder, server = Path(options.maildrop), Account("x", 54321, 54321, ())
    local_places.make_maildrop(folder, server)
    assert folder.stat().st_uid == 54321
    assert mode(folder) == 0o1733
    assert folder.parent.stat().st_uid == 0
    with pytest.raises(Unusable, match="belongs to user 54321"):
        local_places.make_maildrop(folder, Account("y", 54322, 54322, ()))
