"""The root helper before a worker that is in a stranger's hands: garbage, crowds, and no way to other files."""

import os
import select
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec
import pytest

from tests.system_user import NO_USERS, SystemUser
from valija.auth.pam import Verdict
from valija.config import load
from valija.logs import LogBuffer, build_log
from valija.privileges import find_account
from valija.warden.messages import (
    LONGEST_REQUEST,
    Answer,
    Login,
    PairsRead,
    ReadConfiguration,
    ReadPairs,
    encode,
    receive_answer,
)
from valija.warden.process import CHILDREN_OF_A_USER
from valija.warden.start import RootHelper, start

pytestmark = [pytest.mark.skipif(bool(NO_USERS), reason=NO_USERS), pytest.mark.drops_privileges]

DEADLINE: Final = 20.0  # seconds


@pytest.fixture(scope="module")
def user() -> Iterator[SystemUser]:
    with SystemUser() as user:
        yield user


@pytest.fixture(scope="module")
def secret(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("secret") / "secret.pem"
    path.write_text("nobody's business")
    path.chmod(0o600)
    return path


@pytest.fixture(scope="module")
def helper(user: SystemUser, secret: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RootHelper]:
    folder = tmp_path_factory.mktemp("helper")
    path = folder / "valija.toml"
    names = f'certificate = "files"\ncert_file = "{secret}"\nkey_file = "{secret}"\n'
    path.write_text(
        f'hostname = "mail.example.org"\nuser = "nobody"\nworkers = 1\n'
        f'[sasl]\ntype = "pam"\npam_service = "{user.pam_service}"\n[tls]\n{names}'
    )
    buffer = LogBuffer(os.open(folder / "log", os.O_WRONLY | os.O_CREAT))
    log = build_log("info", "text", buffer)
    helper = start(load(path), path, find_account("nobody"), log, buffer)
    assert helper
    yield helper
    helper.close()


def answer_on(line: socket.socket) -> tuple[Answer, bytes]:
    deadline = time.monotonic() + DEADLINE
    while True:
        assert select.select([line], [], [], max(0.0, deadline - time.monotonic()))[0], "no answer"
        if (heard := receive_answer(line)) is not None:
            return heard


def ask(helper: RootHelper, request: msgspec.Struct) -> tuple[Answer, bytes]:
    helper.lines[0].send(encode(request))
    return answer_on(helper.lines[0])


def verdict(helper: RootHelper, name: str, password: str) -> Verdict:
    answer, content = ask(helper, Login(1, (name,), password.encode()))
    assert answer.what == "done"
    return msgspec.msgpack.decode(content, type=Verdict)


def test_it_judges(helper: RootHelper, user: SystemUser) -> None:
    assert verdict(helper, user.name, user.password) == Verdict("right", user.name)
    assert verdict(helper, user.name, "wrong").outcome == "wrong"
    assert verdict(helper, "root", "toor").outcome == "wrong"


@pytest.mark.parametrize(
    "packet",
    [
        b"\0",
        b"x" * (LONGEST_REQUEST * 4),
        b"\xdf\xff\xff\xff\xff",
        b"\x91" * 2000,
        msgspec.msgpack.encode({"type": "read", "number": 1, "path": "/etc/shadow"}),
        msgspec.msgpack.encode({"type": "pairs", "number": 1, "seen": b"", "path": "/etc/shadow"}),
        msgspec.msgpack.encode({"type": "login", "number": 1, "names": ["a"] * 50, "password": b"x"}),
        msgspec.msgpack.encode({"type": "login", "number": 1, "names": ["a"], "password": b"x" * 4000}),
        msgspec.msgpack.encode({"type": "configuration", "number": -1}),
    ],
    ids=["octet", "too long", "too many", "too deep", "unknown", "a path", "names", "password", "number"],
)
def test_garbage_changes_nothing(helper: RootHelper, user: SystemUser, packet: bytes) -> None:
    helper.lines[0].send(packet)
    assert verdict(helper, user.name, user.password).outcome == "right"


def test_descriptors_that_are_sent_along_are_not_taken(helper: RootHelper, user: SystemUser) -> None:
    descriptor = os.open("/dev/null", os.O_RDONLY)
    before = len(os.listdir(f"/proc/{helper.pid}/fd"))
    for _ in range(20):
        socket.send_fds(helper.lines[0], [b"\0"], [descriptor])
    assert verdict(helper, user.name, user.password).outcome == "right"
    assert len(os.listdir(f"/proc/{helper.pid}/fd")) <= before + 1
    os.close(descriptor)


def test_no_secret_is_told_of_a_file_that_is_no_pair(helper: RootHelper, secret: Path) -> None:
    answer, content = ask(helper, ReadPairs(1))
    assert answer.what == "done"
    (pair,) = msgspec.msgpack.decode(content, type=PairsRead).pairs
    assert pair.chain_file == str(secret)
    assert pair.faults
    assert not pair.chain_pem
    assert not pair.key_pem
    assert b"business" not in content


def test_configuration_is_told_to_the_supervisor_alone(helper: RootHelper, user: SystemUser) -> None:
    assert ask(helper, ReadConfiguration(1))[0].what == "failed"
    helper.line.send(encode(ReadConfiguration(2)))
    answer, content = answer_on(helper.line)
    assert answer.what == "done"
    assert user.pam_service.encode() in content


def test_a_crowd_at_one_login_is_bounded_and_others_get_in(helper: RootHelper, user: SystemUser) -> None:
    for number in range(CHILDREN_OF_A_USER * 3):
        helper.lines[0].send(encode(Login(number, ("no-such-user-here",), b"x")))
    answers = [answer_on(helper.lines[0])[0].what for _ in range(CHILDREN_OF_A_USER * 3)]
    assert set(answers) <= {"done", "busy"}
    assert verdict(helper, user.name, user.password).outcome == "right"
